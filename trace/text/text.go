// Package text writes events as lines for people, one event a line: its kind,
// then what happened, addresses by name.
package text

import (
	"fmt"
	"io"

	"ftemu/trace"
)

// Names turn numbers into words. A nil function leaves them numbers.
type Names struct {
	Addr func(addr uint64) string            // an address by symbol and offset
	Code func(code []byte, ip uint64) string // the text of the instruction at ip
	Ret  func(ret int) string                // the result of a registration call
}

// A Sink is a tracer that writes. It keeps the first error of its writer and
// writes nothing after it.
type Sink struct {
	w      io.Writer
	mask   trace.Mask
	names  Names
	prefix string
	err    error
}

// New returns a sink for the kinds in mask. Every line begins with prefix.
func New(w io.Writer, mask trace.Mask, names Names, prefix string) *Sink {
	if names.Addr == nil {
		names.Addr = func(a uint64) string { return fmt.Sprintf("%#x", a) }
	}
	if names.Code == nil {
		names.Code = func(code []byte, _ uint64) string { return fmt.Sprintf("% x", code) }
	}
	if names.Ret == nil {
		names.Ret = func(ret int) string { return fmt.Sprint(ret) }
	}
	return &Sink{w: w, mask: mask, names: names, prefix: prefix}
}

// Mask implements trace.Tracer.
func (s *Sink) Mask() trace.Mask { return s.mask }

// Err returns the first error of the writer.
func (s *Sink) Err() error { return s.err }

// Trace implements trace.Tracer.
func (s *Sink) Trace(ev *trace.Event) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, "%s%-8s %s\n", s.prefix, ev.Kind, s.what(ev))
	}
}

// maxPoke is how many bytes a poke may change to be printed byte by byte.
const maxPoke = 8

// what says what happened.
func (s *Sink) what(ev *trace.Event) string {
	at := fmt.Sprintf("cpu%d %-24s", ev.CPU, s.names.Addr(ev.IP))
	switch ev.Kind {
	case trace.Insn:
		return at + " " + s.names.Code(ev.New, ev.IP)
	case trace.Branch:
		return at + " -> " + s.names.Addr(ev.Addr)
	case trace.Mem:
		verb := "reads "
		if ev.Write {
			verb = "writes"
		}
		return fmt.Sprintf("%s %s %#x bytes at %#x: %#x", at, verb, ev.Size, ev.Addr, ev.Value)
	case trace.Gate:
		return fmt.Sprintf("%s returns to %s", at, s.names.Addr(ev.Addr))
	case trace.Trap:
		return fmt.Sprintf("%s vector %d", at, ev.Vector)
	case trace.Poke:
		if len(ev.New) > maxPoke {
			return fmt.Sprintf("%-24s %d bytes  %s", s.names.Addr(ev.IP), len(ev.New), ev.Text)
		}
		return fmt.Sprintf("%-24s % x -> % x  %s", s.names.Addr(ev.IP), ev.Old, ev.New, ev.Text)
	case trace.Reg:
		return fmt.Sprintf("%s(%s) = %s", ev.Name, ev.Text, s.names.Ret(ev.Ret))
	case trace.OpsFunc:
		return fmt.Sprintf("%s is asked %s, answers %s", ev.Name, ev.Text, s.names.Ret(ev.Ret))
	case trace.Callback:
		return fmt.Sprintf("%s for %s, called from %s", ev.Name, s.names.Addr(ev.IP), s.names.Addr(ev.Addr))
	case trace.Warn:
		return fmt.Sprintf("%s: %s", ev.Name, ev.Text)
	}
	return fmt.Sprintf("%+v", *ev)
}
