package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"ftemu"
	"ftemu/explore"
	"ftemu/ftracecore"
	"ftemu/patcher"
	"ftemu/script"
)

// defaultExecutions is the default of --executions.
const defaultExecutions = 1000

type exploreCmd struct {
	kernelFlags
	Engine     string   `default:"interp" placeholder:"NAME" help:"Engine that executes the guest (default ${default})."`
	Properties string   `placeholder:"NAME,..." complete:"properties" help:"Check only these properties; see below."`
	Bound      int      `placeholder:"N" help:"Largest number of choices that differ from letting threads run on (default 0: no bound)."`
	Random     *uint64  `placeholder:"SEED" help:"Make executions by chance instead of all of them."`
	Executions int      `default:"1000" placeholder:"N" help:"How many executions --random makes (default ${default})."`
	PCT        int      `name:"pct" placeholder:"D" help:"With --random: priorities that change at D-1 points (PCT) instead of even chances."`
	Replay     string   `placeholder:"SCHEDULE" help:"Make the one execution that a schedule describes, and print it."`
	Full       bool     `help:"Make every instruction and every release of a lock a point of choice."`
	All        bool     `help:"Go on behind the first finding and count them all."`
	MaxStates  int      `placeholder:"N" help:"Give up beyond this many states."`
	MaxSteps   int      `placeholder:"N" help:"Give up when one execution takes more steps than this."`
	Workers    int      `placeholder:"N" help:"How many executions run at the same time (default: one a core)."`
	Designs    bool     `help:"Explore every scenario under every design and print a table."`
	LockGraph  string   `placeholder:"FILE" complete:"*.dot *.gv *.mmd *.mermaid" help:"Write which lock was asked for while which was held, by which line: for Graphviz (.dot, .gv) or Mermaid (.mmd, .mermaid)."`
	JSON       bool     `name:"json" help:"Print JSON objects."`
	Files      []string `arg:"" name:"file" help:"Scenario with threads, or - for standard input."`
}

// kernelFlags say what kernel a scenario runs on.
type kernelFlags struct {
	Profile  string `default:"v6.1" placeholder:"NAME" help:"Kernel version to behave as (default ${default})."`
	Design   string `default:"ops-func" placeholder:"NAME" help:"How livepatches and direct callers share a function (default ${default})."`
	Strategy string `default:"breakpoint" placeholder:"NAME" complete:"strategies" help:"How code is patched: breakpoint, naive or stop-machine (default ${default})."`
	With     string `placeholder:"MISTAKE,..." complete:"mistakes" help:"Get something wrong, to see what comes of it; 'ftemu help mistakes' lists them."`
}

// apply sets the options that the flags stand for.
func (k *kernelFlags) apply(o *ftemu.Options) error {
	profile, err := ftracecore.ParseProfile(k.Profile)
	if err != nil {
		return err
	}
	design, err := ftracecore.ParseDesign(k.Design)
	if err != nil {
		return err
	}
	o.Profile, o.Design = &profile, &design
	if o.Strategy, err = patcher.ParseStrategy(k.Strategy); err != nil {
		return err
	}
	if err := o.Make(k.With); err != nil {
		return err
	}
	if asked, _ := patcher.ParseStrategy(k.Strategy); asked != o.Strategy && asked != patcher.Breakpoint {
		return fmt.Errorf("--strategy %s and --with %s: expected one of them", k.Strategy, k.With)
	}
	return nil
}

// Help is printed by explore --help.
func (*exploreCmd) Help() string {
	properties, _ := topicNamed("properties")
	mistakes, _ := topicNamed("mistakes")
	return "A scenario's threads and CPUs are run in every order, and every order is checked for the properties:\n\n" + properties.list() +
		"\nMistakes for --with:\n\n" + mistakes.list() +
		"\nThe execution of a finding differs from letting threads run on in as few choices as possible. Its schedule replays it.\n\n" +
		"Exit status: 0 no finding, 1 a finding, 2 the scenario or the command line is wrong, the scenario does not fit --max-states or --max-steps, or the search was interrupted."
}

// Run explores scenarios.
func (c *exploreCmd) Run(a *app) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	progress := newSearchProgress(a)
	opt.Progress = progress.update
	if c.Designs {
		return c.designs(ctx, a, opt, progress)
	}
	for _, file := range c.Files {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: interrupted", file)
		}
		s, err := c.parse(a, file, &opt)
		if err != nil {
			return err
		}
		if err := c.one(ctx, a, s, opt, progress); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (c *exploreCmd) options() (explore.Options, error) {
	opt := explore.Options{
		Full: c.Full, Bound: 0, MaxStates: c.MaxStates, MaxSteps: c.MaxSteps, All: c.All || c.Designs, Workers: c.Workers,
	}
	switch {
	case c.Bound < 0 || c.MaxStates < 0 || c.MaxSteps < 0 || c.Workers < 0 || c.PCT < 0:
		return opt, errors.New("a bound below 0: expected 0 for none, or a number from 1 on")
	case c.Executions < 1:
		return opt, fmt.Errorf("--executions %d: expected a number from 1 on", c.Executions)
	case c.Executions != defaultExecutions && c.Random == nil:
		return opt, errors.New("--executions needs --random")
	case c.PCT > 0 && c.Random == nil:
		return opt, errors.New("--pct needs --random")
	case c.Designs && (c.Random != nil || c.Replay != "" || c.With != ""):
		return opt, errors.New("--designs goes with neither --random nor --replay nor --with")
	case len(c.Files) > 1 && c.Replay != "":
		return opt, fmt.Errorf("--replay takes one scenario, found %d", len(c.Files))
	}
	if c.LockGraph != "" {
		if len(c.Files) > 1 || c.Designs || c.Replay != "" {
			return opt, errors.New("--lock-graph takes one scenario and one design, and goes not with --replay")
		}
		if err := checkLockGraph(c.LockGraph); err != nil {
			return opt, err
		}
	}
	if c.Bound > 0 {
		opt.Bound = c.Bound + 1
	}
	engine, err := engineByName(c.Engine)
	if err != nil {
		return opt, err
	}
	opt.Lab.Engine = engine
	if err := c.apply(&opt.Lab); err != nil {
		return opt, err
	}
	if c.Properties != "" {
		opt.Properties, err = explore.ParseProperties(c.Properties)
	}
	return opt, err
}

// parse reads a scenario and takes its own properties into account.
func (c *exploreCmd) parse(a *app, file string, opt *explore.Options) (*script.Script, error) {
	s, err := parseScenario(a, file)
	if err != nil || c.Properties != "" {
		return s, err
	}
	opt.Properties = nil
	for _, l := range s.Properties {
		ps, err := explore.ParseProperties(l.Names)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, l.Line, err)
		}
		opt.Properties = append(opt.Properties, ps...)
	}
	return s, nil
}

// one explores one scenario.
func (c *exploreCmd) one(ctx context.Context, a *app, s *script.Script, opt explore.Options, progress *searchProgress) error {
	if c.Replay != "" {
		sched, err := explore.ParseSchedule(c.Replay, s)
		if err != nil {
			return err
		}
		return c.replay(a, s, opt, sched)
	}
	var r *explore.Report
	var err error
	if c.Random != nil {
		r, err = explore.Random(ctx, s, opt, *c.Random, c.Executions, c.PCT)
	} else {
		r, err = explore.Explore(ctx, s, opt)
	}
	progress.clear()
	if err != nil {
		return err
	}
	a.exit(searchStatus(r))
	if c.LockGraph != "" {
		if err := writeLockGraph(c.LockGraph, r.Locks); err != nil {
			return err
		}
	}
	if c.JSON {
		return c.printJSON(a, s.File, r)
	}
	c.summary(a, s, r)
	if r.Found == nil {
		return nil
	}
	sched, err := explore.ParseSchedule(r.Found.Schedule, s)
	if err != nil {
		return err
	}
	return c.replay(a, s, opt, sched)
}

// searchStatus is the exit status of a search.
func searchStatus(r *explore.Report) int {
	switch {
	case r.Short():
		return statusBad
	case r.Found != nil:
		return statusDiff
	}
	return statusOK
}

// printJSON prints a report as one object.
func (c *exploreCmd) printJSON(a *app, file string, r *explore.Report) error {
	return a.encode(struct {
		File   string `json:"file"`
		Design string `json:"design"`
		*explore.Report
	}{file, c.Design, r})
}

// replay makes one execution and prints it.
func (c *exploreCmd) replay(a *app, s *script.Script, opt explore.Options, sched explore.Schedule) error {
	tr, err := explore.Replay(s, opt, sched)
	if err != nil {
		return err
	}
	if tr.Found != nil {
		a.exit(statusDiff)
	}
	if c.JSON {
		return a.encode(tr)
	}
	printTrace(a, tr)
	return nil
}

// designs explores every scenario under every design.
func (c *exploreCmd) designs(ctx context.Context, a *app, opt explore.Options, progress *searchProgress) error {
	rows := [][]string{{"design", "scenario", "executions", "states", "depth", "search", "findings"}}
	for _, d := range ftracecore.Designs() {
		for _, file := range c.Files {
			if ctx.Err() != nil {
				a.exit(statusBad)
				break
			}
			s, err := c.parse(a, file, &opt)
			if err != nil {
				return err
			}
			o := opt
			o.Lab.Design = &d
			r, err := explore.Explore(ctx, s, o)
			progress.clear()
			if err != nil {
				return fmt.Errorf("%s, design %s: %w", file, d.Name(), err)
			}
			a.exit(searchStatus(r))
			if c.JSON {
				c.Design = d.Name()
				if err := c.printJSON(a, file, r); err != nil {
					return err
				}
			}
			rows = append(rows, designRows(d.Name(), s.Name, r)...)
		}
	}
	if !c.JSON {
		printTable(a, rows, nil)
	}
	return nil
}
