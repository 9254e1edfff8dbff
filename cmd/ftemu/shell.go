package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/peterh/liner"

	"ftemu/script"
	"ftemu/shell"
)

type shellCmd struct {
	runFlags
	File string `arg:"" optional:"" help:"Scenario to begin with."`
}

// Help is printed by shell --help.
func (*shellCmd) Help() string {
	return "Each line runs when it is entered and prints what 'ftemu run' prints for it; 'help' lists the verbs and what else there is. " +
		"'undo' takes lines back, 'why' explains the last refusal, 'save FILE' writes a scenario that gives the same again. " +
		"At a terminal Tab completes, the arrows go through the history, and Ctrl-C stops a line that runs; from a pipe lines are read as they are.\n\n" +
		"Exit status: as that of 'ftemu run'; a line from a pipe that is wrong makes it 2, and the session goes on."
}

// Run holds a session.
func (c *shellCmd) Run(a *app) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	opt.Explain = true // for why
	dir := "."
	if c.File != "" {
		dir = filepath.Dir(c.File)
	}
	keys := newKeyboard(a)
	defer keys.close()
	display := c.display(a, keys)
	s := shell.New(shell.Options{
		Name: "shell", Dir: dir, Script: filesIn(dir), Display: display, Write: replaceFile,
		Lab: func(s *script.Script) (*script.Runner, error) { return script.NewRunner(s, opt) },
	})
	defer s.Close()
	if c.File != "" {
		if err := load(a, s, c.File); err != nil {
			return err
		}
	}
	if err := c.enter(a, s, keys); err != nil {
		return err
	}
	for _, f := range s.End() {
		a.note(f)
		a.exit(statusDiff)
	}
	return nil
}

// load enters the lines of a file. The error is that of a file of which no line ran.
func load(a *app, s *shell.Session, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.Load(file, f); err != nil {
		if s.Next() == 1 {
			return err
		}
		a.note(err)
		a.exit(statusDiff)
	}
	return nil
}

// enter enters lines until there are no more.
func (c *shellCmd) enter(a *app, s *shell.Session, keys keyboard) error {
	if keys.terminal() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt)
		defer close(stop)
		defer signal.Stop(stop)
		go func() {
			for range stop {
				s.Interrupt()
			}
		}()
		if !c.JSON {
			fmt.Fprintln(a.stdout, "help lists the verbs, Tab completes, undo takes a line back, quit ends.")
		}
	}
	for !s.Over() {
		if err := a.stdout.Flush(); err != nil {
			return err
		}
		text, err := keys.read(s)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, liner.ErrPromptAborted):
			continue
		case err != nil:
			return err
		}
		err = s.Enter(text)
		keys.typed() // what comes next is not about this line
		if err != nil {
			a.note(err)
			if !keys.terminal() {
				a.exit(statusBad)
			}
		}
	}
	return nil
}
