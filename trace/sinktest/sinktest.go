// Package sinktest holds what every sink that writes events as lines must do.
package sinktest

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
)

// A Sink writes an event a line.
type Sink interface {
	trace.Tracer
	Err() error
}

// A Lookup names an address by a symbol and the distance from its start.
type Lookup = func(addr uint64) (name string, offset uint64, ok bool)

// Run tests the sinks that newSink makes. Their lines are compared with the files
// plain.golden and symbols.golden in testdata, which -update rewrites.
func Run(t *testing.T, newSink func(io.Writer, trace.Mask, ...Lookup) Sink) {
	t.Run("plain", func(t *testing.T) { golden(t, "plain.golden", newSink) })
	t.Run("symbols", func(t *testing.T) { golden(t, "symbols.golden", newSink, Symbols, more) })
	t.Run("mask", func(t *testing.T) {
		var out strings.Builder
		f := trace.NewFanout(newSink(&out, trace.MaskOf(trace.Poke)))
		for _, ev := range Events() {
			f.Trace(&ev)
		}
		require.Equal(t, 2, strings.Count(out.String(), "\n"))
		require.Contains(t, out.String(), "poke")
	})
	t.Run("write error", func(t *testing.T) {
		w := &failing{left: 2}
		s := newSink(w, trace.All)
		for _, ev := range Events() {
			s.Trace(&ev)
		}
		require.EqualError(t, s.Err(), "trace: disk full")
		require.Equal(t, 3, w.calls, "nothing is written after an error")
	})
}

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, newSink func(io.Writer, trace.Mask, ...Lookup) Sink, syms ...Lookup) {
	var out strings.Builder
	s := newSink(&out, trace.All, syms...)
	for _, ev := range Events() {
		s.Trace(&ev)
	}
	require.NoError(t, s.Err())
	require.Equal(t, len(Events()), strings.Count(out.String(), "\n"), "one line an event")
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

// A failing writer takes some writes and no more.
type failing struct{ left, calls int }

// Write implements io.Writer.
func (f *failing) Write(b []byte) (int, error) {
	f.calls++
	if f.left--; f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

// Events has one event of every kind, and some with fields at their limits.
func Events() []trace.Event {
	nop, call := []byte{0x0f, 0x1f, 0x44, 0, 0}, []byte{0xe8, 0x3b, 0, 0, 0}
	return []trace.Event{
		{Kind: trace.Insn, IP: 0xffffffff81000000, Size: 5, New: nop},
		{Kind: trace.Insn, IP: 0xffffffff81000005, Size: 1, New: []byte{0xc3}, Text: "ret"},
		{Kind: trace.Branch, CPU: 1, IP: 0xffffffff81000005, Addr: 0xffffffff81000040},
		{Kind: trace.Mem, CPU: 11, IP: 0xffffffff81000009, Addr: 0xffff888000001ff8, Size: 8, Write: true, Value: 1<<64 - 1},
		{Kind: trace.Mem, IP: 0xffffffff8100000c, Addr: 0xffff888000001ff8, Size: 1},
		{Kind: trace.Gate, IP: 0xffffffff81000100, Addr: 0xffffffff81000045, Name: "ftrace_ops_list_func"},
		{Kind: trace.Trap, CPU: 2, IP: 0xffffffff81000000, Vector: 3},
		{Kind: trace.Trap, IP: 0, Vector: 0},
		{Kind: trace.Poke, IP: 0xffffffff81000000, Old: nop, New: call, Text: "tail"},
		{Kind: trace.Poke, IP: 0xffffffffc0000000, Old: make([]byte, 17), New: make([]byte, 17), Text: "trampoline"},
		{Kind: trace.Reg, Name: "register_ftrace_function", Text: `"klp"`, Ret: -16},
		{Kind: trace.Reg, Name: "register_ftrace_direct"},
		{Kind: trace.OpsFunc, Name: "bpf", Text: "ENABLE_SHARE_IPMODIFY_SELF", Ret: -11},
		{Kind: trace.Callback, CPU: 1, IP: 0xffffffff81000000, Addr: 0xffffffff81000205, Name: "tracer"},
		{Kind: trace.Func, CPU: 1, IP: 0xffffffff81000000, Addr: 0xffffffff81000045},
		{Kind: trace.Entry, IP: 0xffffffff81000000, Depth: 0},
		{Kind: trace.Exit, CPU: 1, IP: 0xffffffff81000040, Addr: 0xffffffff81000005, Depth: 3},
		{Kind: trace.Warn, Text: "WARNING: <failed> to modify\nf0"},
		{Kind: trace.Warn, IP: 0xffffffff81000000, Name: "ftrace_bug", Text: "a \"quoted\" & odd text"},
	}
}

// Symbols knows two functions.
func Symbols(addr uint64) (string, uint64, bool) {
	switch {
	case addr >= 0xffffffff81000000 && addr < 0xffffffff81000040:
		return "f0", addr - 0xffffffff81000000, true
	case addr >= 0xffffffff81000040 && addr < 0xffffffff81000100:
		return "f1", addr - 0xffffffff81000040, true
	}
	return "", 0, false
}

// more knows another, and would name the first differently.
func more(addr uint64) (string, uint64, bool) {
	if addr < 0xffffffff81000000 {
		return "", 0, false
	}
	return "a_function_with_quite_a_long_name", addr & 0xff, true
}
