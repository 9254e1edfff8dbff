//go:build unicorn

// Package direct drives Unicorn through its Go binding, without the contract of
// package emu, as well as the binding allows: translations stay warm, memory is
// mapped where Go can write to it, registers travel in batches, hooks are there
// only where the work needs them, and no run with a count is followed by one
// without (which would throw all translations away).
package direct

/*
#cgo LDFLAGS: -lunicorn
#include <unicorn/unicorn.h>

// The binding has no call for this.
static int remove_cache(void *uc, uint64_t addr, uint64_t size) {
	return uc_ctl_remove_cache((uc_engine *)uc, addr, addr + size);
}
*/
import "C"

import (
	"syscall"
	"unsafe"

	uc "github.com/unicorn-engine/unicorn/bindings/go/unicorn"

	"ftemu/bench"
	"ftemu/emu"
)

// New returns Unicorn as a subject of the comparison.
func New() bench.Subject { return subject{} }

type subject struct{}

func (subject) Name() string { return "unicorn, driven directly" }

// allRegs is the register file in the order of emu.Regs, whose first four words
// behind the general registers it has too. They are set before each call, which sets RIP
// itself, and read after it.
var allRegs = []int{
	uc.X86_REG_RAX, uc.X86_REG_RCX, uc.X86_REG_RDX, uc.X86_REG_RBX,
	uc.X86_REG_RSP, uc.X86_REG_RBP, uc.X86_REG_RSI, uc.X86_REG_RDI,
	uc.X86_REG_R8, uc.X86_REG_R9, uc.X86_REG_R10, uc.X86_REG_R11,
	uc.X86_REG_R12, uc.X86_REG_R13, uc.X86_REG_R14, uc.X86_REG_R15,
	uc.X86_REG_RFLAGS,
}

// A guest is one instance with a program.
type guest struct {
	u       uc.Unicorn
	program *bench.Program
	batch   *uc.RegBatch
	regs    []uint64 // on entry
	mem     []byte   // text, data and stack, one after the other
}

// The memory of a guest: offsets in mem.
const (
	dataAt  = bench.TextSize
	stackAt = dataAt + bench.DataSize
	memSize = stackAt + bench.StackSize
)

func newGuest(p *bench.Program) (*guest, error) {
	g := &guest{program: p, regs: make([]uint64, len(allRegs))}
	g.regs[emu.RSP], g.regs[emu.RDI], g.regs[emu.RSI] = bench.SP, p.RDI, p.RSI
	g.regs[emu.RCX], g.regs[emu.R8], g.regs[len(allRegs)-1] = p.RCX, p.R8, emu.FlagsReset
	var err error
	g.mem, err = syscall.Mmap(-1, 0, memSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	if err := g.open(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *guest) open() (err error) {
	if g.u, err = uc.NewUnicorn(uc.ARCH_X86, uc.MODE_64); err != nil {
		return err
	}
	copy(g.mem, g.program.Code)
	copy(g.mem[dataAt:], g.program.InitialData())
	done := uint64(bench.Done)
	copy(g.mem[stackAt+bench.SP-bench.Stack:], unsafe.Slice((*byte)(unsafe.Pointer(&done)), 8))
	for _, r := range []struct {
		addr, size uint64
		prot       int
		at         int
	}{
		{bench.Text, bench.TextSize, uc.PROT_READ | uc.PROT_EXEC, 0},
		{bench.Data, bench.DataSize, uc.PROT_READ | uc.PROT_WRITE, dataAt},
		{bench.Stack, bench.StackSize, uc.PROT_READ | uc.PROT_WRITE, stackAt},
	} {
		if err := g.u.MemMapPtr(r.addr, r.size, r.prot, unsafe.Pointer(&g.mem[r.at])); err != nil {
			return err
		}
	}
	g.batch, err = uc.NewRegBatch(allRegs)
	return err
}

func (g *guest) close() error {
	var err error
	if g.u != nil {
		err = g.u.Close()
	}
	if e := syscall.Munmap(g.mem); err == nil {
		err = e
	}
	return err
}

func (g *guest) call() error {
	if err := g.batch.Write(g.u, g.regs); err != nil {
		return err
	}
	if err := g.u.Start(bench.Text, bench.Done); err != nil {
		return err
	}
	regs, err := g.batch.ReadFast(g.u)
	if err != nil {
		return err
	}
	return g.program.Check(regs[emu.RAX])
}

func repeat(g *guest, once func() error) *bench.Load {
	return &bench.Load{
		Run: func(n int) error {
			for range n {
				if err := once(); err != nil {
					return err
				}
			}
			return nil
		},
		Close: g.close,
	}
}

func (subject) Call(p *bench.Program) (*bench.Load, error) {
	g, err := newGuest(p)
	if err != nil {
		return nil, err
	}
	return repeat(g, g.call), nil
}

func (subject) Step(p *bench.Program) (*bench.Load, error) {
	g, err := newGuest(p)
	if err != nil {
		return nil, err
	}
	if err := g.batch.Write(g.u, g.regs); err != nil {
		return nil, err
	}
	rip := uint64(bench.Text)
	one := &uc.UcOptions{Count: 1}
	step := func() error {
		err := g.u.StartWithOptions(rip, bench.Done, one)
		if err != nil {
			return err
		}
		if rip, err = g.u.RegRead(uc.X86_REG_RIP); rip != bench.Done {
			return err
		}
		regs, err := g.batch.ReadFast(g.u)
		if err != nil {
			return err
		}
		if err := p.Check(regs[emu.RAX]); err != nil {
			return err
		}
		rip = bench.Text
		return g.batch.Write(g.u, g.regs)
	}
	return repeat(g, step), nil
}

func (subject) Traced(p *bench.Program) (*bench.Load, error) {
	g, err := newGuest(p)
	if err != nil {
		return nil, err
	}
	seen := uint64(0)
	if _, err := g.u.HookAdd(uc.HOOK_CODE, func(uc.Unicorn, uint64, uint32) { seen++ }, 1, 0); err != nil {
		return nil, err
	}
	l := repeat(g, g.call)
	calls := l.Run
	l.Run = func(n int) error {
		seen = 0
		if err := calls(n); err != nil {
			return err
		}
		return p.CheckInsns(seen, n)
	}
	return l, nil
}

func (subject) Patch(p *bench.Program, states [2][]byte) (*bench.Load, error) {
	g, err := newGuest(p)
	if err != nil {
		return nil, err
	}
	i, handle := 0, unsafe.Pointer(g.u.Handle())
	return repeat(g, func() error {
		copy(g.mem, states[i])
		if e := C.remove_cache(handle, bench.Text, C.uint64_t(len(states[i]))); e != 0 {
			return uc.UcError(e)
		}
		i = 1 - i
		return g.call()
	}), nil
}

func (subject) Fresh(p *bench.Program) (*bench.Load, error) {
	return &bench.Load{Run: func(n int) error {
		for range n {
			g, err := newGuest(p)
			if err != nil {
				return err
			}
			if err := g.call(); err != nil {
				return err
			}
			if err := g.close(); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// Snapshot: the binding crashes where a context is saved over an old one, so
// each is a new one.
func (subject) Snapshot(p *bench.Program) (*bench.Load, error) {
	g, err := newGuest(p)
	if err != nil {
		return nil, err
	}
	writable := g.mem[dataAt:]
	saved := make([]byte, len(writable))
	return repeat(g, func() error {
		copy(saved, writable)
		ctx, err := g.u.ContextSave(nil)
		if err != nil {
			return err
		}
		if err := g.call(); err != nil {
			return err
		}
		copy(writable, saved)
		return g.u.ContextRestore(ctx)
	}), nil
}
