package abi

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/trampoline"
	"ftemu/x86"
)

// A Rule is one clause of the contract between a trampoline and everything
// around it.
type Rule uint8

// The rules.
const (
	RuleArgs    Rule = iota // argument registers reach the original
	RuleSaved               // callee-saved registers are as on entry on every way out
	RuleStack               // rsp is as on entry on every way out
	RuleAlign               // rsp is aligned at each call
	RuleDF                  // the direction flag is clear at each call and on every way out
	RuleReturn              // return addresses are as on entry
	RuleWrites              // nothing above the frame is written, the return slot apart where that was said
	RuleRedZone             // nothing is read from below rsp
	RuleIP                  // a changed ip is honoured
	RuleOnce                // the original is entered at most once
	RuleResult              // what the original returned reaches the caller
	RuleEnd                 // it comes to its end
	numRules
)

var ruleNames = [numRules][2]string{
	RuleArgs:    {"arguments", "the argument registers reach the original as they were"},
	RuleSaved:   {"callee-saved", "rbx, rbp, r12 to r15 are as on entry on every way out"},
	RuleStack:   {"stack-pointer", "rsp is as on entry on every way out"},
	RuleAlign:   {"alignment", "rsp is aligned at each call"},
	RuleDF:      {"direction-flag", "the direction flag is clear at each call and on every way out"},
	RuleReturn:  {"return-address", "return addresses are as on entry"},
	RuleWrites:  {"writes", "nothing above the frame is written but what was declared"},
	RuleRedZone: {"red-zone", "nothing is read from below rsp"},
	RuleIP:      {"changed-ip", "a changed ip is honoured"},
	RuleOnce:    {"once", "the original is entered at most once"},
	RuleResult:  {"result", "what the original returns reaches the caller"},
	RuleEnd:     {"end", "every run comes back to the caller"},
}

// String returns the rule's name.
func (r Rule) String() string {
	if r < numRules {
		return ruleNames[r][0]
	}
	return fmt.Sprintf("Rule(%d)", uint8(r))
}

// Meaning says the rule in a few words.
func (r Rule) Meaning() string {
	if r < numRules {
		return ruleNames[r][1]
	}
	return r.String()
}

// Rules lists the rules in the order of reports.
func Rules() []Rule {
	var out []Rule
	for r := range numRules {
		out = append(out, r)
	}
	return out
}

// A Fault is one clause broken in one run.
type Fault struct {
	Rule     Rule
	Case     string // what the surroundings did
	Round    int    // which random state, from 0
	IP       uint64 // the instruction executed last
	Where    string // the same as an offset and with its text
	Expected string
	Found    string
	Entry    emu.Regs // the machine when the trampoline was entered
	Regs     emu.Regs // the machine when the fault was seen
}

// A Range is a run of bytes of code.
type Range struct {
	Off, Len uint64
	Text     string // the first instruction
}

// A Report is what Check found.
type Report struct {
	Name     string
	Bytes    int
	Seed     uint64
	Rounds   int      // random states for each case
	Cases    []string // what the surroundings did
	Contract trampoline.Contract
	Faults   []Fault // the first of each rule, in the order of the rules
	Unseen   []Range // code that no run executed
	// Lost are the registers that neither the ABI nor the contract protects
	// and that did not reach the original.
	Lost []string
	// Aligned is what divided rsp at every call, entered with an aligned
	// stack: 16 or 8; 0 without calls.
	Aligned uint64
}

// OK tells whether no clause was broken.
func (r *Report) OK() bool { return len(r.Faults) == 0 }

// Fault returns the fault of a rule, nil if it held.
func (r *Report) Fault(rule Rule) *Fault {
	for i := range r.Faults {
		if r.Faults[i].Rule == rule {
			return &r.Faults[i]
		}
	}
	return nil
}

// CheckOptions say how Check goes about it.
type CheckOptions struct {
	Engine emu.Engine
	Return trampoline.Return // Thunk, if any, must be trampoline.SampleThunk
	Seed   uint64
	Rounds int // random states for each case; 0 means DefaultRounds
}

// DefaultRounds is how many random states Check tries for each case.
const DefaultRounds = 256

// Check executes a trampoline from random machine states, in every case of what
// its surroundings may do, and looks whether it keeps its contract. Broken
// contracts are in the report; the error is that of making the trampoline or
// the machine.
func Check(m trampoline.Maker, opt CheckOptions) (*Report, error) {
	if opt.Rounds == 0 {
		opt.Rounds = DefaultRounds
	}
	b, err := newBench(opt.Engine, m, opt.Return)
	if err != nil {
		return nil, err
	}
	defer b.close()
	b.rng = rand.New(rand.NewPCG(opt.Seed, 0))
	c := &checker{b: b, lost: make(map[int]bool), seen: make([]bool, len(b.placed.Code.Bytes))}
	b.watch = c
	rep := &Report{
		Name: m.Name(), Bytes: len(b.placed.Code.Bytes), Seed: opt.Seed, Rounds: opt.Rounds, Contract: b.contract,
	}
	for _, v := range variants(b.contract) {
		rep.Cases = append(rep.Cases, v.String())
		for i := range opt.Rounds {
			r := b.newRun(v)
			r.seen = c.seen
			r.fault = func(f Fault) {
				f.Round = i
				c.add(f)
			}
			if err := r.execute(); err != nil {
				return nil, err
			}
			if c.has(RuleEnd) {
				break // others may take as long as this one
			}
		}
	}
	rep.Faults, rep.Unseen, rep.Aligned = c.faults, c.unseen(), c.aligned
	slices.SortFunc(rep.Faults, func(x, y Fault) int { return int(x.Rule) - int(y.Rule) })
	for _, i := range [...]int{emu.RAX, emu.RDI, emu.RSI, emu.RDX, emu.RCX, emu.R8, emu.R9, emu.R10, emu.R11} {
		if c.lost[i] {
			rep.Lost = append(rep.Lost, emu.RegNames[i])
		}
	}
	return rep, nil
}

// A checker gathers what the runs show.
type checker struct {
	b       *bench
	faults  []Fault
	seen    []bool
	lost    map[int]bool
	aligned uint64
}

func (c *checker) has(rule Rule) bool {
	return slices.ContainsFunc(c.faults, func(f Fault) bool { return f.Rule == rule })
}

// add keeps the first fault of each rule.
func (c *checker) add(f Fault) {
	if c.has(f.Rule) {
		return
	}
	f.Where = c.b.where(f.IP)
	c.faults = append(c.faults, f)
}

// where names an instruction by its offset and text.
func (b *bench) where(ip uint64) string {
	off := ip - b.placed.Code.Addr
	if !b.inCode(ip) {
		return fmt.Sprintf("%#x", ip)
	}
	return fmt.Sprintf("+%#x %s", off, b.text(off))
}

// text disassembles the instruction at an offset.
func (b *bench) text(off uint64) string {
	code := b.placed.Code
	text, _, err := x86.Disasm(code.Bytes[off:], code.Addr+off, b.sample.Name)
	if err != nil {
		return fmt.Sprintf(".byte %#02x", code.Bytes[off])
	}
	return text
}

// unseen lists the code that no run executed.
func (c *checker) unseen() []Range {
	code := c.b.placed.Code
	for _, s := range code.Data {
		for i := s.Off; i < s.Off+s.Len; i++ {
			c.seen[i] = true
		}
	}
	var out []Range
	for i := 0; i < len(c.seen); i++ {
		if c.seen[i] {
			continue
		}
		start := i
		for i < len(c.seen) && !c.seen[i] {
			i++
		}
		out = append(out, Range{uint64(start), uint64(i - start), c.b.text(uint64(start))})
	}
	return out
}

// gate notes how calls were aligned, and what reached the original.
func (c *checker) gate(name string, ret, _ uint64) {
	regs := c.b.cpu.Regs()
	// With the slot at an odd word nobody could be aligned.
	if c.b.own(ret) && c.b.run.slot%16 == 0 {
		align := uint64(8)
		if (regs.GPR[emu.RSP]+8)%16 == 0 {
			align = 16
		}
		if c.aligned == 0 || align < c.aligned {
			c.aligned = align
		}
	}
	if name != "body" && name != "replacement" {
		return
	}
	for i, was := range c.b.run.entry.GPR {
		if regs.GPR[i] != was {
			c.lost[i] = true
		}
	}
}

func (c *checker) insn(uint64, []byte, *emu.Regs) {}
func (c *checker) branch(_, _ uint64)             {}
func (c *checker) access(*trace.Event)            {}
