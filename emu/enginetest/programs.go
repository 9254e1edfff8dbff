package enginetest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

//go:embed testdata/programs.txt
var programsText string

// A program is code with what a processor made of it.
type program struct {
	name      string
	code      []byte
	undefined uint64 // flags that mean nothing at the end
	regs      [16]uint64
	flags     uint64
	data      uint32 // sum of the data pages
}

var flagBits = [...]struct {
	name string
	bit  uint64
}{
	{"cf", emu.FlagCF}, {"pf", emu.FlagPF}, {"af", emu.FlagAF},
	{"zf", emu.FlagZF}, {"sf", emu.FlagSF}, {"of", emu.FlagOF},
}

// flagNames writes a set of flags.
func flagNames(flags uint64) string {
	var names []string
	for _, f := range flagBits {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return "{" + strings.Join(names, " ") + "}"
}

// programs reads programsText.
func programs() ([]program, error) {
	var list []program
	for n, line := range strings.Split(programsText, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if fields[0] == "==" {
			p := program{name: fields[1]}
			for _, f := range fields[2:] {
				for _, known := range flagBits {
					if known.name == f {
						p.undefined |= known.bit
					}
				}
			}
			list = append(list, p)
			continue
		}
		p := &list[len(list)-1]
		if fields[0] != "want" {
			p.code = append(p.code, unhex(fields[0])...)
			continue
		}
		var v [18]uint64
		if len(fields) != 1+len(v) {
			return nil, fmt.Errorf("programs.txt:%d: %d values, expected %d", n+1, len(fields)-1, len(v))
		}
		for i := range v {
			var err error
			if v[i], err = strconv.ParseUint(fields[1+i], 16, 64); err != nil {
				return nil, fmt.Errorf("programs.txt:%d: %w", n+1, err)
			}
		}
		p.regs, p.flags, p.data = [16]uint64(v[:16]), v[16], uint32(v[17])
	}
	return list, nil
}

func sum(b []byte) uint32 {
	var s uint32
	for _, x := range b {
		s = s*31 + uint32(x)
	}
	return s
}

// runPrograms runs every program in one go, then step by step, then traced:
// the result is the processor's each time and the number of instructions the same.
func runPrograms(t *testing.T, e emu.Engine) {
	list, err := programs()
	require.NoError(t, err)
	for _, p := range list {
		t.Run(p.name, func(t *testing.T) {
			skip(t, e, p.name)
			l := newLab(t, e, emu.Config{}, "")
			require.NoError(t, l.mem.Write(Code, p.code))
			start := l.mem.Snapshot()

			stop := l.cpu().Run(emu.Limits{Until: Done, UseUntil: true, Insns: 20_000})
			p.check(t, l, stop)
			insns := stop.Insns

			require.NoError(t, l.mem.Restore(start))
			*l.cpu().Regs() = startRegs()
			var steps uint64
			for stop.Reason = 0; stop.Reason != emu.StopUntil; steps += stop.Insns {
				stop = l.cpu().Run(emu.Limits{Insns: 1})
				if stop.RIP == Done {
					stop.Reason = emu.StopUntil
				} else {
					require.Equal(t, emu.StopInsns, stop.Reason, "%v", stop)
				}
			}
			p.check(t, l, stop)
			require.Equal(t, insns, steps, "instructions when stepped")

			require.NoError(t, l.mem.Restore(start))
			*l.cpu().Regs() = startRegs()
			rec := &Recorder{Want: trace.All}
			l.m.SetTracer(rec)
			stop = l.cpu().Run(emu.Limits{Until: Done, UseUntil: true, Insns: 20_000})
			p.check(t, l, stop)
			require.Equal(t, insns, stop.Insns, "instructions when traced")
			var announced uint64
			for _, ev := range rec.Events {
				if strings.HasPrefix(ev, "0 insn ") {
					announced++
				}
			}
			require.Equal(t, insns, announced, "instructions announced")
		})
	}
}

func (p *program) check(t *testing.T, l *lab, stop emu.Stop) {
	t.Helper()
	require.Equal(t, emu.StopUntil, stop.Reason, "%v", stop)
	r := l.cpu().Regs()
	for i, want := range p.regs {
		require.Equal(t, fmt.Sprintf("%#x", want), fmt.Sprintf("%#x", r.GPR[i]), emu.RegNames[i])
	}
	mask := emu.FlagsStatus &^ p.undefined
	require.Equal(t, flagNames(p.flags&mask), flagNames(r.Flags&mask), "flags")
	data := make([]byte, size)
	require.NoError(t, l.mem.Read(Data, data))
	require.Equal(t, p.data, sum(data), "data")
}
