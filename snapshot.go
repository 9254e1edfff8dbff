package ftemu

import (
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"sort"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/guest"
	"ftemu/x86"
)

// Snapshot remembers the lab's state and returns a function that brings it back,
// any number of times. Snapshots nest: bringing one back ends those taken after
// it, and so does Mem.Trim with the oldest; the functions of those that ended
// change nothing and return emu.ErrStaleSnapshot. When the state is taken no call
// into the guest may be under way; one that is when it comes back is given up.
// The machine's engine keeps its translations.
func (l *Lab) Snapshot() (restore func() error) {
	mem := l.Mem.Snapshot()
	core := l.Core.Snapshot(l.knownOps())
	bpfState := l.bpf.snapshot()
	graph := l.Graph.Snapshot()
	ops, directs := maps.Clone(l.ops), slices.Clone(l.directs)
	nextOps := l.nextOps
	directMem, symbols := l.directMem, l.keptSymbols()
	calls := maps.Clone(l.tramps.callIP)
	regs := make([]emu.Regs, l.Machine.NumCPU())
	for i := range regs {
		regs[i] = *l.Machine.CPU(i).Regs()
	}
	return func() error {
		if err := l.Mem.Restore(mem); err != nil {
			return err
		}
		core()
		bpfState()
		graph()
		l.nextOps = nextOps
		l.ops, l.directs, l.directMem = maps.Clone(ops), slices.Clone(directs), directMem
		if l.Symbols.Changes() != symbols.Changes() {
			*l.Symbols = *symbols.Clone()
		}
		l.kept = symbols
		l.tramps.callIP = maps.Clone(calls)
		l.tramps.retired = nil
		l.running = 0
		for i := range regs {
			*l.Machine.CPU(i).Regs() = regs[i]
		}
		return nil
	}
}

// keptSymbols is a copy of the symbols as they are. That of the last snapshot is
// used again where they are still the same: those of a kernel are many.
func (l *Lab) keptSymbols() *guest.Symbols {
	if l.kept == nil || l.kept.Changes() != l.Symbols.Changes() {
		l.kept = l.Symbols.Clone()
	}
	return l.kept
}

// knownOps lists the ops that the lab made, by address.
func (l *Lab) knownOps() []*ftracecore.Ops {
	out := make([]*ftracecore.Ops, 0, len(l.ops))
	for _, o := range l.ops {
		out = append(out, o)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Addr < out[j].Addr })
	return out
}

// Digest writes what the lab's behaviour from here on depends on, the CPUs'
// registers and stacks included, in a fixed form: two states of one run that
// write the same behave the same.
func (l *Lab) Digest(w io.Writer) {
	l.Core.Digest(w, l.knownOps())
	l.BPF.Digest(w)
	l.Graph.Digest(w)
	var buf []byte
	l.Core.Records(func(r *ftracecore.Record) bool {
		buf = l.appendCode(buf, r.IP)
		return true
	})
	buf = l.appendCode(l.appendCode(buf, l.tramps.plain), l.tramps.regs)
	op, _ := l.Mem.ReadU64(l.addrs.traceOp)
	buf = binary.LittleEndian.AppendUint64(buf, op)
	for i := range l.Machine.NumCPU() {
		buf = l.appendCPU(buf, l.Machine.CPU(i))
	}
	// Hashes do not fail.
	_, _ = w.Write(buf)
}

func (l *Lab) appendCode(buf []byte, ip uint64) []byte {
	var b x86.Bytes5
	_ = l.Mem.Read(ip, b[:]) // mapped for as long as the lab lives
	return append(buf, b[:]...)
}

// appendCPU appends the registers and the part of the stack in use; a CPU that
// is not in a call has neither.
func (l *Lab) appendCPU(buf []byte, cpu emu.CPU) []byte {
	r := cpu.Regs()
	if r.RIP == l.returnIP || r.RIP == 0 {
		return append(buf, 0)
	}
	for _, v := range r.GPR {
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	buf = binary.LittleEndian.AppendUint64(buf, r.RIP)
	buf = binary.LittleEndian.AppendUint64(buf, r.Flags)
	top := stackBase + uint64(cpu.ID())*stackPitch + stackSize
	if rsp := r.GPR[emu.RSP]; rsp < top && top-rsp <= stackSize {
		stack := make([]byte, top-rsp)
		if l.Mem.Read(rsp, stack) == nil {
			buf = append(buf, stack...)
		}
	}
	return buf
}
