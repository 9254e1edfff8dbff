package gdb

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"

	"ftemu"
	"ftemu/emu"
	"ftemu/guest"
	"ftemu/script"
	"ftemu/x86"
)

const nested = "guest ../testdata/guest/gcc-fentry.o\ntracer function_graph nested,hidden,indirect\n"

// unwindings are scenarios with the number of the call that is looked at, from 1.
var unwindings = []struct {
	name     string
	scenario string
	call     int
	through  []string // what it must go through
}{
	{"ops trampoline", "new klp klp\nfilter klp f0\nregister klp\ncall f0 1 2", 1, []string{"tramp:klp", "ftor_g0"}},
	{"ftrace_caller", "new a plain\nfilter a f0\nregister a\nnew b plain\nfilter b f0\nregister b\ncall f0 1 2", 1, []string{"ftrace_caller"}},
	{"ftrace_regs_caller and shared direct trampoline",
		"new klp klp\nfilter klp f0\nregister klp\nnew bpf direct of=bpf\nfilter bpf f0\ndirect_register_retry bpf orig0 share\ncall f0 1 2",
		1, []string{"ftrace_regs_caller", "ftor_t_share", "ftor_g0"}},
	{"direct trampoline that calls the body", "new bpf direct of=bpf\nfilter bpf f0\ndirect_register_retry bpf orig0 share\ncall f0 1 2", 1, []string{"ftor_t_orig0"}},
	{"BPF image that calls the body", "prog x fexit\nattach x f0\nprog e fentry\nattach e f0\ncall f0 1 2", 1, []string{"bpf_trampoline:ftor_f0", "ftor_f0", "bpf_prog_x"}},
	{"BPF image beside a livepatch", "new klp klp\nfilter klp f0\nregister klp\nprog x fexit\nattach x f0\ncall f0 1 2", 1, []string{"ftrace_regs_caller", "ftor_g0", "bpf_prog_x"}},
	{"function_graph", "tracer function_graph f0\ncall f0 1 2", 1, []string{"tramp:function_graph", "return_to_handler"}},
	{"nested functions of C", nested + "call nested 3", 1, []string{"nested", "hidden", "return_to_handler"}},
	{"nested functions of C, one of them patched",
		nested + "new klp klp\nfilter klp hidden\nredirect klp hidden indirect\nregister klp\nnew bpf direct of=bpf\nfilter bpf hidden\ndirect_register_retry bpf orig:hidden share\ncall nested 1",
		1, []string{"hidden", "ftrace_regs_caller", "share", "return_to_handler"}},
}

func parse(t testing.TB, text string) *script.Script {
	s, err := script.Parse("test.ft", strings.NewReader(text), script.Options{
		LoadGuest: func(path string) (*guest.Image, error) { return guest.LoadFile(path, guest.LoadOptions{}) },
	})
	require.NoError(t, err)
	return s
}

// TestBacktraces: at every instruction of a traced call gdb's backtrace names the
// functions that calls and returns have made.
func TestBacktraces(t *testing.T) {
	frame := regexp.MustCompile(`(?m)^#\d+ +(?:0x[0-9a-f]+ in )?(\S+) \(\)`)
	for _, c := range unwindings {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, c.scenario)
			want := shadow(t, s, c.call)
			require.Greater(t, len(want), 20)
			for _, name := range c.through {
				require.Contains(t, strings.Join(want, "\n"), name)
			}
			out := runGdb(t, s, fmt.Sprintf(`set width 0
set $i = 1
while $i < %d
  continue
  set $i = $i + 1
end
set $i = 0
while $i < %d
  printf "@@%%d\n", $i
  bt
  stepi
  set $i = $i + 1
end
kill
`, c.call, len(want)))
			parts := strings.Split(out, "@@")[1:]
			require.Len(t, parts, len(want), "%s", out)
			for i, p := range parts {
				p, _, _ = strings.Cut(p, "\n0x")
				var got []string
				for _, m := range frame.FindAllStringSubmatch(p, -1) {
					got = append(got, m[1])
				}
				require.Equal(t, want[i], strings.Join(got, " "), "instruction %d:\n%s", i, p)
			}
		})
	}
}

// A slot is a word of the stack that holds a return address.
type slot struct {
	addr  uint64
	taken uint64 // what function_graph took from it: the function has returned to return_to_handler
}

// shadow steps through a call and keeps account of its calls and returns. It gives
// the names of the frames at each instruction, the innermost first.
func shadow(t *testing.T, s *script.Script, call int) []string {
	run, err := NewRun(s, ftemu.Options{})
	require.NoError(t, err)
	defer run.Close()
	for range call - 1 {
		run.forward(-1)
	}
	lab := run.lab()
	handler, _ := lab.Symbols.Lookup("return_to_handler")
	name := func(addr uint64) string {
		if n, off, ok := run.runner.SymbolAt(addr); ok && off == 0 {
			if start, static := lab.StaticTrampoline(addr); !static || start == addr {
				return n
			}
		}
		n, _, ok := run.runner.SymbolAt(addr - 1)
		require.True(t, ok, "%#x", addr)
		return n
	}
	current := func(addr uint64) string {
		n, _, ok := run.runner.SymbolAt(addr)
		if reg, there := lab.Mem.RegionAt(addr); !ok && there {
			return "tramp:" + strings.TrimPrefix(reg.Name, "trampoline of ")
		}
		return n
	}
	word := func(addr uint64) uint64 {
		v, err := lab.Mem.ReadU64(addr)
		require.NoError(t, err)
		return v
	}
	regs := run.regs(0)
	slots := []slot{{addr: regs.GPR[emu.RSP]}}
	var out []string
	for regs.RIP != lab.ReturnIP() {
		frames := []string{current(regs.RIP)}
		taken := 0
		for _, s := range slots {
			if s.taken == 0 && word(s.addr) == handler {
				taken++
			}
		}
		returns := lab.Graph.Returns(0)
		returns = returns[len(returns)-taken:]
		for i := len(slots) - 1; i >= 0; i-- {
			to := word(slots[i].addr)
			switch {
			case slots[i].taken != 0:
				to = slots[i].taken
			case to == handler:
				frames = append(frames, name(to))
				to, returns = returns[0], returns[1:]
			}
			frames = append(frames, name(to))
		}
		var code [x86.MaxInstLen]byte
		rip, sp := regs.RIP, regs.GPR[emu.RSP]
		require.NoError(t, lab.Mem.Read(rip, code[:]))
		in, err := x86.Decode(code[:])
		require.NoError(t, err)
		gate := lab.IsGate(rip)
		if in.Op == x86asm.RET && !gate && slots[len(slots)-1].addr != sp {
			// Not to where a call came from: gdb looks where a return goes.
			frames = slices.Insert(frames, 1, name(word(sp)))
		}
		out = append(out, strings.Join(frames, " "))
		returns = lab.Graph.Returns(0)
		stood := run.forward(0)
		require.Equal(t, sigTrap, stood.signal)
		now := regs.GPR[emu.RSP]
		for len(slots) > 0 {
			last := slots[len(slots)-1]
			returned := in.Op == x86asm.RET && !gate && sp >= last.addr
			if (last.taken == 0 && last.addr >= now) || (last.taken != 0 && !returned) {
				break
			}
			slots = slots[:len(slots)-1]
		}
		switch {
		case gate:
		case in.Op == x86asm.RET && regs.RIP == handler:
			slots = append(slots, slot{now - 8, returns[0]})
		case in.Op == x86asm.CALL:
			// One into the middle of the same function takes a return for a jump.
			if n, off, _ := run.runner.SymbolAt(regs.RIP); off == 0 || n != current(rip) {
				slots = append(slots, slot{addr: now})
			}
		}
	}
	return out
}

// TestSavedRegisters: what a trampoline has saved is the caller's value in the
// frames above.
func TestSavedRegisters(t *testing.T) {
	s := parse(t, unwindings[0].scenario)
	out := runGdb(t, s, `break *ftor_f0
break *ftor_cb
continue
set $b = $rbx
set $p = $rbp
set $d = $rdi
continue
up
up
printf "same %d %d %d\n", $b == $rbx, $p == $rbp, $d == $rdi
kill
`)
	require.Contains(t, out, "same 1 1 1", out)
}

// TestTables: the file is made the same each time, and says something of each
// instruction of the trampolines.
func TestTables(t *testing.T) {
	s := parse(t, unwindings[0].scenario)
	var files [][]byte
	for range 2 {
		run, err := NewRun(s, ftemu.Options{})
		require.NoError(t, err)
		elf, err := run.ELF()
		require.NoError(t, err)
		files = append(files, bytes.Clone(elf))
		run.Close()
	}
	require.Equal(t, files[0], files[1])
}

// TestUnwind: push, mov, sub, pop and leave move what the frame is counted from and
// where registers lie.
func TestUnwind(t *testing.T) {
	code := []byte{
		0x55,                   // push %rbp
		0x48, 0x89, 0xe5, 0x53, // mov %rsp, %rbp; push %rbx
		0x48, 0x83, 0xec, 0x10, // sub $16, %rsp
		0x48, 0x83, 0xe4, 0xe0, // and $-32, %rsp: the depth is unknown
		0x31, 0xdb, // xor %ebx, %ebx
		0x48, 0x8b, 0x5d, 0xf8, // mov -8(%rbp), %rbx
		0xc9, 0xc3, // leave; ret
	}
	base, rbp, rbx := uint64(0x1000), [16]int64{emu.RBP: -16}, [16]int64{emu.RBP: -16, emu.RBX: -24}
	require.Equal(t, []row{
		{addr: base, base: emu.RSP, off: 8},
		{addr: base + 1, base: emu.RSP, off: 16, saved: rbp},
		{addr: base + 5, base: emu.RSP, off: 24, saved: rbx},
		{addr: base + 9, base: emu.RSP, off: 40, saved: rbx},
		{addr: base + 13, base: emu.RBP, off: 16, saved: rbx},
		{addr: base + 20, base: emu.RSP, off: 8},
	}, unwind(code, base))
	// A register that is changed and kept nowhere is lost.
	lost := unwind([]byte{0x31, 0xdb, 0xc3}, base)
	require.True(t, lost[len(lost)-1].lost[emu.RBX])
}
