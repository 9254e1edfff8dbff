package chrome

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
)

// Functions of a small world, 0x100 bytes each.
const (
	caller = 0x1000
	fn     = 0x1100
	tramp  = 0x1200
	goFunc = 0x1300
	other  = 0x1400
	end    = 0x9000
)

func name(addr uint64) (string, string, uint64) {
	n, ok := map[uint64]string{caller: "caller", fn: "fn", tramp: "tramp", goFunc: "go", other: "other"}[addr&^0xff]
	if !ok {
		return "nowhere", "function", addr
	}
	return n, "function", addr &^ 0xff
}

var (
	nop  = []byte{0x90}
	call = []byte{0xe8, 0, 0, 0, 0}
	ret  = []byte{0xc3}
	jmp  = []byte{0xeb, 0}
)

func insn(ip uint64, code []byte) trace.Event {
	return trace.Event{Kind: trace.Insn, IP: ip, Size: len(code), New: code}
}

// to is an instruction that goes to addr.
func to(ip uint64, code []byte, addr uint64) []trace.Event {
	return []trace.Event{insn(ip, code), {Kind: trace.Branch, IP: ip, Addr: addr}}
}

func gateAt(ret uint64) trace.Event {
	return trace.Event{Kind: trace.Gate, IP: goFunc, Addr: ret, Name: "go"}
}

func callbackOf(ops string) trace.Event { return trace.Event{Kind: trace.Callback, Name: ops} }

func join(parts ...any) (out []trace.Event) {
	for _, p := range parts {
		switch p := p.(type) {
		case trace.Event:
			out = append(out, p)
		case []trace.Event:
			out = append(out, p...)
		}
	}
	return out
}

// slicesOf writes the slices of a run as one line: a name and what is inside it.
func slicesOf(t *testing.T, s *Sink, out *strings.Builder, events []trace.Event) string {
	for _, ev := range events {
		s.Trace(&ev)
	}
	require.NoError(t, s.Close())
	var doc struct{ TraceEvents []struct{ Name, Ph string } }
	require.NoError(t, json.Unmarshal([]byte(out.String()), &doc))
	var b strings.Builder
	for _, e := range doc.TraceEvents {
		switch e.Ph {
		case "B":
			b.WriteString(e.Name + "(")
		case "E":
			b.WriteString(")")
		}
	}
	return b.String()
}

func newSink(out *strings.Builder, most int) *Sink {
	return New(out, Options{Scenario: "test", CPUs: 1, Name: name, End: end, Enabled: func() int { return 0 }, Max: most})
}

func TestSlices(t *testing.T) {
	site := to(fn, call, tramp)
	into := join(insn(caller, nop), to(caller+1, call, fn))
	out := join(insn(fn+5, nop), to(fn+6, ret, caller+6), to(caller+6, ret, end))
	for _, tt := range []struct {
		name   string
		events []trace.Event
		want   string
	}{
		{"a call", join(into, to(fn, ret, caller+6), to(caller+6, ret, end)), "caller(fn())"},
		{"two calls", join(into, to(fn, ret, caller+6), to(caller+6, ret, end), into, to(fn, ret, caller+6), to(caller+6, ret, end)),
			"caller(fn())caller(fn())"},
		{"a trampoline with callbacks", join(into, site, to(tramp, call, goFunc), gateAt(tramp+5), callbackOf("a"), callbackOf("b"),
			to(tramp+5, ret, fn+5), out), "caller(fn(tramp(go(a()b()))))"},
		{"a return to other code", join(into, site, to(tramp, ret, other), to(other, ret, caller+6), to(caller+6, ret, end)),
			"caller(fn(tramp()other()))"},
		{"a jump", join(into, to(fn, jmp, other), to(other, ret, caller+6), to(caller+6, ret, end)), "caller(fn()other())"},
		{"a jump inside", join(into, to(fn, jmp, fn+0x20), to(fn+0x20, ret, caller+6), to(caller+6, ret, end)), "caller(fn())"},
		{"a call of itself", join(into, to(fn, call, fn), to(fn, ret, fn+5), out), "caller(fn(fn()))"},
		{"Go code that calls the guest", join(into, site, to(tramp, call, goFunc), gateAt(tramp+5), callbackOf("a"),
			insn(caller, nop), to(caller+1, call, other), to(other, ret, caller+6), to(caller+6, ret, end),
			to(tramp+5, ret, fn+5), out), "caller(fn(tramp(go(a(caller(other()))))))"},
		{"one gate returns to another", join(into, to(fn, call, goFunc), gateAt(goFunc+0), gateAt(fn+5), out), "caller(fn(go()go()))"},
		{"a call given up", join(into, into, to(fn, ret, caller+6), to(caller+6, ret, end)), "caller(fn())caller(fn())"},
		{"the end in the middle", into, "caller(fn())"},
		{"a trap whose handler goes elsewhere", join(into, insn(fn, []byte{0xcc}), trace.Event{Kind: trace.Trap, IP: fn, Vector: 3},
			insn(fn+5, nop), to(fn+6, ret, caller+6), to(caller+6, ret, end)), "caller(fn())"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			require.Equal(t, tt.want, slicesOf(t, newSink(&text, 0), &text, tt.events))
		})
	}
}

// What does not fit is counted, and what began ends.
func TestBounded(t *testing.T) {
	var text strings.Builder
	s := newSink(&text, 4) // two names, a counter, a slice
	into := join(insn(caller, nop), to(caller+1, call, fn))
	require.Equal(t, "caller()", slicesOf(t, s, &text, into))
	require.Equal(t, 1, s.Lost())
}

// Events without those that lead to them do no harm.
func TestStrays(t *testing.T) {
	var text strings.Builder
	stray := []trace.Event{{Kind: trace.Branch, IP: fn, Addr: other}, callbackOf("a"), gateAt(fn), callbackOf("b"), insn(other, ret), {Kind: trace.Branch, Addr: end}}
	slicesOf(t, newSink(&text, 0), &text, stray)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	s := New(full{}, Options{Name: name, Enabled: func() int { return 0 }})
	require.EqualError(t, s.Close(), "disk full")
}
