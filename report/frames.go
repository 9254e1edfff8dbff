package report

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu"
	"ftemu/emu"
	"ftemu/script"
	"ftemu/trace"
	"ftemu/trampoline"
	"ftemu/trampoline/abi"
	"ftemu/x86"
)

// A Tramp is a trampoline that a call went through.
type Tramp struct {
	ID, Name, Layout string
	Kind             string // class
	Line             string // the line that first went through it
	LineID           string
	Size             int // of its code, in bytes
	Listing          string
	Frame            *FramePicture

	frame *abi.Frame
	value map[int64]uint64 // what was stored last, by distance from the return slot
}

// frames watches the first passage through each trampoline: what it stores below
// its return slot is its frame.
type frames struct {
	run    *script.Runner
	cpus   map[int][]*watch
	known  map[string]*Tramp
	tramps []*Tramp
	isAt   map[uint64]bool // whether a trampoline begins there, as of this line
	fresh  []*Tramp        // of this line
	lost   int
}

// A watch is a passage under way.
type watch struct {
	t          *Tramp
	code       trampoline.Code
	slots      []trampoline.Slot
	entry      emu.Regs
	slot       uint64 // address of the return slot; 0 before the first instruction
	base       uint64 // rsp at the first call; 0 before
	low        uint64 // lowest rsp or store
	rbp        uint64
	words      map[int64][]string
	flags      bool      // have been stored
	entryWords [2]uint64 // return slot and what is above it
	returned   string    // what was called last, as long as rax holds its value
}

// begin is called before a line.
func (f *frames) begin() {
	f.isAt = make(map[uint64]bool)
	f.fresh = nil
}

// trim is called behind a line: what was not left ends there.
// It returns the trampolines that the line was the first to go through.
func (f *frames) trim() []*Tramp {
	for cpu := range f.cpus {
		for _, w := range f.cpus[cpu] {
			w.finish()
		}
		delete(f.cpus, cpu)
	}
	for _, t := range f.fresh {
		t.draw()
	}
	return f.fresh
}

// trace shows an event.
func (f *frames) trace(ev *trace.Event) {
	switch ev.Kind {
	case trace.Branch:
		f.branch(ev)
	case trace.Insn:
		if len(f.cpus[ev.CPU]) > 0 {
			f.insn(ev)
		}
	case trace.Mem:
		for _, w := range f.cpus[ev.CPU] {
			w.store(f, ev)
		}
	}
}

func (f *frames) regs(cpu int) *emu.Regs { return f.run.Lab().Machine.CPU(cpu).Regs() }

// branch begins to watch a trampoline that is entered for the first time.
func (f *frames) branch(ev *trace.Event) {
	for _, w := range f.cpus[ev.CPU] {
		if w.own(ev.IP) && !w.own(ev.Addr) && w.isCall(ev.IP) {
			w.returned = f.run.Place(ev.Addr)
			if name, off, ok := f.run.SymbolAt(ev.Addr); ok && off == 0 {
				w.returned = name
			}
		}
	}
	at, asked := f.isAt[ev.Addr]
	if !asked {
		at = f.run.Lab().IsTrampoline(ev.Addr)
		f.isAt[ev.Addr] = at
	}
	if !at {
		return
	}
	f.isAt[ev.Addr] = false // once a line is enough
	t, ok := f.run.Lab().TrampolineAt(ev.Addr)
	if !ok {
		return
	}
	if tr := f.add(ev.Addr, t); tr != nil {
		w := &watch{t: tr, code: t.Code, slots: t.Frame, words: make(map[int64][]string)}
		f.cpus[ev.CPU] = append(f.cpus[ev.CPU], w)
	}
}

// add makes the entry of a trampoline; nil where it is known, or there are too many.
func (f *frames) add(addr uint64, t ftemu.Trampoline) *Tramp {
	name, kind := f.names(addr, t)
	key := name + "|" + t.Code.Name
	if t.Code.Frame != nil { // a BPF image: its trampoline may get another
		key += string(t.Code.Bytes)
	}
	if f.known[key] != nil {
		return nil
	}
	layout := t.Code.Name
	if t.Code.Frame != nil || layout == name {
		layout = ""
	}
	tr := &Tramp{Name: name, Layout: strings.TrimPrefix(layout, "direct "), Kind: kind, Size: len(t.Code.Bytes), value: make(map[int64]uint64)}
	f.known[key] = tr
	if len(f.tramps) == maxTramps {
		f.lost++
		return nil
	}
	tr.ID = fmt.Sprintf("trampoline-%d", len(f.tramps)+1)
	tr.Listing = t.Code.Listing(f.run.SymbolAt)
	f.tramps, f.fresh = append(f.tramps, tr), append(f.fresh, tr)
	return tr
}

// names says what a trampoline is called, and whose it is.
func (f *frames) names(addr uint64, t ftemu.Trampoline) (name, kind string) {
	lab := f.run.Lab()
	if direct, ok := lab.DirectName(addr); ok {
		return "direct trampoline " + direct, kindDirect
	}
	name, _, _ = f.run.SymbolAt(addr)
	if t.Code.Frame != nil {
		fn := strings.TrimPrefix(name, "bpf_trampoline:")
		if at, ok := lab.Symbols.Lookup(fn); ok {
			fn = f.run.Place(at)
		}
		return "BPF image of " + fn, kindDirect
	}
	if id, ok := strings.CutPrefix(name, "tramp:"); ok {
		return trampOf + id, f.kind(id)
	}
	return name, kindShared
}

// kind says whose an ops is.
func (f *frames) kind(id string) string {
	for _, o := range f.run.Lab().Core.Ops() {
		if o.Name == id {
			return opsKind(o.Flags)
		}
	}
	return kindTracer
}

// insn follows the stack pointer.
func (f *frames) insn(ev *trace.Event) {
	regs := f.regs(ev.CPU)
	sp := regs.GPR[emu.RSP]
	f.cpus[ev.CPU] = slices.DeleteFunc(f.cpus[ev.CPU], func(w *watch) bool {
		switch {
		case w.slot == 0 && ev.IP == w.code.Addr:
			w.entry, w.slot, w.low = *regs, sp, sp
			mem := f.run.Lab().Mem
			w.entryWords[0], _ = mem.ReadU64(sp) // the call at the site has just written there
			w.entryWords[1], _ = mem.ReadU64(sp + 8)
			w.words[0] = nil
		case w.slot != 0 && sp > w.slot:
			w.finish()
			return true
		case w.own(ev.IP):
			if w.base == 0 && w.isCall(ev.IP) {
				w.base, w.rbp = sp, regs.GPR[emu.RBP]
			}
			if w.setsRAX(ev) {
				w.returned = ""
			}
			if sp < w.low {
				w.low = sp
				if w.base == 0 {
					w.rbp = regs.GPR[emu.RBP]
				}
			}
		}
		return false
	})
}

func (w *watch) own(ip uint64) bool { return ip-w.code.Addr < uint64(len(w.code.Bytes)) }

// at decodes an instruction of the trampoline; one that is none is the zero value.
func (w *watch) at(ip uint64) x86.Inst {
	in, _ := x86.Decode(w.code.Bytes[ip-w.code.Addr:])
	return in
}

// isCall tells whether the instruction is a call.
func (w *watch) isCall(ip uint64) bool { return w.at(ip).Op == x86asm.CALL }

// setsRAX tells whether an instruction loads rax.
func (w *watch) setsRAX(ev *trace.Event) bool {
	if w.returned == "" {
		return false
	}
	in := w.at(ev.IP)
	return in.Op != x86asm.PUSH && (in.Args[0] == x86asm.RAX || in.Args[0] == x86asm.EAX)
}
