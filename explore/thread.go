package explore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"ftemu/ftracecore"
	"ftemu/patcher"
	"ftemu/script"
)

// An eventKind says what a thread is about to do.
type eventKind uint8

const (
	evStart  eventKind = iota // begin
	evLock                    // wait for a lock and take it
	evTry                     // try to take a lock
	evUnlock                  // give a lock back that others try; in full searches, any
	evPoint                   // go on behind a callback or sleep
	evPoke                    // go on behind a store to code or a sync
	evGrace                   // wait for CPUs to leave guest code
	evInsn                    // execute a guest instruction that others can influence
	evDone                    // nothing: the thread has ended
)

// An event is where a thread stands: what it does when it is next resumed.
type event struct {
	kind  eventKind
	lock  *ftracecore.Lock
	text  string // evPoint, evGrace
	grace []graceCall
	ip    uint64        // evInsn: of the instruction; evPoke: of the site
	views int           // evInsn: how many ways there are to see the instruction, less one
	poke  patcher.Phase // evPoke: the step
	after bool          // evPoke: it is done, rather than one of its stores
	sync  bool          // evPoke: all CPUs were synchronised
	world *world        // for the names of addresses
}

// A graceCall is a call into the guest that a grace period waits for.
type graceCall struct {
	t    *thread
	call int
}

// pending tells whether the call has not ended yet.
func (g graceCall) pending() bool { return g.t.inCall && g.t.calls == g.call }

// appendKey appends what tells the event from others.
func (e event) appendKey(b []byte) []byte {
	b = append(b, byte(e.kind), byte(e.poke), bits(e.after, e.sync))
	b = binary.LittleEndian.AppendUint64(b, e.ip)
	if e.lock != nil {
		b = append(b, e.lock.Name...)
	}
	return append(append(b, e.text...), 0)
}

// what says in a few words what the thread is about to do.
func (e event) what() string {
	switch e.kind {
	case evInsn:
		return "execute " + e.world.lab().Name(e.ip)
	case evPoke:
		switch {
		case !e.after:
			return fmt.Sprintf("%s at %s", e.poke, e.world.lab().Name(e.ip))
		case e.sync:
			return fmt.Sprintf("sync all CPUs after %s", e.poke)
		}
		return fmt.Sprintf("no sync after %s", e.poke)
	case evStart:
		return "start"
	case evLock:
		return e.lock.Name
	case evTry:
		return "trylock " + e.lock.Name
	case evUnlock:
		return "unlock " + e.lock.Name
	case evGrace:
		return "grace period " + e.text
	case evDone:
		return "finished"
	}
	return e.text
}

// held is a lock that a thread has, and where it took it.
type held struct {
	lock  *ftracecore.Lock
	where string
}

// A thread is one part of the scenario that runs beside the others.
type thread struct {
	world *world
	id    int
	name  string
	isCPU bool
	steps []script.Step

	next     func() (event, bool)
	stop     func()
	give     func(event) bool
	started  bool
	killed   bool
	finished bool
	at       event
	variant  int
	line     int // of steps, being run
	res      *script.Result
	results  []*script.Result
	locks    []held
	// hist stands for the local state of the line being run: everything that the
	// thread did in it, and the state of ftrace whenever it took a lock.
	hist uint64

	task   ftracecore.Task
	inCall bool
	calls  int // calls begun
	judged judgement
}

// begin makes the thread ready to run from its start.
func (t *thread) begin() {
	t.killed, t.finished, t.inCall, t.started = false, false, false, false
	t.line, t.calls, t.hist, t.variant = 0, 0, 0, 0
	t.res, t.results, t.locks = nil, nil, nil
	t.at = event{kind: evStart}
	t.judged, t.task = judgement{}, ftracecore.Task{}
	if t.next == nil {
		// One coroutine serves all executions.
		t.next, t.stop = coroutine(func(yield func(event) bool) {
			t.give = yield
			for {
				t.once()
				if !yield(event{kind: evDone}) {
					return
				}
			}
		})
	}
}

// once runs the thread's body in one execution, to its end or until it is
// abandoned.
func (t *thread) once() {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(abandoned); !ok {
				panic(p)
			}
		}
	}()
	t.body()
}

// kill takes a thread out of an execution, wherever it is.
func (t *thread) kill() {
	if !t.started || t.finished {
		return
	}
	t.killed = true
	t.world.cur = t
	t.world.lab().Core.SetTask(&t.task)
	t.next()
	t.world.cur = nil
}

// close ends the thread for good.
func (t *thread) close() {
	t.kill()
	if t.stop != nil {
		t.stop()
	}
}

// variants is how many ways there are to make the thread's next step: a CPU may
// see the instruction as it is, or miss some of the last stores to it.
func (t *thread) variants() int {
	if t.at.kind != evInsn {
		return 1
	}
	return 1 + len(t.world.views[t.world.cpu(t).ID()].at(t.at.ip))
}

// waits says what a thread that cannot go on waits for.
func (t *thread) waits() string { return "waits for " + t.at.what() }

// runnable tells whether the thread can make its next step.
func (t *thread) runnable() bool {
	switch {
	case t.finished:
		return false
	case t.at.kind == evLock:
		return t.world.owner[t.at.lock] == nil
	case t.at.kind == evGrace:
		return !slices.ContainsFunc(t.at.grace, graceCall.pending)
	}
	return true
}

// resume lets the thread run to its next event.
func (t *thread) resume() {
	w := t.world
	w.cur = t
	if t.res != nil {
		w.run.Start(t.res)
	}
	t.remember()
	w.lab().Core.SetTask(&t.task)
	t.started = true
	t.at, _ = t.next()
	w.cur = nil
	t.finished = t.at.kind == evDone
}

// remember folds what the thread is about to do into its history.
func (t *thread) remember() {
	w := t.world
	h := &w.sum
	h.Reset()
	b := binary.LittleEndian.AppendUint64(w.buf[:0], t.hist)
	b = t.at.appendKey(append(b, byte(t.variant)))
	if t.at.kind == evTry && w.owner[t.at.lock] != nil {
		b = append(b, 1)
	}
	w.buf = b
	_, _ = h.Write(b)
	if t.at.kind == evLock || t.at.kind == evTry {
		// What it reads under the lock is all that it can learn of the others.
		w.lab().Core.Digest(h, nil)
		w.lab().BPF.DigestTrampolines(h)
	}
	t.hist = h.Sum64()
}

// yield stops the thread before an event, until it is resumed.
func (t *thread) yield(e event) {
	if t.killed || !t.give(e) || t.killed {
		t.killed = true
		panic(abandoned{})
	}
}

// body runs the thread's lines.
func (t *thread) body() {
	w := t.world
	for i, st := range t.steps {
		if i > 0 {
			t.line, t.hist = i, 0
			t.yield(event{kind: evStart})
		}
		t.res = w.run.NewResult(st)
		w.run.Start(t.res)
		if switches(st, ftracecore.OpsIPModify) || switches(st, ftracecore.OpsDirect) {
			w.begun++
		}
		if st.Call != nil {
			for range st.Call.Times {
				t.call(st.Call)
			}
		} else {
			w.run.RunStep(st)
		}
		w.ended(t, st)
		t.results = append(t.results, t.res)
		t.hist = 0
	}
	t.line = len(t.steps)
}

// where names the line that the thread is in.
func (t *thread) where() string {
	if t.line < len(t.steps) {
		return fmt.Sprintf("line %d (%s)", t.steps[t.line].Line, t.steps[t.line].Text)
	}
	return "its end"
}

func (t *thread) holding(l *ftracecore.Lock) *held {
	for i := range t.locks {
		if t.locks[i].lock == l {
			return &t.locks[i]
		}
	}
	return nil
}

// appendState appends where the thread is and what is known of it.
func (t *thread) appendState(b []byte) []byte {
	b = append(b, byte(t.line), byte(len(t.locks)), bits(t.finished, t.inCall))
	b = binary.LittleEndian.AppendUint64(b, t.hist)
	b = t.at.appendKey(b)
	for _, g := range t.at.grace {
		// A call that began after the grace period looks the same and is not
		// waited for.
		b = append(b, byte(g.t.id), bits(g.pending()))
	}
	for _, l := range t.locks {
		b = append(b, l.lock.Name...)
	}
	for _, r := range t.results {
		b = append(b, byte(r.RC))
	}
	if t.isCPU && t.res != nil {
		j := t.judged
		b = append(b, byte(t.calls), byte(j.direct), byte(t.world.begun-j.begun), bits(j.made, j.entered))
		b = append(b, j.want...)
		for _, e := range t.res.EV[min(j.firstEvent, len(t.res.EV)):] {
			b = append(b, e.CB...)
			b = append(b, e.Body...)
			b = append(b, e.Direct...)
			b = append(b, e.DirectExit...)
			b = append(append(b, e.Prog...), 0)
		}
	}
	return append(b, 0xff)
}

func bits(bs ...bool) (v byte) {
	for i, b := range bs {
		if b {
			v |= 1 << i
		}
	}
	return v
}

// lockNames lists the locks that the thread has.
func (t *thread) lockNames() []string {
	var names []string
	for _, h := range t.locks {
		names = append(names, h.lock.Name)
	}
	return names
}
