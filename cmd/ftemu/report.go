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

// A report prints what a scenario does, line by line: what was asked, what came
// back, and below it what that did to sites and which code ran.
type report struct {
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

// Columns of the report.
const (
	maxOpCol = 44 // longer lines push their answer to the right
	labelCol = 10
	minName  = 8
	maxName  = 20 // longer names push what follows to the right
)

func newReport(a *app, steps []script.Step) *report {
	r := &report{w: a.stdout, style: style{a.colour}, width: a.width, nameCol: minName}
	for _, s := range steps {
		r.lineCol = max(r.lineCol, len(fmt.Sprint(s.Line)))
		if len(s.Text) <= maxOpCol {
			r.opCol = max(r.opCol, len(s.Text))
		}
	}
	return r
}

// indent is how far rows below a line stand to the right.
func (r *report) indent() int { return r.lineCol + 4 }

// asked prints a line of the scenario before it runs.
func (r *report) asked(s script.Step) {
	number := ""
	if s.Line > 0 {
		number = fmt.Sprint(s.Line)
	}
	paint := r.style.strong
	if s.Line == 0 || s.Wants() != "" {
		paint = r.style.faint
	}
	fmt.Fprintf(r.w, "%s  %s", r.style.faint(fmt.Sprintf("%*s", r.lineCol, number)), paint(s.Text))
	r.open = true
}

// Write takes the events of a line while it runs, one a call.
func (r *report) Write(p []byte) (int, error) {
	r.closeLine()
	fmt.Fprintf(r.w, "%*s", r.indent(), "")
	return r.w.Write(p)
}

func (r *report) closeLine() {
	if r.open {
		fmt.Fprintln(r.w)
		r.open = false
	}
}

// answered prints what a line gave.
func (r *report) answered(res *script.Result) {
	if text, paint := r.answer(res); text != "" {
		pad := max(r.opCol-len(res.Op), 0)
		if !r.open { // events stand between
			fmt.Fprintf(r.w, "%*s", r.lineCol+2, "")
			pad = r.opCol
		}
		fmt.Fprintf(r.w, "%*s  %s\n", pad, "", paint(text))
		r.open = false
	}
	r.closeLine()
	for _, s := range res.Sites {
		r.nameCol = min(max(r.nameCol, len(s.Site)), maxName)
	}
	r.calls(res)
	r.ran(res)
	r.sites(res)
	for _, w := range res.Warnings {
		r.row("warning", fmt.Sprintf("in %s: %s", w.Func, w.Text), r.style.bad)
	}
	if res.Dead != 0 && !r.dead {
		r.row("dead", "ftrace has killed itself: nothing can be registered any more, sites stay as they are", r.style.bad)
	}
	r.dead = res.Dead != 0
	if res.Oops != "" {
		r.row("oops", res.Oops, r.style.bad)
	}
	r.shown(res)
	if r.explain {
		r.decisions(res)
	}
}

// answer is the result of a line in a few words.
func (r *report) answer(res *script.Result) (string, func(string) string) {
	switch {
	case res.Want != "" && res.Failed != "":
		return "FAILED: " + res.Failed, r.style.bad
	case res.Want != "":
		return "ok", r.style.good
	case res.Ret != nil:
		return fmt.Sprintf("= %d", *res.Ret), r.style.strong
	case res.RC != 0:
		return retText(res.RC), r.style.bad
	case len(res.API) > 0 || res.Left != nil || strings.HasPrefix(res.Op, "sysctl "):
		return "0", r.style.good
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
func (r *report) calls(res *script.Result) {
	if len(res.Calls) > 1 {
		for _, c := range res.Calls {
			switch {
			case c.OF != nil:
				r.row("ops_func", fmt.Sprintf("%s is asked %s, answers %s", c.OF.ID, c.OF.Cmd, retText(c.OF.Ret)), r.style.plain)
			case c.API.RC == 0:
				r.row("api", c.API.Fn+" = 0", r.style.plain)
			default:
				r.row("api", c.API.Fn+" = "+r.reason(c.API.RC, c.Why), r.style.bad)
			}
		}
		return
	}
	for _, err := range res.Why {
		if res.Oops == "" {
			r.row("why", r.reason(res.RC, err), r.style.bad)
		}
	}
}

// reason is an error that begins with its return value.
func (r *report) reason(rc int, err error) string {
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
func (r *report) ran(res *script.Result) {
	for _, e := range res.EV {
		switch {
		case e.CB != "":
			regs := "arguments only"
			if e.Regs != nil && *e.Regs != 0 {
				regs = "all registers"
			}
			r.event("callback", e.CB, fmt.Sprintf("at %s, called from %s, has %s", e.IP, e.Parent, regs))
		case e.Direct != "":
			r.event("direct", e.Direct, fmt.Sprintf("(%d, %d), return slot %s", *e.A, *e.B, *e.RetSlot))
		case e.Prog != "":
			r.event("program", e.Prog, program(e))
		case e.Body != "":
			r.event("body", e.Body, fmt.Sprintf("(%d, %d)", *e.A, *e.B))
		case e.DirectExit != "":
			r.event("exit", e.DirectExit, fmt.Sprintf("what it called returned %d", *e.RV))
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

func (r *report) event(label, name, text string) {
	r.row(label, fmt.Sprintf("%-*s %s", r.nameCol, name, text), r.style.plain)
}

// sites prints the sites that the line changed, before and after; all of them
// for begin and dump, and what is not clean after end.
func (r *report) sites(res *script.Result) {
	if res.Left != nil {
		r.left(*res.Left)
		return
	}
	all := strings.HasPrefix(res.Op, "begin ") || res.Op == "dump"
	for _, now := range res.Sites {
		i := slices.IndexFunc(res.Before, func(s script.SiteState) bool { return s.IP == now.IP })
		switch {
		case all:
			r.site("site", now.Site, now)
		case i < 0:
			r.site("site", now.Site, now) // was clean until now
		case res.Before[i].Bytes != now.Bytes:
			r.row("site", r.siteText(now.Site, res.Before[i]), r.style.faint)
			r.site("", "->", now)
		case res.Before[i] != now:
			r.site("site", now.Site, now)
		}
	}
	if res.More > 0 {
		if all || res.More != res.BeforeMore {
			r.row("sites", fmt.Sprintf("%d more in use, too many to list", res.More), r.style.fresh)
		}
		return
	}
	for _, was := range res.Before {
		if !slices.ContainsFunc(res.Sites, func(s script.SiteState) bool { return s.IP == was.IP }) {
			r.row("site", r.siteText(was.Site, was), r.style.faint)
			r.row("", fmt.Sprintf("%*s clean", r.nameCol, "->"), r.style.fresh)
		}
	}
}

func (r *report) left(left []script.LeftSite) {
	if len(left) == 0 {
		r.row("sites", "all clean", r.style.good)
	}
	for _, l := range left {
		text := fmt.Sprintf("%-*s count %d, flags %s", r.nameCol, l.Site, l.Count, orNone(l.Flags))
		if l.Nop == 0 {
			text += ", not a nop"
		}
		if l.Direct != "" {
			text += ", stale direct function " + l.Direct
		}
		r.row("not clean", text, r.style.bad)
	}
}

// site prints a site's code and its record.
func (r *report) site(label, name string, s script.SiteState) {
	if name == "->" {
		name = fmt.Sprintf("%*s", r.nameCol, name)
	}
	r.row(label, r.siteText(name, s), r.style.fresh)
	if s.Count == 0 && s.Flags == "" && s.Direct == "" {
		return
	}
	text := fmt.Sprintf("%-*s count %d, flags %s", r.nameCol, "", s.Count, orNone(s.Flags))
	if s.Direct != "" {
		text += ", direct function " + strings.TrimPrefix(s.Direct, "direct:")
	}
	r.row("", text, r.style.plain)
}

func (r *report) siteText(name string, s script.SiteState) string {
	return fmt.Sprintf("%-*s % x  %s", r.nameCol, name, s.Bytes, s.Disasm())
}

func orNone(flags string) string {
	if flags == "" {
		return "none"
	}
	return flags
}

// shown prints what a line asked to see.
func (r *report) shown(res *script.Result) {
	for _, b := range res.Bufs {
		r.row("buffer", strconv.Quote(b), r.style.plain)
	}
	for _, t := range res.Text {
		fmt.Fprintf(r.w, "%*s%s\n", r.indent(), "", strings.TrimRight(t, " "))
	}
	if res.Op != "dump" {
		return
	}
	for _, o := range res.Ops {
		text := fmt.Sprintf("%-*s flags %s, trampoline %s", r.nameCol, o.ID, orNone(o.Flags), o.Tramp)
		if o.Cur != "" {
			text += ", now " + strings.TrimPrefix(o.Cur, "direct:")
		}
		r.row("ops", text, r.style.plain)
	}
	for _, b := range res.BPF {
		progs := make([]string, len(b.Progs))
		for i, p := range b.Progs {
			progs[i] = p + " (" + b.Types[i] + ")"
		}
		r.row("bpf", fmt.Sprintf("%-*s %s; image of %d bytes, flags %s", r.nameCol, b.Fn, strings.Join(progs, ", "), b.ImageSize, orNone(b.Flags)), r.style.plain)
	}
	for _, l := range res.EF {
		r.row("enabled", l, r.style.plain)
	}
	if res.FtraceEnabled != nil {
		r.row("sysctl", "kernel.ftrace_enabled is 0", r.style.plain)
	}
}

// row prints a label and a text behind it, broken where the width asks for it.
func (r *report) row(label, text string, paint func(string) string) {
	avail := 0
	if r.width > 0 {
		avail = max(r.width-r.indent()-labelCol, 1)
	}
	for _, l := range wrap(strings.TrimRight(text, " "), avail) {
		fmt.Fprintf(r.w, "%*s%s%s\n", r.indent(), "", r.style.faint(fmt.Sprintf("%-*s", labelCol, label)), paint(l))
		label = ""
	}
}
