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
