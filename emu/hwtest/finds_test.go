package hwtest

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/x86"
)

// readFinds reads the finds that are kept.
func readFinds(t *testing.T) []Find {
	file, err := os.Open("testdata/finds.txt")
	require.NoError(t, err)
	defer file.Close()
	finds, err := ReadFinds(file)
	require.NoError(t, err)
	require.NotEmpty(t, finds)
	return finds
}

// result is the end of a find in the form the processor gives it.
func (f *Find) result() Result {
	r := Result{Trap: noTrap, Regs: f.Regs}
	r.Regs.RIP = entry(f.Case.Slot)
	switch f.End {
	case "":
		r.Regs.RIP += uint64(len(f.Case.Code))
	case "branch":
		r.Regs.RIP = f.Target
	case "divide":
		r.Trap = trapDivide
	case "undefined":
		r.Trap = trapUndefined
	case "general":
		r.Trap = trapGeneral
	case "read":
		r.Trap, r.Addr = trapPage, f.Target
	case "write":
		r.Trap, r.Addr, r.Code = trapPage, f.Target, pfWrite
	}
	return r
}

// data is what the windows hold after a find.
func (f *Find) data() []byte {
	data := make([]byte, windowsSize)
	for _, p := range append(f.Case.Pokes, f.Memory...) {
		off := uint64(0)
		for _, w := range windows {
			if p.Addr >= w.addr && p.Addr-w.addr < w.size {
				binary.LittleEndian.PutUint64(data[off+p.Addr-w.addr:], p.Value)
			}
			off += w.size
		}
	}
	return data
}

func TestFindsOnInterpreter(t *testing.T) {
	m, err := NewMachine()
	require.NoError(t, err)
	for _, f := range readFinds(t) {
		require.NoError(t, m.SetWindows(make([]byte, windowsSize)))
		require.NoError(t, m.Place([]Case{f.Case}))
		stop, regs, err := m.Run(&f.Case)
		require.NoError(t, err)
		want := f.result()
		if f.End == "undefined" && stop.Reason == emu.StopUnknown {
			continue // what is no instruction the engine does not know
		}
		in, err := x86.Decode(f.Case.Code)
		require.NoError(t, err, "line %d", f.Line)
		require.Empty(t, compare(&f.Case, &in, &want, stop, &regs), "line %d", f.Line)
		got := make([]byte, windowsSize)
		require.NoError(t, m.Windows(got))
		require.Empty(t, windowsDiffer(got, f.data()), "line %d", f.Line)
	}
}

func TestReadFindsRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"90":                              "expected bytes | state -> state",
		"9 | ->":                          "odd length",
		"90 | rax ->":                     `"rax": expected name=value`,
		"90 | eax=1 ->":                   `"eax": no register of this name`,
		"90 | flags=cf|xf ->":             `"xf": no flag of this name`,
		"90 | [0x1000]=1 ->":              "nothing can be stored there",
		"90 | -> explode":                 "expected branch, read, write",
		"90 | -> read":                    `"read": expected an address`,
		"90 | rax=0x10000000000000000 ->": "out of range",
	} {
		_, err := ReadFinds(strings.NewReader("# comment\n\n" + line + "\n"))
		require.ErrorContains(t, err, want, line)
		require.ErrorContains(t, err, "line 3: ", line)
	}
}

func TestCompareSees(t *testing.T) {
	f, err := parseFind("4821d8 | rax=0x3 rbx=0x6 flags=cf -> rax=0x2 flags=none") // and rbx, rax
	require.NoError(t, err)
	in, err := x86.Decode(f.Case.Code)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*Result)
		want   string
	}{
		"nothing":                {func(*Result) {}, ""},
		"a register":             {func(r *Result) { r.Regs.GPR[emu.R9] = 1 }, "r9 0x0, the processor has 0x1"},
		"the destination":        {func(r *Result) { r.Regs.GPR[emu.RAX] = 1 }, "rax 0x2, the processor has 0x1"},
		"a flag":                 {func(r *Result) { r.Regs.Flags |= emu.FlagZF }, "flags none, the processor has zf"},
		"a flag that is unknown": {func(r *Result) { r.Regs.Flags |= emu.FlagAF }, ""},
		"the way it went":        {func(r *Result) { r.Regs.RIP++ }, "the processor has 0x2b6c4c3d0014"},
		"a fault":                {func(r *Result) { r.Trap = trapDivide }, "the processor has a divide error"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := NewMachine()
			require.NoError(t, err)
			require.NoError(t, m.Place([]Case{f.Case}))
			stop, regs, err := m.Run(&f.Case)
			require.NoError(t, err)
			want := f.result()
			c.change(&want)
			got := compare(&f.Case, &in, &want, stop, &regs)
			if c.want == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, c.want)
		})
	}
}

func TestEverySupportedInstructionHasForms(t *testing.T) {
	forms, err := Forms()
	require.NoError(t, err)
	seen := make(map[string]int)
	for _, f := range forms {
		seen[x86.Mnemonic(f.Op)]++
	}
	supported := make(map[string]bool)
	for _, name := range interp.Supported() {
		supported[name] = true
		if Exempt[name] == "" {
			require.NotZero(t, seen[name], "no encoding of %s was found", name)
		}
	}
	for name, why := range Exempt {
		require.True(t, supported[name], "%s is exempt (%s), but not supported", name, why)
	}
}

// lengthFinds reads testdata/lengths.txt: instructions, with what followed.
func lengthFinds(t *testing.T) (insns, all [][]byte) {
	text, err := os.ReadFile("testdata/lengths.txt")
	require.NoError(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		insn, rest, ok := strings.Cut(line, "|")
		require.True(t, ok, line)
		b, err := hex.DecodeString(strings.TrimSpace(insn))
		require.NoError(t, err)
		more, err := hex.DecodeString(strings.TrimSpace(rest))
		require.NoError(t, err)
		insns, all = append(insns, b), append(all, slices.Concat(b, more))
	}
	return insns, all
}

func TestLengthFindsInDecoder(t *testing.T) {
	insns, all := lengthFinds(t)
	require.NotEmpty(t, insns)
	for i, code := range all {
		in, err := x86.Decode(code)
		require.NoError(t, err, "% x", code)
		require.Equal(t, len(insns[i]), in.Len, "% x", code)
	}
}
