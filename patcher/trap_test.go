package patcher

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

// TestTrapEmulates checks every instruction that the handler stands in for.
func TestTrapEmulates(t *testing.T) {
	const ip = textBase + 0x500
	const sp = stackTop - 64
	const parent = 0xffffffff81001234
	short := func(op, d byte) x86.Bytes5 { return x86.Bytes5{op, d, 0xcc, 0xcc, 0xcc} }
	type result struct{ rip, rsp, top uint64 }
	stay := func(rip uint64) result { return result{rip, sp, parent} }
	for _, tt := range []struct {
		name  string
		new   x86.Bytes5
		flags uint64
		want  result
	}{
		{"nop", x86.Nop5, 0, stay(ip + 5)},
		{"call", callTo(t, ip, target), 0, result{target, sp - 8, ip + 5}},
		{"jmp", jmpTo(t, ip, target), 0, stay(target)},
		{"ret", short(x86.OpRet, 0xcc), 0, result{parent, sp + 8, 0}},
		{"jmp short", short(0xeb, 0x10), 0, stay(ip + 0x12)},
		{"jmp short back", short(0xeb, 0xf0), 0, stay(ip - 0xe)},
		{"jo", short(0x70, 0x10), emu.FlagOF, stay(ip + 0x12)},
		{"jo not", short(0x70, 0x10), 0, stay(ip + 2)},
		{"jno", short(0x71, 0x10), 0, stay(ip + 0x12)},
		{"jb", short(0x72, 0x10), emu.FlagCF, stay(ip + 0x12)},
		{"jae", short(0x73, 0x10), emu.FlagCF, stay(ip + 2)},
		{"je", short(0x74, 0x10), emu.FlagZF, stay(ip + 0x12)},
		{"jne", short(0x75, 0x10), emu.FlagZF, stay(ip + 2)},
		{"jbe by carry", short(0x76, 0x10), emu.FlagCF, stay(ip + 0x12)},
		{"jbe by zero", short(0x76, 0x10), emu.FlagZF, stay(ip + 0x12)},
		{"ja", short(0x77, 0x10), emu.FlagSF, stay(ip + 0x12)},
		{"js", short(0x78, 0x10), emu.FlagSF, stay(ip + 0x12)},
		{"jns", short(0x79, 0x10), emu.FlagSF, stay(ip + 2)},
		{"jp", short(0x7a, 0x10), emu.FlagPF, stay(ip + 0x12)},
		{"jnp", short(0x7b, 0x10), emu.FlagPF, stay(ip + 2)},
		{"jl", short(0x7c, 0x10), emu.FlagSF, stay(ip + 0x12)},
		{"jl overflowed", short(0x7c, 0x10), emu.FlagSF | emu.FlagOF, stay(ip + 2)},
		{"jge", short(0x7d, 0x10), emu.FlagOF, stay(ip + 2)},
		{"jle by zero", short(0x7e, 0x10), emu.FlagZF, stay(ip + 0x12)},
		{"jle", short(0x7e, 0x10), emu.FlagOF, stay(ip + 0x12)},
		{"jg", short(0x7f, 0x10), 0, stay(ip + 0x12)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := newMemory(t)
			p := NewPoker(mem)
			c := Change{IP: ip, Old: x86.Nop5, New: tt.new}
			put(t, mem, c)
			traps := 0
			p.Observer = observer{done: func(s Step) {
				if s.Phase == PhaseFirst {
					return
				}
				require.NoError(t, mem.WriteU64(sp, parent))
				cpu := &fakeCPU{mem: mem}
				cpu.regs = emu.Regs{RIP: ip + 1, Flags: tt.flags}
				cpu.regs.GPR[emu.RSP] = sp
				before := cpu.regs
				require.True(t, p.Trap(cpu))
				top, err := mem.ReadU64(cpu.regs.GPR[emu.RSP])
				require.NoError(t, err)
				require.Equal(t, tt.want, result{cpu.regs.RIP, cpu.regs.GPR[emu.RSP], top})
				before.RIP, before.GPR[emu.RSP] = tt.want.rip, tt.want.rsp
				require.Equal(t, before, cpu.regs, "nothing else changes")
				traps++
			}}
			require.NoError(t, p.Apply([]Change{c}))
			require.Equal(t, 2, traps)
		})
	}
}

// TestTrapNotOurs checks what the handler leaves alone.
func TestTrapNotOurs(t *testing.T) {
	const ip = textBase + 0x500
	mem := newMemory(t)
	p := NewPoker(mem)
	changes := []Change{
		{IP: ip, Old: x86.Nop5, New: callTo(t, ip, target)},
		{IP: ip + 0x10, Old: x86.Nop5, New: x86.Bytes5{0xcc, 0xcc, 0xcc, 0xcc, 0xcc}},
		{IP: ip + 0x20, Old: x86.Nop5, New: callTo(t, ip+0x20, target)},
		{IP: ip + 0x10000, Old: x86.Nop5, New: x86.Bytes5{x86.OpRet, 0xcc, 0xcc, 0xcc, 0xcc}},
	}
	require.NoError(t, mem.Map(textBase+textSize, emu.PageSize, emu.PermRX, "more text"))
	put(t, mem, changes...)
	claimed := func(rip, rsp uint64) bool {
		cpu := &fakeCPU{mem: mem}
		cpu.regs.RIP, cpu.regs.GPR[emu.RSP] = rip, rsp
		before := cpu.regs
		ok := p.Trap(cpu)
		if !ok {
			require.Equal(t, before, cpu.regs, "an int3 that is not claimed changes nothing")
		}
		return ok
	}
	require.False(t, claimed(ip+1, stackTop-64), "before")
	p.Observer = observer{done: func(s Step) {
		require.True(t, claimed(ip+1, stackTop-64))
		require.True(t, claimed(ip+0x21, stackTop-64))
		require.False(t, claimed(ip+0x11, stackTop-64), "an int3 that is to stay")
		require.False(t, claimed(ip, stackTop-64), "the byte in front of a site")
		require.False(t, claimed(ip+2, stackTop-64), "inside of a site")
		require.False(t, claimed(ip+0x31, stackTop-64), "behind the last site")
		require.False(t, claimed(ip+1, 0x1000), "a push that faults")
		require.False(t, claimed(ip+0x10001, 0x1000), "a pop that faults")
	}}
	require.NoError(t, p.Apply(changes))
	require.False(t, claimed(ip+1, stackTop-64), "after")
}
