package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"ftemu"
	"ftemu/conform"
	"ftemu/ftracecore"
)

type conformCmd struct {
	Engine  string   `default:"interp" placeholder:"NAME" help:"Engine that executes the guest (default ${default}); 'ftemu engines' lists them."`
	Case    string   `placeholder:"NAME" help:"Only the recording of this name."`
	Verbose bool     `short:"v" help:"Print each line of each recording with both sides."`
	KTAP    bool     `name:"ktap" help:"Print KTAP, version 1."`
	JSON    bool     `name:"json" help:"Print one JSON object for each recording, and one with the totals."`
	Profile string   `default:"v6.1" placeholder:"NAME" help:"Kernel version to behave as (default ${default})."`
	Design  string   `default:"ops-func" placeholder:"NAME" help:"How livepatches and direct callers share a function (default ${default})."`
	Files   []string `arg:"" name:"file" complete:"*.jsonl *.jsonl.gz" help:"Recordings, one JSON object a line, plain or compressed with gzip."`
}

// Help is printed by conform --help.
func (*conformCmd) Help() string {
	return `Each recording is run on a kernel of its own and every recorded value is compared. A difference is printed as

  RECORDING: line N (VERB ...): FIELD: kernel VALUE, ftemu VALUE

and the last line is "N passed, N failed". A line of a file that is no recording is an error and counts as neither.

Exit status: 0 no difference, 1 there are differences, 2 a file or the command line is wrong (the other recordings are compared all the same).`
}

// A conformFile is one argument.
type conformFile struct {
	name string
	recs []conform.Recording
}

// Run compares recordings.
func (c *conformCmd) Run(a *app) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	files, err := c.read(a)
	if err != nil {
		return err
	}
	var recs []conform.Recording
	for _, f := range files {
		recs = append(recs, f.recs...)
	}
	out := c.printer(a, files)
	bar := newProgress(a, len(recs))
	passed, failed := 0, 0
	conform.Run(recs, opt, runtime.NumCPU(), func(r conform.Result) {
		bar.clear()
		switch {
		case r.Err != nil:
			a.fail(r.Err)
		case r.Passed():
			passed++
		default:
			failed++
			a.exit(statusDiff)
		}
		out.result(r)
		bar.step()
	})
	bar.clear()
	out.end(passed, failed)
	return nil
}

// options checks the flags that labs are made by.
func (c *conformCmd) options() (opt conform.Options, err error) {
	if c.KTAP && (c.JSON || c.Verbose) {
		return opt, errors.New("--ktap goes with neither --json nor --verbose")
	}
	engine, err := engineByName(c.Engine)
	if err != nil {
		return opt, err
	}
	profile, err := ftracecore.ParseProfile(c.Profile)
	if err != nil {
		return opt, err
	}
	design, err := ftracecore.ParseDesign(c.Design)
	if err != nil {
		return opt, err
	}
	return conform.Options{Lab: ftemu.Options{Engine: engine, Profile: &profile, Design: &design}, Steps: c.Verbose}, nil
}

// read reads the files, and keeps of their recordings what --case asks for. A
// file that cannot be read is reported and left out.
func (c *conformCmd) read(a *app) ([]conformFile, error) {
	var files []conformFile
	found := false
	for _, name := range c.Files {
		err := noDirectory(name)
		var recs []conform.Recording
		if err == nil {
			recs, err = conform.ReadFile(name)
		}
		if err != nil {
			a.fail(err)
			continue
		}
		if noRecordings(recs) {
			recs = recs[:1]
		}
		if c.Case != "" {
			recs = slices.DeleteFunc(recs, func(r conform.Recording) bool { return r.Err == nil && r.Name() != c.Case })
		}
		found = found || slices.ContainsFunc(recs, func(r conform.Recording) bool { return r.Err == nil })
		files = append(files, conformFile{name, recs})
	}
	if c.Case != "" && !found {
		return nil, fmt.Errorf("no recording %q in these files", c.Case)
	}
	return files, nil
}

// noRecordings tells whether a file has no recording at all, only lines that are none.
func noRecordings(recs []conform.Recording) bool {
	return len(recs) > 0 && !slices.ContainsFunc(recs, func(r conform.Recording) bool { return r.Err == nil })
}

// A conformPrinter prints results, which come in the order of the files.
type conformPrinter interface {
	result(r conform.Result)
	end(passed, failed int)
}

func (c *conformCmd) printer(a *app, files []conformFile) conformPrinter {
	switch {
	case c.JSON:
		return &conformJSON{a}
	case c.KTAP:
		return newConformKTAP(a.stdout, files)
	}
	return &conformText{a.stdout, style{a.colour}, c.Verbose}
}

func writeTotals(w io.Writer, passed, failed int) {
	fmt.Fprintf(w, "%d passed, %d failed\n", passed, failed)
}

// conformText prints differences, and with verbose every line.
type conformText struct {
	w       io.Writer
	style   style
	verbose bool
}

func (p *conformText) result(r conform.Result) {
	if r.Err != nil {
		return
	}
	if p.verbose {
		fmt.Fprintln(p.w, p.style.strong(r.Name()))
	}
	diffs := r.Diffs
	for _, s := range r.Steps {
		kernel := s.Kernel
		if kernel == "" {
			kernel = "(the kernel oopsed)"
		}
		fmt.Fprintf(p.w, "%5d  %s\n       kernel %s\n       ftemu  %s\n", s.Line, s.Op, kernel, s.Ftemu)
		for len(diffs) > 0 && diffs[0].Line == s.Line {
			p.diff(r, diffs[0])
			diffs = diffs[1:]
		}
	}
	for _, d := range diffs {
		p.diff(r, d)
	}
}

func (p *conformText) diff(r conform.Result, d conform.Diff) {
	fmt.Fprintf(p.w, "%s: %s\n", p.style.bad(r.Name()), d)
}

func (p *conformText) end(passed, failed int) { writeTotals(p.w, passed, failed) }

// conformJSON prints an object for each recording.
type conformJSON struct{ *app }

type jsonDiff struct {
	Line   int             `json:"line"`
	Op     string          `json:"op"`
	Field  string          `json:"field"`
	Kernel json.RawMessage `json:"kernel"` // null: nothing
	Ftemu  json.RawMessage `json:"ftemu"`
}

type jsonStep struct {
	Line   int             `json:"line"`
	Op     string          `json:"op"`
	Kernel json.RawMessage `json:"kernel"`
	Ftemu  json.RawMessage `json:"ftemu"`
}

func (p *conformJSON) result(r conform.Result) {
	obj := struct {
		File  string     `json:"file"`
		Line  int        `json:"line"`
		Name  string     `json:"name"`
		OK    bool       `json:"ok"`
		Error string     `json:"error,omitempty"`
		Diffs []jsonDiff `json:"diffs"`
		Steps []jsonStep `json:"steps,omitempty"`
	}{File: r.File, Line: r.Line, Name: r.Name(), OK: r.Passed(), Diffs: []jsonDiff{}}
	if r.Err != nil {
		obj.Error = r.Err.Error()
	}
	for _, d := range r.Diffs {
		obj.Diffs = append(obj.Diffs, jsonDiff{d.Line, d.Op, d.Field, rawJSON(d.Kernel), rawJSON(d.Ftemu)})
	}
	for _, s := range r.Steps {
		obj.Steps = append(obj.Steps, jsonStep{s.Line, s.Op, rawJSON(s.Kernel), rawJSON(s.Ftemu)})
	}
	_ = p.encode(obj) // a failed write shows when the output is flushed
}

func rawJSON(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

func (p *conformJSON) end(passed, failed int) {
	_ = p.encode(struct {
		Passed int `json:"passed"`
		Failed int `json:"failed"`
	}{passed, failed})
}

// conformKTAP prints KTAP: a test for each file, a subtest for each recording in
// it. The totals behind it are a line that KTAP parsers skip.
type conformKTAP struct {
	w     io.Writer
	files []conformFile
	file  int  // the one being printed
	n     int  // its subtests so far
	ok    bool // they have all passed
}

func newConformKTAP(w io.Writer, files []conformFile) *conformKTAP {
	p := &conformKTAP{w: w, files: files}
	fmt.Fprintf(w, "KTAP version 1\n1..%d\n", len(files))
	p.begin()
	return p
}

// begin begins the file that is next, and ends those that have no recordings.
func (p *conformKTAP) begin() {
	p.n, p.ok = 0, true
	for p.file < len(p.files) && len(p.files[p.file].recs) == 0 {
		fmt.Fprintf(p.w, "ok %d %s # SKIP no recording asked for\n", p.file+1, p.files[p.file].name)
		p.file++
	}
	if p.file < len(p.files) {
		f := p.files[p.file]
		fmt.Fprintf(p.w, "  KTAP version 1\n  # Subtest: %s\n  1..%d\n", f.name, len(f.recs))
	}
}

func (p *conformKTAP) result(r conform.Result) {
	p.n++
	if r.Err != nil {
		fmt.Fprintf(p.w, "  # %v\n", r.Err)
	}
	for _, d := range r.Diffs {
		fmt.Fprintf(p.w, "  # %s\n", d)
	}
	fmt.Fprintf(p.w, "  %s %d %s\n", ktapStatus(r.Passed()), p.n, r.Name())
	p.ok = p.ok && r.Passed()
	if p.n == len(p.files[p.file].recs) {
		fmt.Fprintf(p.w, "%s %d %s\n", ktapStatus(p.ok), p.file+1, p.files[p.file].name)
		p.file++
		p.begin()
	}
}

func ktapStatus(ok bool) string {
	if ok {
		return "ok"
	}
	return "not ok"
}

func (p *conformKTAP) end(passed, failed int) { writeTotals(p.w, passed, failed) }

// A progress is a line on a terminal that says how far a command is; on
// anything else it is nothing.
type progress struct {
	a       *app
	w       io.Writer // nil: no terminal
	n, all  int
	visible bool
}

func newProgress(a *app, all int) *progress {
	p := &progress{a: a, all: all}
	if f, ok := a.stderr.(*os.File); ok {
		if _, terminal := terminalWidth(f); terminal {
			p.w = f
		}
	}
	return p
}

// step shows that one more is done.
func (p *progress) step() {
	p.n++
	if p.w == nil {
		return
	}
	// What was printed meanwhile comes first.
	p.a.stdout.Flush()
	fmt.Fprintf(p.w, "\r%d of %d", p.n, p.all)
	p.visible = true
}

// clear takes the line away, so that other output can be printed.
func (p *progress) clear() {
	if p.visible {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.visible = false
	}
}
