package explore

import (
	"encoding/hex"
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/script"
)

// A Move is one step of an execution, for people.
type Move struct {
	Thread string   `json:"thread"`
	What   string   `json:"what"`
	Stale  int      `json:"stale,omitempty"` // how many stores the fetch missed
	Locks  []string `json:"locks,omitempty"` // held before the step
	Sites  []string `json:"sites"`           // the bytes of the sites that changes were made to
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
	opt.Workers = 1
	var w *world
	e, err := newEngine(&opt, func(d Schedule) string { return d.Format(s) }, func() (_ system, err error) {
		w, err = newWorld(s, &opt)
		return w, err
	})
	if err != nil {
		return nil, err
	}
	defer e.close()
	tr := &Trace{Threads: s.Threads()}
	w.log = &tr.Moves
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

// move describes the step that a choice makes.
func (w *world) move(t *thread, c Choice) Move {
	m := Move{Thread: t.name, What: t.at.what(), Stale: c.Variant}
	for _, h := range t.locks {
		m.Locks = append(m.Locks, h.lock.Name)
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
			if name == m.Thread {
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
