// Package jsonl writes events as JSON, one object a line.
//
// Keys come in a fixed order and only where they mean something for the kind:
//
//	kind    the kind, as trace.Kind spells it
//	cpu     the CPU, a number
//	ip      the address of the instruction, gate or site
//	sym     the symbol of ip, as name or name+0xoffset
//	addr    the address touched, gone to or returned to
//	addrsym the symbol of addr
//	size    bytes touched, or the instruction's length
//	write   whether memory was written
//	value   what was read or written
//	depth   functions that the function_graph tracer follows around this one
//	vector  the number of the exception
//	old     bytes before, in hexadecimal
//	new     bytes after, or of the instruction
//	name    the gate, function or ops
//	text    the rest
//	ret     the result, 0 or a negative errno
//
// Addresses and values are strings like "0xffffffff81000000": numbers of JSON
// do not hold 64 bits everywhere.
package jsonl

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"ftemu/trace"
)

// A SymLookup names an address: the symbol that covers it and the distance from
// the symbol's start. ok is false where there is none.
type SymLookup = func(addr uint64) (name string, offset uint64, ok bool)

// A Sink writes events to a writer.
type Sink struct {
	w    io.Writer
	mask trace.Mask
	syms []SymLookup
	buf  bytes.Buffer
	enc  *json.Encoder
	err  error
}

// New returns a sink of the events in mask. Symbols are looked up in the order
// given; the first that knows an address names it. Lines go out one by one, each
// with one call of Write.
func New(w io.Writer, mask trace.Mask, sym ...SymLookup) *Sink {
	s := &Sink{w: w, mask: mask, syms: sym}
	s.enc = json.NewEncoder(&s.buf)
	s.enc.SetEscapeHTML(false)
	return s
}

// Mask implements trace.Tracer.
func (s *Sink) Mask() trace.Mask { return s.mask }

// Err is the first error of a write. After it nothing more is written.
func (s *Sink) Err() error { return s.err }

// A field is a part of an event that a kind has always, whatever its value.
type field uint16

const (
	ip field = 1 << iota
	addr
	size
	access // write and value
	vector
	depth
	bytesOld
	bytesNew
	name
	ret
)

// fields are those of each kind. Others are written where they are not zero.
var fields = [...]field{
	trace.Insn:     ip | size | bytesNew,
	trace.Branch:   ip | addr,
	trace.Mem:      ip | addr | size | access,
	trace.Gate:     ip | addr | name,
	trace.Trap:     ip | vector,
	trace.Poke:     ip | bytesOld | bytesNew,
	trace.Reg:      name | ret,
	trace.OpsFunc:  name | ret,
	trace.Callback: ip | addr | name,
	trace.Warn:     0,
	trace.Func:     ip | addr,
	trace.Entry:    ip | depth,
	trace.Exit:     ip | addr | depth,
}

// Trace implements trace.Tracer.
func (s *Sink) Trace(ev *trace.Event) {
	if s.err != nil {
		return
	}
	var has field
	if int(ev.Kind) < len(fields) {
		has = fields[ev.Kind]
	}
	s.buf.Reset()
	s.buf.WriteByte('{')
	s.text("kind", ev.Kind.String())
	s.number("cpu", ev.CPU)
	if has&ip != 0 || ev.IP != 0 {
		s.address("ip", "sym", ev.IP)
	}
	if has&addr != 0 || ev.Addr != 0 {
		s.address("addr", "addrsym", ev.Addr)
	}
	if has&size != 0 || ev.Size != 0 {
		s.number("size", ev.Size)
	}
	if has&access != 0 {
		s.key("write")
		s.buf.WriteString(strconv.FormatBool(ev.Write))
		s.text("value", fmt.Sprintf("%#x", ev.Value))
	}
	if has&depth != 0 {
		s.number("depth", ev.Depth)
	}
	if has&vector != 0 {
		s.number("vector", ev.Vector)
	}
	if has&bytesOld != 0 || len(ev.Old) > 0 {
		s.text("old", hex.EncodeToString(ev.Old))
	}
	if has&bytesNew != 0 || len(ev.New) > 0 {
		s.text("new", hex.EncodeToString(ev.New))
	}
	if has&name != 0 || ev.Name != "" {
		s.text("name", ev.Name)
	}
	if ev.Text != "" {
		s.text("text", ev.Text)
	}
	if has&ret != 0 || ev.Ret != 0 {
		s.number("ret", ev.Ret)
	}
	s.buf.WriteString("}\n")
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		s.err = fmt.Errorf("trace: %w", err)
	}
}

// key begins a member of the object.
func (s *Sink) key(k string) {
	if s.buf.Len() > 1 {
		s.buf.WriteByte(',')
	}
	s.buf.WriteByte('"')
	s.buf.WriteString(k)
	s.buf.WriteString(`":`)
}

func (s *Sink) number(k string, n int) {
	s.key(k)
	s.buf.WriteString(strconv.Itoa(n))
}

func (s *Sink) text(k, v string) {
	s.key(k)
	_ = s.enc.Encode(v)             // a string always has an encoding
	s.buf.Truncate(s.buf.Len() - 1) // the newline of Encode
}

func (s *Sink) address(k, symKey string, a uint64) {
	s.text(k, fmt.Sprintf("%#x", a))
	for _, sym := range s.syms {
		if name, off, ok := sym(a); ok {
			if off != 0 {
				name += fmt.Sprintf("+%#x", off)
			}
			s.text(symKey, name)
			return
		}
	}
}
