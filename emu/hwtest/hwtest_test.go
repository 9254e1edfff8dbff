//go:build linux && amd64

package hwtest

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ftemu/emu"
	"ftemu/x86"
)

var campaignTime = flag.Duration("hw.time", 5*time.Second, "how long to compare random instructions with the processor")

// seed is FTEMU_SEED, or a new one.
func seed(t *testing.T) uint64 {
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("FTEMU_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 0, 64)
		require.NoError(t, err)
	}
	t.Logf("FTEMU_SEED=%d", n)
	return n
}

// processor starts a traced process, or skips the test where that is refused.
func processor(t *testing.T) *Processor {
	h, err := NewProcessor()
	if err != nil {
		t.Skipf("the processor cannot be used as an oracle here: %v", err)
	}
	t.Cleanup(h.Close)
	return h
}

// TestCampaign compares random instructions and sequences with the processor
// for the time that the flag gives.
func TestCampaign(t *testing.T) {
	h := processor(t)
	all, err := Forms()
	require.NoError(t, err)
	forms, absent, err := Present(all)
	require.NoError(t, err)
	if len(absent) > 0 {
		t.Logf("this processor lacks %s", strings.Join(absent, ", "))
	}
	c, err := NewCampaign(h, forms, seed(t))
	require.NoError(t, err)
	l, err := NewLengths(h, c.seed)
	require.NoError(t, err)
	for end := time.Now().Add(*campaignTime); time.Now().Before(end); {
		for range 32 {
			require.NoError(t, c.Singles())
		}
		require.NoError(t, c.SequenceBatch())
		require.NoError(t, l.Batch(1000))
	}
	singles := c.Instances() - c.Insns
	t.Logf("%d instructions compared: %d single ones of %d forms, %d in %d runs of sequences; %d cases ended by a fault",
		c.Instances(), singles, len(forms), c.Insns, c.Sequences, c.Faults)
	for i, u := range UndefinedTable {
		var names []string
		for _, op := range u.Ops {
			names = append(names, x86.Mnemonic(op))
		}
		t.Logf("not compared in %d of them: %s: %s (%s)", c.Masked[i], strings.Join(names, ", "), u.What, u.Cite)
	}
	t.Logf("lengths: %d byte strings, %d instructions as long as the decoder says, %d of them executed; %d refused by both, %d unknown to the decoder only",
		l.Tried, l.Agreed, l.Executed, l.Refused, l.Unknown)
	if singles > 100*uint64(len(forms)) {
		for i, n := range c.Done {
			require.NotZero(t, n, "no case of %s", forms[i].Name)
		}
	}
}

func TestFindsOnProcessor(t *testing.T) {
	h := processor(t)
	for _, f := range readFinds(t) {
		in, err := x86.Decode(f.Case.Code)
		if err == nil {
			present, _, err := Present([]Form{{Op: in.Op}})
			require.NoError(t, err)
			if len(present) == 0 {
				t.Logf("line %d: this processor lacks %s", f.Line, in.Mnemonic())
				continue
			}
		}
		clear(h.Windows())
		var got [1]Result
		require.NoError(t, h.Run([]Case{f.Case}, got[:]))
		want := f.result()
		require.Equal(t, want.Trap, got[0].Trap, "line %d", f.Line)
		require.Equal(t, want.Regs.RIP, got[0].Regs.RIP, "line %d", f.Line)
		require.Equal(t, want.Regs.GPR, got[0].Regs.GPR, "line %d", f.Line)
		if want.Trap == trapPage {
			require.Equal(t, want.Addr, got[0].Addr, "line %d", f.Line)
			require.Equal(t, want.Code&pfWrite, got[0].Code&pfWrite, "line %d", f.Line)
		}
		u := use{&in, &f.Case.Regs, &got[0].Regs}
		undefined, _, _ := u.undefined()
		require.Equal(t, flagNames(want.Regs.Flags&^undefined), flagNames(got[0].Regs.Flags&^undefined), "line %d", f.Line)
		require.Empty(t, windowsDiffer(h.Windows(), f.data()), "line %d", f.Line)
	}
}

// TestDriver checks the driver's bytes against the comments beside them: what
// is executed is what is read.
func TestDriver(t *testing.T) {
	source, err := os.ReadFile("driver.go")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(source), "var driver = [...]byte{\n")
	table, _, _ = strings.Cut(table, "\n}")
	fields := func(addr uint64) (string, uint64, bool) {
		typ := reflect.TypeFor[control]()
		for i := range typ.NumField() {
			if f := typ.Field(i); controlBase+uint64(f.Offset) == addr {
				return f.Name, 0, true
			}
		}
		return "", 0, false
	}
	note := regexp.MustCompile(`# [0-9a-f]+ <(\w+)>`)
	at := 0
	for _, line := range strings.Split(table, "\n") {
		code, comment, _ := strings.Cut(strings.TrimSpace(line), "// ")
		n := strings.Count(code, "0x")
		if n == 0 {
			continue // a label
		}
		text, size, err := x86.Disasm(driver[at:], stubBase+uint64(at), fields)
		require.NoError(t, err)
		require.Equal(t, n, size, line)
		at += n
		if !strings.HasPrefix(text, "j") || strings.Contains(text, "*") { // direct jumps are to labels
			require.Equal(t, strings.Fields(comment), strings.Fields(note.ReplaceAllString(text, "# $1")), line)
		}
	}
	require.Len(t, driver, at)
}

func TestProcessorIsBoundedAndEnds(t *testing.T) {
	h, err := NewProcessor()
	if err != nil {
		t.Skipf("the processor cannot be used as an oracle here: %v", err)
	}
	h.p.patience = 200 * time.Millisecond
	c := Case{Code: []byte{0xeb, 0xfe}} // jmp to itself
	c.Regs.Flags = 2
	var r [1]Result
	require.ErrorContains(t, h.Run([]Case{c}, r[:]), "was killed")
	pid := h.p.pid
	h.Close()
	require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH)

	h, err = NewProcessor()
	require.NoError(t, err)
	pid = h.p.pid
	require.NoError(t, unix.Kill(pid, 0))
	h.Close()
	require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH)
}

// TestProcessorHasNoSystemCalls: whatever random bytes do stays in the child.
func TestProcessorHasNoSystemCalls(t *testing.T) {
	h := processor(t)
	c := Case{Code: []byte{0x0f, 0x05}} // syscall
	c.Regs.Flags = 2
	c.Regs.GPR[0] = unix.SYS_EXIT
	after := Case{Slot: 1, Code: []byte{0x90}}
	after.Regs.Flags = 2
	var r [2]Result
	require.NoError(t, h.Run([]Case{c, after}, r[:]))
	require.NotEqual(t, noTrap, r[0].Trap)
	require.Equal(t, noTrap, r[1].Trap)
}

func TestLengthFindsOnProcessor(t *testing.T) {
	l, err := NewLengths(processor(t), 1)
	require.NoError(t, err)
	var state emu.Regs
	state.Flags = emu.FlagsReset
	_, all := lengthFinds(t)
	for _, code := range all {
		agreed := l.Agreed
		require.NoError(t, l.one(code, &state), "% x", code)
		require.Equal(t, agreed+1, l.Agreed, "% x is no instruction to the processor", code)
	}
}
