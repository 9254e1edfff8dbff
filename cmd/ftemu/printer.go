package main

import (
	"encoding/json"
	"fmt"
	"io"

	"ftemu/guest"
	"ftemu/script"
	"ftemu/trace"
	"ftemu/trace/jsonl"
	"ftemu/trace/text"
	"ftemu/x86"
)

// A printer prints a scenario while it runs.
type printer interface {
	tracer() trace.Tracer // for the events to print; nil for none
	start(*script.Runner)
	before(script.Step)
	after(*script.Result)
	end(failures int)
}

// A textPrinter prints for people.
type textPrinter struct {
	*transcript
	flags  *runFlags
	mask   trace.Mask
	runner *script.Runner
	tally
}

// A tally counts what the last line of a run sums up.
type tally struct {
	wants    int
	warnings int // of the kernel, but for those that an expectation met
	unasked  int // of the line before
}

func (t *tally) count(res *script.Result) {
	switch {
	case res.Want == "":
		t.unasked = len(res.Warnings)
		t.warnings += t.unasked
		return
	case res.Want == "warn" && res.Failed == "":
		t.warnings -= t.unasked
		t.unasked = 0
	}
	t.wants++
}

func newTextPrinter(a *app, steps []script.Step, f *runFlags, mask trace.Mask) *textPrinter {
	p := &textPrinter{transcript: newTranscript(a, steps), flags: f, mask: mask}
	p.explain = f.Explain
	return p
}

// guestName is what a scenario runs the functions of.
func guestName(s *script.Script) string {
	if s.Guest.Module == guest.OracleModule {
		return "built-in"
	}
	return s.Guest.Name
}

// header says what runs, and on what.
func (c *runFlags) header(s *script.Script) string {
	text := fmt.Sprintf("%s: guest %s, engine %s, profile %s, design %s, seed %d", s.File, guestName(s), c.Engine, c.Profile, c.Design, c.Seed)
	if c.Strategy != "breakpoint" {
		text += ", strategy " + c.Strategy
	}
	if c.With != "" {
		text += ", with " + c.With
	}
	return text
}

func (p *textPrinter) tracer() trace.Tracer {
	if p.mask == 0 {
		return nil
	}
	return disassembled{text.New(p, p.mask, p.symbol), p.symbol}
}

// symbol names an address for events.
func (p *textPrinter) symbol(a uint64) (string, uint64, bool) {
	if p.runner == nil {
		return "", 0, false
	}
	return p.runner.SymbolAt(a)
}

// disassembled adds to events of instructions what they say.
type disassembled struct {
	trace.Tracer
	symbol x86.SymLookup
}

// Trace implements trace.Tracer.
func (d disassembled) Trace(ev *trace.Event) {
	if ev.Kind == trace.Insn {
		with := *ev
		with.Text, _, _ = x86.Disasm(ev.New, ev.IP, d.symbol)
		ev = &with
	}
	d.Tracer.Trace(ev)
}

// Write drops what happens while the lab is made.
func (p *textPrinter) Write(b []byte) (int, error) {
	if p.runner == nil {
		return len(b), nil
	}
	return p.transcript.Write(b)
}

func (p *textPrinter) start(r *script.Runner) {
	p.runner = r
	hang(p.w, p.width, "", 0, p.flags.header(r.Script()), p.style.plain)
	fmt.Fprintln(p.w)
}

func (p *textPrinter) before(s script.Step) { p.asked(s) }

func (p *textPrinter) after(res *script.Result) {
	p.count(res)
	p.answered(res)
}

func (p *textPrinter) end(failures int) {
	text, paint := "", p.style.good
	switch {
	case failures > 0:
		text, paint = "not as expected: "+counted(failures, "line"), p.style.bad
	case p.wants > 0:
		text = "as expected: " + counted(p.wants, "expectation")
	}
	if p.warnings > 0 {
		if text != "" {
			text += "; "
		}
		text += counted(p.warnings, "warning")
		if failures == 0 {
			paint = p.style.warn
		}
	}
	if text != "" {
		fmt.Fprintln(p.w)
		hang(p.w, p.width, "", 0, text, paint)
	}
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// A jsonPrinter prints an object a line.
type jsonPrinter struct {
	w       io.Writer
	enc     *json.Encoder
	explain bool
	mask    trace.Mask
	runner  *script.Runner
}

func newJSONPrinter(a *app, explain bool, mask trace.Mask) *jsonPrinter {
	p := &jsonPrinter{w: a.stdout, enc: json.NewEncoder(a.stdout), explain: explain, mask: mask}
	p.enc.SetEscapeHTML(false)
	return p
}

func (p *jsonPrinter) tracer() trace.Tracer {
	if p.mask == 0 {
		return nil
	}
	return jsonl.New(p, p.mask, p.symbol)
}

// Write takes events; it drops what happens while the lab is made.
func (p *jsonPrinter) Write(b []byte) (int, error) {
	if p.runner == nil {
		return len(b), nil
	}
	return p.w.Write(b)
}

func (p *jsonPrinter) start(r *script.Runner) { p.runner = r }

func (p *jsonPrinter) symbol(a uint64) (string, uint64, bool) {
	if p.runner == nil {
		return "", 0, false
	}
	return p.runner.SymbolAt(a)
}
func (p *jsonPrinter) before(script.Step) {}
func (p *jsonPrinter) end(int)            {}

// after prints the line. Writing is to a buffer, whose error is seen when it is
// flushed at the end.
func (p *jsonPrinter) after(res *script.Result) {
	if !p.explain {
		_ = p.enc.Encode(res)
		return
	}
	_ = p.enc.Encode(explained{res, explanation{res.Decisions, res.Paragraphs()}})
}
