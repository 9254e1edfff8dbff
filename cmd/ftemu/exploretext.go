package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"ftemu/explore"
	"ftemu/script"
)

// summary says what was searched and what was found.
func (c *exploreCmd) summary(a *app, s *script.Script, r *explore.Report) {
	st := style{a.colour}
	what := fmt.Sprintf("%s: design %s, strategy %s, profile %s", s.File, c.Design, c.Strategy, c.Profile)
	if c.With != "" {
		what += ", with " + c.With
	}
	if c.Random != nil {
		what += fmt.Sprintf(", seed %d", *c.Random)
	}
	a.say(what, st.plain)
	a.say(fmt.Sprintf("%s, %s, %s deep, up to %s differing from running on",
		counted(r.Executions, "execution"), counted(r.States, "state"), counted(r.Depth, "step"), counted(r.Deviations, "choice")), st.plain)
	tone := st.plain
	switch {
	case r.Found != nil:
		tone = st.bad
	case r.Exhaustive:
		tone = st.good
	}
	a.say(r.Verdict(), tone)
	if r.Found != nil {
		a.say("schedule "+r.Found.Schedule, st.plain)
		for _, p := range explore.Properties() {
			if n := r.Counts[p]; c.All && n > 0 {
				const cols = 14
				hang(a.stdout, a.width, fmt.Sprintf("%-*s", cols, p), cols, fmt.Sprintf("%s, first %s", counted(n, "execution"), r.First[p].Schedule), st.plain)
			}
		}
		if r.Stopped != "" {
			a.say("not exhaustive: "+r.Stopped, st.plain)
		}
	}
}

// designRows are the rows of one search in the table of designs: a row a
// property that does not hold, or one that says that none was found.
func designRows(design, scenario string, r *explore.Report) [][]string {
	search, none := "exhaustive", "every property holds"
	if !r.Exhaustive {
		search, none = r.Stopped, "no finding"
	}
	row := []string{design, scenario, fmt.Sprint(r.Executions), fmt.Sprint(r.States), fmt.Sprint(r.Depth), search, none}
	var rows [][]string
	for _, p := range explore.Properties() {
		if n := r.Counts[p]; n > 0 {
			row[6] = fmt.Sprintf("%s in %d, first %s", p, n, r.First[p].Schedule)
			rows = append(rows, row)
			row = make([]string, 7)
		}
	}
	if len(rows) == 0 {
		rows = append(rows, row)
	}
	return rows
}

// printTable prints rows in columns, the first as head. bad, if not nil, tells
// which are to stand out.
func printTable(a *app, rows [][]string, bad func(row int) bool) {
	st := style{a.colour}
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			b.WriteString(cell)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		line := strings.TrimRight(b.String(), " ")
		switch {
		case n == 0:
			line = st.faint(line)
		case bad != nil && bad(n):
			line = st.bad(line)
		}
		fmt.Fprintln(a.stdout, line)
	}
}

// printTrace prints an execution as a time line, a column a thread.
func printTrace(a *app, tr *explore.Trace) {
	fmt.Fprintln(a.stdout)
	printTable(a, tr.Columns(), func(row int) bool { return tr.Moves[row-1].Breaks })
	st := style{a.colour}
	fmt.Fprintln(a.stdout)
	for _, r := range tr.Results {
		line := fmt.Sprintf("line %-3d %-36s", r.Line, r.Op)
		if r.Ret != nil {
			line += fmt.Sprintf(" = %d", *r.Ret)
		} else if len(r.API) > 0 {
			var calls []string
			for _, c := range r.API {
				calls = append(calls, c.Fn+" = "+script.RetText(c.RC))
			}
			line += " " + strings.Join(calls, ", ")
		}
		fmt.Fprintln(a.stdout, strings.TrimRight(line, " "))
	}
	a.say("locks held: T trampoline mutex, D direct_mutex, R regex_lock, L ftrace_lock, X text_mutex", st.plain)
	if tr.Found != nil {
		a.say(tr.Found.String(), st.bad)
	} else {
		a.say("every property holds in this execution", st.good)
	}
}

// searchProgress is a line on a terminal that says how far a search is, from two
// seconds on.
type searchProgress struct {
	w           io.Writer
	terminal    bool
	start, last time.Time
	shown       bool
}

func newSearchProgress(a *app) *searchProgress {
	now := time.Now()
	return &searchProgress{w: a.stderr, terminal: a.colour, start: now, last: now}
}

// update shows the counts, now and then.
func (p *searchProgress) update(s explore.Stats) {
	now := time.Now()
	if !p.terminal || now.Sub(p.start) < 2*time.Second || now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%d executions, %d states, %d choices from running on", s.Executions, s.States, s.Deviations)
}

// clear takes the line away.
func (p *searchProgress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
