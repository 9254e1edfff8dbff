package report

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ftemu/explore"
	"ftemu/script"
)

// An Exploration is what running a scenario's threads in every order gave.
type Exploration struct {
	Report   *explore.Report
	Summary  string // what was searched
	Verdict  string
	Tone     string // class: good, bad, or "" where the search came to no end
	Property string // that does not hold, "" where all do
	Says     string // what the property is
	Schedule string
	Command  string // replays it
	Threads  []Thread
	Sites    []string
	Moves    []Move
	LeftOut  int // moves
	Held     []Lock
}

// A Thread is a column of an execution.
type Thread struct {
	Name  string
	Locks []Lock // that it held at some time, each a bar of its own
}

// A Lock is one as columns show it.
type Lock struct{ Letter, Name string }

// A Move is one step: a row.
type Move struct {
	Number  int
	Threads []ThreadMove
	Sites   [][]Cell
	Bad     bool // the property is broken here
}

// A ThreadMove is what a thread does in a row.
type ThreadMove struct {
	What string // "" where another one moves
	Old  bool   // it sees bytes from before the last store
	Bars []HeldLock
}

// A HeldLock is whether a lock is held in a row.
type HeldLock struct {
	Lock
	Held, First bool
}

// Explore runs the scenario's threads in every order. command makes the command
// that replays a schedule.
func Explore(ctx context.Context, s *script.Script, opt explore.Options, command func(schedule string) string) (*Exploration, error) {
	found, err := explore.Explore(ctx, s, opt)
	if err != nil {
		return nil, err
	}
	e := &Exploration{Report: found, Summary: fmt.Sprintf("%s, %s, up to %s deep",
		counted(found.Executions, "execution"), counted(found.States, "state"), counted(found.Depth, "step"))}
	switch {
	case found.Found == nil && found.Exhaustive:
		e.Verdict, e.Tone = "Exhaustive: every property holds in every order.", "good"
		return e, nil
	case found.Found == nil:
		e.Verdict = "No finding, but the search is not exhaustive: " + found.Stopped + "."
		return e, nil
	}
	e.Verdict, e.Tone = cut(found.Found.Text), "bad"
	e.Property, e.Says = string(found.Found.Property), explore.Describe(found.Found.Property)
	e.Schedule = found.Found.Schedule
	e.Command = command(e.Schedule)
	sched, err := explore.ParseSchedule(e.Schedule, s)
	if err != nil {
		return nil, err
	}
	tr, err := explore.Replay(s, opt, sched)
	if err != nil {
		return nil, err
	}
	e.execution(tr)
	return e, nil
}

// Explored adds what running the threads in every order gave.
func (p *Page) Explored(e *Exploration) {
	p.Exploration = e
	said := ""
	if p.Tone != "" {
		said = p.Verdict + " "
	}
	switch {
	case e.Property != "":
		p.Verdict, p.Tone = said+"In some order of its threads the property "+e.Property+" does not hold.", "bad"
		p.Jumps = append([]Jump{{ID: "exploration", Text: "some order of the threads", Answer: e.Property}}, p.Jumps...)
	case e.Tone == "good":
		p.Verdict = said + "Every property holds in every order of its threads."
		if p.Tone == "" {
			p.Tone = "good"
		}
	default:
		p.Verdict = said + "Not every order of its threads was searched: " + e.Report.Stopped + "."
		if p.Tone == "good" {
			p.Tone = ""
		}
	}
}

// execution draws one execution. Of a long one the end is what matters.
func (e *Exploration) execution(tr *explore.Trace) {
	held := locksHeld(tr)
	moves, first := tr.Moves, 0
	if n := len(moves) - maxMoves; n > 0 {
		e.LeftOut, first = n, n
	}
	for k, name := range tr.Threads {
		t := Thread{Name: name}
		for i := range moves {
			for _, l := range held[i][k] {
				if lock := (Lock{explore.LockLetter(l), l}); !slices.Contains(t.Locks, lock) {
					t.Locks = append(t.Locks, lock)
				}
			}
		}
		e.Threads = append(e.Threads, t)
		for _, l := range t.Locks {
			if !slices.Contains(e.Held, l) {
				e.Held = append(e.Held, l)
			}
		}
	}
	e.Sites = sitesOf(moves)
	was := make([]string, len(e.Sites))
	for i := first; i < len(moves); i++ {
		m := Move{Number: i + 1, Bad: moves[i].Breaks}
		for k, t := range e.Threads {
			tm := ThreadMove{}
			if moves[i].Thread == t.Name || moves[i].Thread == "" && k == 0 {
				tm.What, tm.Old = cutTo(moves[i].What, 80), moves[i].Stale > 0
			}
			for _, l := range t.Locks {
				bar := HeldLock{Lock: l, Held: slices.Contains(held[i][k], l.Name)}
				bar.First = bar.Held && (i == first || !slices.Contains(held[i-1][k], l.Name))
				tm.Bars = append(tm.Bars, bar)
			}
			m.Threads = append(m.Threads, tm)
		}
		for c, name := range e.Sites {
			now := was[c]
			for _, s := range moves[i].Sites {
				if n, bytes, _ := strings.Cut(s, " "); n == name {
					now = bytes
				}
			}
			m.Sites = append(m.Sites, cellsOf(now, was[c]))
			was[c] = now
		}
		e.Moves = append(e.Moves, m)
	}
}

// locksHeld tells by move and thread which locks are held before the move: what a
// thread holds before its next move it has held since the one before.
func locksHeld(tr *explore.Trace) [][][]string {
	held := make([][][]string, len(tr.Moves))
	next := make([][]string, len(tr.Threads))
	copy(next, tr.Held)
	for i := len(tr.Moves) - 1; i >= 0; i-- {
		k := slices.Index(tr.Threads, tr.Moves[i].Thread)
		if k >= 0 {
			next[k] = tr.Moves[i].Locks
		}
		held[i] = slices.Clone(next)
	}
	return held
}

// sitesOf lists the sites that moves have bytes of, by first mention.
func sitesOf(moves []explore.Move) []string {
	var out []string
	for _, m := range moves {
		for _, s := range m.Sites {
			if name, _, _ := strings.Cut(s, " "); !slices.Contains(out, name) && len(out) < maxSiteColumns {
				out = append(out, name)
			}
		}
	}
	return out
}

// maxSiteColumns is how many sites an execution has columns for.
const maxSiteColumns = 4

// cellsOf draws bytes in hexadecimal, marking those that were different before.
func cellsOf(now, was string) []Cell {
	var out []Cell
	for i := 0; i+1 < len(now); i += 2 {
		c := Cell{Hex: now[i : i+2]}
		switch {
		case i == 0 && c.Hex == "cc":
			c.Class = "trap"
		case was != "" && (i+2 > len(was) || was[i:i+2] != c.Hex):
			c.Class = "new"
		case now == "0f1f440000":
			c.Class = "nop"
		}
		out = append(out, c)
	}
	return out
}
