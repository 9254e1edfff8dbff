package ftemu

import (
	"slices"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/x86"
)

// What a scheduler wants to know of an address that a CPU is about to execute.

// IsDispatch tells whether the address is that of a kernel function that looks
// at what is registered: the list function, the assist function, the helper of
// direct callers.
func (l *Lab) IsDispatch(ip uint64) bool {
	return ip == l.addrs.ListFunc || ip == l.addrs.AssistFunc || ip == l.addrs.CallDirectFuncs
}

// IsStaticCall tells whether the address is that of the call in ftrace_caller or
// ftrace_regs_caller, which code updates change.
func (l *Lab) IsStaticCall(ip uint64) bool { return ip == l.tramps.plain || ip == l.tramps.regs }

// IsRetirable tells whether the address is that of an instruction of a BPF image
// that is changed when the image is retired.
func (l *Lab) IsRetirable(ip uint64) bool {
	for im, code := range l.bpf.code {
		if off := ip - im.Addr; off < uint64(len(code.Bytes)) {
			at, _, _, ok := code.Retirement()
			return ok && at == ip
		}
	}
	return false
}

// LeadsToStatic tells whether some site calls ftrace_caller or
// ftrace_regs_caller, or a CPU is in one of them.
func (l *Lab) LeadsToStatic() bool {
	inside := func(a uint64) bool { return pageOf(a) == pageOf(l.addrs.FtraceCaller) }
	for i := range l.Machine.NumCPU() {
		cpu := l.Machine.CPU(i)
		if l.inCall(cpu) && (inside(cpu.Regs().RIP) || slices.ContainsFunc(l.StackWords(cpu), inside)) {
			return true
		}
	}
	found := false
	l.Core.Records(func(r *ftracecore.Record) bool {
		var b x86.Bytes5
		if l.Mem.Read(r.IP, b[:]) == nil {
			if _, target := x86.ParseSite(b, r.IP); target != 0 && inside(target) {
				found = true
			}
		}
		return !found
	})
	return found
}

// Occupied tells whether a CPU is in the page that holds the address, or will
// return into it.
func (l *Lab) Occupied(addr uint64) bool {
	inside := func(a uint64) bool { return pageOf(a) == pageOf(addr) }
	for i := range l.Machine.NumCPU() {
		cpu := l.Machine.CPU(i)
		if l.inCall(cpu) && (inside(cpu.Regs().RIP) || slices.ContainsFunc(l.StackWords(cpu), inside)) {
			return true
		}
	}
	return false
}

func (l *Lab) inCall(cpu emu.CPU) bool {
	rip := cpu.Regs().RIP
	return rip != 0 && rip != l.returnIP
}

// IsTransient tells whether the address is in memory for trampolines that are
// freed when they are not needed any more.
func (l *Lab) IsTransient(ip uint64) bool {
	return ip&^(emu.PageSize-1) >= trampBase && ip < trampLimit
}

// idle tells whether no CPU is in guest code.
func (l *Lab) idle() bool {
	for i := range l.Machine.NumCPU() {
		if l.inCall(l.Machine.CPU(i)) {
			return false
		}
	}
	return true
}

// Reclaim frees what was taken out of use and may be freed now. Calls of the
// lab's own do so when they return; who steps a call does it at its end.
func (l *Lab) Reclaim() { l.tramps.reap() }

// IsDirectFunction tells whether a direct function, a trampoline of the lab's own
// or a BPF image, begins at the address.
func (l *Lab) IsDirectFunction(ip uint64) bool {
	if _, ok := l.DirectName(ip); ok {
		return true
	}
	for im := range l.bpf.code {
		if im.Addr == ip {
			return true
		}
	}
	return false
}

// StackWords returns the words on the stack of a CPU that is in a call, from the
// top down to its first frame, and behind them the return addresses that
// function_graph keeps elsewhere.
func (l *Lab) StackWords(cpu emu.CPU) []uint64 {
	top := stackBase + uint64(cpu.ID())*stackPitch + stackSize
	var words []uint64
	for a := cpu.Regs().GPR[emu.RSP]; a < top && top-a <= stackSize; a += 8 {
		v, err := l.Mem.ReadU64(a)
		if err != nil {
			break
		}
		words = append(words, v)
	}
	return append(words, l.Graph.Returns(cpu.ID())...)
}

// IsGate tells whether Go code runs in place of the function at the address.
func (l *Lab) IsGate(ip uint64) bool { return l.gates.At(ip) != nil }

// staticRoom is how far a static trampoline reaches at most, in bytes, up to what
// follows in the kernel's text.
const staticRoom = 0x1a0

// StaticTrampoline returns where the static trampoline begins that the address
// is in, if it is in one.
func (l *Lab) StaticTrampoline(ip uint64) (start uint64, ok bool) {
	if h := l.addrs.returnToHandler; ip >= h && ip < h+staticRoom {
		return 0, false
	}
	first, second := l.addrs.FtraceCaller, l.addrs.FtraceRegsCaller
	switch {
	case ip >= second && ip < second+staticRoom:
		return second, true
	case ip >= first && ip < min(first+staticRoom, second):
		return first, true
	}
	return 0, false
}

// StaticCall returns what the static trampoline that the address is in calls.
func (l *Lab) StaticCall(ip uint64) uint64 {
	call := l.tramps.plain
	if start, _ := l.StaticTrampoline(ip); start == l.addrs.FtraceRegsCaller {
		call = l.tramps.regs
	}
	var b x86.Bytes5
	if l.Mem.Read(call, b[:]) != nil {
		return 0
	}
	_, target := x86.ParseSite(b, call)
	return target
}

// IsTrampoline tells whether a trampoline begins at the address: one of the two
// static ones, one of an ops, or a direct function.
func (l *Lab) IsTrampoline(ip uint64) bool {
	return ip == l.addrs.FtraceCaller || ip == l.addrs.FtraceRegsCaller || ip == l.addrs.returnToHandler || l.IsTransient(ip) || l.IsDirectFunction(ip)
}
