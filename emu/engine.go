// Package emu is the machine: memory, registers, and the contract that every
// execution engine fulfils. It knows nothing of ftrace.
//
// An [Engine] makes machines. A [Machine] is one [Memory] and one or more
// [CPU]s over it. A CPU runs until something stops it and says what that was.
// Addresses that are [Gates] run Go functions in place of guest code.
//
// # Lifetimes and concurrency
//
// A machine, its memory and its CPUs belong to one goroutine at a time; only
// [CPU.Interrupt] may be called from another one. Machines share nothing, so
// different machines may run at the same time. Close releases what an engine
// holds outside of Go; afterwards only Close may be called.
//
// # Code changes
//
// Bytes changed with [Memory.Write], or by the guest's own stores to pages that
// are writable and executable, are what every CPU executes from its next
// instruction on: Memory tells engines that cache translations.
package emu

import (
	"time"

	"ftemu/trace"
)

// An Engine makes machines of one kind.
type Engine interface {
	// Name is the engine's name as flags and reports spell it.
	Name() string
	// NewMemory returns empty memory of the kind that the engine can execute
	// from, refusing to hold more than limit bytes (0: DefaultMemoryLimit).
	NewMemory(limit uint64) *Memory
	// NewMachine returns a machine over cfg.Memory.
	NewMachine(cfg Config) (Machine, error)
}

// Config says what a machine is made of.
type Config struct {
	Memory *Memory      // from the same engine's NewMemory
	CPUs   int          // number of CPUs; 0 means 1
	Gates  *Gates       // nil: none
	Tracer trace.Tracer // nil: nobody watches
	// Trap is asked when an int3 has executed, RIP behind it. If it returns
	// true the CPU continues at RIP, which Trap may have changed; otherwise
	// the run stops with StopInt3. Nil claims nothing.
	Trap func(CPU) bool
}

// A Machine is a number of CPUs over one memory.
type Machine interface {
	Memory() *Memory
	NumCPU() int
	CPU(i int) CPU
	// SetTracer replaces the tracer; nil takes it away. Not during a run.
	SetTracer(trace.Tracer)
	Close() error
}

// A CPU executes guest code.
type CPU interface {
	ID() int
	Memory() *Memory
	// Regs is the register file. It may be read and written while the CPU does
	// not run, and inside gates, traps and tracers called by it; a tracer
	// reads only.
	Regs() *Regs
	// Run executes from Regs().RIP until something in lim or in the guest
	// stops it. A gate may run its own CPU again (nesting).
	Run(lim Limits) Stop
	// Interrupt makes a running CPU stop with StopRequested after the current
	// instruction; if it does not run, the next Run stops at once.
	Interrupt()
}

// Limits bound a run. Zero values do not limit.
type Limits struct {
	// Until stops the run before the instruction at this address executes,
	// if UseUntil is set. The first instruction of a run is not looked at,
	// so that a run can go around a loop.
	Until    uint64
	UseUntil bool
	// Insns is the largest number of instructions to execute. A gate counts as
	// one, each iteration of a repeated string instruction as one.
	Insns uint64
	// Time is the longest time the run may take, looked at now and then.
	Time time.Duration
}
