// Package text writes events as lines for people: one event a line, columns
// aligned.
//
//	0 branch   0xffffffff81000005 f0+0x5                   -> 0xffffffff81000040 <f1>
//
// The columns are the CPU, the kind, the address with its symbol where there is
// a way to look symbols up, and what the kind has to say.
package text

import (
	"fmt"
	"io"
	"strings"

	"ftemu/trace"
)

// A SymLookup names an address: the symbol that covers it and the distance from
// the symbol's start. ok is false where there is none.
type SymLookup = func(addr uint64) (name string, offset uint64, ok bool)

// symWidth is the width of the column of symbols. Longer ones push the rest of
// their line to the right.
const symWidth = 24

// codeWidth is the width of an instruction's bytes where text follows: eight
// bytes, which few instructions exceed.
const codeWidth = 8*3 - 1

// maxPoke is how many bytes a poke may change to be written out; a whole
// trampoline is counted.
const maxPoke = 16

// A Sink writes events to a writer.
type Sink struct {
	w    io.Writer
	mask trace.Mask
	syms []SymLookup
	buf  []byte
	err  error
}

// New returns a sink of the events in mask. Symbols are looked up in the order
// given; the first that knows an address names it. Lines go out one by one, each
// with one call of Write.
func New(w io.Writer, mask trace.Mask, sym ...SymLookup) *Sink {
	return &Sink{w: w, mask: mask, syms: sym}
}

// Mask implements trace.Tracer.
func (s *Sink) Mask() trace.Mask { return s.mask }

// Err is the first error of a write. After it nothing more is written.
func (s *Sink) Err() error { return s.err }

// Trace implements trace.Tracer.
func (s *Sink) Trace(ev *trace.Event) {
	if s.err != nil {
		return
	}
	b := fmt.Appendf(s.buf[:0], "%2d %-8s ", ev.CPU, ev.Kind)
	if ev.IP != 0 || located(ev.Kind) {
		b = fmt.Appendf(b, "0x%016x ", ev.IP)
	} else {
		b = fmt.Appendf(b, "%-18s ", "")
	}
	if len(s.syms) > 0 {
		name := ""
		if ev.IP != 0 {
			name, _ = s.lookup(ev.IP)
		}
		b = fmt.Appendf(b, "%-*s ", symWidth, name)
	}
	b = s.details(b, ev)
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	b = append(b, '\n')
	s.buf = b
	if _, err := s.w.Write(b); err != nil {
		s.err = fmt.Errorf("trace: %w", err)
	}
}

// located tells whether an event of the kind always has an address, be it 0.
func located(k trace.Kind) bool { return k <= trace.Poke || k == trace.Callback || k >= trace.Func }

// details appends what is particular to the kind.
func (s *Sink) details(b []byte, ev *trace.Event) []byte {
	switch ev.Kind {
	case trace.Insn:
		if ev.Text == "" {
			return fmt.Appendf(b, "% x", ev.New)
		}
		return appendText(fmt.Appendf(b, "%-*s", codeWidth, fmt.Sprintf("% x", ev.New)), ev.Text)
	case trace.Branch:
		return s.addr(append(b, "-> "...), ev.Addr)
	case trace.Mem:
		how := "read "
		if ev.Write {
			how = "write"
		}
		b = s.addr(fmt.Appendf(b, "%s %2d at ", how, ev.Size), ev.Addr)
		return fmt.Appendf(b, " = %#x", ev.Value)
	case trace.Gate:
		return s.addr(fmt.Appendf(b, "%s, returns to ", ev.Name), ev.Addr)
	case trace.Trap:
		b = fmt.Appendf(b, "vector %d", ev.Vector)
		return appendText(b, ev.Text)
	case trace.Poke:
		if len(ev.New) > maxPoke {
			b = fmt.Appendf(b, "%d bytes", len(ev.New))
		} else {
			b = fmt.Appendf(b, "[% x] -> [% x]", ev.Old, ev.New)
		}
		return appendText(b, ev.Text)
	case trace.Reg, trace.OpsFunc:
		b = appendText(append(b, ev.Name...), ev.Text)
		return fmt.Appendf(b, " = %d", ev.Ret)
	case trace.Callback:
		b = s.addr(fmt.Appendf(b, "%s, from ", ev.Name), ev.Addr)
		return appendText(b, ev.Text)
	case trace.Func:
		return s.addr(append(b, "from "...), ev.Addr)
	case trace.Entry:
		return fmt.Appendf(b, "depth %d", ev.Depth)
	case trace.Exit:
		return s.addr(fmt.Appendf(b, "depth %d, returns to ", ev.Depth), ev.Addr)
	}
	b = append(b, ev.Name...)
	if ev.Name != "" && ev.Text != "" {
		b = append(b, ": "...)
	}
	return append(b, oneLine(ev.Text)...)
}

// addr appends an address and its symbol.
func (s *Sink) addr(b []byte, addr uint64) []byte {
	b = fmt.Appendf(b, "0x%016x", addr)
	if name, ok := s.lookup(addr); ok {
		b = fmt.Appendf(b, " <%s>", name)
	}
	return b
}

// lookup writes an address as symbol+offset.
func (s *Sink) lookup(addr uint64) (string, bool) {
	for _, sym := range s.syms {
		if name, off, ok := sym(addr); ok {
			if off == 0 {
				return name, true
			}
			return fmt.Sprintf("%s+%#x", name, off), true
		}
	}
	return "", false
}

// appendText appends a remark behind what is there.
func appendText(b []byte, text string) []byte {
	if text == "" {
		return b
	}
	return append(append(b, ' '), oneLine(text)...)
}

// oneLine keeps an event on its line.
func oneLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s)
}
