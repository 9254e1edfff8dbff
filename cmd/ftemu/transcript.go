package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"ftemu/script"
)

// A transcript prints what a scenario does, line by line: what was asked, what came
// back, and below it what that did to sites and which code ran.
type transcript struct {
	w       io.Writer
	style   style
	width   int  // columns; 0: no limit
	explain bool // print decisions, and why calls were refused at length
	lineCol int  // columns of line numbers
	opCol   int  // columns of the scenario's lines
	nameCol int  // columns of the names of sites, ops and trampolines
	open    bool // what was asked stands on the current line, without an answer
	dead    bool // ftrace had killed itself before this line
}

// Columns of the transcript.
const (
	maxOpCol  = 44 // longer lines push their answer to the right
	labelCol  = 10
	minAnswer = 8 // columns for an answer
	minName   = 8
	maxName   = 20 // longer names push what follows to the right
)

func newTranscript(a *app, steps []script.Step) *transcript {
	r := &transcript{w: a.stdout, style: style{a.colour}, width: a.width, nameCol: minName}
	for _, s := range steps {
		r.lineCol = max(r.lineCol, len(fmt.Sprint(s.Line)))
	}
	most := maxOpCol
	if a.width > 0 {
		most = min(most, a.width-r.indent()-minAnswer)
	}
	for _, s := range steps {
		if len(s.Text) <= most {
			r.opCol = max(r.opCol, len(s.Text))
		}
	}
	return r
}

// indent is how far rows below a line stand to the right.
func (t *transcript) indent() int { return t.lineCol + 4 }

// asked prints a line of the scenario before it runs.
func (t *transcript) asked(s script.Step) {
	number := ""
	if s.Line > 0 {
		number = fmt.Sprint(s.Line)
	}
	paint := t.style.strong
	if s.Line == 0 || s.Wants() != "" {
		paint = t.style.faint
	}
	fmt.Fprintf(t.w, "%s  %s", t.style.faint(fmt.Sprintf("%*s", t.lineCol, number)), paint(s.Text))
	t.open = true
}

// Write takes the events of a line while it runs, one a call.
func (t *transcript) Write(p []byte) (int, error) {
	t.closeLine()
	fmt.Fprintf(t.w, "%*s", t.indent(), "")
	return t.w.Write(p)
}

func (t *transcript) closeLine() {
	if t.open {
		fmt.Fprintln(t.w)
		t.open = false
	}
}

// answered prints what a line gave.
func (t *transcript) answered(res *script.Result) {
	if text, tone := res.Answer(); tone != script.Silent {
		pad := max(t.opCol-len(res.Op), 0)
		if !t.open { // events stand between
			pad = t.lineCol + 2 + t.opCol
		}
		if used := t.lineCol + 4 + max(t.opCol, len(res.Op)); t.width > 0 && used+len(text) > t.width {
			t.closeLine()
			hang(t.w, t.width, strings.Repeat(" ", t.indent()), t.indent(), text, t.paint(tone))
		} else {
			fmt.Fprintf(t.w, "%*s  %s\n", pad, "", t.paint(tone)(text))
		}
		t.open = false
	}
	t.closeLine()
	for _, s := range res.Sites {
		t.nameCol = min(max(t.nameCol, len(s.Site)), maxName)
	}
	t.calls(res)
	for _, c := range res.Images() {
		t.row("image", fmt.Sprintf("%-*s %s", t.nameCol, c.Fn, c), t.style.plain)
	}
	t.ran(res)
	t.sites(res)
	for _, w := range res.Warnings {
		t.row("warning", fmt.Sprintf("in %s: %s", w.Func, w.Text), t.style.bad)
	}
	if res.Dead != 0 && !t.dead {
		t.row("dead", "ftrace has killed itself: nothing can be registered any more, sites stay as they are", t.style.bad)
	}
	t.dead = res.Dead != 0
	if res.Oops != "" {
		t.row("oops", res.Oops, t.style.bad)
	}
	t.shown(res)
	if t.explain {
		t.decisions(res)
	}
}

// calls prints the calls of the API, the questions to ops_funcs and the images of
// BPF, where there is more to say than the answer of the line, and why what was
// refused was.
func (t *transcript) calls(res *script.Result) {
	if len(res.Calls) > 1 {
		for _, c := range res.Calls {
			what, name, text, tone := c.Say()
			paint := t.style.plain
			if tone == script.Bad {
				paint = t.style.bad
			}
			if c.Image != nil {
				name = fmt.Sprintf("%-*s", t.nameCol, name)
			}
			t.row(what, name+" "+text, paint)
		}
		return
	}
	for _, err := range res.Why {
		if res.Oops == "" {
			t.row("why", script.Reason(res.RC, err), t.style.bad)
		}
	}
}

// ran prints what ran in a call, in order.
func (t *transcript) ran(res *script.Result) {
	for _, e := range res.EV {
		if what, name, text := e.Say(); what != "" {
			t.row(what, fmt.Sprintf("%-*s %s", t.nameCol, name, text), t.style.plain)
		}
	}
}

// paint is the style of an answer.
func (t *transcript) paint(tone script.Tone) func(string) string {
	switch tone {
	case script.Good:
		return t.style.good
	case script.Bad:
		return t.style.bad
	}
	return t.style.strong
}

// sites prints the sites that the line changed, before and after; all of them
// for begin and dump, and what is not clean after end.
func (t *transcript) sites(res *script.Result) {
	if res.Left != nil {
		t.left(*res.Left)
		return
	}
	all := strings.HasPrefix(res.Op, "begin ") || res.Op == "dump"
	if all {
		for _, now := range res.Sites {
			t.site("site", now.Site, now)
		}
	}
	if res.More > 0 && (all || res.More != res.BeforeMore) {
		defer t.row("sites", fmt.Sprintf("%d more in use, too many to list", res.More), t.style.fresh)
	}
	if all {
		return
	}
	for _, c := range res.Changes() {
		if c.Before == nil || c.Before.Bytes == c.After.Bytes {
			t.site("site", c.After.Site, *c.After)
			continue
		}
		t.code("site", t.siteText(c.After.Site, *c.Before), t.style.faint)
		t.site("", "->", *c.After)
	}
}

func (t *transcript) left(left []script.LeftSite) {
	if len(left) == 0 {
		t.row("sites", "all clean", t.style.good)
	}
	for _, l := range left {
		text := fmt.Sprintf("%-*s %s", t.nameCol, l.Site, l)
		t.row("not clean", text, t.style.bad)
	}
}

// site prints a site's code and its record.
func (t *transcript) site(label, name string, s script.SiteState) {
	if name == "->" {
		name = fmt.Sprintf("%*s", t.nameCol, name)
	}
	t.code(label, t.siteText(name, s), t.style.fresh)
	if s.Count == 0 && s.Flags == "" && s.Direct == "" {
		return
	}
	text := fmt.Sprintf("%-*s count %d, flags %s", t.nameCol, "", s.Count, script.OrNone(s.Flags))
	if s.Direct != "" {
		text += ", direct function " + strings.TrimPrefix(s.Direct, "direct:")
	}
	t.row("", text, t.style.plain)
}

func (t *transcript) siteText(name string, s script.SiteState) string {
	return fmt.Sprintf("%-*s % x  %s", t.nameCol, name, s.Bytes, s.Disasm())
}

// shown prints what a line asked to see.
func (t *transcript) shown(res *script.Result) {
	for _, b := range res.Bufs {
		t.row("buffer", strconv.Quote(b), t.style.plain)
	}
	for _, text := range res.Text {
		fmt.Fprintf(t.w, "%*s%s\n", t.indent(), "", strings.TrimRight(text, " "))
	}
	if res.Op != "dump" {
		return
	}
	for _, o := range res.Ops {
		text := fmt.Sprintf("%-*s flags %s, trampoline %s", t.nameCol, o.ID, script.OrNone(o.Flags), o.Tramp)
		if o.Cur != "" {
			text += ", now " + strings.TrimPrefix(o.Cur, "direct:")
		}
		t.row("ops", text, t.style.plain)
	}
	for _, b := range res.BPF {
		progs := make([]string, len(b.Progs))
		for i, p := range b.Progs {
			progs[i] = p + " (" + b.Types[i] + ")"
		}
		t.row("bpf", fmt.Sprintf("%-*s %s; image of %d bytes, flags %s", t.nameCol, b.Fn, strings.Join(progs, ", "), b.ImageSize, script.OrNone(b.Flags)), t.style.plain)
	}
	for _, l := range res.EF {
		t.code("enabled", l, t.style.plain)
	}
	if res.FtraceEnabled != nil {
		t.row("sysctl", "kernel.ftrace_enabled is 0", t.style.plain)
	}
}

// row prints a label and a text behind it, broken where the width asks for it.
func (t *transcript) row(label, text string, paint func(string) string) {
	t.rowOf(t.width, label, text, paint)
}

// code prints a label and code behind it, whole.
func (t *transcript) code(label, text string, paint func(string) string) {
	t.rowOf(0, label, text, paint)
}

func (t *transcript) rowOf(width int, label, text string, paint func(string) string) {
	first := strings.Repeat(" ", t.indent()) + t.style.faint(label) + strings.Repeat(" ", max(labelCol-len(label), 0))
	hang(t.w, width, first, t.indent()+labelCol, strings.TrimRight(text, " "), paint)
}
