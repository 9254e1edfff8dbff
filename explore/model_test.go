package explore

import (
	"context"
	"hash/fnv"
	"testing"
	"time"

	"ftemu/ftracecore"

	"github.com/stretchr/testify/require"
)

// A model is a program of locks alone, explored as a scenario is: by the same
// search, with the same rules for where a choice is worth a point. It has the
// statements of testdata/spin/ops_func.pml in the same order, so that the two
// can be compared state by state.
type model struct {
	opt     *Options
	procs   []proc
	vars    vars
	at      []int // by process: its next statement
	locals  []locals
	last    int
	broken  *Violation
	uses    []use
	visited map[uint64]int // nil: not recorded; else every state, with how many steps lead on
}

// vars are the shared variables: see the model in Promela.
type vars struct {
	direct, ftrace, tr                     bool
	ipmodify, attached, entry, share, orig bool
}

type locals struct{ peer, mine, failed bool }

type proc struct {
	name  string
	stmts []stmt
}

// A stmt is one step: the first alternative whose guard holds. Where none does,
// the process waits.
type stmt struct {
	label string
	event eventKind
	lock  *ftracecore.Lock
	alts  []alt
}

type alt struct {
	when func(*vars, *locals) bool // nil: always
	do   func(*vars, *locals)      // nil: nothing
	then string                    // label of what follows; "": the next statement
}

// The locks, with their names in ftracecore.
var (
	directMutex = ftracecore.Lock{Name: "direct_mutex"}
	ftraceLock  = ftracecore.Lock{Name: "ftrace_lock"}
	trMutex     = ftracecore.Lock{Name: "trampoline mutex"}
)

func (v *vars) of(l *ftracecore.Lock) *bool {
	switch l {
	case &directMutex:
		return &v.direct
	case &ftraceLock:
		return &v.ftrace
	}
	return &v.tr
}

func lock(l *ftracecore.Lock) stmt {
	return stmt{event: evLock, lock: l, alts: []alt{{
		when: func(v *vars, _ *locals) bool { return !*v.of(l) },
		do:   func(v *vars, _ *locals) { *v.of(l) = true },
	}}}
}

func unlock(l *ftracecore.Lock) stmt {
	return stmt{event: evUnlock, lock: l, alts: []alt{{do: func(v *vars, _ *locals) { *v.of(l) = false }}}}
}

func do(f func(*vars, *locals)) stmt { return stmt{event: evPoint, alts: []alt{{do: f}}} }

func branch(alts ...alt) stmt { return stmt{event: evPoint, alts: alts} }

func (s stmt) named(label string) stmt {
	s.label = label
	return s
}

// askPeer is the question to the owner of the direct ops, if there is one.
func askPeer(blocking bool, nobody, busy string) stmt {
	s := branch(
		alt{when: func(_ *vars, l *locals) bool { return !l.peer }, then: nobody},
		alt{when: func(v *vars, l *locals) bool { return l.peer && !v.tr }, do: func(v *vars, _ *locals) { v.tr = true }},
	)
	s.event, s.lock = evTry, &trMutex
	if !blocking {
		s.alts = append(s.alts, alt{when: func(v *vars, l *locals) bool { return l.peer && v.tr }, then: busy})
	}
	return s
}

func readPeer(v *vars, l *locals) { l.peer = v.attached }

func livepatch(blocking, noSelf bool) []stmt {
	return []stmt{
		lock(&directMutex),
		lock(&ftraceLock),
		do(readPeer),
		unlock(&ftraceLock),
		askPeer(blocking, "enter", "refused"),
		do(func(v *vars, _ *locals) { v.share = true }),
		lock(&ftraceLock),
		do(func(v *vars, _ *locals) { v.orig = true }),
		unlock(&ftraceLock),
		unlock(&trMutex),
		lock(&ftraceLock).named("enter"),
		branch(
			alt{when: func(v *vars, _ *locals) bool { return !v.ipmodify }, do: func(v *vars, l *locals) { v.ipmodify, l.mine = true, true }},
			alt{when: func(v *vars, _ *locals) bool { return v.ipmodify }},
		),
		unlock(&ftraceLock),
		unlock(&directMutex).named("refused"),
		branch(
			alt{when: func(_ *vars, l *locals) bool { return l.mine }},
			alt{when: func(_ *vars, l *locals) bool { return !l.mine }, then: "end"},
		),
		lock(&ftraceLock),
		do(func(v *vars, _ *locals) { v.ipmodify = false }),
		unlock(&ftraceLock),
		lock(&directMutex),
		lock(&ftraceLock),
		do(readPeer),
		unlock(&ftraceLock),
		askPeer(blocking, "told", "told"),
		lock(&ftraceLock),
		do(func(v *vars, _ *locals) { v.orig = v.ipmodify && !noSelf; v.share = v.orig }),
		unlock(&ftraceLock),
		unlock(&trMutex),
		unlock(&directMutex).named("told"),
	}
}

func bpfLink() []stmt {
	return []stmt{
		lock(&trMutex),
		lock(&directMutex).named("again"),
		do(func(v *vars, _ *locals) { v.entry = true }),
		lock(&ftraceLock),
		branch(
			alt{when: func(v *vars, _ *locals) bool { return v.ipmodify && !v.share }, do: func(v *vars, l *locals) { v.share, l.failed = true, true }},
			alt{do: func(v *vars, l *locals) { v.attached, v.orig, l.failed = true, v.share, false }},
		),
		unlock(&ftraceLock),
		do(func(v *vars, l *locals) { v.entry = !l.failed }),
		unlock(&directMutex),
		branch(
			alt{when: func(_ *vars, l *locals) bool { return l.failed }, then: "again"},
			alt{when: func(_ *vars, l *locals) bool { return !l.failed }},
		),
		unlock(&trMutex),
		lock(&trMutex),
		lock(&directMutex),
		lock(&ftraceLock),
		do(func(v *vars, _ *locals) { v.attached = false }),
		unlock(&ftraceLock),
		do(func(v *vars, _ *locals) { v.entry = false }),
		unlock(&directMutex),
		do(func(v *vars, _ *locals) { v.orig, v.share = false, false }),
		unlock(&trMutex),
	}
}

// opsFunc is the model with a number of livepatches.
func opsFunc(opt *Options, livepatches int, blocking, noSelf bool) *model {
	m := &model{opt: opt}
	for range livepatches {
		m.procs = append(m.procs, proc{"livepatch", livepatch(blocking, noSelf)})
	}
	m.procs = append(m.procs, proc{"bpf", bpfLink()})
	return m
}

func (m *model) reset() error {
	m.vars, m.at, m.locals = vars{}, make([]int, len(m.procs)), make([]locals, len(m.procs))
	m.last, m.broken = -1, nil
	m.visit()
	return nil
}

// enabled finds what process p can do: an index into its alternatives, or -1.
func (m *model) enabled(p int) int {
	if m.at[p] == len(m.procs[p].stmts) {
		return -1
	}
	for i, a := range m.procs[p].stmts[m.at[p]].alts {
		if a.when == nil || a.when(&m.vars, &m.locals[p]) {
			return i
		}
	}
	return -1
}

func (m *model) choices() (out []Choice) {
	if m.last >= 0 && m.enabled(m.last) >= 0 {
		out = append(out, Choice{m.last, 0})
	}
	for p := range m.procs {
		if p != m.last && m.enabled(p) >= 0 {
			out = append(out, Choice{p, 0})
		}
	}
	return out
}

// step runs a process to where a choice is worth a point, as world does.
func (m *model) step(c Choice) {
	m.last = c.Thread
	m.one(c.Thread)
	for m.broken == nil && m.enabled(c.Thread) >= 0 && !m.stops(c.Thread) {
		m.one(c.Thread)
	}
}

// stops tells whether process p stops before its next statement.
func (m *model) stops(p int) bool {
	s := m.procs[p].stmts[m.at[p]]
	switch {
	case m.opt.Full:
		return true
	case s.event == evLock:
		return m.opt.contended.is(s.lock)
	case s.event == evTry:
		return m.locals[p].peer
	case s.event == evUnlock:
		return m.opt.contended.isTried(s.lock)
	}
	return false
}

// one makes one statement of process p happen.
func (m *model) one(p int) {
	s := m.procs[p].stmts[m.at[p]]
	l := &m.locals[p]
	switch s.event {
	case evLock:
		m.uses = append(m.uses, use{lock: s.lock.Name, thread: p, held: m.held(p)})
	case evTry:
		if l.peer {
			m.uses = append(m.uses, use{lock: s.lock.Name, thread: p, try: true})
		}
	}
	a := s.alts[m.enabled(p)]
	if a.do != nil {
		a.do(&m.vars, l)
	}
	m.at[p]++
	if a.then != "" {
		m.at[p] = m.procs[p].find(a.then)
	}
	if m.vars.ipmodify && m.vars.attached && !m.vars.orig {
		m.broken = &Violation{Livepatch, "the site is IPMODIFY and its direct function does not respect that"}
	}
	m.visit()
}

// held lists the locks that process p took before its next statement, which is
// one that stands where they do not depend on the way.
func (m *model) held(p int) (names []string) {
	held := make(map[string]bool)
	for _, s := range m.procs[p].stmts[:m.at[p]] {
		switch {
		case s.event == evLock || s.event == evTry && m.locals[p].peer:
			held[s.lock.Name] = true
		case s.event == evUnlock:
			delete(held, s.lock.Name)
		}
	}
	for _, l := range []*ftracecore.Lock{&directMutex, &ftraceLock, &trMutex} {
		if held[l.Name] {
			names = append(names, l.Name)
		}
	}
	return names
}

func (p *proc) find(label string) int {
	for i, s := range p.stmts {
		if s.label == label {
			return i
		}
	}
	return len(p.stmts)
}

func (m *model) end() {
	for p := range m.procs {
		if m.at[p] < len(m.procs[p].stmts) {
			m.broken = &Violation{Deadlock, m.procs[p].name + " waits"}
		}
	}
}

func (m *model) digest() uint64 {
	v := &m.vars
	b := []byte{bits(v.direct, v.ftrace, v.tr, v.ipmodify, v.attached, v.entry, v.share, v.orig)}
	for p, l := range m.locals {
		b = append(b, byte(m.at[p]), bits(l.peer, l.mine, l.failed))
	}
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

func (m *model) visit() {
	if m.visited != nil {
		m.visited[m.digest()] = len(m.choices())
	}
}

func (m *model) violation() *Violation { return m.broken }

func (m *model) taken() []use {
	u := m.uses
	m.uses = nil
	return u
}

func (m *model) close() {}

var _ system = (*model)(nil)

// run is a search through a model.
type run struct {
	*Report
	all, transitions int // states, the ones without a choice included, and the steps between them
	took             time.Duration
}

func explored(t *testing.T, full bool, livepatches int, blocking, noSelf bool) run {
	o := Options{Full: full, All: true, Workers: 1}
	visited := make(map[uint64]int)
	e, err := newEngine(&o, func(Schedule) string { return "" }, func() (system, error) {
		m := opsFunc(&o, livepatches, blocking, noSelf)
		m.visited = visited
		return m, nil
	})
	require.NoError(t, err)
	defer e.close()
	start := time.Now()
	r, err := e.search(context.Background())
	require.NoError(t, err)
	require.True(t, r.Exhaustive)
	out := run{Report: r, all: len(visited), took: time.Since(start)}
	for _, n := range visited {
		out.transitions += n
	}
	return out
}

// TestModel: with reduction and without, the model keeps its promise, and each
// mistake breaks the one that it should.
func TestModel(t *testing.T) {
	for _, tt := range []struct {
		name             string
		blocking, noSelf bool
		breaks           Property
	}{
		{"as merged, with a look at modify", false, false, ""},
		{"blocking", true, false, Deadlock},
		{"no look at modify", false, true, Livepatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			full := explored(t, true, 2, tt.blocking, tt.noSelf)
			reduced := explored(t, false, 2, tt.blocking, tt.noSelf)
			t.Logf("full %d states, reduced %d", full.States, reduced.States)
			require.Less(t, reduced.States, full.States)
			for _, r := range []run{full, reduced} {
				if tt.breaks == "" {
					require.Empty(t, r.Counts)
					continue
				}
				require.Len(t, r.Counts, 1)
				require.Positive(t, r.Counts[tt.breaks])
			}
		})
	}
}
