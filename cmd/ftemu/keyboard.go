package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/peterh/liner"

	"ftemu/shell"
)

// A keyboard is where the lines of a session come from.
type keyboard interface {
	// read returns the next line; io.EOF behind the last, liner.ErrPromptAborted
	// for one that was given up.
	read(s *shell.Session) (string, error)
	// terminal tells whether somebody types.
	terminal() bool
	// typed tells, once for each line, whether it stands on the row above the
	// cursor, all of it.
	typed() bool
	close()
}

// newKeyboard edits lines where both ends are a terminal that can, and reads plain
// ones otherwise.
func newKeyboard(a *app) keyboard {
	_, in := terminalWidth(os.Stdin)
	_, out := terminalWidth(os.Stdout)
	lines := bufio.NewScanner(a.stdin)
	lines.Buffer(nil, maxInput)
	switch {
	case !in || !out || a.stdin != io.Reader(os.Stdin):
		return &plain{lines: lines}
	case !liner.TerminalSupported():
		return &plain{lines: lines, prompt: a.stdout}
	}
	return newEditor()
}

// maxInput is the longest line that is read, in bytes; the language's own limit is
// lower.
const maxInput = 1 << 20

// plain reads lines as they are.
type plain struct {
	lines  *bufio.Scanner
	prompt *bufio.Writer // nil: nobody types
}

func (p *plain) terminal() bool { return p.prompt != nil }
func (p *plain) typed() bool    { return false }
func (p *plain) close()         {}

func (p *plain) read(s *shell.Session) (string, error) {
	if p.prompt != nil {
		fmt.Fprint(p.prompt, promptOf(s))
		p.prompt.Flush()
	}
	if p.lines.Scan() {
		return p.lines.Text(), nil
	}
	err := p.lines.Err()
	switch {
	case err == nil:
		return "", io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return "", fmt.Errorf("standard input: a line of more than %d bytes", maxInput)
	}
	return "", err
}

func promptOf(s *shell.Session) string { return fmt.Sprintf("%d> ", s.Next()) }

// An editor edits lines at a terminal.
type editor struct {
	liner   *liner.State
	history string // its file; "" where there is no place for one
	entered bool
}

func newEditor() *editor {
	e := &editor{liner: liner.NewLiner(), history: historyFile()}
	e.liner.SetCtrlCAborts(true)
	e.liner.SetTabCompletionStyle(liner.TabPrints)
	if f, err := os.Open(e.history); err == nil {
		// What cannot be read is left out.
		_, _ = e.liner.ReadHistory(f)
		f.Close()
	}
	return e
}

// historyFile is where users keep what programs remember.
func historyFile() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "ftemu", "history")
}

func (e *editor) terminal() bool { return true }

func (e *editor) typed() bool {
	was := e.entered
	e.entered = false
	return was
}

func (e *editor) read(s *shell.Session) (string, error) {
	e.liner.SetWordCompleter(s.Complete)
	text, err := e.liner.Prompt(promptOf(s))
	if err == nil && strings.TrimSpace(text) == "" {
		return "", liner.ErrPromptAborted
	}
	if e.entered = err == nil; e.entered {
		e.liner.AppendHistory(text)
	}
	return text, err
}

// close gives the terminal back, and keeps the history where it can.
func (e *editor) close() {
	e.liner.Close()
	var b bytes.Buffer
	n, err := e.liner.WriteHistory(&b)
	if err == nil && n > 0 && e.history != "" && os.MkdirAll(filepath.Dir(e.history), 0o700) == nil {
		_ = replaceFile(e.history, b.Bytes())
	}
}
