package patcher

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/x86"
)

// TestStepping patches a site while two CPUs call its function in a loop, a few
// instructions after each write. Each call must do what the old instruction
// does or what the new one does, and no call may do the former after the first
// sync. Naive patching must be caught by the same check.
func TestStepping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := rapid.IntRange(0, 2).Draw(t, "old")
		to := rapid.IntRange(0, 2).Draw(t, "new")
		strategy := rapid.SampledFrom([]Strategy{Breakpoint, StopMachine}).Draw(t, "strategy")
		r := newStepRun(t, strategy, old, to)
		r.step = func() uint64 { return rapid.Uint64Range(0, 12).Draw(t, "instructions") }
		require.NoError(t, r.patch())
		for cpu, calls := range r.calls {
			for i, call := range calls {
				switch {
				case call == r.new:
				case call == r.old && i < r.synced[cpu]:
				default:
					t.Fatalf("cpu %d, call %d of %v: the site did %q, neither %q nor %q in time", cpu, i, calls, call, r.old, r.new)
				}
			}
			require.Contains(t, calls, r.new)
		}
	})
}

// TestSteppingNaive is the counterexample: a CPU that executes the site between
// the two writes calls something that nobody meant.
func TestSteppingNaive(t *testing.T) {
	r := newStepRun(t, Naive, 0, 1)
	r.step = func() uint64 { return 12 }
	require.ErrorContains(t, r.patch(), "went astray")
}

// A stepRun is a guest whose CPUs call fn in a loop while fn's site is patched.
type stepRun struct {
	t        require.TestingT
	p        *Poker
	machine  emu.Machine
	change   Change
	old, new string // what a call does before and after
	step     func() uint64
	inCall   [2]string   // what the call that is under way did so far
	calls    [2][]string // what finished calls did
	synced   [2]int      // calls finished or begun when the first sync was over
	astray   error
}

func newStepRun(t require.TestingT, strategy Strategy, old, to int) *stepRun {
	const (
		loop  = textBase       // loop: call fn; jmp loop
		fn    = textBase + 203 // its site crosses a cache line
		body  = fn + x86.SiteLen
		trace = textBase + 0x1000
	)
	mem := interp.New().NewMemory(0)
	require.NoError(t, mem.Map(textBase, textSize, emu.PermRX, "text"))
	require.NoError(t, mem.Map(stackTop-2*emu.PageSize, 2*emu.PageSize, emu.PermRW, "stacks"))
	call, jmp := callTo(t, loop, fn), jmpTo(t, loop+5, loop)
	require.NoError(t, mem.Write(loop, append(call[:], jmp[:]...)))
	// What a site may hold: nothing, or a call of one of two trampolines.
	forms := []x86.Bytes5{x86.Nop5, callTo(t, fn, trace), callTo(t, fn, trace+16)}
	does := []string{"body", "first body", "second body"}

	r := &stepRun{t: t, p: NewPoker(mem), change: Change{fn, forms[old], forms[to]}, old: does[old], new: does[to]}
	put(t, mem, r.change)
	gates := &emu.Gates{}
	gate := func(addr uint64, name string, f func(cpu int)) {
		require.NoError(t, gates.Add(emu.Gate{Addr: addr, Name: name, Func: func(c emu.CPU) error { f(c.ID()); return nil }}))
	}
	gate(trace, "first", func(cpu int) { r.inCall[cpu] += "first " })
	gate(trace+16, "second", func(cpu int) { r.inCall[cpu] += "second " })
	gate(body, "body", func(cpu int) {
		r.calls[cpu] = append(r.calls[cpu], r.inCall[cpu]+"body")
		r.inCall[cpu] = ""
	})
	var err error
	r.machine, err = interp.New().NewMachine(emu.Config{Memory: mem, CPUs: 2, Gates: gates, Trap: r.p.Trap})
	require.NoError(t, err)
	for i := range 2 {
		regs := r.machine.CPU(i).Regs()
		regs.RIP, regs.GPR[emu.RSP] = loop, stackTop-uint64(i)*emu.PageSize
	}
	r.p.Strategy, r.p.Observer = strategy, r
	return r
}

// patch lets the CPUs run before, during and after the change.
func (r *stepRun) patch() error {
	r.runAll(r.step)
	err := r.p.Apply([]Change{r.change})
	// Enough to finish two calls.
	r.runAll(func() uint64 { return 20 })
	require.NoError(r.t, r.machine.Close())
	if err == nil {
		err = r.astray
	}
	return err
}

func (r *stepRun) runAll(n func() uint64) {
	for i := range r.machine.NumCPU() {
		cpu, n := r.machine.CPU(i), n()
		if n == 0 || r.astray != nil {
			continue
		}
		if stop := cpu.Run(emu.Limits{Insns: n}); stop.Reason != emu.StopInsns {
			r.astray = fmt.Errorf("cpu %d went astray: %w", i, stop)
		}
	}
}

func (r *stepRun) Wrote(s Step, _ int) {
	if !s.Stopped {
		r.runAll(r.step)
	}
}

func (r *stepRun) Done(s Step) {
	if s.Sync && r.synced == [2]int{} {
		for cpu := range r.synced {
			// A call that has passed the site but not the body may still do
			// what the old instruction did.
			r.synced[cpu] = len(r.calls[cpu]) + 1
		}
	}
	r.runAll(r.step)
}
