package gdb

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"ftemu"
	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/script"
	"ftemu/trace"
)

// A pointKind says what a run stands at.
type pointKind uint8

const (
	atInsn  pointKind = iota // an instruction is about to execute
	atCall                   // the same, and it is the first of a call
	atPoke                   // code was changed: only a watchpoint makes a run stand here
	atFault                  // an instruction could not execute
	atEnd                    // all lines have run
)

// A point is a place in a run where it can stand. Points are counted from 0, and
// the number of one is its position.
type point struct {
	kind pointKind
	cpu  int
	why  emu.Stop // of a fault
}

// An edit is what the client changed while the run stood at a position.
type edit struct {
	pos  uint64
	cpu  int
	regs *emu.Regs // nil: memory was changed
	addr uint64
	data []byte
}

// progress says how far an execution is.
type progress struct {
	pos      uint64
	here     point
	before   uint64   // the last position that was passed and is none of atPoke
	line     int      // index of the step that runs
	failures int      // expectations that were not met
	news     []string // what went wrong, by lines
	applied  int      // how many edits
	crashed  bool
}

// A checkpoint is the state before a step, to come back to.
type checkpoint struct {
	progress
	restore func() error
}

const (
	// checkpointEvery is how many points are executed again at most rather than
	// to keep another checkpoint, which takes some milliseconds.
	checkpointEvery = 10_000
	maxCheckpoints  = 500
)

// maxEdits bounds how much a client may change.
const maxEdits = 10_000

// A Run is a scenario that is executed under a debugger. It belongs to one
// goroutine; only Interrupt may be called from others.
type Run struct {
	runner      *script.Runner
	opt         ftemu.Options // as given
	elf         []byte        // once it was asked for
	checkpoints []checkpoint  // by position, none ahead of the run; the first is the beginning
	first       uint64        // the position of the first point that is none of atPoke
	every       uint64        // how far checkpoints are apart at least
	next        func() (struct{}, bool)
	halt        func() // ends the execution under way; nil: none is

	// The execution under way.
	progress
	yield  func(struct{}) bool // nil: it has not begun
	halted bool
	hit    *hit
	over   bool // the execution has left its end

	// wants tells whether to stop at the point that the run has come to.
	wants       func(p point, h *hit) bool
	taken       map[uint64]uint64 // the return addresses that function_graph took, by where they were
	edits       []edit
	points      points
	interrupted atomic.Bool
}

var errNoCall = errors.New("no call line runs: there is nothing to step through")

// NewRun makes a run that stands at the first point of a scenario. A scenario without
// one is an error. opt's engine and tracer are the run's to set.
func NewRun(s *script.Script, opt ftemu.Options) (*Run, error) {
	r := &Run{opt: opt, points: newPoints(), every: checkpointEvery, taken: make(map[uint64]uint64)}
	opt.Engine, opt.Tracer = engine{interp.New(), r}, r
	runner, err := script.NewRunner(s, opt)
	if err != nil {
		return nil, err
	}
	r.runner = runner
	r.checkpoints = []checkpoint{{restore: runner.Snapshot()}}
	r.begin()
	r.move(func(p point, _ *hit) bool { return p.kind != atPoke })
	if r.here.kind == atEnd {
		r.Close()
		return nil, errNoCall
	}
	r.first = r.pos
	return r, nil
}

// Close ends the run.
func (r *Run) Close() {
	r.stop()
	r.runner.Close()
}

// Interrupt makes a run that moves stop.
func (r *Run) Interrupt() { r.interrupted.Store(true) }

// stop ends the execution under way: each call into the guest returns as one
// that was asked to stop, and the rest of the lines do not run.
func (r *Run) stop() {
	if r.halt != nil {
		r.halt()
		r.halt = nil
	}
}

// begin prepares an execution from the last checkpoint.
func (r *Run) begin() {
	r.progress = r.checkpoints[len(r.checkpoints)-1].progress
	r.halted, r.hit, r.over, r.yield = false, nil, false, nil
	r.next, r.halt = iter.Pull(r.execute)
}

// rewind goes back to the last checkpoint at or before a position.
func (r *Run) rewind(pos uint64) error {
	r.stop()
	n := len(r.checkpoints)
	for r.checkpoints[n-1].pos > pos {
		n--
	}
	r.checkpoints = r.checkpoints[:n]
	if err := r.checkpoints[n-1].restore(); err != nil {
		return err
	}
	r.begin()
	return nil
}

// check makes a checkpoint before a step, if the last one is far.
func (r *Run) check() {
	n := len(r.checkpoints)
	if r.pos-r.checkpoints[n-1].pos >= r.every && n < maxCheckpoints {
		r.checkpoints = append(r.checkpoints, checkpoint{r.progress, r.runner.Snapshot()})
	}
}

// execute runs the scenario. It stands still where yield is called.
func (r *Run) execute(yield func(struct{}) bool) {
	r.yield = yield
	steps := r.runner.Script().Steps
	for ; r.line < len(steps); r.line++ {
		s := steps[r.line]
		if r.crashed && s.Wants() == "" {
			r.line = len(steps)
			break
		}
		r.check()
		res := r.runner.Run(s)
		if r.halted {
			return
		}
		// What a checkpoint has is not written over.
		if res.Oops != "" {
			r.crashed = true
			r.news = append(slices.Clip(r.news), lineText(s)+": "+res.Oops)
		}
		if res.Failed != "" {
			r.failures++
			r.news = append(slices.Clip(r.news), lineText(s)+": "+res.Failed)
		}
	}
	r.pass(point{kind: atEnd, cpu: r.here.cpu})
}

// lineText names a line.
func lineText(s script.Step) string {
	if s.Line == 0 { // that the scenario leaves out
		return s.Text
	}
	return fmt.Sprintf("line %d  %s", s.Line, s.Text)
}

// where is the line that runs.
func (r *Run) where() string {
	steps := r.runner.Script().Steps
	switch {
	case r.line < len(steps):
		return lineText(steps[r.line])
	case r.failures > 0:
		return fmt.Sprintf("all lines have run, %d not as expected", r.failures)
	}
	return "all lines have run"
}

// pass is called at each point, and returns when the run goes on: true, or false if
// the execution is to end.
func (r *Run) pass(p point) bool {
	if r.halted {
		return false
	}
	r.here = p
	for ; r.applied < len(r.edits) && r.edits[r.applied].pos == r.pos; r.applied++ {
		// It could be done when it was made, in the same state.
		_ = r.change(r.edits[r.applied])
	}
	h := r.hit
	r.hit = nil
	if (r.wants(p, h) || p.kind == atEnd) && !r.yield(struct{}{}) {
		r.halted = true
		return false
	}
	if p.kind != atPoke {
		r.before = r.pos
	}
	r.pos++
	return true
}

// broke is called when a CPU cannot go on.
func (r *Run) broke(c *cpu, stop emu.Stop) {
	if stop.Reason != emu.StopRequested {
		r.pass(point{kind: atFault, cpu: c.ID(), why: stop})
	}
}

// move goes on until wants, or to the end.
func (r *Run) move(wants func(p point, h *hit) bool) {
	r.wants = wants
	if _, ok := r.next(); !ok {
		r.over, r.halt = true, nil
	}
}

// seek goes to a position, forward or back, or part of the way if it is
// interrupted.
func (r *Run) seek(pos uint64) error {
	if pos < r.pos || r.over {
		if err := r.rewind(pos); err != nil {
			return err
		}
	}
	if r.yield == nil || pos > r.pos {
		r.move(func(point, *hit) bool { return r.pos == pos || r.interrupted.Load() })
	}
	return nil
}

// edit changes something where the run stands, and again whenever it comes by.
// What was changed later in the run is forgotten.
func (r *Run) edit(e edit) error {
	if len(r.edits) >= maxEdits {
		return errTooMany
	}
	e.pos = r.pos
	if err := r.change(e); err != nil {
		return err
	}
	r.edits = append(r.edits[:r.applied], e)
	r.applied++
	return nil
}

func (r *Run) change(e edit) error {
	if e.regs != nil {
		*r.lab().Machine.CPU(e.cpu).Regs() = *e.regs
		return nil
	}
	return r.lab().Mem.Write(e.addr, e.data)
}

// read reads memory, and at a distance from the stacks what function_graph took
// from there.
func (r *Run) read(addr uint64, b []byte) error {
	mem := r.lab().Mem
	if reg, ok := mem.RegionAt(addr - takenDistance); ok && strings.HasPrefix(reg.Name, "stack of CPU") && len(b) > 0 {
		if end := addr - takenDistance + uint64(len(b)); end > reg.Addr+reg.Size {
			return errOutside
		}
		for i := range b {
			a := addr - takenDistance + uint64(i)
			b[i] = byte(r.taken[a&^7] >> (a & 7 * 8))
		}
		return nil
	}
	return mem.Read(addr, b)
}

var errOutside = errors.New("outside of a stack")

func (r *Run) lab() *ftemu.Lab { return r.runner.Lab() }

func (r *Run) regs(cpu int) *emu.Regs { return r.lab().Machine.CPU(cpu).Regs() }

// Mask implements trace.Tracer: watchpoints look at accesses of the guest, and at
// what the kernel does to code.
func (r *Run) Mask() trace.Mask { return trace.MaskOf(trace.Mem, trace.Poke) }

// Trace implements trace.Tracer.
func (r *Run) Trace(ev *trace.Event) {
	if r.halted {
		return
	}
	if r.hit == nil {
		r.hit = r.points.watched(ev.Addr, ev.Size, ev.Write || ev.Kind == trace.Poke)
	}
	if ev.Kind == trace.Poke && r.yield != nil {
		r.pass(point{kind: atPoke, cpu: r.here.cpu})
	}
}
