// Package conform compares ftemu with recordings of a real kernel: it runs each
// recorded script on a fresh lab and compares every field of every line.
package conform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The states in which a recorded script ended.
const (
	StatusOK    = "ok"
	StatusDead  = "dead"  // ftrace killed itself
	StatusCrash = "crash" // the kernel oopsed on the line after the last recorded one
)

// A Case is one recorded script.
type Case struct {
	Name   string
	Status string
	Input  []string
	Out    []Line
	// Line is where the case stands in its file, from 1.
	Line int
}

// A Line is what a real kernel gave for one line of a script, by key.
type Line map[string]json.RawMessage

// caseKeys and lineKeys are the keys that a recording may have.
var (
	caseKeys = map[string]bool{"name": true, "status": true, "input": true, "out": true, "console": true}
	lineKeys = map[string]bool{
		"api": true, "dead": true, "ef": true, "ev": true, "ftrace_enabled": true, "left": true, "of": true, "op": true,
		"ops": true, "rc": true, "ret": true, "sites": true, "unclean": true, "warn": true,
	}
)

// maxCase is the longest line of a recording, in bytes.
const maxCase = 16 << 20

// A FileError says what is wrong with a recording, and where.
type FileError struct {
	File string
	Line int
	Err  error
}

// Error gives the place and what was found there.
func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the error without the place.
func (e *FileError) Unwrap() error { return e.Err }

// Read reads recorded cases, one JSON object a line. Bad lines are reported in
// errs; the other cases are returned all the same.
func Read(file string, r io.Reader) (cases []Case, errs []error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), maxCase)
	n := 0
	for sc.Scan() {
		n++
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		c, err := parseCase(sc.Bytes())
		if err != nil {
			errs = append(errs, &FileError{file, n, err})
			continue
		}
		c.Line = n
		cases = append(cases, c)
	}
	if err := sc.Err(); err != nil {
		errs = append(errs, &FileError{file, n + 1, err})
	}
	return cases, errs
}

func parseCase(line []byte) (Case, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil {
		return Case{}, fmt.Errorf("not a JSON object: %w", err)
	}
	for k := range raw {
		if !caseKeys[k] {
			return Case{}, fmt.Errorf("unknown key %q", k)
		}
	}
	var c Case
	for _, f := range []struct {
		key string
		to  any
	}{{"name", &c.Name}, {"status", &c.Status}, {"input", &c.Input}, {"out", &c.Out}} {
		v, ok := raw[f.key]
		if !ok {
			return Case{}, fmt.Errorf("key %q is missing", f.key)
		}
		if err := json.Unmarshal(v, f.to); err != nil {
			return Case{}, fmt.Errorf("key %q: %w", f.key, err)
		}
	}
	return c, c.check()
}

// check finds scripts that cannot be compared.
func (c *Case) check() error {
	switch {
	case c.Status != StatusOK && c.Status != StatusDead && c.Status != StatusCrash:
		return fmt.Errorf("case %s: status %q, expected ok, dead or crash", c.Name, c.Status)
	case len(c.Input) == 0 || !strings.HasPrefix(c.Input[0], "begin "):
		return fmt.Errorf("case %s: the script does not begin with begin", c.Name)
	case c.Input[len(c.Input)-1] != "end":
		return fmt.Errorf("case %s: the script does not end with end", c.Name)
	case c.Status != StatusCrash && len(c.Out) != len(c.Input):
		return fmt.Errorf("case %s: %d lines recorded of a script of %d", c.Name, len(c.Out), len(c.Input))
	case c.Status == StatusCrash && len(c.Out) >= len(c.Input):
		return fmt.Errorf("case %s: status crash, and no line is left to crash on", c.Name)
	}
	for i, l := range c.Out {
		for k := range l {
			if !lineKeys[k] {
				return fmt.Errorf("case %s, line %d: unknown key %q", c.Name, i+1, k)
			}
		}
		var op string
		if err := json.Unmarshal(l["op"], &op); err != nil || op != c.Input[i] {
			return fmt.Errorf("case %s, line %d: recorded for %q, the script has %q", c.Name, i+1, op, c.Input[i])
		}
	}
	return nil
}

// ErrNoCases is returned for files without a case.
var ErrNoCases = errors.New("no recorded case")
