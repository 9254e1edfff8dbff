package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"ftemu"
	"ftemu/explore"
	"ftemu/files"
	"ftemu/report"
	"ftemu/script"
	"ftemu/trace"
)

type reportCmd struct {
	kernelFlags
	Engine    string `default:"interp" placeholder:"NAME" help:"Engine that executes the guest (default ${default}); 'ftemu engines' lists them."`
	Seed      uint64 `default:"1" placeholder:"N" help:"Seed of the registers that a call leaves undefined (default ${default})."`
	MaxStates int    `default:"200000" placeholder:"N" help:"Give up the search through a scenario's threads beyond this many states (default ${default}); 0: do not search."`
	Out       string `short:"o" required:"" placeholder:"FILE" complete:"*.html" help:"Page to write; - for standard output."`
	File      string `arg:"" help:"Scenario, or - for standard input."`
}

// Help is printed by report --help.
func (*reportCmd) Help() string {
	return `The page is one file that needs nothing but a browser: no network, no scripts. It shows each line with its result, sites over time, calls as time lines, the stack frames of trampolines, and for a scenario with threads whether some order of them breaks a property.

Exit status: 0 as expected, 1 an expectation failed or an order breaks a property (the page is written), 2 the scenario or the command line is wrong, or not every order was searched (the page is written).`
}

// Run makes the page.
func (c *reportCmd) Run(a *app) error {
	if c.MaxStates < 0 {
		return errors.New("--max-states: a bound below 0, expected 0 for no search, or a number from 1 on")
	}
	if c.Out == "" {
		return errors.New("-o: expected a file name")
	}
	opt, err := c.options()
	if err != nil {
		return err
	}
	source, err := c.source(a)
	if err != nil {
		return err
	}
	s, err := parseScenario(a, c.File)
	if err != nil {
		return err
	}
	if c.Out != "-" {
		if err := files.Check(c.Out); err != nil {
			return fmt.Errorf("-o: %w", err)
		}
	}
	page, err := c.record(a, s, opt, source)
	if err != nil {
		return err
	}
	if len(s.Threads()) > 0 && c.MaxStates > 0 {
		e, err := c.explore(a, s, opt)
		if err != nil {
			return err
		}
		page.Explored(e)
	}
	return c.write(a, page)
}

func (c *reportCmd) options() (ftemu.Options, error) {
	f := runFlags{kernelFlags: c.kernelFlags, Engine: c.Engine, Seed: c.Seed, Explain: true}
	return f.options()
}

// source reads the text of the scenario; standard input can be read again.
func (c *reportCmd) source(a *app) (string, error) {
	if c.File != "-" {
		text, err := os.ReadFile(c.File)
		return string(text), err
	}
	text, err := io.ReadAll(a.stdin)
	a.stdin = bytes.NewReader(text)
	return string(text), err
}

// record runs the scenario.
func (c *reportCmd) record(a *app, s *script.Script, opt ftemu.Options, source string) (*report.Page, error) {
	rec := report.NewRecorder(report.Options{File: s.File, Source: source, Facts: c.facts(s), Command: c.command("run", "")})
	opt.Tracer = rec
	r, err := script.NewRunner(s, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	defer r.Close()
	p := &reporter{Recorder: rec}
	for _, f := range play(r, s, p) {
		a.note(f)
		a.exit(statusDiff)
	}
	return p.page, nil
}

// A reporter shows a recorder the lines.
type reporter struct {
	*report.Recorder
	step script.Step
	page *report.Page
}

func (p *reporter) tracer() trace.Tracer     { return p.Recorder }
func (p *reporter) start(r *script.Runner)   { p.Start(r) }
func (p *reporter) before(s script.Step)     { p.step = s; p.Before(s) }
func (p *reporter) after(res *script.Result) { p.After(p.step, res) }
func (p *reporter) end(failures int)         { p.page = p.Page(failures) }

// facts are the settings of the run.
func (c *reportCmd) facts(s *script.Script) []report.Fact {
	facts := []report.Fact{
		{Name: "scenario", Value: s.File}, {Name: "guest", Value: guestName(s)}, {Name: "engine", Value: c.Engine}, {Name: "profile", Value: c.Profile},
		{Name: "design", Value: c.Design}, {Name: "strategy", Value: c.Strategy}, {Name: "seed", Value: fmt.Sprint(c.Seed)},
	}
	if c.With != "" {
		facts = append(facts, report.Fact{Name: "with", Value: c.With})
	}
	return facts
}

// command is a command line with the flags that matter: run, or explore with a
// schedule.
func (c *reportCmd) command(verb, schedule string) string {
	words := []string{"ftemu", verb}
	flag := func(name, value, usual string) {
		if value != usual {
			words = append(words, "--"+name, value)
		}
	}
	flag("engine", c.Engine, "interp")
	flag("profile", c.Profile, "v6.1")
	flag("design", c.Design, "ops-func")
	flag("strategy", c.Strategy, "breakpoint")
	flag("with", c.With, "")
	if verb == "run" {
		flag("seed", fmt.Sprint(c.Seed), "1")
	}
	flag("replay", schedule, "")
	return strings.Join(append(words, shellWord(c.File)), " ")
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("-_./+:@%,", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// explore looks for an order that breaks a property.
func (c *reportCmd) explore(a *app, s *script.Script, lab ftemu.Options) (*report.Exploration, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	progress := newSearchProgress(a)
	lab.Explain = false
	opt := explore.Options{Lab: lab, MaxStates: c.MaxStates, Progress: progress.update}
	for _, l := range s.Properties {
		ps, err := explore.ParseProperties(l.Names)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.File, l.Line, err)
		}
		opt.Properties = append(opt.Properties, ps...)
	}
	e, err := report.Explore(ctx, s, opt, func(schedule string) string { return c.command("explore", schedule) })
	progress.clear()
	if err != nil {
		return nil, err
	}
	if status := searchStatus(e.Report); status != statusOK {
		a.note(fmt.Errorf("%s: %s", s.File, e.Report.Verdict()))
		a.exit(status)
	}
	return e, nil
}

// write writes the page and says so.
func (c *reportCmd) write(a *app, page *report.Page) error {
	var out bytes.Buffer
	if err := page.Write(&out); err != nil {
		return err
	}
	if c.Out == "-" {
		_, err := a.stdout.Write(out.Bytes())
		return err
	}
	if err := replaceFile(c.Out, out.Bytes()); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	fmt.Fprintf(a.stdout, "wrote %s, %d kB\n", c.Out, (out.Len()+999)/1000)
	return nil
}
