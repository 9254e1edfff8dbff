//go:build unicorn

package unicorn

/*
#include "core.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"

	"ftemu/emu"
	"ftemu/trace"
)

// New returns the engine.
func New() emu.Engine { return engine{} }

type engine struct{}

func (engine) Name() string { return "unicorn" }

func (engine) NewMemory(limit uint64) *emu.Memory { return newMemory(limit) }

func (engine) NewMachine(cfg emu.Config) (emu.Machine, error) {
	switch {
	case cfg.Memory == nil:
		return nil, errors.New("unicorn: a machine needs memory")
	case !cfg.Memory.Direct():
		return nil, errors.New("unicorn: the memory is not from this engine's NewMemory")
	case cfg.CPUs < 0:
		return nil, fmt.Errorf("unicorn: %d CPUs, expected at least 1", cfg.CPUs)
	}
	m := &machine{mem: cfg.Memory, gates: cfg.Gates, trap: cfg.Trap, wx: make(pageSet)}
	for i := range max(cfg.CPUs, 1) {
		c := &cpu{m: m, id: i}
		c.regs.Flags = emu.FlagsReset
		c.vector.mxcsr = 0x1f80 // as after a reset: all exceptions masked
		m.pin.Pin(&c.request)
		m.cpus = append(m.cpus, c)
	}
	m.SetTracer(cfg.Tracer)
	for _, r := range m.mem.Regions() {
		for a := r.Addr; a-r.Addr < r.Size; a += emu.PageSize {
			m.wx.set(a, emu.PageSize, m.mem.Page(a).Perm)
		}
	}
	if _, err := m.core(C.FT_EXACT); err != nil {
		m.pin.Unpin()
		return nil, err
	}
	m.unwatch = m.mem.Watch(m)
	return m, nil
}

// A machine is CPUs over one memory, and the cores they run on.
type machine struct {
	mem     *emu.Memory
	gates   *emu.Gates
	trap    func(emu.CPU) bool
	cpus    []*cpu
	cores   [3]*core // by kind; nil until needed
	wx      pageSet
	unwatch func()
	pin     runtime.Pinner // the CPUs' requests, which cores read
	copies  [][]byte       // of writable memory, for the fast core

	tracer trace.Tracer
	mask   trace.Mask
}

func (m *machine) Memory() *emu.Memory { return m.mem }
func (m *machine) NumCPU() int         { return len(m.cpus) }
func (m *machine) CPU(i int) emu.CPU   { return m.cpus[i] }

func (m *machine) SetTracer(t trace.Tracer) {
	m.tracer, m.mask = t, 0
	if t != nil {
		m.mask = t.Mask()
	}
}

// Close implements emu.Machine.
func (m *machine) Close() error {
	var errs []error
	for i, c := range m.cores {
		if c != nil {
			errs = append(errs, c.close())
			m.cores[i] = nil
		}
	}
	if m.unwatch != nil {
		m.unwatch()
		m.unwatch = nil
		m.pin.Unpin()
	}
	return errors.Join(errs...)
}

// core returns the core of a kind, following memory and gates.
func (m *machine) core(kind C.int) (*core, error) {
	c := m.cores[kind]
	if c != nil && c.stale {
		m.cores[kind] = nil
		if err := c.close(); err != nil {
			return nil, fmt.Errorf("unicorn: close: %w", err)
		}
		c = nil
	}
	if c == nil {
		var err error
		if c, err = newCore(m, kind); err != nil {
			return nil, err
		}
		m.cores[kind] = c
	}
	c.setGates()
	return c, nil
}

// each calls fn for every core that is there. One for which fn fails is made
// anew before its next use.
func (m *machine) each(fn func(*core) error) {
	for _, c := range m.cores {
		if c != nil && !c.stale && fn(c) != nil {
			c.stale = true
		}
	}
}

// Mapped implements emu.Watcher.
func (m *machine) Mapped(addr uint64, data []byte, perm emu.Perm) {
	m.track(addr, uint64(len(data)), perm)
	m.each(func(c *core) error {
		c.k.code_moved = true
		return c.mapRange(addr, data, perm)
	})
}

// Unmapped implements emu.Watcher.
func (m *machine) Unmapped(addr, size uint64) {
	// Translations are kept by the place of their bytes in the instance, which
	// the next mapping may get.
	m.each(func(c *core) error {
		c.remove(addr, size)
		return c.u.MemUnmap(addr, size)
	})
	m.track(addr, size, 0)
}

// Protected implements emu.Watcher.
func (m *machine) Protected(addr, size uint64, perm emu.Perm) {
	m.track(addr, size, perm)
	// Whether a page may be executed is looked at when it is translated, and
	// writes to it were not announced while it was not.
	m.each(func(c *core) error {
		c.remove(addr, size)
		return c.u.MemProtect(addr, size, int(perm))
	})
}

// CodeChanged implements emu.Watcher.
func (m *machine) CodeChanged(addr, size uint64) {
	m.each(func(c *core) error {
		c.remove(addr, size)
		return nil
	})
}

// track keeps the set of writable, executable pages.
func (m *machine) track(addr, size uint64, perm emu.Perm) {
	if !m.wx.set(addr, size, perm) {
		return
	}
	m.each(func(c *core) error {
		c.setWX()
		return nil
	})
}
