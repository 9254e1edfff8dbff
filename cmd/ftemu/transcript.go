package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"ftemu/ftracecore"
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
	maxOpCol = 44 // longer lines push their answer to the right
	labelCol = 10
	minName  = 8
	maxName  = 20 // longer names push what follows to the right
)

func newTranscript(a *app, steps []script.Step) *transcript {
	r := &transcript{w: a.stdout, style: style{a.colour}, width: a.width, nameCol: minName}
	for _, s := range steps {
		r.lineCol = max(r.lineCol, len(fmt.Sprint(s.Line)))
		if len(s.Text) <= maxOpCol {
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
	if text, paint := t.answer(res); text != "" {
		pad := max(t.opCol-len(res.Op), 0)
		if !t.open { // events stand between
			fmt.Fprintf(t.w, "%*s", t.lineCol+2, "")
			pad = t.opCol
		}
		fmt.Fprintf(t.w, "%*s  %s\n", pad, "", paint(text))
		t.open = false
	}
	t.closeLine()
	for _, s := range res.Sites {
		t.nameCol = min(max(t.nameCol, len(s.Site)), maxName)
	}
	t.calls(res)
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

// answer is the result of a line in a few words.
func (t *transcript) answer(res *script.Result) (string, func(string) string) {
	switch {
	case res.Want != "" && res.Failed != "":
		return "FAILED: " + res.Failed, t.style.bad
	case res.Want != "":
		return "ok", t.style.good
	case res.Ret != nil:
		return fmt.Sprintf("= %d", *res.Ret), t.style.strong
	case res.RC != 0:
		return retText(res.RC), t.style.bad
	case len(res.API) > 0 || res.Left != nil || strings.HasPrefix(res.Op, "sysctl "):
		return "0", t.style.good
	}
	return "", nil
}

// retText names a return value, those of calls that were not made included.
func retText(rc int) string {
	if rc == script.SkippedWouldOops || rc == script.SkippedNullFunc {
		return "not made"
	}
	return ftracecore.RetName(rc)
}

// calls prints the calls of the API and the questions to ops_funcs, where there
// is more to say than the answer of the line, and why what was refused was.
func (t *transcript) calls(res *script.Result) {
	if len(res.Calls) > 1 {
		for _, c := range res.Calls {
			switch {
			case c.OF != nil:
				t.row("ops_func", fmt.Sprintf("%s is asked %s, answers %s", c.OF.ID, c.OF.Cmd, retText(c.OF.Ret)), t.style.plain)
			case c.API.RC == 0:
				t.row("api", c.API.Fn+" = 0", t.style.plain)
			default:
				t.row("api", c.API.Fn+" = "+t.reason(c.API.RC, c.Why), t.style.bad)
			}
		}
		return
	}
	for _, err := range res.Why {
		if res.Oops == "" {
			t.row("why", t.reason(res.RC, err), t.style.bad)
		}
	}
}

// reason is an error that begins with its return value.
func (t *transcript) reason(rc int, err error) string {
	ret := retText(rc)
	switch {
	case err == nil:
		return ret
	case strings.HasPrefix(err.Error(), ret):
		return err.Error()
	}
	return ret + ": " + err.Error()
}

// ran prints what ran in a call, in order.
func (t *transcript) ran(res *script.Result) {
	for _, e := range res.EV {
		switch {
		case e.CB != "":
			regs := "arguments only"
			if e.Regs != nil && *e.Regs != 0 {
				regs = "all registers"
			}
			t.event("callback", e.CB, fmt.Sprintf("at %s, called from %s, has %s", e.IP, e.Parent, regs))
		case e.Direct != "":
			t.event("direct", e.Direct, fmt.Sprintf("(%d, %d), return slot %s", *e.A, *e.B, *e.RetSlot))
		case e.Prog != "":
			t.event("program", e.Prog, program(e))
		case e.Body != "":
			t.event("body", e.Body, fmt.Sprintf("(%d, %d)", *e.A, *e.B))
		case e.DirectExit != "":
			t.event("exit", e.DirectExit, fmt.Sprintf("what it called returned %d", *e.RV))
		}
	}
}

// program says what a BPF program saw and returned.
func program(e script.Event) string {
	args := make([]string, len(e.Args))
	for i, a := range e.Args {
		args[i] = fmt.Sprint(a)
	}
	text := "(" + strings.Join(args, ", ") + ")"
	if e.Value != nil {
		text += fmt.Sprintf(", the function returned %d", *e.Value)
	}
	if e.Cookie != nil {
		text += fmt.Sprintf(", cookie %d", *e.Cookie)
	}
	if e.IP != "" {
		text += ", at " + e.IP
	}
	if e.RV != nil {
		text += fmt.Sprintf(", returns %d", *e.RV)
	}
	return text
}

func (t *transcript) event(label, name, text string) {
	t.row(label, fmt.Sprintf("%-*s %s", t.nameCol, name, text), t.style.plain)
}

// sites prints the sites that the line changed, before and after; all of them
// for begin and dump, and what is not clean after end.
func (t *transcript) sites(res *script.Result) {
	if res.Left != nil {
		t.left(*res.Left)
		return
	}
	all := strings.HasPrefix(res.Op, "begin ") || res.Op == "dump"
	for _, now := range res.Sites {
		i := slices.IndexFunc(res.Before, func(s script.SiteState) bool { return s.IP == now.IP })
		switch {
		case all:
			t.site("site", now.Site, now)
		case i < 0:
			t.site("site", now.Site, now) // was clean until now
		case res.Before[i].Bytes != now.Bytes:
			t.row("site", t.siteText(now.Site, res.Before[i]), t.style.faint)
			t.site("", "->", now)
		case res.Before[i] != now:
			t.site("site", now.Site, now)
		}
	}
	if res.More > 0 {
		if all || res.More != res.BeforeMore {
			t.row("sites", fmt.Sprintf("%d more in use, too many to list", res.More), t.style.fresh)
		}
		return
	}
	for _, was := range res.Before {
		if !slices.ContainsFunc(res.Sites, func(s script.SiteState) bool { return s.IP == was.IP }) {
			t.row("site", t.siteText(was.Site, was), t.style.faint)
			t.row("", fmt.Sprintf("%*s clean", t.nameCol, "->"), t.style.fresh)
		}
	}
}

func (t *transcript) left(left []script.LeftSite) {
	if len(left) == 0 {
		t.row("sites", "all clean", t.style.good)
	}
	for _, l := range left {
		text := fmt.Sprintf("%-*s count %d, flags %s", t.nameCol, l.Site, l.Count, orNone(l.Flags))
		if l.Nop == 0 {
			text += ", not a nop"
		}
		if l.Direct != "" {
			text += ", stale direct function " + l.Direct
		}
		t.row("not clean", text, t.style.bad)
	}
}

// site prints a site's code and its record.
func (t *transcript) site(label, name string, s script.SiteState) {
	if name == "->" {
		name = fmt.Sprintf("%*s", t.nameCol, name)
	}
	t.row(label, t.siteText(name, s), t.style.fresh)
	if s.Count == 0 && s.Flags == "" && s.Direct == "" {
		return
	}
	text := fmt.Sprintf("%-*s count %d, flags %s", t.nameCol, "", s.Count, orNone(s.Flags))
	if s.Direct != "" {
		text += ", direct function " + strings.TrimPrefix(s.Direct, "direct:")
	}
	t.row("", text, t.style.plain)
}

func (t *transcript) siteText(name string, s script.SiteState) string {
	return fmt.Sprintf("%-*s % x  %s", t.nameCol, name, s.Bytes, s.Disasm())
}

func orNone(flags string) string {
	if flags == "" {
		return "none"
	}
	return flags
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
		text := fmt.Sprintf("%-*s flags %s, trampoline %s", t.nameCol, o.ID, orNone(o.Flags), o.Tramp)
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
		t.row("bpf", fmt.Sprintf("%-*s %s; image of %d bytes, flags %s", t.nameCol, b.Fn, strings.Join(progs, ", "), b.ImageSize, orNone(b.Flags)), t.style.plain)
	}
	for _, l := range res.EF {
		t.row("enabled", l, t.style.plain)
	}
	if res.FtraceEnabled != nil {
		t.row("sysctl", "kernel.ftrace_enabled is 0", t.style.plain)
	}
}

// row prints a label and a text behind it, broken where the width asks for it.
func (t *transcript) row(label, text string, paint func(string) string) {
	avail := 0
	if t.width > 0 {
		avail = max(t.width-t.indent()-labelCol, 1)
	}
	for _, l := range wrap(strings.TrimRight(text, " "), avail) {
		fmt.Fprintf(t.w, "%*s%s%s\n", t.indent(), "", t.style.faint(fmt.Sprintf("%-*s", labelCol, label)), paint(l))
		label = ""
	}
}
