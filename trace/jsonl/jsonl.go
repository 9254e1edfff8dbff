// Package jsonl writes events as JSON, one object a line. "event" is the kind;
// addresses and values are strings in hexadecimal, since the numbers of JSON do
// not reach 64 bits. A key is there where it means something for the kind.
package jsonl

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"ftemu/trace"
)

// A Sink is a tracer that writes. It keeps the first error of its writer and
// writes nothing after it.
type Sink struct {
	enc  *json.Encoder
	mask trace.Mask
	err  error
}

// New returns a sink for the kinds in mask.
func New(w io.Writer, mask trace.Mask) *Sink {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &Sink{enc: enc, mask: mask}
}

// Mask implements trace.Tracer.
func (s *Sink) Mask() trace.Mask { return s.mask }

// Err returns the first error of the writer.
func (s *Sink) Err() error { return s.err }

// object is an event's form, its keys in alphabetical order.
type object struct {
	Addr   string `json:"addr,omitempty"`
	CPU    *int   `json:"cpu,omitempty"`
	Event  string `json:"event"`
	IP     string `json:"ip,omitempty"`
	Name   string `json:"name,omitempty"`
	New    string `json:"new,omitempty"`
	Old    string `json:"old,omitempty"`
	Ret    *int   `json:"ret,omitempty"`
	Size   int    `json:"size,omitempty"`
	Text   string `json:"text,omitempty"`
	Value  string `json:"value,omitempty"`
	Vector *int   `json:"vector,omitempty"`
	Write  *bool  `json:"write,omitempty"`
}

// Trace implements trace.Tracer.
func (s *Sink) Trace(ev *trace.Event) {
	if s.err == nil {
		s.err = s.enc.Encode(form(ev))
	}
}

func form(ev *trace.Event) object {
	o := object{
		Event: ev.Kind.String(), Name: ev.Name, Text: ev.Text, Size: ev.Size,
		Old: hex.EncodeToString(ev.Old), New: hex.EncodeToString(ev.New),
	}
	switch ev.Kind {
	case trace.Reg, trace.OpsFunc:
		o.Ret = &ev.Ret
		return o
	case trace.Warn:
		return o
	case trace.Branch, trace.Gate, trace.Callback:
		o.Addr = address(ev.Addr)
	case trace.Mem:
		o.Addr, o.Value, o.Write = address(ev.Addr), address(ev.Value), &ev.Write
	case trace.Trap:
		o.Vector = &ev.Vector
	}
	o.CPU, o.IP = &ev.CPU, address(ev.IP)
	return o
}

func address(a uint64) string { return fmt.Sprintf("%#x", a) }
