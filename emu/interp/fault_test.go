package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

const (
	nothing  = 0x5000            // not mapped
	nonCanon = 0x8000_0000_0000  // not canonical
	lastData = data + 2*4096 - 4 // the last four bytes of data
	readOnly = text              // mapped, not writable
	edge     = data + 2*4096     // behind data, not mapped
	farEdge  = 0x7fff_ffff_fffc  // the last canonical bytes of the lower half
)

// TestFaults: an instruction that cannot execute changes nothing.
func TestFaults(t *testing.T) {
	type regs map[int]uint64
	for _, c := range []struct {
		asm  string
		code []byte
		set  regs
		want emu.Stop
	}{
		{"mov (%rdi),%rax", []byte{0x48, 0x8b, 0x07}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 8}},
		{"mov (%rdi),%rax, half of it", []byte{0x48, 0x8b, 0x07}, regs{emu.RDI: lastData}, emu.Stop{Reason: emu.StopRead, Addr: edge, Size: 8}},
		{"mov %ax,(%rdi)", []byte{0x66, 0x89, 0x07}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopWrite, Addr: nothing, Size: 2}},
		{"mov %rax,(%rdi), half of it", []byte{0x48, 0x89, 0x07}, regs{emu.RDI: lastData}, emu.Stop{Reason: emu.StopWrite, Addr: edge, Size: 8}},
		{"mov %al,(%rdi) to code", []byte{0x88, 0x07}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 1}},
		{"mov (%rdi),%eax, not canonical", []byte{0x8b, 0x07}, regs{emu.RDI: nonCanon}, emu.Stop{Reason: emu.StopGeneral, Addr: nonCanon, Size: 4}},
		{"mov (%rdi),%rax, out of the canonical", []byte{0x48, 0x8b, 0x07}, regs{emu.RDI: farEdge}, emu.Stop{Reason: emu.StopGeneral, Addr: farEdge, Size: 8}},
		{"add %rax,(%rdi)", []byte{0x48, 0x01, 0x07}, regs{emu.RDI: readOnly, emu.RAX: 1}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 8}},
		{"incl (%rdi)", []byte{0xff, 0x07}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 4}},
		{"shll (%rdi)", []byte{0xd1, 0x27}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 4}},
		{"cmp (%rdi),%rax", []byte{0x48, 0x3b, 0x07}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 8}},
		{"push %rax", []byte{0x50}, regs{emu.RSP: edge + 8}, emu.Stop{Reason: emu.StopWrite, Addr: edge, Size: 8}},
		{"push (%rdi)", []byte{0xff, 0x37}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 8}},
		{"pop %rax", []byte{0x58}, regs{emu.RSP: edge}, emu.Stop{Reason: emu.StopRead, Addr: edge, Size: 8}},
		{"pop (%rdi)", []byte{0x8f, 0x07}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopWrite, Addr: nothing, Size: 8}},
		{"popf", []byte{0x9d}, regs{emu.RSP: edge}, emu.Stop{Reason: emu.StopRead, Addr: edge, Size: 8}},
		{"leave", []byte{0xc9}, regs{emu.RBP: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 8}},
		{"enter $8,$0", []byte{0xc8, 8, 0, 0}, regs{emu.RSP: data}, emu.Stop{Reason: emu.StopWrite, Addr: data - 8, Size: 8}},
		{"call .+5", []byte{0xe8, 0, 0, 0, 0}, regs{emu.RSP: data}, emu.Stop{Reason: emu.StopWrite, Addr: data - 8, Size: 8}},
		{"call *(%rdi)", []byte{0xff, 0x17}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 8}},
		{"ret", []byte{0xc3}, regs{emu.RSP: edge}, emu.Stop{Reason: emu.StopRead, Addr: edge, Size: 8}},
		{"xchg %rax,(%rdi)", []byte{0x48, 0x87, 0x07}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 8}},
		{"xadd %rax,(%rdi)", []byte{0x48, 0x0f, 0xc1, 0x07}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 8}},
		{"cmpxchg %rcx,(%rdi), not equal", []byte{0x48, 0x0f, 0xb1, 0x0f}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 8}},
		{"cmpxchg16b (%rdi), unaligned", []byte{0x48, 0x0f, 0xc7, 0x0f}, regs{emu.RDI: data + 8}, emu.Stop{Reason: emu.StopGeneral, Addr: data + 8, Size: 16}},
		{"cmpxchg16b (%rdi)", []byte{0x48, 0x0f, 0xc7, 0x0f}, regs{emu.RDI: readOnly}, emu.Stop{Reason: emu.StopWrite, Addr: readOnly, Size: 16}},
		{"bts %rcx,(%rdi)", []byte{0x48, 0x0f, 0xab, 0x0f}, regs{emu.RDI: data, emu.RCX: 2 * 4096 * 8}, emu.Stop{Reason: emu.StopRead, Addr: edge, Size: 8}},
		{"cmove (%rdi),%eax, false", []byte{0x0f, 0x44, 0x07}, regs{emu.RDI: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 4}},
		{"movsb", []byte{0xa4}, regs{emu.RSI: data, emu.RDI: nothing}, emu.Stop{Reason: emu.StopWrite, Addr: nothing, Size: 1}},
		{"cmpsb", []byte{0xa6}, regs{emu.RSI: data, emu.RDI: nothing}, emu.Stop{Reason: emu.StopRead, Addr: nothing, Size: 1}},
		{"div %cl by zero", []byte{0xf6, 0xf1}, regs{emu.RAX: 5}, emu.Stop{Reason: emu.StopDivide}},
		{"div %ecx, overflow", []byte{0xf7, 0xf1}, regs{emu.RDX: 2, emu.RCX: 2}, emu.Stop{Reason: emu.StopDivide}},
		{"div %rcx, overflow", []byte{0x48, 0xf7, 0xf1}, regs{emu.RDX: 2, emu.RCX: 2}, emu.Stop{Reason: emu.StopDivide}},
		{"idiv %cl, 128", []byte{0xf6, 0xf9}, regs{emu.RAX: 128, emu.RCX: 1}, emu.Stop{Reason: emu.StopDivide}},
		{"idiv %ecx, least by -1", []byte{0xf7, 0xf9}, regs{emu.RAX: 0x80000000, emu.RDX: 0xffffffff, emu.RCX: 0xffffffff}, emu.Stop{Reason: emu.StopDivide}},
		{"idiv %rcx, least by -1", []byte{0x48, 0xf7, 0xf9}, regs{emu.RAX: 1 << 63, emu.RDX: 1<<64 - 1, emu.RCX: 1<<64 - 1}, emu.Stop{Reason: emu.StopDivide}},
		{"idiv %rcx, wide", []byte{0x48, 0xf7, 0xf9}, regs{emu.RDX: 1<<64 - 1, emu.RCX: 1}, emu.Stop{Reason: emu.StopDivide}},
		{"idiv %rcx by zero", []byte{0x48, 0xf7, 0xf9}, nil, emu.Stop{Reason: emu.StopDivide}},
		{"ud2", []byte{0x0f, 0x0b}, nil, emu.Stop{Reason: emu.StopUD}},
		{"swapgs", []byte{0x0f, 0x01, 0xf8}, nil, emu.Stop{Reason: emu.StopGeneral}},
		{"wrmsr", []byte{0x0f, 0x30}, nil, emu.Stop{Reason: emu.StopGeneral}},
		{"movups (%rdi),%xmm0", []byte{0x0f, 0x10, 0x07}, nil, emu.Stop{Reason: emu.StopUnknown, Bytes: []byte{0x0f, 0x10, 0x07}}},
		{"int $0x80", []byte{0xcd, 0x80}, nil, emu.Stop{Reason: emu.StopUnknown, Bytes: []byte{0xcd, 0x80}}},
	} {
		t.Run(c.asm, func(t *testing.T) {
			// An addition in front, whose flags must be right.
			code := cat([]byte{0x4d, 0x01, 0xc0}, c.code, []byte{0xf4}) // add %r8,%r8
			m := newMachine(t, code, emu.Config{})
			cpu := m.CPU(0)
			r := cpu.Regs()
			r.GPR[emu.R8] = 1 << 63
			for reg, v := range c.set {
				r.GPR[reg] = v
			}
			want := *r
			want.GPR[emu.R8] = 0
			want.RIP = text + 3
			want.Flags = emu.FlagsFixed | emu.FlagCF | emu.FlagPF | emu.FlagZF | emu.FlagOF
			before := make([]byte, 2*emu.PageSize)
			require.NoError(t, m.Memory().Read(data, before))

			stop := cpu.Run(emu.Limits{})
			c.want.RIP, c.want.Insns = want.RIP, 1
			require.Equal(t, c.want, stop)
			require.Equal(t, want, *r)
			after := make([]byte, len(before))
			require.NoError(t, m.Memory().Read(data, after))
			require.Equal(t, before, after)
			require.True(t, stop.Fault())

			again := cpu.Run(emu.Limits{})
			c.want.Insns = 0
			require.Equal(t, c.want, again, "at the same instruction, it stops alike")
		})
	}
}

// TestRepeatFaults: the iterations before the one that failed are done.
func TestRepeatFaults(t *testing.T) {
	m := newMachine(t, []byte{0x90, 0xf3, 0xaa, 0xf4}, emu.Config{}) // nop; rep stosb; hlt
	r := m.CPU(0).Regs()
	r.GPR[emu.RCX], r.GPR[emu.RDI], r.GPR[emu.RAX] = 100, edge-10, 7
	stop := m.CPU(0).Run(emu.Limits{})
	require.Equal(t, emu.Stop{Reason: emu.StopWrite, RIP: text + 1, Addr: edge, Size: 1, Insns: 11}, stop)
	require.EqualValues(t, 90, r.GPR[emu.RCX])
	require.Equal(t, uint64(edge), r.GPR[emu.RDI])
}

func TestRepeatCounts(t *testing.T) {
	cpu := newMachine(t, []byte{0xf3, 0xaa, 0x90, 0xf4}, emu.Config{}).CPU(0) // rep stosb; nop; hlt
	r := cpu.Regs()
	r.GPR[emu.RCX], r.GPR[emu.RDI] = 5, data
	for i := range uint64(4) {
		require.Equal(t, emu.Stop{Reason: emu.StopInsns, RIP: text, Insns: 1}, cpu.Run(emu.Limits{Insns: 1}))
		require.Equal(t, 4-i, r.GPR[emu.RCX])
	}
	require.Equal(t, emu.Stop{Reason: emu.StopInsns, RIP: text + 2, Insns: 1}, cpu.Run(emu.Limits{Insns: 1}))

	start(cpu)
	r.GPR[emu.RCX], r.GPR[emu.RDI] = 5, data
	require.Equal(t, emu.Stop{Reason: emu.StopUntil, RIP: text, Insns: 1}, cpu.Run(emu.Limits{Until: text, UseUntil: true}))
	require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: text + 4, Insns: 6}, cpu.Run(emu.Limits{}))

	start(cpu)
	r.GPR[emu.RCX] = 0
	require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: text + 4, Insns: 3}, cpu.Run(emu.Limits{}))

	start(cpu)
	r.GPR[emu.RCX], r.GPR[emu.RDI] = 5000, data
	require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: text + 4, Insns: 5002}, cpu.Run(emu.Limits{}))
}

func TestFetchFaults(t *testing.T) {
	const page2 = text + 2*emu.PageSize
	for _, c := range []struct {
		name string
		rip  uint64
		want emu.Stop
	}{
		{"not mapped", nothing, emu.Stop{Reason: emu.StopFetch, RIP: nothing, Addr: nothing, Size: 1}},
		{"not executable", data, emu.Stop{Reason: emu.StopNoExec, RIP: data, Addr: data, Size: 1}},
		{"not canonical", nonCanon, emu.Stop{Reason: emu.StopGeneral, RIP: nonCanon, Addr: nonCanon}},
		{"an instruction cut off by the end", page2 - 2, emu.Stop{Reason: emu.StopFetch, RIP: page2 - 2, Addr: page2, Size: 1}},
		{"a nop, then the end", page2 - 3, emu.Stop{Reason: emu.StopFetch, RIP: page2 - 2, Addr: page2, Size: 1, Insns: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, []byte{0x90}, emu.Config{})
			require.NoError(t, m.Memory().Write(page2-3, []byte{0x90, 0x48, 0xb8})) // nop; movabs without its number
			m.CPU(0).Regs().RIP = c.rip
			require.Equal(t, c.want, m.CPU(0).Run(emu.Limits{}))
			require.NoError(t, m.Memory().Map(page2, emu.PageSize, emu.PermRW, "behind"))
			if c.want.Addr == page2 {
				c.want.Reason, c.want.Insns = emu.StopNoExec, 0
				require.Equal(t, c.want, m.CPU(0).Run(emu.Limits{}))
			}
		})
	}
}

// TestJumpOut: the jump has happened when its target cannot be fetched.
func TestJumpOut(t *testing.T) {
	cpu := newMachine(t, []byte{0xff, 0xe0}, emu.Config{}).CPU(0) // jmp *%rax
	cpu.Regs().GPR[emu.RAX] = nonCanon
	require.Equal(t, emu.Stop{Reason: emu.StopGeneral, RIP: nonCanon, Addr: nonCanon, Insns: 1}, cpu.Run(emu.Limits{}))
}

func TestInstructionAcrossPages(t *testing.T) {
	m := newMachine(t, nil, emu.Config{})
	at := uint64(text + emu.PageSize - 4)
	require.NoError(t, m.Memory().Write(at, []byte{0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xf4})) // movabs; hlt
	run := func() uint64 {
		m.CPU(0).Regs().RIP = at
		require.Equal(t, emu.StopHalt, m.CPU(0).Run(emu.Limits{}).Reason)
		return m.CPU(0).Regs().GPR[emu.RAX]
	}
	require.EqualValues(t, 0x0807060504030201, run())
	require.NoError(t, m.Memory().Write(at+9, []byte{0xff}))
	require.EqualValues(t, uint64(0xff07060504030201), run(), "a change in the second page")
	require.NoError(t, m.Memory().Write(at+2, []byte{0xee}))
	require.EqualValues(t, uint64(0xff070605040302ee), run(), "a change in the first page")
}

func TestSegmentBases(t *testing.T) {
	// mov %gs:8,%rax; mov %fs:(%rdi),%rcx; mov %rax,%gs:16; hlt
	code := []byte{0x65, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0, 0x64, 0x48, 0x8b, 0x0f, 0x65, 0x48, 0x89, 0x04, 0x25, 16, 0, 0, 0, 0xf4}
	m := newMachine(t, code, emu.Config{})
	r := m.CPU(0).Regs()
	r.GSBase, r.FSBase, r.GPR[emu.RDI] = data, data+0x100, 0x20
	require.NoError(t, m.Memory().WriteU64(data+8, 11))
	require.NoError(t, m.Memory().WriteU64(data+0x120, 22))
	require.Equal(t, emu.StopHalt, m.CPU(0).Run(emu.Limits{}).Reason)
	require.EqualValues(t, 11, r.GPR[emu.RAX])
	require.EqualValues(t, 22, r.GPR[emu.RCX])
	v, err := m.Memory().ReadU64(data + 16)
	require.NoError(t, err)
	require.EqualValues(t, 11, v)
}

// A codeWatcher keeps what memory says of changes to code.
type codeWatcher struct{ changed [][2]uint64 }

func (*codeWatcher) Mapped(uint64, []byte, emu.Perm)    {}
func (*codeWatcher) Unmapped(uint64, uint64)            {}
func (*codeWatcher) Protected(uint64, uint64, emu.Perm) {}
func (w *codeWatcher) CodeChanged(addr, size uint64) {
	w.changed = append(w.changed, [2]uint64{addr, size})
}

// TestSelfModifyingCode: a store to the very next instruction takes effect, in
// any way of running, and other engines are told.
func TestSelfModifyingCode(t *testing.T) {
	// movb $0x05,4(%rip): the immediate of the mov behind; mov $1,%eax; hlt
	code := []byte{0xc6, 0x05, 0x01, 0, 0, 0, 5, 0xb8, 1, 0, 0, 0, 0xf4}
	for _, lim := range []emu.Limits{{}, {Insns: 1}} {
		m := newMachine(t, code, emu.Config{})
		require.NoError(t, m.Memory().Protect(text, emu.PageSize, emu.PermRW|emu.PermX))
		var w codeWatcher
		m.Memory().Watch(&w)
		for range 3 {
			require.NoError(t, m.Memory().Write(text, code))
			start(m.CPU(0))
			for m.CPU(0).Run(lim).Reason == emu.StopInsns {
			}
			require.EqualValues(t, 5, m.CPU(0).Regs().GPR[emu.RAX])
		}
		require.Contains(t, w.changed, [2]uint64{text + 8, 1})
	}
}

// TestPatchedCode: what Memory.Write changes is what executes next, on every
// CPU, in the middle of what was decoded too.
func TestPatchedCode(t *testing.T) {
	m := newMachine(t, []byte{0x90, 0xb8, 1, 0, 0, 0, 0xf4}, emu.Config{CPUs: 2}) // nop; mov $1,%eax; hlt
	for i := range uint64(5) {
		for n := range 2 {
			c := m.CPU(n)
			start(c)
			require.Equal(t, emu.StopInsns, c.Run(emu.Limits{Insns: 1}).Reason)
		}
		require.NoError(t, m.Memory().Write(text+2, []byte{byte(i)}))
		for n := range 2 {
			require.Equal(t, emu.StopHalt, m.CPU(n).Run(emu.Limits{}).Reason)
			require.Equal(t, i, m.CPU(n).Regs().GPR[emu.RAX])
		}
	}
}

// TestSnapshots: contents and mappings that come back are those that execute.
func TestSnapshots(t *testing.T) {
	code := []byte{0xb8, 1, 0, 0, 0, 0x89, 0x07, 0xf4} // mov $1,%eax; mov %eax,(%rdi); hlt
	m := newMachine(t, code, emu.Config{})
	run := func() uint64 {
		start(m.CPU(0))
		m.CPU(0).Regs().GPR[emu.RDI] = data
		require.Equal(t, emu.StopHalt, m.CPU(0).Run(emu.Limits{}).Reason)
		v, err := m.Memory().ReadU64(data)
		require.NoError(t, err)
		return v
	}
	snap := m.Memory().Snapshot()
	for range 3 {
		require.EqualValues(t, 1, run())
		require.NoError(t, m.Memory().Write(text+1, []byte{2}))
		require.EqualValues(t, 2, run())
		require.NoError(t, m.Memory().Restore(snap))
		v, err := m.Memory().ReadU64(data)
		require.NoError(t, err)
		require.Zero(t, v, "the guest's store is taken back")
	}
}

// TestProtection: permissions that change hold for pages that were accessed
// and code that was decoded.
func TestProtection(t *testing.T) {
	m := newMachine(t, []byte{0x89, 0x07, 0x8b, 0x07, 0xf4}, emu.Config{}) // mov %eax,(%rdi); mov (%rdi),%eax; hlt
	run := func() emu.Stop {
		start(m.CPU(0))
		m.CPU(0).Regs().GPR[emu.RDI] = data
		return m.CPU(0).Run(emu.Limits{})
	}
	require.Equal(t, emu.StopHalt, run().Reason)
	require.NoError(t, m.Memory().Protect(data, emu.PageSize, emu.PermR))
	require.Equal(t, emu.StopWrite, run().Reason)
	require.NoError(t, m.Memory().Protect(data, emu.PageSize, emu.PermW))
	require.Equal(t, emu.StopRead, run().Reason)
	require.NoError(t, m.Memory().Unmap(data))
	require.Equal(t, emu.StopWrite, run().Reason)
	require.NoError(t, m.Memory().Protect(text, emu.PageSize, emu.PermRW))
	require.Equal(t, emu.StopNoExec, run().Reason)
}
