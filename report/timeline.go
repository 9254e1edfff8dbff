package report

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"ftemu/script"
)

// A Timeline is a call as a picture and as a list. The names of lanes are a picture
// of their own, which stays in sight where the other scrolls.
type Timeline struct {
	Names         int // width of the names
	Width, Height int // of what is right of them
	Title         string
	Lanes         []Lane
	Bars          []Bar
	Ticks         []Tick
	Bottom        int // y of the axis
	Rows          []CallRow
	Ret           string // what the call returned, "" where it did not
	LeftOut       int    // slices
}

// A Lane is what code of one role did.
type Lane struct {
	Name        string
	Y, H, TextY int
}

// A Bar is one slice.
type Bar struct {
	X, Y, W, H float64
	Kind       string // class
	Label      string
	LX, LY     float64
	Inside     bool // the label stands in the bar
	Title      string
	low, high  float64 // what it takes of its row, label included
}

// A Tick is a mark of the axis.
type Tick struct {
	X      float64
	Label  string
	Anchor string // text-anchor of the label
}

// A CallRow is a slice in words.
type CallRow struct {
	Depth    int
	Role     string
	Name     string
	From, To uint64
}

// Measures of a time line, in units of its picture, which are pixels at its
// natural size.
const (
	lineWidth  = 896
	laneNames  = 84  // for the names of lanes
	leftEdge   = 92  // where bars begin
	rightEdge  = 884 // where bars end
	rowHeight  = 22
	barHeight  = 16
	laneGap    = 8
	charWidth  = 7.3 // of the labels' font, at most
	minBar     = 3.0
	labelSpace = 5
	mostLabel  = 35 // characters; of more, some would reach into the names
)

// timeline draws the slices of a line.
func (r *Recorder) timeline(s *Step, res *script.Result) *Timeline {
	end := r.clock.Now() - r.call.from
	t := &Timeline{Names: laneNames, Width: lineWidth - laneNames, LeftOut: r.call.lost}
	if res.Ret != nil {
		t.Ret = strconv.FormatInt(*res.Ret, 10)
	}
	scale := float64(rightEdge-leftEdge) / float64(max(end, 1))
	for i := range r.call.slices {
		x := &r.call.slices[i]
		if x.open {
			x.to = end
		}
		t.Rows = append(t.Rows, CallRow{x.depth, x.role, cutTo(x.name, 80), x.from, x.to})
	}
	y := 6
	for _, role := range roles {
		y = t.lane(role.role, role.name, r.call.slices, scale, y)
	}
	t.Bottom, t.Height = y, y+24
	for _, n := range ticks(end) {
		tick := Tick{leftEdge + float64(n)*scale, grouped(int(n)), "middle"}
		if tick.X+float64(len(tick.Label))*charWidth/2 > lineWidth {
			tick.Anchor = "end"
		}
		t.Ticks = append(t.Ticks, tick)
	}
	t.Title = fmt.Sprintf("Time line of %s: %s, %s", s.Text, counted(int(end), "instruction"), counted(len(t.Rows), "slice"))
	return t
}

// lane draws the slices of one role from y on and returns where the next begins.
func (t *Timeline) lane(role, name string, slices []slice, scale float64, y int) int {
	var ends []float64 // of what stands in each row of the lane
	first := len(t.Bars)
	for _, s := range slices {
		if s.role != role {
			continue
		}
		b := place(s, scale)
		row := 0
		for ; row < len(ends) && ends[row]+labelSpace > b.low; row++ {
		}
		if row == len(ends) {
			ends = append(ends, 0)
		}
		ends[row] = b.high
		b.Y = float64(y + row*rowHeight)
		b.LY = b.Y + 12
		t.Bars = append(t.Bars, b)
	}
	if first == len(t.Bars) {
		return y
	}
	h := len(ends) * rowHeight
	t.Lanes = append(t.Lanes, Lane{Name: name, Y: y - laneGap/2, H: h + 2, TextY: y + 12})
	return y + h + laneGap
}

// place gives a slice its bar and its label: inside, or else to the right, or to
// the left where the picture ends.
func place(s slice, scale float64) Bar {
	b := Bar{X: leftEdge + float64(s.from)*scale, H: barHeight, Kind: s.kind, Label: cutTo(s.name, mostLabel)}
	b.W = max(float64(s.to-min(s.from, s.to))*scale, minBar)
	b.X = min(b.X, rightEdge-b.W)
	b.Title = fmt.Sprintf("%s %s: instructions %s to %s", s.role, cutTo(s.name, 80), grouped(int(s.from)), grouped(int(s.to)))
	text := float64(utf8.RuneCountInString(b.Label)) * charWidth
	b.low, b.high = b.X, b.X+b.W
	switch {
	case text+2*labelSpace <= b.W:
		b.Inside, b.LX = true, b.X+labelSpace
	case b.high+labelSpace+text <= lineWidth:
		b.LX = b.high + labelSpace
		b.high = b.LX + text
	default:
		b.LX = b.low - labelSpace - text
		b.low = b.LX
	}
	return b
}

// ticks are round numbers up to end, five to ten of them.
func ticks(end uint64) []uint64 {
	step := uint64(1)
	for i := 0; end/step > 10; i++ {
		step = step * [...]uint64{2, 5, 2}[i%3] / [...]uint64{1, 2, 1}[i%3]
	}
	var out []uint64
	for n := uint64(0); n <= end; n += step {
		out = append(out, n)
	}
	return out
}
