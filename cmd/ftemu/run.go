package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"ftemu"
	"ftemu/explore"
	"ftemu/guest"
	"ftemu/script"
	"ftemu/trace"
	"ftemu/trampoline"
	"ftemu/trampoline/layout"
)

// runFlags say on what lines of a scenario run, and how it is shown.
type runFlags struct {
	kernelFlags
	Engine  string `default:"interp" placeholder:"NAME" help:"Engine that executes the guest (default ${default}); 'ftemu engines' lists them."`
	JSON    bool   `name:"json" help:"Print one JSON object for each line of the scenario, with the keys of the recordings."`
	Seed    uint64 `default:"1" placeholder:"N" help:"Seed of the registers that a call leaves undefined (default ${default})."`
	Explain bool   `help:"Print how each registration was decided, step by step."`
}

type runCmd struct {
	runFlags
	Trace    string  `placeholder:"KIND,..." complete:"events" help:"Print events between the lines: 'ftemu help events' lists them."`
	TraceOut *string `placeholder:"FILE" complete:"*.txt *.trace *.json *.dat *.dot *.gv *.mmd *.mermaid" help:"Write what the tracers of the scenario noted, or the whole run, to a file: text (.txt, .trace), json (.json), dat (.dat), dot (.dot), mermaid (.mmd)."`
	Format   string  `placeholder:"NAME" help:"Form of --trace-out whatever the file is called: text, json, dat, dot or mermaid."`
	File     string  `arg:"" help:"Scenario, or - for standard input."`
}

// Help is printed by run --help.
func (*runCmd) Help() string {
	language, _ := topicNamed("language")
	return "A scenario is text, one verb a line, # starts a comment. begin and end may be left out. The verbs:\n\n" + language.list() +
		"\nExit status: 0 all expectations (want) were met, 1 one was not, or the guest did not come back and no 'want oops' says that it should not, 2 the scenario, an object or the command line is wrong."
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
		out = newTextPrinter(a, s.Steps, &c.runFlags, mask)
	}
	opt.Tracer = out.tracer()
	file, err := newTraceOut(c.TraceOut, c.Format)
	if err != nil {
		return err
	}
	if file != nil {
		opt.Tracer = trace.NewFanout(opt.Tracer, file)
	}
	r, err := script.NewRunner(s, opt)
	if err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	defer r.Close()
	if file != nil {
		file.runner = r
		out = watched{out, file}
	}
	for _, f := range play(r, s, out) {
		a.note(f)
		a.exit(statusDiff)
	}
	if file != nil {
		return file.write(a)
	}
	return nil
}

// options checks the flags that a lab is made by.
func (c *runFlags) options() (ftemu.Options, error) {
	engine, err := engineByName(c.Engine)
	if err != nil {
		return ftemu.Options{}, err
	}
	if c.Seed == 0 {
		return ftemu.Options{}, errors.New("--seed 0: expected a number from 1 on")
	}
	opt := ftemu.Options{Engine: engine, Seed: c.Seed, Explain: c.Explain}
	return opt, c.apply(&opt)
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
			oops = fmt.Errorf("%s: %s", place(s, step), res.Oops)
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

// parseScenario reads the scenario in a file, or from standard input for "-".
// Files that it names are looked for beside it.
func parseScenario(a *app, file string) (*script.Script, error) {
	var in io.Reader = a.stdin
	name, dir := "stdin", "."
	if file != "-" {
		f, err := open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, name, dir = f, file, filepath.Dir(file)
	}
	return script.Parse(name, in, filesIn(dir))
}

// filesIn loads what a scenario names from a folder.
func filesIn(dir string) script.Options {
	beside := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	properties := []string{"all"}
	for _, p := range explore.Properties() {
		properties = append(properties, string(p))
	}
	return script.Options{
		Properties: properties,
		LoadGuest: func(path string) (*guest.Image, error) {
			return guest.LoadFile(beside(path), guest.LoadOptions{})
		},
		LoadTrampoline: func(path string) (trampoline.Maker, error) { return layout.Open(beside(path)) },
	}
}
