package emu

import (
	"fmt"
	"maps"
	"slices"
)

// A GateFunc runs in place of guest code. On entry RSP points to the return
// address as after a call. When it returns nil the CPU executes what amounts
// to a ret; an error stops the run with StopGate, RIP at the gate.
type GateFunc func(c CPU) error

// A Gate is an address whose execution calls a Go function.
type Gate struct {
	Addr uint64
	Name string // the kernel function it stands for
	Func GateFunc
	// Clobber poisons the caller-saved registers other than RAX (and the
	// status flags) after the call, as a compiled C function is free to do. By default
	// registers that Func does not write are kept.
	Clobber bool
}

// Poison is the value that a clobbering gate leaves in register i (an index
// into Regs.GPR): recognisable, different for each register, not canonical.
func Poison(i int) uint64 { return 0xdead_0000_0000_0bad | uint64(i)<<32 }

// Clobbered are the registers that a clobbering gate poisons: what the System V
// ABI lets a callee change, without RAX.
var Clobbered = [8]int{RCX, RDX, RSI, RDI, R8, R9, R10, R11}

// Gates is a set of gates by address. The zero value is an empty set. Engines
// look gates up as they decode: adding or removing one during a run takes
// effect at the latest when the run next enters a gate or ends.
type Gates struct {
	byAddr  map[uint64]*Gate
	version uint64
}

// Add adds g. An address holds one gate at most.
func (g *Gates) Add(gate Gate) error {
	if old := g.byAddr[gate.Addr]; old != nil {
		return fmt.Errorf("gate %s at %#x: the address belongs to gate %s", gate.Name, gate.Addr, old.Name)
	}
	if g.byAddr == nil {
		g.byAddr = make(map[uint64]*Gate)
	}
	g.byAddr[gate.Addr] = &gate
	g.version++
	return nil
}

// Remove takes the gate at addr away, if there is one.
func (g *Gates) Remove(addr uint64) {
	if _, ok := g.byAddr[addr]; ok {
		delete(g.byAddr, addr)
		g.version++
	}
}

// At returns the gate at addr, or nil.
func (g *Gates) At(addr uint64) *Gate {
	if g == nil {
		return nil
	}
	return g.byAddr[addr]
}

// Addrs lists the addresses that are gates, in order.
func (g *Gates) Addrs() []uint64 {
	if g == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(g.byAddr))
}

// Version changes whenever a gate is added or removed.
func (g *Gates) Version() uint64 {
	if g == nil {
		return 0
	}
	return g.version
}
