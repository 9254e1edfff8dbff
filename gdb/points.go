package gdb

import (
	"errors"
	"fmt"
	"slices"
)

// The kinds of break- and watchpoints, as Z packets number them.
const (
	softwareBreak = iota
	hardwareBreak
	writeWatch
	readWatch
	accessWatch
	numPointKinds
)

// maxPoints bounds how many points a client may set.
const maxPoints = 10_000

var errTooMany = errors.New("too many")

// A watch is a watchpoint.
type watch struct {
	kind int
	addr uint64
	size uint64
}

// A hit is an access that a watchpoint was set for.
type hit struct {
	kind int
	addr uint64 // the first address watched that was touched
}

// points are the breakpoints and watchpoints that are set.
type points struct {
	breaks  map[uint64][2]bool // by address: software, hardware
	watches []watch
}

func newPoints() points { return points{breaks: make(map[uint64][2]bool)} }

// set sets a point; setting it again changes nothing.
func (p *points) set(w watch) error {
	if len(p.breaks)+len(p.watches) >= maxPoints {
		return errTooMany
	}
	if w.kind <= hardwareBreak {
		b := p.breaks[w.addr]
		b[w.kind] = true
		p.breaks[w.addr] = b
		return nil
	}
	if w.size == 0 || w.addr+w.size < w.addr {
		return fmt.Errorf("no room of %d bytes at %#x", w.size, w.addr)
	}
	if !slices.Contains(p.watches, w) {
		p.watches = append(p.watches, w)
	}
	return nil
}

// clear takes a point away, if it is there.
func (p *points) clear(w watch) {
	if w.kind > hardwareBreak {
		p.watches = slices.DeleteFunc(p.watches, func(x watch) bool { return x == w })
		return
	}
	b := p.breaks[w.addr]
	b[w.kind] = false
	p.breaks[w.addr] = b
	if b == [2]bool{} {
		delete(p.breaks, w.addr)
	}
}

// watched finds the watchpoint that an access hits; nil if there is none.
func (p *points) watched(addr uint64, size int, write bool) *hit {
	for _, w := range p.watches {
		if addr-w.addr >= w.size && w.addr-addr >= uint64(size) {
			continue
		}
		if w.kind == accessWatch || write == (w.kind == writeWatch) {
			return &hit{w.kind, max(addr, w.addr)}
		}
	}
	return nil
}
