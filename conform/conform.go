// Package conform compares ftemu with recordings of a real kernel: it runs each
// recording on a fresh lab and compares every field that was recorded.
//
// A file of recordings has one JSON object a line, and may be compressed with
// gzip. What an object records is told by its keys; see [Read].
package conform

import (
	"fmt"
	"sync/atomic"

	"ftemu"
)

// A Case is one recording that can be run and compared.
type Case interface {
	// Name is what the recording is called.
	Name() string
	// Run runs the recording on a lab of its own and compares. Any number of
	// cases may run at the same time, and a case more than once. The error is
	// for what could not be run at all.
	Run(opt Options) (Report, error)
}

// Options say how recordings are run.
type Options struct {
	Lab   ftemu.Options // of each lab; what a recording fixes is set by it
	Steps bool          // keep the steps of each report
}

// A Report is how a case compared.
type Report struct {
	Diffs []Diff
	Steps []Step // all lines with both sides, if asked for
}

// A Diff is one value in which ftemu and the kernel differ.
type Diff struct {
	Line   int    // of the recording's script, from 1
	Op     string // the line
	Field  string // "rc", or a path such as "sites[f0].cnt"
	Kernel string // JSON; "" where there is no such value
	Ftemu  string // the same
}

// String is the difference in one line.
func (d Diff) String() string {
	return fmt.Sprintf("line %d (%s): %s: kernel %s, ftemu %s", d.Line, d.Op, d.Field, orNothing(d.Kernel), orNothing(d.Ftemu))
}

func orNothing(json string) string {
	if json == "" {
		return "nothing"
	}
	return json
}

// A Step is one line of a recording with both sides, as JSON.
type Step struct {
	Line   int
	Op     string
	Kernel string // "" for the line that crashed the kernel
	Ftemu  string
}

// A Result is a recording that was run.
type Result struct {
	Recording
	Report
}

// Passed tells whether the recording could be run and did not differ.
func (r *Result) Passed() bool { return r.Err == nil && len(r.Diffs) == 0 }

// Run runs recordings on the given number of goroutines and hands the results to
// each, in the order of the recordings. Those that could not be read or run
// have Err set.
func Run(recs []Recording, opt Options, workers int, each func(Result)) {
	done := make([]chan Result, len(recs))
	for i := range done {
		done[i] = make(chan Result, 1)
	}
	var next atomic.Int64
	for range min(max(workers, 1), len(recs)) {
		go func() {
			for i := next.Add(1) - 1; i < int64(len(recs)); i = next.Add(1) - 1 {
				done[i] <- run(recs[i], opt)
			}
		}()
	}
	for _, c := range done {
		each(<-c)
	}
}

func run(rec Recording, opt Options) Result {
	res := Result{Recording: rec}
	if rec.Err != nil {
		return res
	}
	var err error
	if res.Report, err = rec.Case.Run(opt); err != nil {
		res.Err = rec.errorf("%s: %w", rec.Case.Name(), err)
	}
	return res
}
