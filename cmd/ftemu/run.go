package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ftemu"
	"ftemu/ftracecore"
	"ftemu/guest"
	"ftemu/script"
	"ftemu/trace"
	"ftemu/trace/jsonl"
	"ftemu/trace/text"
	"ftemu/x86"
)

type runCmd struct {
	Engine  string `default:"interp" placeholder:"NAME" help:"Engine that executes the guest (default ${default}); 'ftemu engines' lists them."`
	JSON    bool   `name:"json" help:"Print one JSON object for each line of the scenario, with the keys of the recordings."`
	Seed    uint64 `default:"1" placeholder:"N" help:"Seed of the registers that a call leaves undefined (default ${default})."`
	Trace   string `placeholder:"KIND,..." help:"Print events between the lines: insn, branch, mem, gate, trap, poke, reg, opsfunc, callback, warn or all."`
	Profile string `default:"v6.1" placeholder:"NAME" help:"Kernel version to behave as (default ${default})."`
	Design  string `default:"ops-func" placeholder:"NAME" help:"How livepatches and direct callers share a function (default ${default})."`
	Explain bool   `help:"Print how each registration was decided, step by step."`
	File    string `arg:"" help:"Scenario, or - for standard input."`
}

// Help is printed by run --help.
func (*runCmd) Help() string {
	var b strings.Builder
	b.WriteString("A scenario is text, one verb a line, # starts a comment. begin and end may be left out. The verbs:\n\n")
	for _, v := range script.Verbs() {
		fmt.Fprintf(&b, "  %s\n      %s\n", strings.TrimRight(v.Name+" "+v.Usage, " "), v.Help)
	}
	b.WriteString("\nExit status: 0 all expectations (want) were met, 1 one was not, or the guest did not come back and no 'want oops' says that it should not, 2 the scenario, an object or the command line is wrong.")
	return b.String()
}

// Run runs a scenario.
func (c *runCmd) Run(a *app) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	mask, err := trace.ParseMask(c.Trace)
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	s, err := parseScenario(a, c.File)
	if err != nil {
		return err
	}
	var out printer
	if c.JSON {
		out = newJSONPrinter(a, c.Explain, mask)
	} else {
		out = newTextPrinter(a, s, c, mask)
	}
	opt.Tracer = out.tracer()
	r, err := script.NewRunner(s, opt)
	if err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	defer r.Close()
	for _, f := range play(r, s, out) {
		a.note(f)
		a.exit(statusDiff)
	}
	return nil
}

// options checks the flags that a lab is made by.
func (c *runCmd) options() (ftemu.Options, error) {
	engine, err := engineByName(c.Engine)
	if err != nil {
		return ftemu.Options{}, err
	}
	profile, err := ftracecore.ParseProfile(c.Profile)
	if err != nil {
		return ftemu.Options{}, err
	}
	design, err := ftracecore.ParseDesign(c.Design)
	if err != nil {
		return ftemu.Options{}, err
	}
	if c.Seed == 0 {
		return ftemu.Options{}, errors.New("--seed 0: expected a number from 1 on")
	}
	return ftemu.Options{Engine: engine, Profile: &profile, Design: &design, Seed: c.Seed, Explain: c.Explain}, nil
}

// A printer prints a scenario while it runs.
type printer interface {
	tracer() trace.Tracer // for the events to print; nil for none
	start(*script.Runner)
	before(script.Step)
	after(*script.Result)
	end(failures int)
}

// play runs a scenario to its end, or to where nothing can run any more, and
// returns what was not as expected.
func play(r *script.Runner, s *script.Script, out printer) []error {
	var failures []error
	var oops error // not yet expected
	out.start(r)
	crashed := false
	for i, step := range s.Steps {
		if crashed && step.Wants() == "" {
			if oops != nil && i < len(s.Steps)-1 {
				oops = fmt.Errorf("%w; the rest of the scenario did not run", oops)
			}
			break
		}
		out.before(step)
		res := r.Run(step)
		out.after(res)
		if res.Failed != "" {
			failures = append(failures, fmt.Errorf("%s: %s: %s", place(s, step), step.Text, res.Failed))
		}
		switch {
		case res.Oops != "":
			crashed = true
			oops = fmt.Errorf("%s: %s: %s", place(s, step), step.Text, res.Oops)
		case res.Want == "oops":
			oops = nil
		}
	}
	if oops != nil {
		failures = append(failures, oops)
	}
	out.end(len(failures))
	return failures
}

// place is where a step stands in its file.
func place(s *script.Script, step script.Step) string {
	if step.Line == 0 {
		return s.File
	}
	return fmt.Sprintf("%s:%d", s.File, step.Line)
}

// A textPrinter prints for people.
type textPrinter struct {
	*report
	header string
	mask   trace.Mask
	runner *script.Runner
	wants  int
}

func newTextPrinter(a *app, s *script.Script, c *runCmd, mask trace.Mask) *textPrinter {
	p := &textPrinter{report: newReport(a, s.Steps), mask: mask}
	p.explain = c.Explain
	p.header = fmt.Sprintf("%s: guest %s, engine %s, profile %s, design %s, seed %d", s.File, s.Guest.Name, c.Engine, c.Profile, c.Design, c.Seed)
	return p
}

func (p *textPrinter) tracer() trace.Tracer {
	if p.mask == 0 {
		return nil
	}
	return text.New(p, p.mask, text.Names{Addr: p.addr, Code: p.code, Ret: ftracecore.RetName}, strings.Repeat(" ", p.indent()))
}

// addr names an address for events.
func (p *textPrinter) addr(a uint64) string {
	if p.runner == nil {
		return fmt.Sprintf("%#x", a)
	}
	return p.runner.NameAt(a)
}

// code is the text of an instruction for events.
func (p *textPrinter) code(code []byte, ip uint64) string {
	t, _, err := x86.Disasm(code, ip, func(a uint64) (string, uint64, bool) { return p.addr(a), 0, true })
	if err != nil {
		return err.Error()
	}
	return t
}

func (p *textPrinter) start(r *script.Runner) {
	p.runner = r
	for _, l := range wrap(p.header, p.width) {
		fmt.Fprintln(p.w, l)
	}
	fmt.Fprintln(p.w)
}

func (p *textPrinter) before(s script.Step) { p.asked(s) }

func (p *textPrinter) after(res *script.Result) {
	if res.Want != "" {
		p.wants++
	}
	p.answered(res)
}

func (p *textPrinter) end(failures int) {
	switch {
	case failures > 0:
		fmt.Fprintf(p.w, "\n%s\n", p.style.bad("not as expected: "+counted(failures, "line")))
	case p.wants > 0:
		fmt.Fprintf(p.w, "\n%s\n", p.style.good("as expected: "+counted(p.wants, "expectation")))
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
	return jsonl.New(p.w, p.mask)
}

func (p *jsonPrinter) start(*script.Runner) {}
func (p *jsonPrinter) before(script.Step)   {}
func (p *jsonPrinter) end(int)              {}

// after prints the line. Writing is to a buffer, whose error is seen when it is
// flushed at the end.
func (p *jsonPrinter) after(res *script.Result) {
	if !p.explain {
		_ = p.enc.Encode(res)
		return
	}
	_ = p.enc.Encode(explained{res, explanation{res.Decisions, paragraphs(res)}})
}

// parseScenario reads the scenario in a file, or from standard input for "-".
// Objects that it names are looked for beside it.
func parseScenario(a *app, file string) (*script.Script, error) {
	var in io.Reader = a.stdin
	name, dir := "stdin", "."
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, name, dir = f, file, filepath.Dir(file)
	}
	return script.Parse(name, in, script.Options{LoadGuest: func(path string) (*guest.Image, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return guest.LoadFile(path, guest.LoadOptions{})
	}})
}
