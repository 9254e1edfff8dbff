package patcher

import (
	"errors"
	"fmt"
	"slices"

	"ftemu/trace"
	"ftemu/x86"
)

// What can be wrong with changes as such, whatever memory holds.
var (
	ErrOverlap = errors.New("sites overlap")
	ErrEmulate = errors.New("not an instruction that the int3 handler can stand in for")
	ErrBusy    = errors.New("code is being changed already")
)

// Memory is where the sites are. *emu.Memory is one.
type Memory interface {
	Read(addr uint64, b []byte) error
	// Gather reads n bytes at each of addrs, one after the other into b, and
	// returns how many it read before one that cannot be.
	Gather(addrs []uint64, n int, b []byte) int
	// Write changes all of b or, with an error, nothing.
	Write(addr uint64, b []byte) error
}

// An Observer is told of progress: a scheduler lets other CPUs run there.
type Observer interface {
	// Wrote is called after the i-th write of a step.
	Wrote(s Step, i int)
	// Done is called after the last write of a step, and after the sync of
	// all CPUs if the step has one.
	Done(s Step)
}

// A Poker changes code in one memory, one call at a time (text_mutex is its
// caller's to hold).
type Poker struct {
	mem Memory
	// Strategy is how Apply goes about it.
	Strategy Strategy
	// Tracer gets a Poke event for each write; nil: none.
	Tracer trace.Tracer
	// Observer may be nil.
	Observer Observer
	// SkipTraps makes the int3 handler go on behind the site instead of doing
	// what the new instruction does: the mistake of Linux before 5.6, where calls
	// were missed while a site changed.
	SkipTraps bool

	busy  bool
	batch []Change // the sites whose int3s are claimed, ascending

	// For Verify: sites, and what was found there.
	ips   [64]uint64
	found [64 * x86.SiteLen]byte
}

// NewPoker returns a poker that uses the breakpoint protocol.
func NewPoker(mem Memory) *Poker { return &Poker{mem: mem} }

// Verify tells whether every site holds its change's Old. The error is a *Bug
// for the first that does not.
func (p *Poker) Verify(changes []Change) error {
	for part := range slices.Chunk(changes, len(p.ips)) {
		for i := range part {
			p.ips[i] = part[i].IP
		}
		n := p.mem.Gather(p.ips[:len(part)], x86.SiteLen, p.found[:])
		for i := range part[:n] {
			c := &part[i]
			if actual := x86.Bytes5(p.found[i*x86.SiteLen:]); actual != c.Old {
				return &Bug{Reason: Mismatch, IP: c.IP, Actual: actual, Expected: c.Old}
			}
		}
		if n < len(part) {
			return &Bug{Reason: Unreadable, IP: part[n].IP, Expected: part[n].Old}
		}
	}
	return nil
}

// Apply makes the changes, after it has verified all of them. With an error,
// which is a *Bug where one site is to blame, memory holds what it held before.
func (p *Poker) Apply(changes []Change) error {
	if p.busy {
		return fmt.Errorf("patch of %d sites: %w", len(changes), ErrBusy)
	}
	if err := p.check(changes); err != nil {
		return err
	}
	if err := p.Verify(changes); err != nil {
		return err
	}
	p.busy = true
	defer func() { p.busy, p.batch = false, nil }()
	for _, step := range p.Strategy.Steps(changes) {
		if err := p.run(step); err != nil {
			p.takeBack(changes)
			return err
		}
	}
	return nil
}

// check refuses changes that no strategy can make.
func (p *Poker) check(changes []Change) error {
	for i := range changes {
		c := &changes[i]
		if p.Strategy == Breakpoint && !emulable(c.New) {
			return fmt.Errorf("site %#x: new bytes % x: %w", c.IP, c.New, ErrEmulate)
		}
	}
	byIP := func(a, b Change) int {
		if a.IP < b.IP {
			return -1
		}
		if a.IP > b.IP {
			return 1
		}
		return 0
	}
	sorted := changes
	if !slices.IsSortedFunc(changes, byIP) {
		sorted = slices.SortedStableFunc(slices.Values(changes), byIP)
	}
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1].IP, sorted[i].IP; b-a < x86.SiteLen {
			return fmt.Errorf("sites %#x and %#x: %w", a, b, ErrOverlap)
		}
	}
	return nil
}

// run takes one step.
func (p *Poker) run(s Step) error {
	if s.Trap {
		// Before the first write: the handler must know a site when its int3
		// is there.
		p.batch = s.Sites
	}
	how := s.Phase.String()
	for i := range s.Sites {
		w := s.Write(i)
		if err := p.write(s.Sites[i].IP, w, how); err != nil {
			return &Bug{Reason: Unwritable, IP: s.Sites[i].IP, Expected: s.Sites[i].Old}
		}
		if p.Observer != nil {
			p.Observer.Wrote(s, i)
		}
	}
	if p.Observer != nil {
		p.Observer.Done(s)
	}
	return nil
}

// takeBack restores the old bytes of the sites after a write failed.
func (p *Poker) takeBack(changes []Change) {
	for i := range changes {
		c := &changes[i]
		var now x86.Bytes5
		if p.mem.Read(c.IP, now[:]) == nil && now != c.Old {
			// A site that cannot be written was not changed either: there is
			// nothing to restore and nobody else to tell.
			_ = p.write(c.IP, Write{c.IP, c.Old[:]}, "undo")
		}
	}
}

// write stores bytes and traces that.
func (p *Poker) write(ip uint64, w Write, how string) error {
	if p.Tracer == nil || !p.Tracer.Mask().Has(trace.Poke) {
		return p.mem.Write(w.Addr, w.Bytes)
	}
	old := make([]byte, len(w.Bytes))
	if err := p.mem.Read(w.Addr, old); err != nil {
		return err
	}
	if err := p.mem.Write(w.Addr, w.Bytes); err != nil {
		return err
	}
	p.Tracer.Trace(&trace.Event{Kind: trace.Poke, IP: ip, Addr: w.Addr, Size: len(w.Bytes), Old: old, New: w.Bytes, Text: how})
	return nil
}

// WriteEarly stores bytes of code that nobody executes, in one go: freshly
// generated code, or sites before the CPUs run (text_poke_early).
func (p *Poker) WriteEarly(addr uint64, b []byte) error {
	if err := p.write(addr, Write{addr, b}, "early"); err != nil {
		return fmt.Errorf("early write of code: %w", err)
	}
	return nil
}

// Retarget makes the call at ip go to target, with the strategy. The call need
// not be a site: the static trampolines' calls are changed so
// (ftrace_update_ftrace_func).
func (p *Poker) Retarget(ip, target uint64) error {
	var old x86.Bytes5
	if err := p.mem.Read(ip, old[:]); err != nil {
		return &Bug{Reason: Unreadable, IP: ip}
	}
	if form, _ := x86.ParseSite(old, ip); form != x86.FormCall {
		return fmt.Errorf("address %#x: found % x, expected a call", ip, old)
	}
	call, ok := x86.EncodeCall(ip, target)
	if !ok {
		return fmt.Errorf("call at %#x: target %#x is out of reach", ip, target)
	}
	return p.Apply([]Change{{IP: ip, Old: old, New: call}})
}
