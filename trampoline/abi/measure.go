package abi

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/trampoline"
	"ftemu/x86"
)

// A Cost is what one passage through a trampoline takes: entered from the site,
// with callbacks that ask for nothing and programs that run and return 0. What
// the functions that it calls take is not in it, nor is the call at the site.
type Cost struct {
	Name  string
	Bytes int // of code
	Insns int // executed, a return thunk's included
	Stack int // bytes below the return slot, return addresses of its calls included
	// Reads and Writes count the accesses to memory that its instructions make,
	// those of push, pop, call and ret included.
	Reads, Writes         int
	ReadBytes, WriteBytes int
	Calls                 int
	Indirect              int // calls and jumps to an address in a register or in memory
	// Mispredicted counts the returns, its own and the original's, that a
	// processor's return stack predicts wrongly because their call is not the
	// last one that is still open. StackLeft is how many entries too many (or,
	// negative, too few) the return stack holds afterwards, each of which
	// makes returns of the callers go wrong, too.
	Mispredicted int
	StackLeft    int
	// Saved are the registers whose content on entry was stored.
	Saved []string
}

// Measure executes a trampoline once and counts.
func Measure(m trampoline.Maker, engine emu.Engine, ret trampoline.Return) (*Cost, error) {
	b, err := newBench(engine, m, ret)
	if err != nil {
		return nil, err
	}
	defer b.close()
	ms := &meter{
		b:     b,
		cost:  &Cost{Name: m.Name(), Bytes: len(b.placed.Code.Bytes)},
		saved: make(map[int]bool),
		// The parent's call of the traced function, and the call at the site.
		returns: []uint64{parentAddr, bodyAddr},
	}
	r, err := b.typical(ms)
	if err != nil {
		return nil, err
	}
	ms.cost.Stack = int(r.slot - min(ms.lowest, r.slot))
	ms.cost.StackLeft = len(ms.returns)
	for i := range emu.RegNames {
		if ms.saved[i] {
			ms.cost.Saved = append(ms.cost.Saved, emu.RegNames[i])
		}
	}
	return ms.cost, nil
}

// typical executes the run that is measured. That it ends is not certain for
// trampolines of one's own.
func (b *bench) typical(w watcher) (*run, error) {
	b.rng = rand.New(rand.NewPCG(1, 0))
	b.watch = w
	r := b.newRun(plain)
	r.slot &^= 15
	r.entry.GPR[emu.RSP] = r.slot
	r.answer = func(name string) uint64 {
		if strings.HasPrefix(name, "__bpf_prog_enter") {
			return b.rng.Uint64() | 1
		}
		return 0
	}
	var lost error
	r.fault = func(f Fault) {
		if f.Rule == RuleEnd || f.Rule == RuleReturn || f.Rule == RuleOnce {
			lost = fmt.Errorf("%s: %s: expected %s, found %s", b.placed.Code.Name, b.where(f.IP), f.Expected, f.Found)
		}
	}
	if err := r.execute(); err != nil {
		return nil, err
	}
	return r, lost
}

// A meter counts.
type meter struct {
	b       *bench
	cost    *Cost
	lowest  uint64 // address that was written or that rsp had; 0: none yet
	saved   map[int]bool
	returns []uint64 // the processor's return stack, without a limit
	ret     bool     // the instruction being executed is a return
}

// lower notes an address of the stack in use.
func (m *meter) lower(addr uint64) {
	if addr-stackBase < stackSize && (m.lowest == 0 || addr < m.lowest) {
		m.lowest = addr
	}
}

func (m *meter) insn(ip uint64, code []byte, regs *emu.Regs) {
	m.ret = false
	if !m.b.own(ip) && ip != thunkAddr {
		return
	}
	m.cost.Insns++
	m.lower(regs.GPR[emu.RSP])
	inst, err := x86.Decode(code)
	if err != nil {
		return // the engine has executed it, but what it does to control flow is not known
	}
	_, direct := inst.Args[0].(x86asm.Rel)
	switch inst.Op {
	case x86asm.CALL:
		m.cost.Calls++
		m.returns = append(m.returns, ip+uint64(inst.Len))
		if !direct {
			m.cost.Indirect++
		}
	case x86asm.JMP:
		if !direct {
			m.cost.Indirect++
		}
	case x86asm.RET:
		m.ret = true
	}
}

func (m *meter) branch(_, to uint64) {
	if m.ret {
		m.pop(to)
	}
}

// pop compares a return with what the return stack predicts.
func (m *meter) pop(to uint64) {
	n := len(m.returns)
	if n == 0 || m.returns[n-1] != to {
		m.cost.Mispredicted++
	}
	if n > 0 {
		m.returns = m.returns[:n-1]
	}
}

func (m *meter) gate(_ string, ret, _ uint64) { m.pop(ret) }

func (m *meter) access(ev *trace.Event) {
	if !m.b.own(ev.IP) && ev.IP != thunkAddr {
		return
	}
	if !ev.Write {
		m.cost.Reads++
		m.cost.ReadBytes += ev.Size
		return
	}
	m.cost.Writes++
	m.cost.WriteBytes += ev.Size
	m.lower(ev.Addr)
	for i, v := range m.b.run.entry.GPR {
		if ev.Size == 8 && v == ev.Value && i != emu.RSP {
			m.saved[i] = true
		}
	}
}
