package jsonl_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
	"ftemu/trace/jsonl"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// events has one event of every kind, and some with fields at their limits.
func events() []trace.Event {
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

// symbols knows two functions.
func symbols(addr uint64) (string, uint64, bool) {
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

type failing struct{ left, calls int }

func (f *failing) Write(b []byte) (int, error) {
	f.calls++
	if f.left--; f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

// golden compares with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		file string
		syms []jsonl.SymLookup
	}{
		{"plain.golden", nil},
		{"symbols.golden", []jsonl.SymLookup{symbols, more}},
	} {
		t.Run(c.file, func(t *testing.T) {
			var out strings.Builder
			s := jsonl.New(&out, trace.All, c.syms...)
			for _, ev := range events() {
				s.Trace(&ev)
			}
			require.NoError(t, s.Err())
			require.Equal(t, len(events()), strings.Count(out.String(), "\n"), "one line an event")
			golden(t, c.file, out.String())
		})
	}
}

func TestMask(t *testing.T) {
	var out strings.Builder
	s := jsonl.New(&out, trace.MaskOf(trace.Poke))
	f := trace.NewFanout(s)
	for _, ev := range events() {
		f.Trace(&ev)
	}
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "poke")
}

func TestWriteError(t *testing.T) {
	w := &failing{left: 2}
	s := jsonl.New(w, trace.All)
	for _, ev := range events() {
		s.Trace(&ev)
	}
	require.EqualError(t, s.Err(), "trace: disk full")
	require.Equal(t, 3, w.calls, "nothing is written after an error")
}

// Every line is an object that an ordinary decoder reads back.
func TestDecodes(t *testing.T) {
	var out strings.Builder
	s := jsonl.New(&out, trace.All, symbols)
	for _, ev := range events() {
		s.Trace(&ev)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for i, ev := range events() {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &m), lines[i])
		require.Equal(t, ev.Kind.String(), m["kind"])
		if ev.Text == "" {
			require.NotContains(t, m, "text")
		} else {
			require.Equal(t, ev.Text, m["text"])
		}
	}
}
