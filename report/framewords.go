package report

import (
	"fmt"
	"slices"
	"strings"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/trampoline/abi"
	"ftemu/x86"
)

// maxFrame is how far below the return slot a store may be that is one to the
// frame, in bytes.
const maxFrame = 4096

// maxSmall is the largest value that several registers may well hold by chance.
const maxSmall = 1<<32 - 1

// store notes what the trampoline stores in its frame.
func (w *watch) store(f *frames, ev *trace.Event) {
	if w.slot == 0 || !ev.Write || !w.own(ev.IP) || ev.Addr > w.slot+8 || w.slot-ev.Addr > maxFrame && ev.Addr < w.slot {
		return
	}
	w.low = min(w.low, ev.Addr)
	if w.base != 0 && ev.Addr < w.base {
		return // return addresses of its calls
	}
	off := int64(ev.Addr - w.slot)
	text := w.describe(f, ev)
	if !slices.Contains(w.words[off], text) {
		w.words[off] = append(w.words[off], text)
	}
	w.t.value[off] = ev.Value
}

// describe says what a store is about: the register that it stores, where that
// still holds what it held on entry, or what the value is.
func (w *watch) describe(f *frames, ev *trace.Event) string {
	source := w.source(ev.IP)
	for i, name := range emu.RegNames {
		if name == source && i != emu.RSP && w.entry.GPR[i] == ev.Value {
			return name
		}
	}
	v := ev.Value
	switch {
	case source == "rax" && w.returned != "":
		return "what " + w.returned + " returned"
	case source == "flags":
		w.flags = true
		return "flags"
	case w.flags && v == w.entry.Flags: // a copy of them
		return "flags"
	case v == w.slot:
		return "address of the return slot"
	case v == w.slot+8:
		return "rsp before the call at the site"
	case v == w.entryWords[0]:
		return "what the return slot holds"
	case v == w.entryWords[1]:
		return "return address of the traced function"
	case v-(w.slot-maxFrame) < 2*maxFrame:
		return fmt.Sprintf("address of entry rsp%+#x", int64(v-w.slot))
	}
	for i, name := range emu.RegNames {
		if v > maxSmall && v == w.entry.GPR[i] { // saved by way of another register
			return name
		}
	}
	if name, off, ok := f.run.SymbolAt(v); ok {
		if off != 0 {
			name += fmt.Sprintf("+%#x", off)
		}
		return "address of " + name
	}
	if w.own(v) {
		return fmt.Sprintf("address of code +%#x", v-w.code.Addr)
	}
	return hex(v)
}

// source is the register that an instruction stores, "flags" for a pushf, and ""
// for anything else.
func (w *watch) source(ip uint64) string {
	text, _, err := x86.Disasm(w.code.Bytes[ip-w.code.Addr:], ip, nil)
	if err != nil {
		return ""
	}
	op, args, _ := strings.Cut(text, " ")
	if strings.HasPrefix(op, "pushf") {
		return "flags"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(args), ",")
	name, ok := strings.CutPrefix(first, "%")
	if !ok {
		return ""
	}
	return name
}

// finish makes the frame of what was seen.
func (w *watch) finish() {
	if w.slot == 0 || w.t.frame != nil {
		return
	}
	if w.base == 0 {
		w.base = w.low
	}
	fr := &abi.Frame{Name: w.t.Name, Size: int64(w.slot - w.base), Deep: int64(w.slot - w.low)}
	if w.rbp >= w.base && w.rbp < w.slot {
		fr.RBP, fr.RBPOff = true, int64(w.rbp-w.slot)
	}
	fr.Fill(w.slots, func(off, size int64) []string {
		var out []string
		if off == 0 {
			out = append(out, "address behind the site")
		}
		for i := range size {
			out = append(out, w.words[off+i]...)
		}
		return out
	})
	w.t.frame = fr
	if _, ok := w.t.value[0]; !ok {
		w.t.value[0] = w.entryWords[0]
	}
	w.t.value[8] = w.entryWords[1]
}
