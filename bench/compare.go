package bench

import (
	"fmt"
	"slices"
	"time"
)

// Rounds is how many samples of each side a comparison takes.
const Rounds = 31

// sampleTime is how long one sample should take at least: less than a time slice,
// so that where other programs run beside, most samples are taken without them.
const sampleTime = time.Millisecond

// A Spread is what a number of measurements of one thing came to.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// spread sorts v.
func spread(v []float64) Spread {
	slices.Sort(v)
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (v[len(v)/2-1] + mid) / 2
	}
	return Spread{Min: v[0], Median: mid, Max: v[len(v)-1]}
}

// A Side is the figures of one subject.
type Side struct {
	Subject string `json:"subject"`
	NS      Spread `json:"ns"` // for a unit of the work
	// Ratio is this side's time divided by the first one's, round by round. The
	// first side has none.
	Ratio *Spread `json:"ratio,omitempty"`
}

// A Comparison is one work on several subjects.
type Comparison struct {
	Bench   string  `json:"bench"`
	Text    string  `json:"text"`
	Unit    string  `json:"unit"`
	AtLeast float64 `json:"at_least,omitempty"`
	Stretch float64 `json:"stretch,omitempty"`
	Rounds  int     `json:"rounds"`
	Sides   []Side  `json:"sides"`
}

// Compare does w on every subject in turn, Rounds times. Ratios are those to the
// first subject.
func Compare(w Work, subjects []Subject) (*Comparison, error) {
	samples := make([]*sample, len(subjects))
	for i, s := range subjects {
		l, err := w.Prepare(s)
		if err != nil {
			return nil, err
		}
		if l.Close != nil {
			defer l.Close()
		}
		samples[i] = &sample{load: l, n: 1}
		if err := samples[i].calibrate(); err != nil {
			return nil, fmt.Errorf("%s on %s: %w", w.Name, s.Name(), err)
		}
	}
	ns := make([][]float64, len(subjects))
	ratios := make([][]float64, len(subjects))
	for range Rounds {
		for i, s := range samples {
			d, err := s.take()
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", w.Name, subjects[i].Name(), err)
			}
			ns[i] = append(ns[i], float64(d.Nanoseconds())/float64(s.n*w.units()))
			ratios[i] = append(ratios[i], ns[i][len(ns[i])-1]/ns[0][len(ns[0])-1])
		}
	}
	c := &Comparison{Bench: w.Name, Text: w.Text, Unit: w.Unit, AtLeast: w.AtLeast, Stretch: w.Stretch, Rounds: Rounds}
	for i, s := range subjects {
		side := Side{Subject: s.Name(), NS: spread(ns[i])}
		if i > 0 {
			r := spread(ratios[i])
			side.Ratio = &r
		}
		c.Sides = append(c.Sides, side)
	}
	return c, nil
}

// A sample is a load, done n times in one go.
type sample struct {
	load *Load
	n    int
}

func (s *sample) take() (time.Duration, error) {
	start := now()
	err := s.load.Run(s.n)
	return now() - start, err
}

// calibrate warms the load up and finds n.
func (s *sample) calibrate() error {
	for {
		d, err := s.take()
		if err != nil || d >= sampleTime {
			return err
		}
		// More than proportionally, because the first times are slow.
		s.n = max(s.n+1, int(min(10, 1.2*float64(sampleTime)/float64(d+1))*float64(s.n)))
	}
}
