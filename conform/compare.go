package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"ftemu"
	"ftemu/script"
)

// A Diff is one field in which ftemu and the kernel differ.
type Diff struct {
	Case   string
	Line   int    // of the script, from 1
	Op     string // the line
	Field  string
	Kernel string // JSON
	Ftemu  string // JSON
}

// String is the difference in one line.
func (d Diff) String() string {
	return fmt.Sprintf("%s:%d: %s: %s: kernel %s, ftemu %s", d.Case, d.Line, d.Op, d.Field, d.Kernel, d.Ftemu)
}

// fields are the keys that are compared, in the order in which differences are
// reported.
var fields = []string{"rc", "api", "of", "ev", "ret", "sites", "ops", "ef", "dead", "left", "unclean", "ftrace_enabled", "warn"}

// benign are the warnings behind which a script of status dead or crash goes
// on: registering twice, and unregistering what is not registered.
var benign = []string{"__register_ftrace_function", "__unregister_ftrace_function"}

// Run runs the case's script on a fresh lab and returns the differences. The
// error is for scripts that do not parse.
func Run(c Case, opt ftemu.Options) ([]Diff, error) {
	s, err := script.Parse(c.Name, strings.NewReader(strings.Join(c.Input, "\n")), script.Options{})
	if err != nil {
		return nil, err
	}
	r, err := script.NewRunner(s, opt)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var diffs []Diff
	add := func(i int, field, kernel, ours string) {
		diffs = append(diffs, Diff{c.Name, i + 1, c.Input[i], field, kernel, ours})
	}
	for i, step := range s.Steps {
		if i == len(c.Out) {
			// The line that crashed the kernel.
			if res := r.Run(step); res.Oops == "" {
				add(i, "oops", "oops", "no oops")
			}
			break
		}
		res := r.Run(step)
		if res.Oops != "" {
			add(i, "oops", "no oops", res.Oops)
			break
		}
		ours, err := toLine(res)
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			if k, o, same := compare(f, c.Out[i][f], ours[f]); !same {
				add(i, f, k, o)
			}
		}
		if c.Status != StatusOK && hasFatalWarning(c.Out[i]) {
			break
		}
	}
	return diffs, nil
}

func toLine(res *script.Result) (Line, error) {
	b, err := json.Marshal(res)
	if err != nil {
		return nil, err
	}
	var l Line
	return l, json.Unmarshal(b, &l)
}

// compare compares one field. Absent and null are the same, and so are a
// WARNING's place and the kernel function in it.
func compare(field string, kernel, ours json.RawMessage) (k, o string, same bool) {
	if field == "warn" {
		kernel, ours = warnFuncs(kernel), warnFuncs(ours)
	}
	var a, b any
	if len(kernel) > 0 && json.Unmarshal(kernel, &a) != nil || len(ours) > 0 && json.Unmarshal(ours, &b) != nil {
		return string(kernel), string(ours), false
	}
	return text(kernel), text(ours), reflect.DeepEqual(a, b)
}

func text(m json.RawMessage) string {
	if len(m) == 0 {
		return "nothing"
	}
	var b bytes.Buffer
	if json.Compact(&b, m) != nil {
		return string(m)
	}
	return b.String()
}

// warnPlace is how a recording names a WARNING: file, line, function+offset.
var warnPlace = regexp.MustCompile(`^\S+:\d+ (\w+)(\.[\w.]+)?\+0x[0-9a-f]+$`)

// warnFuncs reduces warnings to the functions that warned.
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

func hasFatalWarning(l Line) bool {
	var warns []string
	if json.Unmarshal(warnFuncs(l["warn"]), &warns) != nil {
		return false
	}
	return slices.ContainsFunc(warns, func(w string) bool { return !slices.Contains(benign, w) })
}
