//go:build unicorn

package unicorn

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

const (
	code  = 0xffffffff81000000
	stack = 0xffffc90000000000
	done  = 0xffffffff81f00000
)

// newMachine maps code and a stack of 16 pages.
func newMachine(t testing.TB, text string, gates *emu.Gates) *machine {
	t.Helper()
	mem := newMemory(0)
	t.Cleanup(mem.Close)
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	require.NoError(t, mem.Map(code, emu.PageSize, emu.PermRX, "code"))
	require.NoError(t, mem.Map(stack, 16*emu.PageSize, emu.PermRW, "stack"))
	require.NoError(t, mem.Write(code, b))
	m, err := New().NewMachine(emu.Config{Memory: mem, Gates: gates})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	reset(m.CPU(0))
	return m.(*machine)
}

func reset(c emu.CPU) {
	*c.Regs() = emu.Regs{RIP: code, Flags: emu.FlagsReset}
	c.Regs().GPR[emu.RSP] = stack + 16*emu.PageSize
}

func (m *machine) fast() bool { return m.cores[2] != nil }

// loops is: 1: push %rax; mov %ebx,%ecx; and $1,%ecx; mov %rsp,%rdi;
// sub $0x40,%rdi; rep stosb; pop %rax; inc %rax; dec %rbx; jnz 1b; hlt.
const loops = "50 89d9 83e101 4889e7 4883ef40 f3aa 58 48ffc0 48ffcb 75e8 f4"

// What the fast core does is what the exact one does: registers, memory and
// count, at every possible place to stop.
func TestFastIsExact(t *testing.T) {
	text := strings.ReplaceAll(loops, " ", "")
	a, b := newMachine(t, text, nil), newMachine(t, text, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		for _, m := range []*machine{a, b} {
			reset(m.cpus[0])
			m.cpus[0].regs.GPR[emu.RBX] = 1 << 20
		}
		n := 60_000 + rng.Uint64N(100_000)
		stop := a.cpus[0].Run(emu.Limits{Insns: n})
		require.Equal(t, emu.StopInsns, stop.Reason)
		require.Equal(t, n, stop.Insns)
		for left := n; left > 0; {
			// Too short to be worth the change of cores.
			k := min(left, 10_000)
			require.Equal(t, k, b.cpus[0].Run(emu.Limits{Insns: k}).Insns)
			left -= k
		}
		require.Equal(t, b.cpus[0].regs, a.cpus[0].regs)
		x, y := make([]byte, 16*emu.PageSize), make([]byte, 16*emu.PageSize)
		require.NoError(t, a.mem.Read(stack, x))
		require.NoError(t, b.mem.Read(stack, y))
		require.Equal(t, x, y)
	}
	require.True(t, a.fast())
	require.False(t, b.fast())
}

// A gate that is called rarely, one in straight code, and a patch by the host
// between two runs, with the fast core warm.
func TestFastSeesChanges(t *testing.T) {
	var gates emu.Gates
	calls := 0
	// 1: inc %rax; dec %ecx; jnz 1b; nop; ret
	m := newMachine(t, "48ffc0ffc975f990c3", &gates)
	run := func(want uint64) {
		t.Helper()
		c := m.cpus[0]
		reset(c)
		c.regs.GPR[emu.RSP] -= 8
		c.regs.GPR[emu.RCX] = 50_000
		require.NoError(t, m.mem.WriteU64(c.regs.GPR[emu.RSP], done))
		stop := c.Run(emu.Limits{Until: done, UseUntil: true})
		require.Equal(t, emu.StopUntil, stop.Reason, "%v", stop)
		require.Equal(t, want, c.regs.GPR[emu.RAX])
	}
	run(50_000)
	require.True(t, m.fast())
	require.NoError(t, m.mem.Write(code, []byte{0x48, 0x01, 0xc8})) // add %rcx,%rax
	run(50_000 * 50_001 / 2)
	require.NoError(t, gates.Add(emu.Gate{Addr: code + 7, Name: "end", Func: func(emu.CPU) error { calls++; return nil }}))
	run(50_000 * 50_001 / 2)
	require.Equal(t, 1, calls)
	gates.Remove(code + 7)
	require.NoError(t, gates.Add(emu.Gate{Addr: code + 3, Name: "often", Func: func(c emu.CPU) error {
		calls++
		return c.Memory().WriteU64(c.Regs().GPR[emu.RSP], done)
	}}))
	run(50_000)
	require.Equal(t, 2, calls)
}

// A fault that the fast core meets is reported as the exact core sees it, and
// memory is as if only that one had run.
func TestFastFault(t *testing.T) {
	// 1: inc %rax; push %rax; jmp 1b
	m := newMachine(t, "48ffc050ebfa", nil)
	c := m.cpus[0]
	require.NoError(t, m.mem.Map(stack-0x80000, 0x80000, emu.PermRW, "more stack"))
	stop := c.Run(emu.Limits{})
	const pushes = (0x80000 + 0x10000) / 8
	require.Equal(t, emu.Stop{Reason: emu.StopWrite, RIP: code + 3, Addr: stack - 0x80000 - 8, Size: 8, Insns: 3*pushes + 1}, stop)
	require.True(t, m.fast())
	v, err := m.mem.ReadU64(stack - 0x80000)
	require.NoError(t, err)
	require.Equal(t, uint64(pushes), v)
	require.Equal(t, uint64(pushes+1), c.regs.GPR[emu.RAX])
}

// The vector registers, which package emu does not know, follow their CPU.
func TestVectorRegisters(t *testing.T) {
	mem := newMemory(0)
	t.Cleanup(mem.Close)
	require.NoError(t, mem.Map(code, emu.PageSize, emu.PermRX, "code"))
	// movq %rax,%xmm3; mov $30000,%ecx; 1: dec %ecx; jnz 1b; movq %xmm3,%rbx; hlt
	text, err := hex.DecodeString("66480f6ed8b930750000ffc975fc66480f7edbf4")
	require.NoError(t, err)
	require.NoError(t, mem.Write(code, text))
	m, err := New().NewMachine(emu.Config{Memory: mem, CPUs: 3})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	for i := range 3 {
		r := m.CPU(i).Regs()
		r.RIP, r.GPR[emu.RAX] = code, uint64(i)+100
	}
	for running := 3; running > 0; {
		running = 0
		for i := range 3 {
			stop := m.CPU(i).Run(emu.Limits{Insns: 25_000})
			if stop.Reason == emu.StopInsns {
				running++
			} else if m.CPU(i).Regs().GPR[emu.RBX] == 0 {
				require.Equal(t, emu.StopHalt, stop.Reason)
			}
		}
	}
	for i := range 3 {
		require.Equal(t, uint64(i)+100, m.CPU(i).Regs().GPR[emu.RBX])
	}
}

func TestNewMachineErrors(t *testing.T) {
	_, err := New().NewMachine(emu.Config{})
	require.EqualError(t, err, "unicorn: a machine needs memory")
	_, err = New().NewMachine(emu.Config{Memory: emu.NewMemory(emu.MemoryOptions{})})
	require.EqualError(t, err, "unicorn: the memory is not from this engine's NewMemory")
	mem := newMemory(0)
	t.Cleanup(mem.Close)
	_, err = New().NewMachine(emu.Config{Memory: mem, CPUs: -1})
	require.EqualError(t, err, "unicorn: -1 CPUs, expected at least 1")
}

// Machines come and go, before and after their memory.
func TestClose(t *testing.T) {
	for i := range 20 {
		mem := newMemory(0)
		require.NoError(t, mem.Map(code, emu.PageSize, emu.PermRX, "code"))
		require.NoError(t, mem.Write(code, []byte{0xf4}))
		m, err := New().NewMachine(emu.Config{Memory: mem})
		require.NoError(t, err)
		m.CPU(0).Regs().RIP = code
		require.Equal(t, emu.StopHalt, m.CPU(0).Run(emu.Limits{}).Reason)
		if i%2 == 0 {
			mem.Close()
		}
		require.NoError(t, m.Close())
		require.NoError(t, m.Close())
		mem.Close()
	}
}

func BenchmarkLoop(b *testing.B) {
	// 1: add %rcx,%rax; lea 1(%rax),%rdx; xor %rdx,%rsi; dec %rcx; jnz 1b; hlt
	m := newMachine(b, "4801c8488d50014831d648ffc975f1f4", nil)
	c := m.cpus[0]
	var n uint64
	for b.Loop() {
		reset(c)
		c.regs.GPR[emu.RCX] = 200_000
		n += c.Run(emu.Limits{Insns: 1 << 40}).Insns
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/insn")
}

func BenchmarkCall(b *testing.B) {
	m := newMachine(b, "50b80500000058c3", nil)
	c := m.cpus[0]
	for b.Loop() {
		reset(c)
		c.regs.GPR[emu.RSP] -= 8
		_ = m.mem.WriteU64(c.regs.GPR[emu.RSP], done)
		c.Run(emu.Limits{Until: done, UseUntil: true, Insns: 1000})
	}
}

func BenchmarkStep(b *testing.B) {
	m := newMachine(b, "48ffc0ebfb", nil)
	c := m.cpus[0]
	for b.Loop() {
		c.Run(emu.Limits{Insns: 1})
	}
}
