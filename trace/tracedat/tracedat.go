// Package tracedat writes what the function tracers noted as a trace.dat file of
// version 6, which trace-cmd and KernelShark read.
// Source: trace-cmd.dat.v6(5), and the ring buffer's pages of Linux 6.1.
package tracedat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"ftemu/trace"
)

// A Symbol is a function: its name, the module it belongs to ("" for the core
// kernel), and where it begins.
type Symbol struct {
	Name, Module string
	Start        uint64
}

// Options say what the notes do not.
type Options struct {
	CPUs int // how many there are
	// Lookup finds the symbol that covers an address.
	Lookup func(addr uint64) (s Symbol, ok bool)
}

// Write writes a file.
func Write(w io.Writer, notes []trace.Noted, opt Options) error {
	var b file
	b.text("\x17\x08\x44tracing6\x00")
	b.bytes(0, 8) // little-endian, longs of 8 bytes
	b.u32(pageSize)
	b.text("header_page\x00")
	b.sized64(headerPage)
	b.text("header_event\x00")
	b.sized64(headerEvent)
	b.u32(uint32(len(formats)))
	for _, f := range formats {
		b.sized64(f)
	}
	b.u32(0) // systems of events
	b.sized32(kallsyms(notes, opt.Lookup))
	b.sized32("") // printk formats
	b.sized64(cmdlines(opt.CPUs))
	b.u32(uint32(opt.CPUs))
	b.text("options  \x00")
	b.u16(0)
	b.text("flyrecord\x00")

	pages := make([][]byte, opt.CPUs)
	for cpu := range pages {
		pages[cpu] = ring(notes, cpu)
	}
	const each = 16 // bytes of a CPU's entry in the list of data
	at := roundUp(uint64(b.Len() + each*opt.CPUs))
	for _, p := range pages {
		b.u64(at)
		b.u64(uint64(len(p)))
		at += uint64(len(p))
	}
	b.pad()
	for _, p := range pages {
		b.Write(p)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// pageSize is the size of a page of the ring buffer in bytes.
const pageSize = 4096

func roundUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// A file is the content in the making.
type file struct{ bytes.Buffer }

func (b *file) bytes(v ...byte) { b.Write(v) }
func (b *file) text(s string)   { b.WriteString(s) }
func (b *file) u16(v uint16)    { b.Write(binary.LittleEndian.AppendUint16(nil, v)) }
func (b *file) u32(v uint32)    { b.Write(binary.LittleEndian.AppendUint32(nil, v)) }
func (b *file) u64(v uint64)    { b.Write(binary.LittleEndian.AppendUint64(nil, v)) }

// sized32 and sized64 write a text behind its length.
func (b *file) sized32(s string) { b.u32(uint32(len(s))); b.text(s) }
func (b *file) sized64(s string) { b.u64(uint64(len(s))); b.text(s) }

// pad fills the last page.
func (b *file) pad() { b.Write(make([]byte, roundUp(uint64(b.Len()))-uint64(b.Len()))) }

// kallsyms is the table of the symbols that the notes need. An address without a
// symbol is given one that reads as the address. Behind all others stands an end,
// without which readers do not find the last.
func kallsyms(notes []trace.Noted, lookup func(uint64) (Symbol, bool)) string {
	syms := make(map[uint64]Symbol)
	add := func(addr uint64) {
		s, ok := lookup(addr)
		if !ok {
			s = Symbol{Name: fmt.Sprintf("0x%08x", addr), Start: addr}
		}
		syms[s.Start] = s
	}
	last := uint64(0)
	for _, e := range notes {
		add(e.IP)
		last = max(last, e.IP)
		if e.Kind == trace.Func && e.Addr != 0 {
			add(e.Addr)
			last = max(last, e.Addr)
		}
	}
	var b strings.Builder
	for _, start := range slices.Sorted(maps.Keys(syms)) {
		s := syms[start]
		fmt.Fprintf(&b, "%016x T %s", start, s.Name)
		if s.Module != "" {
			fmt.Fprintf(&b, "\t[%s]", s.Module)
		}
		b.WriteByte('\n')
	}
	if len(syms) > 0 {
		fmt.Fprintf(&b, "%016x T _etext\n", last+1)
	}
	return b.String()
}

// cmdlines is the table of tasks.
func cmdlines(cpus int) string {
	var b strings.Builder
	for cpu := range cpus {
		comm, pid := trace.Task(cpu)
		fmt.Fprintf(&b, "%d %s\n", pid, comm)
	}
	return b.String()
}
