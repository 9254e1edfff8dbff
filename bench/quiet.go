package bench

import (
	"ftemu/emu"
	"ftemu/trace"
)

// quietRounds is how many samples of each kind Quiet takes.
const quietRounds = 20

// A QuietResult compares running without a tracer with running under one that
// asks for nothing.
type QuietResult struct {
	Bench    string  `json:"bench"`
	Engine   string  `json:"engine"`
	Rounds   int     `json:"rounds"`
	Untraced Spread  `json:"untraced_ns"` // for an instruction of mixed code
	Quiet    Spread  `json:"quiet_ns"`
	Apart    float64 `json:"medians_apart"` // the second median divided by the first, less 1
	// Spread is how far the samples without a tracer lie apart: the largest
	// divided by the smallest, less 1.
	Spread float64 `json:"spread"`
}

// quietTracer asks for nothing.
type quietTracer struct{}

func (quietTracer) Mask() trace.Mask   { return 0 }
func (quietTracer) Trace(*trace.Event) {}

// Quiet runs mixed code without a tracer and under one that asks for nothing, in
// turn, on one machine.
func Quiet(engine emu.Engine) (*QuietResult, error) {
	w := mixedWork()
	g, err := onEngine{engine}.newGuest(&w.Program, nil)
	if err != nil {
		return nil, err
	}
	s := &sample{load: repeat(g, g.call), n: 1}
	defer g.close()
	if err := s.calibrate(); err != nil {
		return nil, err
	}
	var ns [2][]float64
	for range quietRounds {
		for i, t := range []trace.Tracer{nil, quietTracer{}} {
			g.machine.SetTracer(t)
			d, err := s.take()
			if err != nil {
				return nil, err
			}
			ns[i] = append(ns[i], float64(d.Nanoseconds())/float64(s.n*w.units()))
		}
	}
	r := &QuietResult{Bench: "quiet", Engine: engine.Name(), Rounds: quietRounds, Untraced: spread(ns[0]), Quiet: spread(ns[1])}
	r.Apart = r.Quiet.Median/r.Untraced.Median - 1
	r.Spread = r.Untraced.Max/r.Untraced.Min - 1
	return r, nil
}

// mixedWork is the work of mixed code.
func mixedWork() Work {
	for _, w := range Works() {
		if w.Name == "mixed" {
			return w
		}
	}
	return Work{}
}
