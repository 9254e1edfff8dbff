//go:build unicorn

package unicorn

/*
#include "core.h"
*/
import "C"

import (
	"math"
	"slices"

	"ftemu/emu"
)

const (
	// A run changes to the fast core after this many instructions without a
	// gate or trap, and one more for each bytesPerInsn bytes to copy first:
	// copying then takes a fraction of the time that the run took already.
	minPatience  = 20_000
	bytesPerInsn = 64
	// maxSpeculation bounds what may have to be repeated, in instructions.
	maxSpeculation = 1 << 25
)

// patience is how many instructions must have executed in one go before the
// fast core is used.
func (m *machine) patience() uint64 {
	if len(m.wx) > 0 {
		return math.MaxUint64 // code may change while it runs
	}
	return minPatience + m.mem.Used()/bytesPerInsn
}

// speculate lets the fast core execute as far as it can. It answers false, with
// everything as it was, where the exact core has to do it.
func (c *cpu) speculate(r *run) (stop emu.Stop, done bool) {
	k, err := c.m.core(C.FT_FAST)
	if err != nil {
		return emu.Stop{}, false
	}
	k.own(c)
	regs, count := c.regs, r.count
	var vector C.ft_vector
	C.ft_vector_save(k.k, &vector)
	c.m.save()
	c.enter(k, r, min(r.limit, count+maxSpeculation))
	switch k.k.why {
	case C.FT_AGAIN, C.FT_INT3, C.FT_HALT:
		// These are between two instructions: every block is whole.
		if r.count-count < minPatience {
			r.streak = 0 // whatever is near, the exact core gets there
		}
		stop, _ = c.outcome(k, r)
		return stop, r.count != count
	}
	k.stale = k.k.why == C.FT_EXCEPTION // as in outcome
	r.repeat = r.count
	c.m.putBack()
	c.regs, r.count = regs, count
	C.ft_vector_load(k.k, &vector)
	return emu.Stop{}, false
}

// eachWritable calls fn for every run of writable pages.
func (m *machine) eachWritable(fn func(data []byte)) {
	for _, r := range m.mem.Regions() {
		for off := uint64(0); off < r.Size; {
			end := off
			for end < r.Size && m.mem.Page(r.Addr+end).Perm&emu.PermW != 0 {
				end += emu.PageSize
			}
			if end > off {
				fn(r.Data[off:end])
			}
			off = end + emu.PageSize
		}
	}
}

// save copies writable memory.
func (m *machine) save() {
	i := 0
	m.eachWritable(func(data []byte) {
		if i == len(m.copies) {
			m.copies = append(m.copies, nil)
		}
		m.copies[i] = append(m.copies[i][:0], data...)
		i++
	})
	m.copies = slices.Delete(m.copies, i, len(m.copies))
}

// putBack undoes what happened to memory since save.
func (m *machine) putBack() {
	i := 0
	m.eachWritable(func(data []byte) {
		copy(data, m.copies[i])
		i++
	})
}

// stored follows the guest's stores into executable memory in the last run of
// k: the other cores do not see them by themselves.
func (m *machine) stored(k *core) {
	if k.k.wx_writes == 0 {
		return
	}
	lo, hi := uint64(k.k.wx_lo)&^(emu.PageSize-1), uint64(k.k.wx_hi)
	for a := range m.wx {
		if a < lo || a > hi {
			continue
		}
		m.mem.Page(a).Version++
		for _, other := range m.cores {
			if other != nil && other != k {
				other.remove(a, emu.PageSize)
			}
		}
	}
}
