package explore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"ftemu"
	"ftemu/script"
)

// Options say how to search.
type Options struct {
	// Lab is what the scenario runs on: engine, profile, design, strategy,
	// mistakes.
	Lab ftemu.Options
	// Properties are those to check; nil: all.
	Properties []Property
	// Full makes every instruction and every release of a lock a point of choice.
	Full bool
	// Bound, if not 0, is the largest number of choices that differ from running
	// on, less one: a bound of 1 allows none.
	Bound int
	// MaxStates and MaxSteps bound the search and one execution; 0: the defaults.
	MaxStates, MaxSteps int
	// All goes on after the first finding and counts them by property.
	All bool
	// Workers is how many executions run at the same time; 0: one a core.
	Workers int
	// Progress, if not nil, is called between rounds.
	Progress func(Stats)

	order     *lockOrder
	contended *contention
	moves     *[]Move // nil: not recorded
}

// The bounds that hold where none is given.
const (
	DefaultMaxStates = 5_000_000
	DefaultMaxSteps  = 100_000
)

func (o *Options) checks(p Property) bool {
	return o.Properties == nil || slices.Contains(o.Properties, p)
}

// Stats count what a search has done.
type Stats struct {
	Executions int `json:"executions"`
	States     int `json:"states"`     // different states at which there was a choice
	Depth      int `json:"depth"`      // steps of the longest execution
	Steps      int `json:"steps"`      // steps of all executions
	Deviations int `json:"deviations"` // choices that differ from running on, at most, so far
}

// A Report is the result of a search.
type Report struct {
	Stats
	// Exhaustive tells that every schedule within the bounds was covered, and
	// that no bound but Options.Bound cut one short.
	Exhaustive bool `json:"exhaustive"`
	// Stopped says what ended the search early, "" if nothing did.
	Stopped string `json:"stopped,omitempty"`
	// Unfit tells that the scenario has more states than Options.MaxStates.
	Unfit bool `json:"unfit,omitempty"`
	// Interrupted tells that the context ended before the search.
	Interrupted bool `json:"interrupted,omitempty"`
	// Found is the first finding, nil if there is none.
	Found *Finding `json:"found,omitempty"`
	// Counts are the findings by property, for a search with Options.All.
	Counts map[Property]int `json:"counts,omitempty"`
	// First are the schedules of the first finding of each property, with
	// Options.All.
	First map[Property]Finding `json:"first,omitempty"`
	// Locks is which lock was asked for while which was held.
	Locks *LockGraph `json:"locks,omitempty"`
}

// Short tells that less was searched than was asked for.
func (r *Report) Short() bool { return r.Unfit || r.Interrupted }

// Verdict is the result in a line.
func (r *Report) Verdict() string {
	switch {
	case r.Found != nil:
		return r.Found.String()
	case r.Exhaustive:
		return "exhaustive: every property holds in every order"
	}
	return "not exhaustive, no finding: " + r.Stopped
}

// counted is a number of things, in words.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// A Finding is an execution that breaks a property.
type Finding struct {
	Violation
	Schedule string `json:"schedule"`
}

// chunkSize is how many executions are made between two looks at what they
// found. It does not depend on how many run at the same time, so that no report does.
const chunkSize = 128

// A BoundError says that a scenario does not fit a bound.
type BoundError struct{ What, Raise string }

// Error says which bound, and what to raise.
func (e *BoundError) Error() string { return fmt.Sprintf("%s: raise %s", e.What, e.Raise) }

// An item is one execution to make: the choices that differ from running on.
type item struct{ schedule Schedule }

// A node is a state of an execution at which there was a choice.
type node struct {
	at      int // number of the point
	digest  uint64
	choices []Choice // the first was taken
}

// An outcome is what an execution gave.
type outcome struct {
	nodes []node
	steps int
	found *Violation
	err   error
}

// Explore tries every order. The scenario's threads must end in all of them.
func Explore(ctx context.Context, s *script.Script, opt Options) (*Report, error) {
	e, err := scenarioEngine(s, &opt)
	if err != nil {
		return nil, err
	}
	defer e.close()
	if err := e.sameTwice(); err != nil {
		return nil, err
	}
	r, err := e.search(ctx)
	if err == nil {
		r.Locks = opt.order.graph()
	}
	return r, err
}

// A system is what is explored: threads that run in turns, by choices.
type system interface {
	// reset brings the beginning back.
	reset() error
	// choices lists what can happen next, that which is running on first.
	choices() []Choice
	// step makes one of them happen.
	step(Choice)
	// end looks at a state where nothing can happen any more.
	end()
	// digest identifies the state: two that are equal go on in the same ways.
	digest() uint64
	// violation is the first thing that went wrong since reset.
	violation() *Violation
	// taken lists the uses of locks since it was last called.
	taken() []use
	close()
}

// engine is a search under way.
type engine struct {
	opt    *Options
	format func(Schedule) string
	worlds []system // all the same, one for each worker
	seen   map[uint64]struct{}
	full   bool // there are more states than Options.MaxStates
	report Report
}

// setDefaults fills in what was left to this package.
func (o *Options) setDefaults() {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.MaxStates == 0 {
		o.MaxStates = DefaultMaxStates
	}
	if o.MaxSteps == 0 {
		o.MaxSteps = DefaultMaxSteps
	}
	if o.order == nil {
		o.order = newLockOrder()
	}
	if o.contended == nil {
		o.contended = newContention()
	}
}

// newEngine makes an engine for what build makes one of.
func newEngine(opt *Options, format func(Schedule) string, build func() (system, error)) (*engine, error) {
	opt.setDefaults()
	e := &engine{opt: opt, format: format, seen: make(map[uint64]struct{}), report: newReport()}
	for range opt.Workers {
		w, err := build()
		if err != nil {
			e.close()
			return nil, err
		}
		e.worlds = append(e.worlds, w)
	}
	return e, nil
}

// scenarioEngine makes an engine for a scenario.
func scenarioEngine(s *script.Script, opt *Options) (*engine, error) {
	return newEngine(opt, func(d Schedule) string { return d.Format(s) }, func() (system, error) {
		w, err := newWorld(s, opt)
		if err != nil {
			return nil, err
		}
		return w, nil
	})
}

func (e *engine) close() {
	for _, w := range e.worlds {
		w.close()
	}
}

func (r *Report) interrupted() { r.Interrupted, r.Stopped = true, "interrupted" }

func newReport() Report {
	return Report{Counts: make(map[Property]int), First: make(map[Property]Finding)}
}

// learn tells whether the search must begin anew because a lock is contended
// that was not known to be.
func (e *engine) learn() (wrong bool) {
	for _, w := range e.worlds {
		wrong = e.opt.contended.learn(w.taken()) || wrong
	}
	return wrong && !e.opt.Full
}

// sameTwice is the detector of non-determinism: it runs on twice and compares
// every state. It also refuses guests that do not end.
func (e *engine) sameTwice() error {
	a := e.execute(e.worlds[0], nil, nil)
	b := e.execute(e.worlds[len(e.worlds)-1], nil, nil)
	switch {
	case a.err != nil:
		return a.err
	case a.found != nil && a.found.Property == Ends:
		// Nobody interfered: it is the guest, and not an order.
		return errors.New(a.found.Text)
	}
	for i := range a.nodes {
		if i >= len(b.nodes) || a.nodes[i].digest != b.nodes[i].digest {
			return fmt.Errorf("the scenario is not deterministic: two runs of the same schedule differ at point %d", a.nodes[i].at)
		}
	}
	return nil
}

// search works in rounds: the executions of one round each make one choice more
// that differs from running on than those of the round before.
func (e *engine) search(ctx context.Context) (*Report, error) {
restart:
	frontier := []item{{}}
	e.seen, e.full, e.report = make(map[uint64]struct{}), false, newReport()
	for round := 0; len(frontier) > 0; round++ {
		if e.opt.Bound > 0 && round >= e.opt.Bound {
			e.report.Stopped = "the bound of " + counted(e.opt.Bound-1, "choice") + " differing from running on"
			return &e.report, nil
		}
		e.report.Deviations = round
		var next []item
		// In chunks, so that what is known of one helps the others and memory
		// stays small.
		for len(frontier) > 0 {
			n := min(len(frontier), chunkSize)
			chunk := frontier[:n]
			frontier = frontier[n:]
			outs := e.runAll(chunk)
			if e.learn() {
				goto restart
			}
			for i, out := range outs {
				if out.err != nil {
					return nil, out.err
				}
				next = append(next, e.merge(chunk[i], out)...)
			}
			switch {
			case e.report.Found != nil && !e.opt.All:
				return &e.report, nil
			case ctx.Err() != nil:
				e.report.interrupted()
				return &e.report, nil
			case e.full:
				e.report.Unfit, e.report.Stopped = true, "the bound of "+counted(e.opt.MaxStates, "state")+"; raise --max-states"
				return &e.report, nil
			}
			if e.opt.Progress != nil {
				e.opt.Progress(e.report.Stats)
			}
		}
		frontier = next
	}
	e.report.Exhaustive = true
	return &e.report, nil
}

// runAll makes the executions of a chunk, one world a core.
func (e *engine) runAll(chunk []item) []outcome {
	outs := make([]outcome, len(chunk))
	var wg sync.WaitGroup
	for k, w := range e.worlds {
		wg.Go(func() {
			for i := k; i < len(chunk); i += len(e.worlds) {
				outs[i] = e.execute(w, chunk[i].schedule, e.known)
			}
		})
	}
	wg.Wait()
	return outs
}

// known tells whether a state was seen in a chunk before; the maps do not change
// while executions run.
func (e *engine) known(digest uint64) bool {
	_, ok := e.seen[digest]
	return ok
}

// merge takes an execution into account and returns what to try because of it.
func (e *engine) merge(it item, out outcome) (next []item) {
	e.report.Executions++
	e.report.Steps += out.steps
	e.report.Depth = max(e.report.Depth, out.steps)
	last := -1
	if n := len(it.schedule); n > 0 {
		last = it.schedule[n-1].At
	}
	for _, n := range out.nodes {
		if n.at <= last {
			continue
		}
		if e.known(n.digest) {
			// Somebody was here before; what follows is theirs, findings
			// included.
			return next
		}
		if e.report.States == e.opt.MaxStates {
			e.full = true
			continue // what follows is not searched, but this execution may break a property
		}
		e.seen[n.digest] = struct{}{}
		e.report.States++
		for _, c := range n.choices[1:] {
			s := append(slices.Clip(slices.Clone(it.schedule)), Deviation{n.at, c})
			next = append(next, item{s})
		}
	}
	if out.found != nil {
		f := Finding{Violation: *out.found, Schedule: e.format(it.schedule)}
		if e.report.Found == nil {
			e.report.Found = &f
		}
		if _, ok := e.report.First[f.Property]; !ok {
			e.report.First[f.Property] = f
		}
		e.report.Counts[f.Property]++
	}
	return next
}

// execute runs one schedule to its end, or behind its last deviation to a state
// that is known.
func (e *engine) execute(w system, s Schedule, known func(uint64) bool) (out outcome) {
	if err := w.reset(); err != nil {
		return outcome{err: err}
	}
	point := 0
	for w.violation() == nil {
		choices := w.choices()
		if len(choices) == 0 {
			w.end()
			break
		}
		pick := choices[0]
		if len(choices) > 1 {
			behind := len(s) == 0 || point > s[len(s)-1].At
			if !behind {
				if i := slices.IndexFunc(s, func(d Deviation) bool { return d.At == point }); i >= 0 {
					pick = s[i].Choice
					if !slices.Contains(choices, pick) {
						out.err = fmt.Errorf("%w: the schedule asks for thread %c, variant %d at point %d, which is not possible there",
							ErrSchedule, 'a'+pick.Thread, pick.Variant, point)
						return out
					}
				}
			} else {
				n := node{at: point, digest: w.digest(), choices: choices}
				out.nodes = append(out.nodes, n)
				if known != nil && known(n.digest) {
					break
				}
			}
			point++
		}
		w.step(pick)
		if out.steps++; out.steps >= e.opt.MaxSteps {
			out.err = &BoundError{fmt.Sprintf("an execution of more than %d steps", e.opt.MaxSteps), "--max-steps"}
			return out
		}
	}
	if len(s) > 0 && point <= s[len(s)-1].At {
		out.err = fmt.Errorf("%w: the schedule asks for a choice at point %d, and the execution has %d points", ErrSchedule, s[len(s)-1].At, point)
	}
	out.found = w.violation()
	return out
}

// ErrSchedule is wrapped by errors of schedules that do not fit their scenario.
var ErrSchedule = errors.New("bad schedule")

// Random runs n executions with choices by chance. With depth of 0 every choice
// is as likely as the others; otherwise threads get priorities, which change at
// depth-1 points (PCT).
func Random(ctx context.Context, s *script.Script, opt Options, seed uint64, n, depth int) (*Report, error) {
	opt.setDefaults()
	w, err := newWorld(s, &opt)
	if err != nil {
		return nil, err
	}
	defer w.close()
	report := newReport()
	for i := range n {
		if ctx.Err() != nil {
			report.interrupted()
			break
		}
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		sched, found, steps, err := w.wander(rng, depth, max(report.Depth, 50))
		if err != nil {
			return nil, err
		}
		report.Executions++
		report.Steps += steps
		report.Depth = max(report.Depth, steps)
		if found != nil {
			f := Finding{Violation: *found, Schedule: sched.Format(s)}
			report.Counts[f.Property]++
			if report.Found == nil {
				report.Found = &f
			}
			if !opt.All {
				break
			}
		}
		if opt.Progress != nil {
			opt.Progress(report.Stats)
		}
	}
	if report.Stopped == "" && report.Found == nil {
		report.Stopped = counted(n, "random execution")
	}
	report.Locks = opt.order.graph()
	return &report, nil
}

// wander makes one execution by chance.
func (w *world) wander(rng *rand.Rand, depth, length int) (sched Schedule, found *Violation, steps int, err error) {
	if err := w.reset(); err != nil {
		return nil, nil, 0, err
	}
	prio := rng.Perm(len(w.threads))
	changes := make(map[int]bool)
	for range depth - 1 {
		changes[rng.IntN(length)] = true
	}
	low := -1
	point := 0
	for w.found == nil {
		choices := w.choices()
		if len(choices) == 0 {
			w.end()
			break
		}
		pick := choices[0]
		if len(choices) > 1 {
			switch {
			case depth == 0:
				pick = choices[rng.IntN(len(choices))]
			default:
				if changes[point] {
					prio[choices[0].Thread] = low
					low--
				}
				best := slices.MaxFunc(choices, func(a, b Choice) int { return prio[a.Thread] - prio[b.Thread] })
				pick = Choice{best.Thread, rng.IntN(w.threads[best.Thread].variants())}
			}
			if pick != choices[0] {
				sched = append(sched, Deviation{point, pick})
			}
			point++
		}
		w.step(pick)
		if steps++; steps >= w.opt.MaxSteps {
			return nil, nil, 0, &BoundError{fmt.Sprintf("an execution of more than %d steps", w.opt.MaxSteps), "--max-steps"}
		}
	}
	return sched, w.found, steps, nil
}
