package patcher

import (
	"fmt"
	"slices"
	"strings"

	"ftemu/x86"
)

// BatchSize is how many sites one round of the breakpoint protocol changes at
// most (the capacity of tp_vec in arch/x86/kernel/alternative.c).
const BatchSize = 256

// A Phase says which bytes of its sites a step writes.
type Phase uint8

// The phases.
const (
	PhaseInt3  Phase = iota + 1 // int3 over the first byte
	PhaseTail                   // the new bytes behind the first
	PhaseFirst                  // the new first byte
	PhaseWhole                  // all five new bytes at once
)

var phaseNames = [...]string{PhaseInt3: "int3", PhaseTail: "tail", PhaseFirst: "first", PhaseWhole: "whole"}

// String returns the phase's name as traces print it.
func (p Phase) String() string {
	if p >= PhaseInt3 && p <= PhaseWhole {
		return phaseNames[p]
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

// A Write is bytes stored at an address, seen by every CPU as one store.
type Write struct {
	Addr  uint64
	Bytes []byte
}

// A Step is one write to each of a number of sites, in their order.
type Step struct {
	Batch int      // number of the batch it belongs to, from 0
	Phase Phase    // which bytes it writes
	Sites []Change // the sites it writes to; to read only
	// Trap says that int3s at the batch's sites are claimed during this step.
	Trap bool
	// Sync says that all CPUs execute a serialising instruction after the last
	// write, before anything else is written.
	Sync bool
	// Stopped says that no other CPU executes anything during the step.
	Stopped bool
}

// int3 is what PhaseInt3 writes.
var int3 = [...]byte{x86.OpInt3}

// Write returns what the step writes to its i-th site. The bytes are to read only.
func (s Step) Write(i int) Write {
	c := &s.Sites[i]
	switch s.Phase {
	case PhaseInt3:
		return Write{c.IP, int3[:]}
	case PhaseTail:
		return Write{c.IP + 1, c.New[1:]}
	case PhaseFirst:
		return Write{c.IP, c.New[:1]}
	}
	return Write{c.IP, c.New[:]}
}

// A Strategy is a way to rewrite sites while CPUs may execute them.
type Strategy uint8

// The strategies.
const (
	// Breakpoint writes an int3 over the first byte of every site of a batch,
	// then the new tails, then the new first bytes, with a sync of all CPUs
	// after each; who runs into an int3 meanwhile is taken where the new
	// instruction leads. This is text_poke_bp of Linux 5.6 and later.
	Breakpoint Strategy = iota
	// Naive writes the opcode and then the displacement, and tells nobody. A
	// CPU that executes the site in between runs an instruction that neither
	// side wrote. It is here to show why the others exist.
	Naive
	// StopMachine writes everything while all other CPUs spin with interrupts
	// off, as Linux did on x86 before 3.6.
	StopMachine
)

var strategyNames = [...]string{"breakpoint", "naive", "stop-machine"}

var strategyAbout = [...]string{
	"an int3 over each site first, and a sync of all CPUs after each of three writes (text_poke_bp)",
	"opcode, then displacement, and nobody is told",
	"everything at once while the other CPUs spin (x86 before Linux 3.6)",
}

// Strategies lists the strategies there are, the default first.
func Strategies() []Strategy { return []Strategy{Breakpoint, Naive, StopMachine} }

// About says in a line how the strategy writes.
func (s Strategy) About() string {
	if int(s) < len(strategyAbout) {
		return strategyAbout[s]
	}
	return ""
}

// String returns the strategy's name as flags spell it.
func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

// ParseStrategy returns the strategy of that name.
func ParseStrategy(name string) (Strategy, error) {
	if i := slices.Index(strategyNames[:], name); i >= 0 {
		return Strategy(i), nil
	}
	return 0, fmt.Errorf("unknown patch strategy %q, expected %s", name, strings.Join(strategyNames[:], ", "))
}

// Steps returns what is done, in order, to make the changes. The steps refer to
// the slice.
func (s Strategy) Steps(changes []Change) []Step {
	if len(changes) == 0 {
		return nil
	}
	switch s {
	case Naive:
		steps := make([]Step, 0, 2*len(changes))
		for i := range changes {
			site := changes[i : i+1 : i+1]
			steps = append(steps,
				Step{Batch: i, Phase: PhaseFirst, Sites: site},
				Step{Batch: i, Phase: PhaseTail, Sites: site})
		}
		return steps
	case StopMachine:
		return []Step{{Phase: PhaseWhole, Sites: changes, Sync: true, Stopped: true}}
	}
	var steps []Step
	for i, batch := range batches(changes) {
		steps = append(steps,
			Step{Batch: i, Phase: PhaseInt3, Sites: batch, Trap: true, Sync: true},
			Step{Batch: i, Phase: PhaseTail, Sites: batch, Trap: true, Sync: true})
		if first := wantFirst(batch); len(first) > 0 {
			steps = append(steps, Step{Batch: i, Phase: PhaseFirst, Sites: first, Trap: true, Sync: true})
		}
	}
	return steps
}

// batches cuts the changes into rounds: one is full with BatchSize sites, and
// ends before a site below the last one, because the int3 handler searches the
// batch by address (text_poke_queue).
func batches(changes []Change) [][]Change {
	var out [][]Change
	start := 0
	for i := 1; i < len(changes); i++ {
		if i-start == BatchSize || changes[i].IP < changes[i-1].IP {
			out = append(out, changes[start:i:i])
			start = i
		}
	}
	return append(out, changes[start:])
}

// wantFirst leaves out the sites that are to begin with an int3: theirs is
// written already.
func wantFirst(batch []Change) []Change {
	isInt3 := func(c Change) bool { return c.New[0] == x86.OpInt3 }
	if !slices.ContainsFunc(batch, isInt3) {
		return batch
	}
	return slices.DeleteFunc(slices.Clone(batch), isInt3)
}
