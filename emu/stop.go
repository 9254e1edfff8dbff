package emu

import "fmt"

// A StopReason says why a run ended.
type StopReason uint8

// The reasons to stop.
const (
	StopUntil     StopReason = iota + 1 // Limits.Until was reached
	StopInsns                           // Limits.Insns instructions have executed
	StopTime                            // Limits.Time is over
	StopRequested                       // Interrupt was called
	StopGate                            // a gate returned an error
	StopFetch                           // nothing is mapped at RIP
	StopNoExec                          // the page at RIP is not executable
	StopRead                            // a load from unmapped or unreadable memory
	StopWrite                           // a store to unmapped or read-only memory
	StopUnknown                         // the engine does not know the instruction
	StopInt3                            // an int3 that nobody claimed
	StopUD                              // ud2
	StopDivide                          // division by zero or overflow
	StopHalt                            // hlt
	StopGeneral                         // general protection: a non-canonical address, a privileged instruction
	StopEngine                          // the engine itself failed; Err says how
)

var stopNames = [...]string{
	StopUntil:     "reached its end",
	StopInsns:     "instruction limit",
	StopTime:      "time limit",
	StopRequested: "requested",
	StopGate:      "gate failed",
	StopFetch:     "fetch from unmapped memory",
	StopNoExec:    "fetch from memory that is not executable",
	StopRead:      "bad read",
	StopWrite:     "bad write",
	StopUnknown:   "unknown instruction",
	StopInt3:      "int3 that nobody claimed",
	StopUD:        "ud2",
	StopDivide:    "divide error",
	StopHalt:      "hlt",
	StopGeneral:   "general protection",
	StopEngine:    "engine failure",
}

// String says the reason in a few words.
func (r StopReason) String() string {
	if int(r) < len(stopNames) && stopNames[r] != "" {
		return stopNames[r]
	}
	return fmt.Sprintf("StopReason(%d)", uint8(r))
}

// A Stop tells how a run ended. RIP is also in the registers: the instruction
// that could not execute for faults, the next one to execute otherwise (after
// the int3 for StopInt3).
type Stop struct {
	Reason StopReason
	RIP    uint64
	Addr   uint64 // the address that could not be fetched, read or written
	Size   int    // the size of that access in bytes
	Bytes  []byte // the bytes at RIP for StopUnknown
	Insns  uint64 // how many instructions executed, gates and repetitions included
	Err    error  // what the gate or engine said, for StopGate and StopEngine
}

// Fault tells whether the run ended by something the guest did wrong, rather
// than by reaching its end or a limit.
func (s Stop) Fault() bool { return s.Reason >= StopFetch && s.Reason != StopHalt }

// Error describes the stop in one line. A Stop is an error so that it can be
// wrapped; whether it is one in the given place is the caller's to decide.
func (s Stop) Error() string {
	switch s.Reason {
	case StopRead, StopWrite:
		return fmt.Sprintf("%s of %d bytes at %#x by the instruction at %#x", s.Reason, s.Size, s.Addr, s.RIP)
	case StopUnknown:
		return fmt.Sprintf("%s at %#x: % x", s.Reason, s.RIP, s.Bytes)
	case StopInsns, StopTime:
		return fmt.Sprintf("%s reached at %#x after %d instructions", s.Reason, s.RIP, s.Insns)
	case StopGate, StopEngine:
		return fmt.Sprintf("%s at %#x: %v", s.Reason, s.RIP, s.Err)
	case StopInt3:
		return fmt.Sprintf("%s at %#x", s.Reason, s.RIP-1)
	}
	return fmt.Sprintf("%s at %#x", s.Reason, s.RIP)
}

// Unwrap gives the gate's error.
func (s Stop) Unwrap() error { return s.Err }
