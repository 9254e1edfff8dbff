package conform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ftemu/script"
)

// The states in which a recorded script ended.
const (
	StatusOK    = "ok"
	StatusDead  = "dead"  // ftrace killed itself
	StatusCrash = "crash" // the kernel oopsed on the line after the last recorded one
)

// A Script is a recorded script: what a kernel did for each of its lines.
type Script struct {
	name   string
	status string
	input  []string
	out    []line
	parsed *script.Script
}

// A line is what a kernel gave for one line of a script, by key.
type line map[string]json.RawMessage

// scriptKeys and lineKeys are the keys that such a recording may have.
var (
	scriptKeys = map[string]bool{"name": true, "status": true, "input": true, "out": true, "console": true}
	lineKeys   = map[string]bool{
		"api": true, "dead": true, "ef": true, "ev": true, "ftrace_enabled": true, "left": true, "of": true, "op": true,
		"ops": true, "rc": true, "ret": true, "sites": true, "unclean": true, "warn": true,
	}
)

// lineFields are the keys that are compared, in the order in which differences
// are reported.
var lineFields = []string{"rc", "api", "of", "ev", "ret", "sites", "ops", "ef", "dead", "left", "unclean", "ftrace_enabled", "warn"}

// benign are the warnings behind which a script of status dead or crash goes
// on: registering twice, and unregistering what is not registered.
var benign = []string{"__register_ftrace_function", "__unregister_ftrace_function"}

// Name is the name that the script begins with.
func (s *Script) Name() string { return s.name }

// Lines are the lines of the script.
func (s *Script) Lines() []string { return slices.Clone(s.input) }

func parseScript(raw map[string]json.RawMessage) (Case, error) {
	s := &Script{}
	err := fields(raw, scriptKeys, field{"name", &s.name}, field{"status", &s.status}, field{"input", &s.input}, field{"out", &s.out})
	if err == nil {
		err = s.check()
	}
	if err == nil {
		err = s.parse()
	}
	if err != nil && s.name != "" {
		err = fmt.Errorf("case %s: %w", s.name, err)
	}
	return s, err
}

// check finds recordings that cannot be compared.
func (s *Script) check() error {
	switch {
	case s.status != StatusOK && s.status != StatusDead && s.status != StatusCrash:
		return fmt.Errorf("status %q, expected ok, dead or crash", s.status)
	case len(s.input) == 0 || !strings.HasPrefix(s.input[0], "begin "):
		return fmt.Errorf("the script never begins: line 1 is %q, expected begin", first(s.input))
	case s.input[len(s.input)-1] != "end":
		return fmt.Errorf("the script never ends: line %d is %q, expected end", len(s.input), s.input[len(s.input)-1])
	case s.status != StatusCrash && len(s.out) != len(s.input):
		return fmt.Errorf("%d lines recorded, of a script of %d", len(s.out), len(s.input))
	case s.status == StatusCrash && len(s.out) >= len(s.input):
		return errors.New("status crash, and no line is left to crash on")
	}
	for i, l := range s.out {
		if k := unknownKey(l, lineKeys); k != "" {
			return fmt.Errorf("script line %d: unknown key %q", i+1, k)
		}
		var op string
		if err := json.Unmarshal(l["op"], &op); err != nil || op != s.input[i] {
			return fmt.Errorf("script line %d: recorded for %s, the script has %q", i+1, orNothing(string(l["op"])), s.input[i])
		}
	}
	return nil
}

func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// parse parses the script, each line of which must be one step.
func (s *Script) parse() error {
	for i, l := range s.input {
		if strings.TrimSpace(l) == "" || strings.ContainsAny(l, "\n#") {
			return fmt.Errorf("script line %d: found %q, expected one verb", i+1, l)
		}
	}
	var err error
	s.parsed, err = script.Parse(s.name, strings.NewReader(strings.Join(s.input, "\n")), script.Options{})
	var syntax *script.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("script line %d: %w", syntax.Line, syntax.Err)
	}
	if err == nil && len(s.parsed.Steps) != len(s.input) {
		return fmt.Errorf("%d steps in a script of %d lines", len(s.parsed.Steps), len(s.input))
	}
	return err
}

// Run runs the script line by line. One that killed ftrace or the kernel is
// compared to the first line with a WARNING that matters: behind it the
// kernel's state is not to be relied on.
func (s *Script) Run(opt Options) (Report, error) {
	r, err := script.NewRunner(s.parsed, opt.Lab)
	if err != nil {
		return Report{}, err
	}
	defer r.Close()
	var rep Report
	for i, step := range s.parsed.Steps {
		res := r.Run(step)
		ours, text, err := toLine(res)
		if err != nil {
			return rep, err
		}
		if i == len(s.out) {
			// The line that crashed the kernel.
			rep.step(opt, i, s.input[i], "", text)
			if res.Oops == "" {
				rep.Diffs = append(rep.Diffs, Diff{Line: i + 1, Op: s.input[i], Field: "oops", Kernel: `"the kernel oopsed"`})
			}
			break
		}
		kernel := s.out[i]
		rep.step(opt, i, s.input[i], kernel.text(), text)
		if res.Oops != "" {
			rep.Diffs = append(rep.Diffs, Diff{Line: i + 1, Op: s.input[i], Field: "oops", Ftemu: quote(res.Oops)})
			break
		}
		rep.Diffs = append(rep.Diffs, compareLines(lineFields, Diff{Line: i + 1, Op: s.input[i]}, kernel, ours)...)
		if s.status != StatusOK && hasFatalWarning(kernel) {
			break
		}
	}
	return rep, nil
}

// compareLines compares the given keys of what was recorded of one line.
func compareLines(keys []string, at Diff, kernel, ftemu line) (diffs []Diff) {
	for _, at.Field = range keys {
		k, f := kernel[at.Field], ftemu[at.Field]
		if at.Field == "warn" {
			k, f = warnFuncs(k), warnFuncs(f)
		}
		diffs = append(diffs, compare(at, k, f)...)
	}
	return diffs
}

func (r *Report) step(opt Options, i int, op, kernel, ftemu string) {
	if opt.Steps {
		r.Steps = append(r.Steps, Step{Line: i + 1, Op: op, Kernel: kernel, Ftemu: ftemu})
	}
}

// marshal is json.Marshal that leaves > as it is, as the recordings do.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func quote(s string) string {
	b, _ := marshal(s) // a string always can be
	return string(b)
}

// text is the line as one JSON object, keys by name.
func (l line) text() string {
	b, err := marshal(l)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// toLine is a result in the form of a recorded line, with its text.
func toLine(res *script.Result) (line, string, error) {
	b, err := marshal(res)
	if err != nil {
		return nil, "", err
	}
	var l line
	return l, string(b), json.Unmarshal(b, &l)
}

// warnPlace is how a recording names a WARNING: file, line, function+offset.
var warnPlace = regexp.MustCompile(`^\S+:\d+ (\w+)(\.[\w.]+)?\+0x[0-9a-f]+$`)

// warnFuncs reduces warnings to the functions that warned: that is what tells
// which one it was.
func warnFuncs(m json.RawMessage) json.RawMessage {
	var warns []string
	if len(m) == 0 || json.Unmarshal(m, &warns) != nil {
		return m
	}
	for i, w := range warns {
		if p := warnPlace.FindStringSubmatch(w); p != nil {
			warns[i] = p[1]
		}
	}
	b, err := json.Marshal(warns)
	if err != nil {
		return m
	}
	return b
}

func hasFatalWarning(l line) bool {
	var warns []string
	if json.Unmarshal(warnFuncs(l["warn"]), &warns) != nil {
		return false
	}
	return slices.ContainsFunc(warns, func(w string) bool { return !slices.Contains(benign, w) })
}
