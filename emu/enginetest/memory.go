package enginetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// What changes of mappings, permissions and states mean to a machine that ran
// before.
var memoryTests = []behaviour{
	{"restore brings code and data back", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, "ff 07 b8 05 00 00 00 c3") // incl (%rdi); mov $5,%eax; ret
		require.NoError(t, l.mem.WriteU64(Data, 1))
		require.Equal(t, uint64(5), l.call(0, Code))
		start := l.mem.Snapshot()
		for range 3 {
			l.write(Code+3, "09")
			for i := range 2 {
				require.Equal(t, uint64(9), l.call(i, Code))
			}
			v, err := l.mem.ReadU64(Data)
			require.NoError(t, err)
			require.Equal(t, uint64(4), v)
			require.NoError(t, l.mem.Restore(start))
			require.Equal(t, uint64(5), l.call(1, Code))
			require.NoError(t, l.mem.Restore(start))
			v, err = l.mem.ReadU64(Data)
			require.NoError(t, err)
			require.Equal(t, uint64(2), v)
		}
	}},
	{"restore with guest stores to code", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "88 0b c3") // mov %cl,(%rbx); ret
		l.mapRWX(five)
		require.Equal(t, uint64(5), l.call(0, RWX))
		start := l.mem.Snapshot()
		for n := range uint64(3) {
			r := l.cpu().Regs()
			r.GPR[emu.RBX], r.GPR[emu.RCX] = RWX+1, 7+n
			l.call(0, Code)
			require.Equal(t, 7+n, l.call(0, RWX))
			require.NoError(t, l.mem.Restore(start))
			require.Equal(t, uint64(5), l.call(0, RWX))
		}
	}},
	{"restore with mappings that came and went", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "ff e0") // jmp *%rax
		const a, b = 0x61000000, 0x62000000
		require.NoError(t, l.mem.Map(a, emu.PageSize, emu.PermRX, "a"))
		l.write(a, "b8 0a 00 00 00 c3")
		run := func(addr uint64) (uint64, emu.StopReason) {
			r := l.cpu().Regs()
			r.RIP, r.GPR[emu.RAX], r.GPR[emu.RSP] = Code, addr, Top-8
			stop := l.cpu().Run(emu.Limits{Until: Done, UseUntil: true, Insns: 100})
			return r.GPR[emu.RAX], stop.Reason
		}
		expect := func(addr, want uint64) {
			t.Helper()
			got, reason := run(addr)
			if want == 0 {
				require.Equal(t, emu.StopFetch, reason)
				return
			}
			require.Equal(t, emu.StopUntil, reason)
			require.Equal(t, want, got)
		}
		expect(a, 0xa)
		start := l.mem.Snapshot()
		for range 3 {
			require.NoError(t, l.mem.Unmap(a))
			expect(a, 0)
			require.NoError(t, l.mem.Map(b, emu.PageSize, emu.PermRX, "b"))
			l.write(b, "b8 0b 00 00 00 c3")
			expect(b, 0xb)
			require.NoError(t, l.mem.Map(a, 2*emu.PageSize, emu.PermRX, "new a"))
			l.write(a, "b8 0c 00 00 00 c3")
			expect(a, 0xc)
			require.NoError(t, l.mem.Restore(start))
			expect(a, 0xa)
			expect(b, 0)
		}
	}},
	{"unmapped code is gone", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, "f4")
		for n := range byte(4) {
			require.NoError(t, l.mem.Map(unmapped, emu.PageSize, emu.PermRX, "again"))
			require.NoError(t, l.mem.Write(unmapped, []byte{0xb8, n, 0, 0, 0, 0xc3}))
			for i := range 2 {
				require.Equal(t, uint64(n), l.call(i, unmapped))
			}
			require.NoError(t, l.mem.Unmap(unmapped))
			l.cpu().Regs().RIP = unmapped
			require.Equal(t, emu.StopFetch, l.cpu().Run(emu.Limits{}).Reason)
		}
	}},
	{"unmapped data is gone", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "48 8b 03 48 89 03 f4") // mov (%rbx),%rax; mov %rax,(%rbx); hlt
		r := l.cpu().Regs()
		for n := range uint64(3) {
			require.NoError(t, l.mem.Map(unmapped, emu.PageSize, emu.PermRW, "again"))
			require.NoError(t, l.mem.WriteU64(unmapped+8, n+1))
			r.RIP, r.GPR[emu.RBX] = Code, unmapped+8
			require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
			require.Equal(t, n+1, r.GPR[emu.RAX])
			require.NoError(t, l.mem.Unmap(unmapped))
			r.RIP = Code
			require.Equal(t, emu.Stop{Reason: emu.StopRead, RIP: Code, Addr: unmapped + 8, Size: 8}, l.cpu().Run(emu.Limits{}))
		}
	}},
	{"permission to execute comes and goes", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, five)
		for n := range byte(3) {
			require.NoError(t, l.mem.Protect(Code, size, emu.PermRX))
			for i := range 2 {
				require.Equal(t, uint64(5+n), l.call(i, Code))
			}
			require.NoError(t, l.mem.Protect(Code, size, emu.PermRW))
			r := l.cpu().Regs()
			r.RIP = Code
			require.Equal(t, emu.Stop{Reason: emu.StopNoExec, RIP: Code, Addr: Code, Size: 1}, l.cpu().Run(emu.Limits{}))
			require.NoError(t, l.mem.Write(Code+1, []byte{6 + n}))
		}
	}},
	{"permission to write comes and goes", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "ff 03 f4") // incl (%rbx); hlt
		r := l.cpu().Regs()
		r.GPR[emu.RBX] = Data + 0x1000
		require.NoError(t, l.mem.WriteU64(Data+0x1000, 0))
		for n := range uint64(3) {
			r.RIP = Code
			require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
			require.NoError(t, l.mem.Protect(Data+0x1000, emu.PageSize, emu.PermR))
			r.RIP = Code
			require.Equal(t, emu.Stop{Reason: emu.StopWrite, RIP: Code, Addr: Data + 0x1000, Size: 4}, l.cpu().Run(emu.Limits{}))
			require.NoError(t, l.mem.Protect(Data+0x1000, emu.PageSize, emu.PermRW))
			v, err := l.mem.ReadU64(Data + 0x1000)
			require.NoError(t, err)
			require.Equal(t, n+1, v)
		}
	}},
	{"code becomes writable while it is warm", func(t *testing.T, e emu.Engine) {
		// A guest that writes its own code once it may: mov %cl,1f+1(%rip); 1: mov $5,%eax; ret
		l := newLab(t, e, emu.Config{}, "88 0d 01 00 00 00 b8 05 00 00 00 c3")
		l.cpu().Regs().RIP = Code
		require.Equal(t, emu.StopWrite, l.cpu().Run(emu.Limits{}).Reason)
		require.NoError(t, l.mem.Protect(Code, size, emu.PermRW|emu.PermX))
		for n := range uint64(3) {
			l.cpu().Regs().GPR[emu.RCX] = n + 40
			require.Equal(t, n+40, l.call(0, Code))
		}
		require.NoError(t, l.mem.Protect(Code, size, emu.PermRX))
		l.cpu().Regs().RIP = Code
		require.Equal(t, emu.StopWrite, l.cpu().Run(emu.Limits{}).Reason)
		require.Equal(t, uint64(42), l.call(0, Code+6))
	}},
	{"regions next to each other", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "48 89 07 48 8b 1f f4") // mov %rax,(%rdi); mov (%rdi),%rbx; hlt
		require.NoError(t, l.mem.Map(unmapped, emu.PageSize, emu.PermRW, "low"))
		require.NoError(t, l.mem.Map(unmapped+emu.PageSize, emu.PageSize, emu.PermRW, "high"))
		r := l.cpu().Regs()
		for off := uint64(1); off < 8; off++ {
			r.RIP, r.GPR[emu.RDI], r.GPR[emu.RBX] = Code, unmapped+emu.PageSize-off, 0
			require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
			require.Equal(t, r.GPR[emu.RAX], r.GPR[emu.RBX])
			v, err := l.mem.ReadU64(unmapped + emu.PageSize - off)
			require.NoError(t, err)
			require.Equal(t, r.GPR[emu.RAX], v)
		}
	}},
}
