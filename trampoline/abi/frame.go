package abi

import (
	"fmt"
	"slices"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/trampoline"
)

// A Frame is the stack frame of a trampoline as it is while it calls: what was
// found by executing it, under the names that its description gives.
type Frame struct {
	Name string
	Size int64 // bytes from rsp at the first call up to the return slot
	Deep int64 // bytes in use at the deepest point
	// RBP says that rbp is the frame pointer, RBPOff where it points, from the
	// return slot.
	RBP    bool
	RBPOff int64
	Parts  []Part // from the highest address to the lowest
}

// A Part is a part of a frame, or one of the two words above it.
type Part struct {
	Off     int64    // from rsp at the first call
	Size    int64    // bytes
	Slot    int64    // from the return slot
	Name    string   // "" where nobody has named it
	Content []string // what was stored there, in order; none: not written
}

// FrameOf executes a trampoline once and looks at its stack frame.
func FrameOf(m trampoline.Maker, engine emu.Engine, ret trampoline.Return) (*Frame, error) {
	b, err := newBench(engine, m, ret)
	if err != nil {
		return nil, err
	}
	defer b.close()
	l := &looker{b: b, words: make(map[uint64][]string), results: make(map[uint64]string)}
	r, err := b.typical(l)
	if err != nil {
		return nil, err
	}
	if l.words[r.slot] == nil {
		l.words[r.slot] = []string{"address behind the site"}
	}
	if l.base == 0 {
		l.base = l.lowest(r)
	}
	f := &Frame{Name: m.Name(), Size: int64(r.slot - l.base), Deep: int64(r.slot - l.lowest(r))}
	if l.rbp >= l.base && l.rbp < r.slot {
		f.RBP, f.RBPOff = true, int64(l.rbp-r.slot)
	}
	f.Fill(m.Frame(), func(off, size int64) []string { return l.content(r, off, size) })
	return f, nil
}

// Fill lists the parts: the words above the frame, the named slots, and between
// them the words without a name; those that nothing was stored in are joined.
// content is what was stored in a part, by its distance from the return slot.
func (f *Frame) Fill(slots []trampoline.Slot, content func(off, size int64) []string) {
	f.add(Part{Slot: 8, Size: 8, Name: "parent's return address", Content: []string{"return address of the traced function"}})
	f.add(Part{Slot: 0, Size: 8, Name: "return slot", Content: content(0, 8)})
	slots = slices.Clone(slots)
	slices.SortFunc(slots, func(a, b trampoline.Slot) int { return int(b.Off - a.Off) })
	for off := int64(0); off > -f.Size; {
		if len(slots) > 0 && slots[0].Off+slots[0].Size >= off {
			s := slots[0]
			slots = slots[1:]
			f.add(Part{Slot: s.Off, Size: s.Size, Name: s.Name, Content: content(s.Off, s.Size)})
			off = s.Off
			continue
		}
		low := off - 8
		if len(slots) > 0 {
			low = max(low, slots[0].Off+slots[0].Size)
		}
		low = max(low, -f.Size)
		p := Part{Slot: low, Size: off - low, Content: content(low, off-low)}
		last := &f.Parts[len(f.Parts)-1]
		if p.Content == nil && last.Name == "" && last.Content == nil && last.Slot < 0 {
			last.Slot, last.Off, last.Size = p.Slot, p.Slot+f.Size, last.Size+p.Size
		} else {
			f.add(p)
		}
		off = low
	}
}

func (f *Frame) add(p Part) {
	p.Off = p.Slot + f.Size
	f.Parts = append(f.Parts, p)
}

// A looker notes what is stored on the stack.
type looker struct {
	b       *bench
	words   map[uint64][]string // by address of the store
	results map[uint64]string   // what returned a value
	base    uint64              // rsp at the first call
	rbp     uint64              // and rbp
	min     uint64              // the lowest address that was written or that rsp had
}

func (l *looker) lowest(r *run) uint64 {
	if l.min == 0 {
		return r.slot
	}
	return l.min
}

// content is what was stored in a part.
func (l *looker) content(r *run, off, size int64) []string {
	var out []string
	for i := range size {
		out = append(out, l.words[r.slot+uint64(off+i)]...)
	}
	return out
}

func (l *looker) branch(_, _ uint64) {}

// insn follows rsp: where nothing is called, the frame reaches down to its
// lowest value.
func (l *looker) insn(ip uint64, _ []byte, regs *emu.Regs) {
	if sp := regs.GPR[emu.RSP]; l.b.own(ip) && (l.min == 0 || sp < l.min) {
		l.min = sp
		if l.base == 0 {
			l.rbp = regs.GPR[emu.RBP]
		}
	}
}

func (l *looker) gate(name string, ret, result uint64) {
	if l.base == 0 && l.b.own(ret) {
		regs := l.b.cpu.Regs()
		l.base, l.rbp = regs.GPR[emu.RSP]+8, regs.GPR[emu.RBP]
	}
	if name == "body" {
		name = "the body"
	}
	if result != 0 {
		l.results[result] = name
	}
}

func (l *looker) access(ev *trace.Event) {
	if !ev.Write || !l.b.own(ev.IP) || ev.Addr-stackBase >= stackSize {
		return
	}
	if l.min == 0 || ev.Addr < l.min {
		l.min = ev.Addr
	}
	if l.base != 0 && ev.Addr < l.base {
		return // below the frame: return addresses of calls
	}
	text := l.describe(ev.Value)
	if words := l.words[ev.Addr]; !slices.Contains(words, text) {
		l.words[ev.Addr] = append(words, text)
	}
}

// describe says what a value is by where it came from: on entry all registers
// are different and random.
func (l *looker) describe(v uint64) string {
	r := l.b.run
	for i, was := range r.entry.GPR {
		if v == was && i != emu.RSP {
			return emu.RegNames[i]
		}
	}
	if name, ok := l.results[v]; ok {
		return "what " + name + " returned"
	}
	switch v {
	case r.entry.Flags:
		return "flags"
	case r.slot:
		return "address of the return slot"
	case r.slot + 8:
		return "rsp before the call at the site"
	case bodyAddr:
		return "address behind the site"
	case siteAddr:
		return "address of the site"
	case parentAddr:
		return "return address of the traced function"
	}
	if name, off, ok := l.b.sample.Name(v); ok && off == 0 {
		return "address of " + name
	}
	switch {
	case l.b.own(v):
		return fmt.Sprintf("address of code +%#x", v-l.b.placed.Code.Addr)
	case v-stackBase < stackSize:
		return fmt.Sprintf("address of entry rsp%+#x", int64(v-r.slot))
	}
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}
