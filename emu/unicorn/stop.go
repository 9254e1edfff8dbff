//go:build unicorn

package unicorn

/*
#include "core.h"
*/
import "C"

import (
	"bytes"

	uc "github.com/unicorn-engine/unicorn/bindings/go/unicorn"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/x86"
)

// Vectors of exceptions.
const (
	vectorDivide = 0
	vectorInt3   = 3
	vectorUD     = 6
)

func unicornError(code C.int) error { return uc.UcError(C.uc_err(code)) }

func (c *cpu) traceTrap(ip uint64, vector int) {
	if c.m.mask.Has(trace.Trap) {
		rip := c.regs.RIP
		c.trace(trace.Event{Kind: trace.Trap, IP: ip, Vector: vector})
		c.regs.RIP = rip
	}
}

// int3 asks who claims the int3 before RIP.
func (c *cpu) int3(r *run) emu.Stop {
	r.streak = 0
	c.traceTrap(c.regs.RIP-1, vectorInt3)
	if c.m.trap != nil && c.m.trap(c) {
		return emu.Stop{}
	}
	return emu.Stop{Reason: emu.StopInt3}
}

// invalid looks at an instruction that Unicorn does not translate.
func (c *cpu) invalid() emu.Stop {
	window := make([]byte, x86.MaxInstLen)
	for n := len(window); n > 0; n-- {
		if c.m.mem.Fetch(c.regs.RIP, window[:n]) == nil {
			window = window[:n]
			break
		}
	}
	if ud2 := []byte{0x0f, 0x0b}; bytes.HasPrefix(window, ud2) {
		if c.m.mask.Has(trace.Insn) {
			c.trace(trace.Event{Kind: trace.Insn, IP: c.regs.RIP, Size: len(ud2), New: ud2})
		}
		c.traceTrap(c.regs.RIP, vectorUD)
		return emu.Stop{Reason: emu.StopUD}
	}
	if in, err := x86.Decode(window); err == nil {
		window = window[:in.Len]
	}
	return emu.Stop{Reason: emu.StopUnknown, Bytes: window}
}

// divide reports the division at RIP that has no result.
func (c *cpu) divide() emu.Stop {
	c.traceTrap(c.regs.RIP, vectorDivide)
	return emu.Stop{Reason: emu.StopDivide}
}

// unfetched says why the instruction at RIP could not be fetched from addr.
func (c *cpu) unfetched(addr uint64) emu.Stop {
	switch {
	case !canonical(addr):
		return emu.Stop{Reason: emu.StopGeneral, Addr: addr}
	case c.m.mem.Page(addr) == nil:
		return emu.Stop{Reason: emu.StopFetch, Addr: addr, Size: 1}
	}
	return emu.Stop{Reason: emu.StopNoExec, Addr: addr, Size: 1}
}

// unaccessed says why a load or store of the instruction at RIP failed.
func (c *cpu) unaccessed(addr uint64, size int, write bool) emu.Stop {
	switch {
	case !canonical(addr) || !canonical(addr+uint64(size)-1):
		return emu.Stop{Reason: emu.StopGeneral, Addr: addr, Size: size}
	case write:
		return emu.Stop{Reason: emu.StopWrite, Addr: addr, Size: size}
	}
	return emu.Stop{Reason: emu.StopRead, Addr: addr, Size: size}
}
