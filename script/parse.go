package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ftemu"
	"ftemu/guest"
	"ftemu/near"
	"ftemu/trampoline"
)

// A SyntaxError says what is wrong with a script, and where.
type SyntaxError struct {
	File string
	Line int
	Err  error
}

// Error gives the place and what was found there.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the error without the place.
func (e *SyntaxError) Unwrap() error { return e.Err }

// A Script is a parsed scenario: every name in it is known, every number in
// range, so that running it can fail only in what it tries out.
type Script struct {
	File  string
	Name  string // from begin; where that is absent the file's name without folder and .ft
	Guest *guest.Image
	Steps []Step
	// Properties is what property lines name, for who explores the scenario: see
	// package explore. Empty: all.
	Properties []PropertyLine

	names  names
	tramps map[string]ftemu.OwnTrampoline // direct trampolines of its own, by name
}

// A Step is one line of a script.
type Step struct {
	Line int    // from 1; 0 for a begin or end that the script leaves out
	Text string // as written, without comment, single spaces
	// Thread names the part that runs beside others, "" for what does not.
	Thread string
	// Call is what the step does where it is a CPU's; nil otherwise.
	Call *GuestCall
	run  func(*Runner)
}

// Wants is what a line expects of the line before it: rc, ret, ...; "" for lines
// that are no expectation.
func (s Step) Wants() string {
	what, ok := strings.CutPrefix(s.Text, "want ")
	if !ok {
		return ""
	}
	what, _, _ = strings.Cut(what, " ")
	return what
}

// Options say how a script is read.
type Options struct {
	// LoadGuest loads the object that a guest line names. Nil refuses.
	LoadGuest func(path string) (*guest.Image, error)
	// LoadTrampoline opens the layout or object that a tramp line names. Nil
	// refuses.
	LoadTrampoline func(path string) (trampoline.Maker, error)
	// Properties are the names that property lines may have. Nil: any.
	Properties []string
}

// maxMessage bounds messages that quote what a script says, in bytes.
const maxMessage = 600

// clip shortens what a message quotes of a line that is nothing of ours.
func clip(err error) error {
	text := err.Error()
	if len(text) <= maxMessage {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:maxMessage], "") + "...")
}

// The errors of a script without a step.
var (
	errEmpty   = errors.New("no verb in the whole script, expected at least one")
	errNothing = errors.New("no line of the script does anything, expected one besides guest, tramp, thread and property")
)

// maxLine is the longest line of a script, in bytes.
const maxLine = 64 << 10

var errTooLong = fmt.Errorf("a line of more than %d bytes", maxLine)

// Parse reads a scenario. The error is a *SyntaxError, or one of reading.
func Parse(file string, r io.Reader, opt Options) (*Script, error) {
	p := NewParser(file, opt)
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxLine)
	n := 0
	for sc.Scan() {
		n++
		if err := p.line(n, sc.Text()); err != nil {
			return nil, p.wrong(n, err)
		}
	}
	if err := sc.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, p.wrong(n+1, errTooLong)
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := p.Finish(); err != nil {
		return nil, p.wrong(max(n, 1), err)
	}
	return p.script, nil
}

func baseName(file string) string {
	return strings.TrimSuffix(strings.ReplaceAll(filepath.Base(file), " ", "_"), ".ft")
}

// A declared is an ID that new or tracer made.
type declared struct {
	kind   kind
	tracer bool // made by tracer
}

// A Parser reads a scenario line by line, for those who do not have all of it yet.
type Parser struct {
	script *Script
	opt    Options
	known
	next Step // the step being parsed
}

// known is what the lines so far make of those that follow.
type known struct {
	ids    map[string]*declared
	progs  map[string]bool // BPF programs
	used   []string        // functions in the order in which the script names them
	begun  bool
	ended  bool
	thread string // the block that lines go to
	joined bool
}

// NewParser begins a scenario; file is what errors call it.
func NewParser(file string, opt Options) *Parser {
	return &Parser{
		script: &Script{File: file, Name: baseName(file), tramps: make(map[string]ftemu.OwnTrampoline)},
		opt:    opt,
		known:  known{ids: make(map[string]*declared), progs: make(map[string]bool)},
	}
}

// Script is what was read so far. It grows; its guest is nil until a line needs one.
func (p *Parser) Script() *Script { return p.script }

// Line reads the line of number n and returns the step that it adds to the
// script; nil for a line that adds none. With an error, a *SyntaxError, everything
// is as it was.
func (p *Parser) Line(n int, text string) (*Step, error) {
	if len(text) > maxLine {
		return nil, p.wrong(n, errTooLong)
	}
	restore, steps := p.Snapshot(), len(p.script.Steps)
	if err := p.line(n, text); err != nil {
		restore()
		return nil, p.wrong(n, err)
	}
	if len(p.script.Steps) == steps {
		return nil, nil
	}
	step := p.script.Steps[steps]
	return &step, nil
}

// Snapshot remembers what was read so far and returns a function that brings it
// back, any number of times. Snapshots nest: bringing one back ends those taken
// after it.
func (p *Parser) Snapshot() (restore func()) {
	script, known := *p.script, p.known.clone()
	tramps := maps.Clone(script.tramps)
	return func() {
		*p.script, p.known = script, known.clone()
		p.script.tramps = maps.Clone(tramps)
	}
}

func (k known) clone() known {
	k.ids, k.progs, k.used = maps.Clone(k.ids), maps.Clone(k.progs), slices.Clip(k.used)
	return k
}

// wrong says where an error is.
func (p *Parser) wrong(n int, err error) error {
	return &SyntaxError{File: p.script.File, Line: n, Err: clip(err)}
}

// line parses one line.
func (p *Parser) line(n int, text string) error {
	fields, err := Fields(text)
	if err != nil || len(fields) == 0 {
		return err
	}
	v, ok := language[fields[0]]
	if !ok {
		return fmt.Errorf("unknown verb %q, %s", near.Short(fields[0]), near.Expected(fields[0], verbNames(), "one that 'ftemu help language' lists"))
	}
	args := fields[1:]
	if len(args) < v.min || len(args) > v.max {
		return fmt.Errorf("%s takes %q, found %q", fields[0], v.usage, near.Short(strings.Join(args, " ")))
	}
	switch {
	case p.ended:
		return fmt.Errorf("%s after end", fields[0])
	case p.begun && (fields[0] == "begin" || fields[0] == "guest"):
		return fmt.Errorf("%s must come first", fields[0])
	}
	if fields[0] != "guest" {
		if err := p.needGuest(); err != nil {
			return err
		}
	}
	p.next = Step{Line: n}
	run, err := v.parse(p, args)
	if err != nil {
		return err
	}
	if run != nil {
		s := p.next
		s.Line, s.Text, s.Thread, s.run = n, strings.Join(fields, " "), p.thread, run
		if s.Text == "end" {
			s.Thread = ""
		}
		p.script.Steps = append(p.script.Steps, s)
		p.begun = true
	}
	p.ended = fields[0] == "end"
	return nil
}

// needGuest loads the built-in guest where the script names none.
func (p *Parser) needGuest() error {
	if p.script.Guest != nil {
		return nil
	}
	img, err := guest.Oracle()
	if err != nil {
		return err
	}
	p.setGuest(img)
	return nil
}

func (p *Parser) setGuest(img *guest.Image) {
	p.script.Guest = img
	p.script.names = newNames(img)
}

// Finish ends the script: it adds the begin and the end that were left out.
func (p *Parser) Finish() error {
	s := p.script
	switch {
	case len(s.Steps) == 0 && s.Guest == nil:
		return errEmpty
	case len(s.Steps) == 0:
		return errNothing
	}
	if !strings.HasPrefix(s.Steps[0].Text, "begin ") {
		text := "begin " + s.Name + " sites=" + strings.Join(p.used, ",")
		run, err := parseBegin(p, []string{s.Name, "sites=" + strings.Join(p.used, ",")})
		if err != nil {
			return err
		}
		s.Steps = append([]Step{{Text: text, run: run}}, s.Steps...)
	}
	if !p.ended {
		s.Steps = append(s.Steps, Step{Text: "end", run: (*Runner).end})
	}
	return nil
}

// id finds an ID made by new.
func (p *Parser) id(name string) (*declared, error) {
	d := p.ids[name]
	if d == nil {
		return nil, fmt.Errorf("unknown ID %q, %s", near.Short(name), near.Expected(name, p.idWords(""), "one that new made"))
	}
	return d, nil
}

// addr reads an address: a function with or without an offset, a number, or null.
func (p *Parser) addr(s string) (uint64, error) {
	if s == "null" {
		return 0, nil
	}
	if strings.HasPrefix(s, "0x") {
		v, err := strconv.ParseUint(s[2:], 16, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a hexadecimal number of 64 bits", s)
		}
		return v, nil
	}
	name, off, found := strings.Cut(s, "+")
	a, err := p.function(name)
	if err != nil || !found {
		return a, err
	}
	d, err := strconv.ParseUint(off, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: the offset is not a number of 32 bits", s)
	}
	return a + d, nil
}

// addrs reads a comma-separated list of addresses.
func (p *Parser) addrs(s string) ([]uint64, error) {
	var out []uint64
	for _, word := range strings.Split(s, ",") {
		a, err := p.addr(word)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// function finds a function of the guest.
func (p *Parser) function(name string) (uint64, error) {
	a, ok := p.script.names.addr(name)
	if !ok {
		return 0, fmt.Errorf("unknown function %q in %s%s", near.Short(name), p.script.Guest.Name, p.script.names.similar(name))
	}
	if !slices.Contains(p.used, name) && p.script.names.isSite(a) {
		p.used = append(p.used, name)
	}
	return a, nil
}

// number reads an argument of a call: decimal or 0x, signed or not, 64 bits.
func number(s string) (uint64, error) {
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uint64(v), nil
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of 64 bits", s)
	}
	return v, nil
}
