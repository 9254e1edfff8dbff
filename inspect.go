package ftemu

import "ftemu/emu"

// What a scheduler wants to know of an address that a CPU is about to execute.

// IsGate tells whether the address is a gate.
func (l *Lab) IsGate(ip uint64) bool { return l.gates.At(ip) != nil }

// IsStaticCall tells whether the address is that of the call in ftrace_caller or
// ftrace_regs_caller, which code updates change.
func (l *Lab) IsStaticCall(ip uint64) bool { return ip == l.tramps.plain || ip == l.tramps.regs }

// IsTransient tells whether the address is in memory for trampolines that are
// freed when they are not needed any more.
func (l *Lab) IsTransient(ip uint64) bool {
	return ip&^(emu.PageSize-1) >= trampBase && ip < trampLimit
}

// idle tells whether no CPU is in guest code.
func (l *Lab) idle() bool {
	for i := range l.Machine.NumCPU() {
		if rip := l.Machine.CPU(i).Regs().RIP; rip != 0 && rip != l.returnIP {
			return false
		}
	}
	return true
}

// Reclaim frees what was taken out of use and may be freed now. Calls of the
// lab's own do so when they return; who steps a call does it at its end.
func (l *Lab) Reclaim() { l.tramps.reap() }
