package explore

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ftemu/ftracecore"
	"ftemu/script"
	"ftemu/trace"
)

// A Move is one step of an execution, for people.
type Move struct {
	Thread string   `json:"thread"` // "" after all threads
	What   string   `json:"what"`
	Stale  int      `json:"stale,omitempty"` // how many stores the fetch missed
	Locks  []string `json:"locks,omitempty"` // held before the step
	Sites  []string `json:"sites"`           // the bytes of the sites that changes were made to
	// Breaks tells that the property breaks here: in the last step, and in a
	// deadlock in each that waits. It need not be a step of its own for a schedule.
	Breaks bool `json:"breaks,omitempty"`
}

// A Trace is one execution, step by step.
type Trace struct {
	Threads []string         `json:"threads"`
	Moves   []Move           `json:"moves"`
	Found   *Violation       `json:"found,omitempty"`
	Results []*script.Result `json:"results"` // of the threads' lines that ended, by thread
	// Held are the locks that each thread holds behind the last move.
	Held [][]string `json:"-"`
}

// Replay runs a schedule and returns what happened.
func Replay(s *script.Script, opt Options, sched Schedule) (*Trace, error) {
	tr := &Trace{Threads: s.Threads()}
	opt.Workers, opt.moves = 1, &tr.Moves
	var w *world
	e, err := newEngine(&opt, func(d Schedule) string { return d.Format(s) }, func() (_ system, err error) {
		w, err = newWorld(s, &opt)
		return w, err
	})
	if err != nil {
		return nil, err
	}
	defer e.close()
	out := e.execute(w, sched, nil)
	if out.err != nil {
		return nil, out.err
	}
	tr.Found = out.found
	for _, t := range w.threads {
		var held []string
		for _, h := range t.locks {
			held = append(held, h.lock.Name)
		}
		tr.Held = append(tr.Held, held)
		tr.Results = append(tr.Results, t.results...)
		if t.res != nil && (len(t.results) == 0 || t.results[len(t.results)-1] != t.res) {
			tr.Results = append(tr.Results, t.res)
		}
	}
	return tr, nil
}

// move describes a step of a thread; t is nil after all threads.
func (w *world) move(t *thread, what string) Move {
	m := Move{What: what}
	if t != nil {
		m.Thread, m.Locks = t.name, t.lockNames()
	}
	w.lab().Core.Records(func(r *ftracecore.Record) bool {
		if _, ok := w.changes[r.IP]; ok || r.Count > 0 {
			var b [5]byte
			_ = w.lab().Mem.Read(r.IP, b[:])
			m.Sites = append(m.Sites, w.run.SiteName(r.IP)+" "+hex.EncodeToString(b[:]))
		}
		return true
	})
	return m
}

// breaks notes that the property breaks in a step: the last one noted, or one
// within it.
func (w *world) breaks(m Move) {
	if w.opt.moves == nil {
		return
	}
	moves := *w.opt.moves
	if n := len(moves); n > 0 {
		last := moves[n-1]
		if last.Thread == m.Thread && last.What == m.What && slices.Equal(last.Locks, m.Locks) && slices.Equal(last.Sites, m.Sites) {
			moves[n-1].Breaks = true
			return
		}
	}
	m.Breaks = true
	*w.opt.moves = append(moves, m)
}

// Mask implements trace.Tracer, for what is recorded of an execution.
func (w *world) Mask() trace.Mask { return trace.MaskOf(trace.Warn) }

// Trace implements trace.Tracer: it notes where the kernel first warns.
func (w *world) Trace(ev *trace.Event) {
	if w.cur != nil && !w.cur.killed && w.warn == nil {
		m := w.move(w.cur, "WARN in "+ev.Name)
		w.warn = &m
	}
}

// LockLetter abbreviates the name of a lock for narrow columns.
func LockLetter(lock string) string {
	switch {
	case strings.HasPrefix(lock, "trampoline mutex"):
		return "T"
	case lock == "direct_mutex":
		return "D"
	case strings.HasPrefix(lock, "regex_lock"):
		return "R"
	case lock == "ftrace_lock":
		return "L"
	case lock == "text_mutex":
		return "X"
	}
	return lock
}

// Columns gives the trace as a table: a row a step, a column a thread, then the
// locks held (T trampoline mutex, D direct_mutex, R regex_lock, L ftrace_lock, X
// text_mutex) and the bytes of the sites.
func (t *Trace) Columns() [][]string {
	head := append([]string{"step"}, t.Threads...)
	rows := [][]string{append(head, "locks", "sites")}
	for i, m := range t.Moves {
		row := make([]string, len(t.Threads)+3)
		row[0] = fmt.Sprint(i + 1)
		for k, name := range t.Threads {
			if name == m.Thread || m.Thread == "" && k == 0 {
				row[k+1] = m.What
				if m.Stale > 0 {
					row[k+1] += " (old bytes)"
				}
			}
		}
		var locks []string
		for _, l := range m.Locks {
			locks = append(locks, LockLetter(l))
		}
		row[len(row)-2] = strings.Join(locks, "")
		row[len(row)-1] = strings.Join(m.Sites, ", ")
		rows = append(rows, row)
	}
	return rows
}
