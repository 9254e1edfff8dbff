package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Exit statuses. A higher one wins over a lower one.
const (
	statusOK   = 0 // as expected
	statusDiff = 1 // an expectation failed, a guest did not come back, a difference was found
	statusBad  = 2 // the input or the call is wrong
)

// An app is what a verb runs in.
type app struct {
	stdin  io.Reader
	stdout *bufio.Writer // human text or JSON; flushed at the end
	stderr io.Writer     // diagnostics, a line each
	colour bool          // stdout may have colours
	width  int           // columns of stdout; 0 where lines may have any length
	status int
}

// newApp looks at where the output goes: a terminal has a width, and colours
// unless NO_COLOR is set; COLUMNS sets the width of any output.
func newApp(stdin io.Reader, stdout, stderr *os.File) *app {
	a := &app{stdin: stdin, stdout: bufio.NewWriter(stdout), stderr: stderr}
	width, terminal := terminalWidth(stdout)
	a.width = width
	a.colour = terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return a
}

// exit raises the exit status.
func (a *app) exit(status int) { a.status = max(a.status, status) }

// fail reports that the input or the call is wrong.
func (a *app) fail(err error) {
	a.note(err)
	a.exit(statusBad)
}

// note prints a diagnostic, behind what was printed before it.
func (a *app) note(err error) {
	a.stdout.Flush()
	fmt.Fprintf(a.stderr, "ftemu: %v\n", err)
}

// encode prints v as a line of JSON. Characters of HTML stand for themselves.
func (a *app) encode(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// open opens a file to read.
func open(name string) (*os.File, error) {
	if err := noDirectory(name); err != nil {
		return nil, err
	}
	return os.Open(name)
}

// noDirectory is the error of a directory where a file is expected.
func noDirectory(name string) error {
	if fi, err := os.Stat(name); err == nil && fi.IsDir() {
		return fmt.Errorf("%s: found a directory, expected a file", name)
	}
	return nil
}

// close writes what is left and returns the exit status.
func (a *app) close() int {
	if err := a.stdout.Flush(); err != nil && !errors.Is(err, os.ErrClosed) {
		a.exit(statusBad)
		fmt.Fprintf(a.stderr, "ftemu: %v\n", err)
	}
	return a.status
}
