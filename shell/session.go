// Package shell is the scenario language at a prompt: a [Session] takes it line by
// line, runs each at once, takes lines back, and writes what is left as a scenario
// that gives the same when it runs. Reading lines from a terminal and showing
// results are others' business: see [Display].
package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"ftemu/emu"
	"ftemu/guest"
	"ftemu/near"
	"ftemu/script"
)

// A Display shows what a session does.
type Display interface {
	// Start is called when a lab was made, before its first line; not for one that
	// takes the place of another.
	Start(*script.Runner)
	// Asked shows a line before it runs, Answered what it gave.
	Asked(script.Step)
	Answered(*script.Result)
	// Explain shows at length why a line was refused.
	Explain(*script.Result)
	// Say shows what the shell says to a command or a line, row by row.
	Say(to string, rows []string)
	// End is told at the end how many lines were not as expected.
	End(failures int)
	// Snapshot remembers what is shown differently after what was shown so far,
	// and returns what brings that back, any number of times.
	Snapshot() (restore func())
}

// Options say what a session works with.
type Options struct {
	Name    string // what errors call the session
	Dir     string // the folder that files in lines are relative to
	Script  script.Options
	Lab     func(*script.Script) (*script.Runner, error) // makes a lab for a scenario
	Display Display
	Write   func(file string, content []byte) error // replaces a file, all of it or nothing
}

// A Session is a scenario under way. It belongs to one goroutine; only Interrupt
// may be called from others.
type Session struct {
	opt     Options
	parser  *script.Parser
	runner  *script.Runner // nil until a line needs a lab
	lines   []line
	here    *state // what remember made for the present state; nil: nothing yet
	begin   string // the begin line of a scenario that has none
	over    bool
	opened  string          // the file that it began with
	own     map[string]bool // files that it may replace
	running running
}

// A line is one that was accepted.
type line struct {
	text    string
	op      string // without comment
	verb    bool   // it is no comment
	implied bool   // it is the session's own begin
	before  *state // of a verb; nil: forgotten
	display func() // brings back what was on display before
	want    string // what it expects
	failed  string // how that was not met
	oops    string
	refused *script.Result // what it gave, if a call was refused
	crashed bool           // nothing runs behind it
}

// A state is one to come back to.
type state struct {
	parser func()
	lab    func() error
}

// New begins a session.
func New(opt Options) *Session {
	s := &Session{opt: opt, begin: "begin " + opt.Name + " sites=", own: make(map[string]bool)}
	s.opt.Script = remembered(opt.Script)
	s.parser = script.NewParser(opt.Name, s.opt.Script)
	return s
}

// remembered loads each guest once: lines that run again find the same.
func remembered(opt script.Options) script.Options {
	load, images := opt.LoadGuest, make(map[string]*guest.Image)
	if load == nil {
		return opt
	}
	opt.LoadGuest = func(path string) (*guest.Image, error) {
		if img, ok := images[path]; ok {
			return img, nil
		}
		img, err := load(path)
		if err == nil {
			images[path] = img
		}
		return img, err
	}
	return opt
}

// Close ends the lab.
func (s *Session) Close() {
	if s.runner != nil {
		s.runner.Close()
		s.runner = nil
	}
}

// Over tells whether quit was entered.
func (s *Session) Over() bool { return s.over }

// Next is the number of the line to come.
func (s *Session) Next() int { return len(s.lines) + 1 }

// Load enters the lines of a scenario, but for its end. Where one of them is wrong
// none is entered. What stands behind an oops does not run, which is an error too.
func (s *Session) Load(file string, r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	whole, err := script.Parse(file, bytes.NewReader(text), s.opt.Script)
	if err != nil {
		return err
	}
	if first := whole.Steps[0]; first.Line == 0 {
		s.begin = first.Text
	}
	s.opt.Name, s.opened = file, file
	s.parser = script.NewParser(file, s.opt.Script)
	s.own[filepath.Clean(file)] = true
	for text := range strings.Lines(string(text)) {
		text = strings.TrimRight(text, "\r\n")
		if words, _ := script.Fields(text); len(words) > 0 && words[0] == "end" {
			return nil
		}
		if err := s.enter(text); err != nil {
			return fmt.Errorf("%w; the rest of the file did not run", err)
		}
	}
	return nil
}

// Enter takes a line of the scenario, or a command of the shell. With an error
// nothing has changed. Nor has it where the line was interrupted, which is no
// error: the display was told.
func (s *Session) Enter(text string) error {
	words, err := script.Fields(text)
	if err == nil && len(words) > 0 {
		if c, ok := commandNamed(words[0]); ok {
			return s.command(c, words[1:])
		}
		if _, ok := verbNamed(words[0]); !ok {
			return s.wrong("unknown verb %q, %s", near.Short(words[0]), near.Expected(words[0], firstWords(""), "one that help lists"))
		}
	}
	if err := s.enter(text); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// wrong is an error in the line to come.
func (s *Session) wrong(format string, args ...any) error {
	return &script.SyntaxError{File: s.opt.Name, Line: s.Next(), Err: fmt.Errorf(format, args...)}
}

// enter takes a line of the scenario.
func (s *Session) enter(text string) error {
	text = strings.TrimRight(text, " \t") // Tab leaves a space
	words, err := script.Fields(text)
	crashed := len(s.lines) > 0 && s.lines[len(s.lines)-1].crashed
	switch {
	case err == nil && len(words) == 0:
		s.lines = append(s.lines, line{text: text, crashed: crashed, display: s.opt.Display.Snapshot()})
		return nil
	case err == nil && crashed && words[0] != "want":
		return s.wrong("nothing runs behind an oops but want; undo takes it back")
	}
	before := s.remember()
	step, err := s.parser.Line(s.Next(), text)
	switch {
	case err != nil:
		return err
	case step == nil:
		s.accept(line{text: text, before: before})
		return nil
	case len(s.parser.Script().Steps) == 1 && words[0] != "begin":
		before.parser()
		if err := s.enter(s.begin); err != nil {
			return err
		}
		s.lines[len(s.lines)-1].implied = true
		return s.enter(text)
	case s.runner != nil && step.Call != nil && step.Call.CPU >= s.runner.Lab().Machine.NumCPU():
		before.parser()
		if err := s.rebuild(len(s.lines), text); err != nil {
			return err
		}
		return s.enter(text)
	}
	if err := s.run(line{text: text, before: before}, *step); err != nil {
		before.parser()
		return err
	}
	return nil
}

// errStopped is what became of a line that was interrupted.
var errStopped = errors.New("stopped, and taken back")

// run runs a line that was parsed.
func (s *Session) run(l line, step script.Step) error {
	if s.runner == nil {
		r, err := s.opt.Lab(s.parser.Script())
		if err != nil {
			return s.wrong("%w", err)
		}
		s.runner = r
		s.opt.Display.Start(r)
	}
	l.display = s.opt.Display.Snapshot()
	s.opt.Display.Asked(step)
	s.running.begin(s.cpu(step))
	res := s.runner.Run(step)
	if s.running.end() {
		if err := l.before.lab(); err != nil {
			return err
		}
		s.opt.Display.Say(step.Text, []string{errStopped.Error()})
		l.display()
		return errStopped
	}
	s.opt.Display.Answered(res)
	if len(res.Why) > 0 {
		l.refused = res
	}
	l.op, l.want, l.failed, l.oops = res.Op, res.Want, res.Failed, res.Oops
	s.accept(l)
	return nil
}

// cpu is the CPU that runs guest code for a step.
func (s *Session) cpu(step script.Step) emu.CPU {
	if step.Call != nil {
		return s.runner.Lab().Machine.CPU(step.Call.CPU)
	}
	return s.runner.Lab().Machine.CPU(0)
}

// accept adds a verb's line, and forgets the state before one that is old.
func (s *Session) accept(l line) {
	l.verb = true
	if l.display == nil {
		l.display = s.opt.Display.Snapshot()
	}
	l.crashed = l.oops != "" || len(s.lines) > 0 && s.lines[len(s.lines)-1].crashed
	s.lines = append(s.lines, l)
	s.here = nil
	if old := len(s.lines) - 1 - Levels; old >= 0 {
		s.lines[old].before = nil
	}
	if s.runner != nil {
		s.runner.Lab().Mem.Trim(Levels, maxKept)
	}
}

// End runs the end that the lines lack and returns what was not as expected, in
// the order of the lines.
func (s *Session) End() []error {
	steps := len(s.parser.Script().Steps)
	if steps == 0 {
		return nil
	}
	failures, crashed := s.failures()
	if !crashed {
		// There is a line, which is all that this asks for.
		_ = s.parser.Finish()
		for _, step := range s.parser.Script().Steps[steps:] {
			s.opt.Display.Asked(step)
			s.opt.Display.Answered(s.runner.Run(step))
		}
	}
	s.opt.Display.End(len(failures))
	return failures
}

// failures lists expectations that were not met, and an oops that none expects.
func (s *Session) failures() (failures []error, crashed bool) {
	var oops error
	for i, l := range s.lines {
		at := fmt.Sprintf("%s:%d: ", s.opt.Name, i+1)
		if l.failed != "" {
			failures = append(failures, errors.New(at+l.op+": "+l.failed))
		}
		switch {
		case l.oops != "":
			oops = errors.New(at + l.oops)
		case l.want == "oops":
			oops = nil
		}
		crashed = l.crashed
	}
	if oops != nil {
		failures = append(failures, oops)
	}
	return failures, crashed
}
