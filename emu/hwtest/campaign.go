//go:build linux && amd64

package hwtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"ftemu/emu"
	"ftemu/x86"
)

// A Campaign compares batches of random cases, on the processor and on the
// interpreter.
type Campaign struct {
	hw    *Processor
	soft  *Machine
	plan  *planner
	forms []Form
	seed  uint64
	batch uint64 // how many batches there were

	Done      []uint64 // single instructions compared, by form
	Sequences uint64   // sequences compared
	Insns     uint64   // instructions in sequences, without the jumps and comparisons between them
	Faults    uint64   // cases that ended by a fault
	Masked    []uint64 // uses of each entry of UndefinedTable

	cases   []Case
	insns   []x86.Inst // of single instructions
	form    []int      // index into forms, or -1 for a sequence
	results []Result
	before  []byte // the windows at the start of the batch
	now     []byte
}

// NewCampaign returns a campaign of the forms. The same seed makes the same
// cases.
func NewCampaign(hw *Processor, forms []Form, seed uint64) (*Campaign, error) {
	soft, err := NewMachine()
	if err != nil {
		return nil, err
	}
	plan, err := newPlanner(forms)
	if err != nil {
		return nil, err
	}
	return &Campaign{
		hw: hw, soft: soft, plan: plan, forms: forms, seed: seed,
		Done: make([]uint64, len(forms)), Masked: make([]uint64, len(UndefinedTable)),
		cases: make([]Case, maxBatch), insns: make([]x86.Inst, maxBatch), form: make([]int, maxBatch),
		results: make([]Result, maxBatch),
		before:  make([]byte, windowsSize), now: make([]byte, windowsSize),
	}, nil
}

// Instances is how many instructions have been compared.
func (c *Campaign) Instances() uint64 {
	n := c.Insns
	for _, k := range c.Done {
		n += k
	}
	return n
}

// maxTries bounds the search for a case of a form; a few are usual.
const maxTries = 100_000

// Singles compares a batch of single instructions. It returns a *Difference if
// there is one; another error means that the comparison failed.
func (c *Campaign) Singles() error {
	g := c.start()
	for i := range c.cases {
		c.form[i] = g.rng.IntN(len(c.forms))
		ok := false
		for tries := 0; !ok; tries++ {
			if tries == maxTries {
				return fmt.Errorf("no case of %q could be made up in %d tries", c.forms[c.form[i]].Name, maxTries)
			}
			c.cases[i], c.insns[i], ok = g.single(&c.forms[c.form[i]], i)
		}
	}
	return c.finish()
}

// sequenceStates is how many states each sequence is run from: to plan one
// takes longer than to run it.
const sequenceStates = 16

// SequenceBatch compares a batch of sequences from several states, like Singles.
func (c *Campaign) SequenceBatch() error {
	g := c.start()
	if err := c.plan.soft.SetWindows(c.before); err != nil {
		return err
	}
	for i := range c.cases {
		c.form[i] = -1
		var err error
		if c.cases[i], err = c.plan.plan(g, i); err != nil {
			return err
		}
	}
	for range sequenceStates {
		if err := c.finish(); err != nil {
			return err
		}
		again := c.start()
		for i := range c.cases {
			again.vary(&c.cases[i].Regs)
		}
	}
	return nil
}

// start begins a batch, with random data.
func (c *Campaign) start() *generator {
	c.batch++
	rng := rand.New(rand.NewPCG(c.seed, c.batch))
	for i := 0; i < len(c.before); i += 8 {
		binary.LittleEndian.PutUint64(c.before[i:], rng.Uint64())
	}
	return newGenerator(rng)
}

// finish compares the batch that has been made.
func (c *Campaign) finish() error {
	if err := c.setWindows(c.before); err != nil {
		return err
	}
	err := c.compare(0, len(c.cases))
	if d, ok := err.(*Difference); ok {
		return c.isolate(d)
	}
	return err
}

// setWindows sets the data on both sides.
func (c *Campaign) setWindows(data []byte) error {
	copy(c.hw.Windows(), data)
	return c.soft.SetWindows(data)
}

// compare runs the cases from one to another on both sides.
func (c *Campaign) compare(from, to int) error {
	if err := c.hw.Run(c.cases[from:to], c.results[from:to]); err != nil {
		return err
	}
	if err := c.soft.Place(c.cases[from:to]); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		stop, regs, err := c.soft.Run(&c.cases[i])
		if err != nil {
			return err
		}
		var in *x86.Inst
		if c.form[i] >= 0 {
			in = &c.insns[i]
		}
		if s := compare(&c.cases[i], in, &c.results[i], stop, &regs); s != "" {
			return c.difference(i, s)
		}
		c.count(i, in)
	}
	if err := c.soft.Windows(c.now); err != nil {
		return err
	}
	if hw := c.hw.Windows(); !bytes.Equal(hw, c.now) {
		return c.difference(from, windowsDiffer(c.now, hw))
	}
	return nil
}

// count adds a case that agreed to the sums.
func (c *Campaign) count(i int, in *x86.Inst) {
	want := &c.results[i]
	if want.Trap != noTrap {
		c.Faults++
	}
	if in == nil {
		c.Sequences++
		for _, cut := range c.cases[i].Cuts {
			if entry(c.cases[i].Slot)+uint64(cut) <= want.Regs.RIP {
				c.Insns++
			}
		}
		return
	}
	c.Done[c.form[i]]++
	if want.Trap == noTrap {
		u := use{in, &c.cases[i].Regs, &want.Regs}
		if flags, result, entry := u.undefined(); entry >= 0 && (flags != 0 || result) {
			c.Masked[entry]++
		}
	}
}

// difference describes a case that differs.
func (c *Campaign) difference(i int, what string) *Difference {
	d := &Difference{Case: c.cases[i], Form: "sequence", Want: c.results[i], What: what}
	if c.form[i] >= 0 {
		d.Form = c.forms[c.form[i]].Name
	}
	return d
}

// isolate runs the batch again one case at a time, to find the first that
// differs, then cuts a sequence down to the piece that makes the difference,
// and puts zeros where they make none.
func (c *Campaign) isolate(d *Difference) error {
	if err := c.setWindows(c.before); err != nil {
		return err
	}
	for i := range c.cases {
		start := bytes.Clone(c.hw.Windows())
		err := c.compare(i, i+1)
		if _, ok := err.(*Difference); !ok {
			if err != nil {
				return err
			}
			continue
		}
		return c.shrink(i, start, err.(*Difference))
	}
	d.What = "only as part of its batch: " + d.What
	return d
}

// shrink makes the difference d of case i simpler.
func (c *Campaign) shrink(i int, start []byte, d *Difference) error {
	again := func(changed Case, windows []byte) bool {
		before := c.cases[i]
		c.cases[i] = changed
		err := c.setWindows(windows)
		if err == nil {
			err = c.compare(i, i+1)
		}
		if found, ok := err.(*Difference); ok && found.Want.Trap == d.Want.Trap {
			d, start = found, windows
			return true
		}
		c.cases[i] = before
		return false
	}
	for _, cut := range c.cases[i].Cuts {
		short := c.cases[i]
		if short.Code = short.Code[:cut]; again(short, start) {
			break
		}
	}
	again(c.cases[i], make([]byte, windowsSize))
	for r := range c.cases[i].Regs.GPR {
		simple := c.cases[i]
		simple.Regs.GPR[r] = 0
		again(simple, start)
	}
	simple := c.cases[i]
	simple.Regs.Flags &^= flagsCompared
	again(simple, start)
	if len(d.Case.Pokes) > 0 {
		simple := c.cases[i]
		simple.Pokes = nil
		again(simple, start)
	}
	d.Zeros = bytes.Count(start, []byte{0}) == len(start)
	return d
}

// A Difference is a case that ended differently on the two sides. It is the
// error of a campaign.
type Difference struct {
	Case  Case
	Form  string
	Zeros bool // whether all data but the pokes was zero before the case
	Want  Result
	What  string
}

// Error describes the difference in a number of lines.
func (d *Difference) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.Form)
	for at := 0; at < len(d.Case.Code); {
		text, n, err := x86.Disasm(d.Case.Code[at:], entry(d.Case.Slot)+uint64(at), nil)
		if err != nil {
			text, n = err.Error(), len(d.Case.Code)-at
		}
		fmt.Fprintf(&b, "%#x: % x   %s\n", entry(d.Case.Slot)+uint64(at), d.Case.Code[at:at+n], text)
		at += n
	}
	fmt.Fprintf(&b, "before: %s", stateText(&d.Case.Regs, &emu.Regs{}))
	for _, p := range d.Case.Pokes {
		fmt.Fprintf(&b, " [%#x]=%#x", p.Addr, p.Value)
	}
	if !d.Zeros {
		b.WriteString(" and random data")
	}
	fmt.Fprintf(&b, "\n%s", d.What)
	return b.String()
}
