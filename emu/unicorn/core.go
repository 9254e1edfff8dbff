//go:build unicorn

package unicorn

/*
#include "core.h"
*/
import "C"

import (
	"fmt"
	"maps"
	"runtime/cgo"
	"slices"
	"unsafe"

	uc "github.com/unicorn-engine/unicorn/bindings/go/unicorn"

	"ftemu/emu"
	"ftemu/trace"
)

// A core is one Unicorn instance over the machine's memory.
type core struct {
	m      *machine
	u      uc.Unicorn
	k      *C.ft_core
	handle cgo.Handle
	gates  uint64 // the version of the gates that k knows
	stale  bool   // it no longer follows the memory and must be made anew
	owner  *cpu   // the CPU whose vector registers it holds
	runner *cpu   // the CPU that runs on it
}

// newCore makes a core and maps what is mapped.
func newCore(m *machine, kind C.int) (*core, error) {
	u, err := uc.NewUnicorn(uc.ARCH_X86, uc.MODE_64)
	if err != nil {
		return nil, fmt.Errorf("unicorn: %w", err)
	}
	c := &core{m: m, u: u, gates: ^uint64(0)}
	c.handle = cgo.NewHandle(c)
	c.k = C.ft_new((*C.uc_engine)(unsafe.Pointer(u.Handle())), kind, C.uintptr_t(c.handle))
	if c.k == nil {
		c.handle.Delete()
		u.Close()
		return nil, fmt.Errorf("unicorn: out of memory")
	}
	c.setWX()
	if e := C.ft_hooks(c.k); e != 0 {
		c.close()
		return nil, fmt.Errorf("unicorn: hooks: %w", uc.UcError(e))
	}
	for _, r := range m.mem.Regions() {
		if err := c.mapRegion(r); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// mapRegion maps a region, with one call for each run of equal permissions.
func (c *core) mapRegion(r emu.Region) error {
	for off := uint64(0); off < r.Size; {
		perm := c.m.mem.Page(r.Addr + off).Perm
		end := off + emu.PageSize
		for end < r.Size && c.m.mem.Page(r.Addr+end).Perm == perm {
			end += emu.PageSize
		}
		if err := c.mapRange(r.Addr+off, r.Data[off:end], perm); err != nil {
			return fmt.Errorf("unicorn: map %s at %#x: %w", r.Name, r.Addr+off, err)
		}
		off = end
	}
	return nil
}

// mapRange maps data. Permissions are the same bits here and there.
func (c *core) mapRange(addr uint64, data []byte, perm emu.Perm) error {
	return c.u.MemMapPtr(addr, uint64(len(data)), int(perm), unsafe.Pointer(unsafe.SliceData(data)))
}

// close releases the instance. The vector registers it holds go to their CPU.
func (c *core) close() error {
	if c.owner != nil {
		c.release()
	}
	err := c.u.Close()
	C.ft_free(c.k)
	c.handle.Delete()
	return err
}

// release takes the owner's vector registers out.
func (c *core) release() {
	C.ft_vector_save(c.k, &c.owner.vector)
	c.owner.home, c.owner = nil, nil
}

// own makes the core hold the vector registers of p.
func (c *core) own(p *cpu) {
	if c.owner == p {
		return
	}
	if c.owner != nil {
		c.release()
	}
	if p.home != nil {
		p.home.release()
	}
	C.ft_vector_load(c.k, &p.vector)
	c.owner, p.home = p, c
}

// removed forgets the translations of a range.
func (c *core) remove(addr, size uint64) {
	C.ft_remove(c.k, C.uint64_t(addr), C.uint64_t(size))
}

func (c *core) setWX() {
	pages := slices.Sorted(maps.Keys(c.m.wx))
	numbers := make([]C.uint64_t, len(pages))
	for i, a := range pages {
		numbers[i] = C.uint64_t(a / emu.PageSize)
	}
	C.ft_set_wx(c.k, unsafe.SliceData(numbers), C.int(len(numbers)))
}

// setGates tells k of the gates, if they changed.
func (c *core) setGates() {
	if v := c.m.gates.Version(); v != c.gates {
		addrs := c.m.gates.Addrs()
		c.gates = v
		C.ft_set_gates(c.k, (*C.uint64_t)(unsafe.SliceData(addrs)), C.int(len(addrs)))
	}
}

// ftEvents passes events on to the tracer, in the middle of a run.
//
//export ftEvents
func ftEvents(handle C.uintptr_t, list *C.ft_event, n C.int) {
	c := cgo.Handle(handle).Value().(*core)
	p := c.runner
	saved := p.regs
	p.regs = *(*emu.Regs)(unsafe.Pointer(&c.k.regs))
	for i := range unsafe.Slice(list, int(n)) {
		e := &unsafe.Slice(list, int(n))[i]
		ev := trace.Event{
			Kind: trace.Kind(e.kind), IP: uint64(e.ip), Addr: uint64(e.addr),
			Size: int(e.size), Write: e.write != 0, Value: uint64(e.value),
		}
		if ev.Kind == trace.Insn {
			// A translation is of the bytes in memory: they are read again.
			var code [16]byte
			ev.New = code[:min(ev.Size, len(code))]
			if err := c.m.mem.Read(ev.IP, ev.New); err != nil {
				ev.New = nil
			}
		}
		p.trace(ev)
	}
	p.regs = saved
}
