// Package enginetest is the suite that every execution engine has to pass, and
// the means to compare two engines run by run.
//
// The programs in testdata/programs.txt come with what a processor made of them;
// everything that a processor does not have (limits, gates, stops, traces, host
// writes) is in the tables of this package.
package enginetest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

//go:generate go run gen.go

// Where the guest of a test is. The first three are low enough for a process
// to map them too, which is how expectations are made.
const (
	Code  = 0x10000000 // two pages of code, read and execute
	Data  = 0x20000000 // two pages of data
	Stack = 0x30000000 // two pages of stack, growing down from their end
	RWX   = 0x40000000 // one page that the guest may write and execute
	Done  = 0x50000000 // where programs return to: nothing is mapped there

	size = 2 * emu.PageSize
	// Top is the end of the stack.
	Top = Stack + size
)

// skips are the tests that an engine cannot pass, by engine, with the reason.
func skips(engine string) map[string]string {
	if engine != "unicorn" {
		return nil
	}
	return map[string]string{
		"popcnt": "Unicorn 2.0.1 does not know popcnt",
		"movbe":  "Unicorn 2.0.1 does not know movbe",

		"shrd-memory":         "Unicorn 2.0.1 computes CF wrongly for shrd of memory by CL",
		"cmpxchg-accumulator": "Unicorn 2.0.1 zero-extends EAX where a 32-bit cmpxchg succeeds",
		"cmpxchg-register":    "Unicorn 2.0.1 zero-extends a 32-bit register that cmpxchg does not write",
		"lock-neg":            "Unicorn 2.0.1 computes the flags of lock neg wrongly",
		"pdep-pext":           "Unicorn 2.0.1 computes pdep and pext wrongly",
	}
}

// skip ends a test that the engine cannot pass.
func skip(t *testing.T, e emu.Engine, name string) {
	t.Helper()
	if why := skips(e.Name())[name]; why != "" {
		t.Skip(why)
	}
}

// Run runs the whole suite on e.
func Run(t *testing.T, e emu.Engine) {
	t.Run("programs", func(t *testing.T) { runPrograms(t, e) })
	t.Run("stops", func(t *testing.T) { runStops(t, e) })
	for _, b := range slices.Concat(gateTests, runTests, codeTests, memoryTests, traceTests) {
		t.Run(b.name, func(t *testing.T) {
			skip(t, e, b.name)
			b.run(t, e)
		})
	}
}

// A behaviour is a test that needs more than a row of a table.
type behaviour struct {
	name string
	run  func(t *testing.T, e emu.Engine)
}

// startRegs are the registers with which programs start: all different.
func startRegs() emu.Regs {
	var r emu.Regs
	for i := range r.GPR {
		r.GPR[i] = 0x0123456789abcdef*uint64(2*i+1) ^ 0xf0f0<<(4*i)
	}
	r.GPR[emu.RSP] = Top - 8
	r.GPR[emu.RSI] = Data + 0x400
	r.GPR[emu.RDI], r.GPR[emu.R15] = Data, Data
	r.RIP = Code
	r.Flags = emu.FlagsReset
	return r
}

// startData is the content of the data pages at the start.
func startData() []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + 3)
	}
	return b
}

// A lab is a machine with a guest in it.
type lab struct {
	t   *testing.T
	mem *emu.Memory
	m   emu.Machine
}

// newLab maps the regions, puts code at Code and makes a machine. Calls from it
// return to Done.
func newLab(t *testing.T, e emu.Engine, cfg emu.Config, code string) *lab {
	t.Helper()
	mem := e.NewMemory(1 << 20)
	t.Cleanup(mem.Close)
	require.NoError(t, mapGuest(mem, unhex(code)))
	cfg.Memory = mem
	m, err := e.NewMachine(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	for i := range m.NumCPU() {
		*m.CPU(i).Regs() = startRegs()
	}
	return &lab{t, mem, m}
}

// mapGuest maps what every test has.
func mapGuest(mem *emu.Memory, code []byte) error {
	for _, r := range []struct {
		addr, size uint64
		perm       emu.Perm
		name       string
	}{
		{Code, size, emu.PermRX, "code"},
		{Data, size, emu.PermRW, "data"},
		{Stack, size, emu.PermRW, "stack"},
	} {
		if err := mem.Map(r.addr, r.size, r.perm, r.name); err != nil {
			return err
		}
	}
	if err := mem.Write(Code, code); err != nil {
		return err
	}
	if err := mem.Write(Data, startData()); err != nil {
		return err
	}
	return mem.WriteU64(Top-8, Done)
}

func (l *lab) cpu() emu.CPU { return l.m.CPU(0) }

// write puts bytes anywhere.
func (l *lab) write(addr uint64, code string) {
	l.t.Helper()
	require.NoError(l.t, l.mem.Write(addr, unhex(code)))
}

// mapRWX maps the page that is writable and executable.
func (l *lab) mapRWX(code string) {
	l.t.Helper()
	require.NoError(l.t, l.mem.Map(RWX, emu.PageSize, emu.PermRW|emu.PermX, "rwx"))
	l.write(RWX, code)
}

// call runs CPU i from addr until it returns to Done and gives RAX.
func (l *lab) call(i int, addr uint64) uint64 {
	l.t.Helper()
	c := l.m.CPU(i)
	r := c.Regs()
	r.RIP, r.GPR[emu.RSP] = addr, Top-8
	require.NoError(l.t, l.mem.WriteU64(Top-8, Done))
	stop := c.Run(emu.Limits{Until: Done, UseUntil: true, Insns: 1000})
	require.Equal(l.t, emu.StopUntil, stop.Reason, "%v", stop)
	return r.GPR[emu.RAX]
}

// unhex reads bytes as a listing has them, blanks anywhere.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err) // a typing error in a table of this package
	}
	return b
}

// A Recorder keeps events as text.
type Recorder struct {
	Want   trace.Mask
	Events []string
}

// Mask implements trace.Tracer.
func (r *Recorder) Mask() trace.Mask { return r.Want }

// Trace implements trace.Tracer.
func (r *Recorder) Trace(ev *trace.Event) {
	r.Events = append(r.Events, format(ev))
}

func format(ev *trace.Event) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s %#x", ev.CPU, ev.Kind, ev.IP)
	switch ev.Kind {
	case trace.Insn:
		fmt.Fprintf(&b, " %d % x", ev.Size, ev.New)
	case trace.Mem:
		how := "read"
		if ev.Write {
			how = "write"
		}
		fmt.Fprintf(&b, " %s %#x %d %#x", how, ev.Addr, ev.Size, ev.Value)
	case trace.Trap:
		fmt.Fprintf(&b, " %d", ev.Vector)
	default:
		fmt.Fprintf(&b, " -> %#x %s", ev.Addr, ev.Name)
	}
	return b.String()
}
