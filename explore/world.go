package explore

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"ftemu"
	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/patcher"
	"ftemu/script"
	"ftemu/trace"
	"ftemu/x86"

	"github.com/cespare/xxhash/v2"
)

// A world is one lab with a scenario's threads, run in turns by choices.
type world struct {
	opt     *Options
	run     *script.Runner
	restore func() error
	after   []script.Step // what stands behind join
	threads []*thread
	cur     *thread // nil while no thread runs
	last    *thread // the one that made the last step
	owner   map[*ftracecore.Lock]*thread
	order   *lockOrder
	views   []view                    // by CPU: what it may not have seen yet
	changes map[uint64]patcher.Change // the last change of each site
	sites   map[uint64]bool           // addresses of all sites
	users   []user                    // who is in force
	begun   int                       // how many lines that switch something have begun
	before  []user                    // the same, before the threads
	found   *Violation
	warn    *Move // in which the kernel first warned, where moves are recorded
	uses    []use // of locks, since the last look
	buf     []byte
	sum     xxhash.Digest
}

// abandoned is the panic with which a thread leaves an execution that is over;
// it is caught at the thread's root.
type abandoned struct{}

// newWorld makes a lab and runs what stands before the threads.
func newWorld(s *script.Script, opt *Options) (*world, error) {
	w := &world{opt: opt, order: opt.order, sites: make(map[uint64]bool)}
	lab := opt.Lab
	lab.Sched = w
	if opt.moves != nil {
		lab.Tracer = w
	}
	r, err := script.NewRunner(s, lab)
	if err != nil {
		return nil, err
	}
	w.run = r
	r.Lab().Poker.Observer = w
	r.Lab().Mem.Watch(watcher{w})
	for _, site := range s.Guest.Sites {
		w.sites[site.IP] = true
	}
	names := s.Threads()
	if len(names) == 0 {
		r.Close()
		return nil, errors.New("no thread or cpu line, so there is nothing to explore")
	}
	for i, name := range names {
		w.threads = append(w.threads, &thread{world: w, id: i, name: name})
	}
	for _, st := range s.Steps {
		switch {
		case st.Thread != "":
			t := w.threads[slices.Index(names, st.Thread)]
			t.steps = append(t.steps, st)
			t.isCPU = st.Call != nil
		case len(w.threads[len(names)-1].steps) > 0:
			w.after = append(w.after, st)
		default:
			res := r.Run(st)
			if res.Oops != "" || res.Failed != "" {
				r.Close()
				return nil, fmt.Errorf("line %d: %s: before the threads begin: %s%s", st.Line, st.Text, res.Oops, res.Failed)
			}
			w.follow(st, res.RC)
		}
	}
	w.before = w.users
	w.restore = r.Snapshot()
	return w, nil
}

func (w *world) close() {
	for _, t := range w.threads {
		t.close()
	}
	w.run.Close()
}

// reset brings the state before the threads back.
func (w *world) reset() error {
	for _, t := range w.threads {
		t.kill()
	}
	w.cur, w.last, w.found, w.warn = nil, nil, nil, nil
	w.owner = make(map[*ftracecore.Lock]*thread)
	w.changes = make(map[uint64]patcher.Change)
	w.users, w.begun = w.before, 0
	w.views = make([]view, w.run.Lab().Machine.NumCPU())
	if err := w.restore(); err != nil {
		return err
	}
	for _, t := range w.threads {
		t.begin()
	}
	w.lab().Core.SetTask(&ftracecore.Task{})
	return nil
}

// choices lists what can happen next, the default first: the thread that ran
// last runs on, or else the first that can.
func (w *world) choices() []Choice {
	var out []Choice
	add := func(t *thread) {
		if t.runnable() {
			for v := range t.variants() {
				out = append(out, Choice{t.id, v})
			}
		}
	}
	if w.last != nil {
		add(w.last)
	}
	for _, t := range w.threads {
		if t != w.last {
			add(t)
		}
	}
	return out
}

// step makes one choice happen.
func (w *world) step(c Choice) {
	t := w.threads[c.Thread]
	if w.opt.moves != nil {
		m := w.move(t, t.at.what())
		m.Stale = c.Variant
		*w.opt.moves = append(*w.opt.moves, m)
	}
	t.variant = c.Variant
	w.last = t
	t.resume()
	w.check(t)
}

// done tells whether every thread has finished.
func (w *world) done() bool {
	for _, t := range w.threads {
		if !t.finished {
			return false
		}
	}
	return true
}

// end looks at a state where no thread can go on.
func (w *world) end() {
	if w.done() {
		w.finish()
	} else {
		w.stuck()
	}
}

func (w *world) violation() *Violation { return w.found }

func (w *world) taken() []use {
	u := w.uses
	w.uses = nil
	return u
}

// stuck reports that no thread can go on.
func (w *world) stuck() {
	w.violate(Deadlock, "", "%s", w.waitFor())
	for _, t := range w.threads {
		if !t.finished && w.found != nil {
			w.breaks(w.move(t, t.waits()))
		}
	}
}

// waitFor tells who waits for what, and who holds it since where.
func (w *world) waitFor() string {
	text := ""
	for _, t := range w.threads {
		if t.finished {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += t.name + " " + t.waits()
		if l := t.at.lock; l != nil && w.owner[l] != nil {
			o := w.owner[l]
			text += fmt.Sprintf(", held by %s", o.name)
			if h := o.holding(l); h != nil {
				text += fmt.Sprintf(" since %s", h.where)
			}
		}
	}
	return text
}

// violate notes the first thing that went wrong in this execution. what says what
// the thread that runs was doing, "" where that is noted otherwise.
func (w *world) violate(p Property, what, format string, args ...any) {
	if w.found != nil || !w.opt.checks(p) {
		return
	}
	w.found = &Violation{Property: p, Text: fmt.Sprintf(format, args...)}
	switch {
	case p == Alive && w.warn != nil:
		w.breaks(*w.warn)
	case what != "" && w.opt.moves != nil:
		w.breaks(w.move(w.last, what))
	}
}

// digest identifies the state: two that are equal go on in the same ways.
func (w *world) digest() uint64 {
	h := &w.sum
	h.Reset()
	w.run.Digest(h)
	b := w.buf[:0]
	for _, t := range w.threads {
		b = t.appendState(b)
	}
	for i := range w.views {
		b = w.views[i].appendState(b)
	}
	for _, ip := range slices.Sorted(maps.Keys(w.changes)) {
		c := w.changes[ip]
		b = append(append(b, c.Old[:]...), c.New[:]...)
	}
	if w.opt.Bound > 0 && w.last != nil {
		// Which thread runs on matters where deviations are counted.
		b = append(b, byte(w.last.id))
	}
	w.buf = b
	_, _ = h.Write(b)
	return h.Sum64()
}

// Lock implements ftracecore.Sched.
func (w *world) Lock(l *ftracecore.Lock) {
	t := w.cur
	if t == nil {
		return
	}
	w.order.ask(t, l, false)
	if w.opt.Full || w.opt.contended.is(l) || w.owner[l] != nil || guardsDispatch(l) && w.cpuAlive() {
		t.yield(event{kind: evLock, lock: l})
	}
	w.acquired(t, l, true)
}

// TryLock implements ftracecore.Sched.
func (w *world) TryLock(l *ftracecore.Lock) bool {
	t := w.cur
	if t == nil {
		return !l.Held()
	}
	w.order.ask(t, l, true)
	w.uses = append(w.uses, use{lock: l.Name, thread: t.id, try: true})
	t.yield(event{kind: evTry, lock: l})
	if w.owner[l] != nil {
		return false
	}
	w.acquired(t, l, false)
	return true
}

func (w *world) acquired(t *thread, l *ftracecore.Lock, blocking bool) {
	w.owner[l] = t
	where := t.where()
	w.uses = append(w.uses, use{lock: l.Name, thread: t.id, held: t.lockNames()})
	if blocking {
		if inv := w.order.wrong(t, l, where); inv != "" {
			w.violate(LockOrder, l.Name, "%s", inv)
		}
	}
	t.locks = append(t.locks, held{l, where})
}

// Unlock implements ftracecore.Sched.
func (w *world) Unlock(l *ftracecore.Lock) {
	t := w.cur
	if t == nil || t.killed {
		return
	}
	if w.opt.Full || w.opt.contended.isTried(l) {
		t.yield(event{kind: evUnlock, lock: l})
	}
	delete(w.owner, l)
	t.locks = slices.DeleteFunc(t.locks, func(h held) bool { return h.lock == l })
}

// Point implements ftracecore.Sched.
func (w *world) Point(what string) {
	// What a thread does between two locks concerns nobody else, so that only a
	// full search stops there.
	if t := w.cur; t != nil && w.opt.Full {
		t.yield(event{kind: evPoint, text: what})
	}
}

// Grace implements ftracecore.Sched: it waits for the CPUs that are in a call now.
func (w *world) Grace(what string) {
	t := w.cur
	if t == nil {
		return
	}
	var wait []graceCall
	for _, o := range w.threads {
		if o.inCall && o != t {
			wait = append(wait, graceCall{o, o.calls})
		}
	}
	t.yield(event{kind: evGrace, text: what, grace: wait})
}

// Wrote implements patcher.Observer: the other CPUs may not see the store yet.
func (w *world) Wrote(s patcher.Step, i int) {
	t := w.cur
	if t == nil {
		return
	}
	c := s.Sites[i]
	w.changes[c.IP] = c
	if s.Stopped {
		return
	}
	wr := s.Write(i)
	old := w.oldBytes(s, i)
	for cpu := range w.views {
		if s.Trap {
			w.views[cpu].add(wr.Addr, old, wr.Bytes)
			continue
		}
		// Nothing keeps the bytes of a plain store together for a fetch.
		for k := range wr.Bytes {
			if old[k] != wr.Bytes[k] {
				w.views[cpu].add(wr.Addr+uint64(k), old[k:k+1], wr.Bytes[k:k+1])
			}
		}
	}
	if w.concerns(c.IP) {
		t.yield(event{kind: evPoke, poke: s.Phase, ip: c.IP, world: w})
	}
}

// oldBytes are what the i-th write of a step replaced.
func (w *world) oldBytes(s patcher.Step, i int) []byte {
	c := s.Sites[i]
	b := c.Old
	switch s.Phase {
	case patcher.PhaseInt3:
		return b[:1]
	case patcher.PhaseTail:
		return b[1:]
	case patcher.PhaseFirst:
		if s.Trap {
			return []byte{x86.OpInt3}
		}
		return b[:1]
	}
	return b[:]
}

// Done implements patcher.Observer: after a sync every CPU sees everything.
func (w *world) Done(s patcher.Step) {
	t := w.cur
	if t == nil {
		return
	}
	if s.Sync {
		for cpu := range w.views {
			w.views[cpu].sync()
		}
	}
	if !s.Stopped && slices.ContainsFunc(s.Sites, func(c patcher.Change) bool { return w.concerns(c.IP) }) {
		t.yield(event{kind: evPoke, poke: s.Phase, ip: s.Sites[0].IP, after: true, sync: s.Sync, world: w})
	}
}

// concerns tells whether a CPU can fetch the instruction at ip, which is being
// changed, before the thread that changes it gives ftrace_lock or the mutex
// of the image back. Nobody can make a site lead there meanwhile.
func (w *world) concerns(ip uint64) bool {
	if !w.cpuAlive() {
		return false
	}
	switch {
	case w.opt.Full || w.sites[ip]:
		return true
	case w.lab().IsStaticCall(ip):
		return w.lab().LeadsToStatic()
	}
	return w.lab().Occupied(ip)
}

var (
	_ system           = (*world)(nil)
	_ ftracecore.Sched = (*world)(nil)
	_ patcher.Observer = (*world)(nil)
	_ trace.Tracer     = (*world)(nil)
)

// cpuAlive tells whether some CPU still has calls to make.
func (w *world) cpuAlive() bool {
	return slices.ContainsFunc(w.threads, func(t *thread) bool { return t.isCPU && !t.finished })
}

// coroutine makes a thread's body resumable.
func coroutine(body func(yield func(event) bool)) (next func() (event, bool), stop func()) {
	return iter.Pull(iter.Seq[event](body))
}

// lab is the lab of the world.
func (w *world) lab() *ftemu.Lab { return w.run.Lab() }

// cpu is the CPU of a thread that makes calls.
func (w *world) cpu(t *thread) emu.CPU { return w.lab().Machine.CPU(t.steps[0].Call.CPU) }
