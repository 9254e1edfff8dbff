package enginetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// A stopCase is a program with the stop it must end in. Addresses below one
// page are relative to Code.
type stopCase struct {
	name string
	code string
	asm  string // the same for readers
	prep func(l *lab, r *emu.Regs)
	lim  emu.Limits
	want emu.Stop
}

const (
	unmapped     = 0x60000000
	nonCanonical = 0x8000000000000000
)

var stopCases = []stopCase{
	{
		name: "until", code: "90 90 90", asm: "nop; nop; nop",
		lim:  emu.Limits{Until: 2, UseUntil: true},
		want: emu.Stop{Reason: emu.StopUntil, RIP: 2, Insns: 2},
	},
	{
		name: "until again", code: "90 90 eb fc", asm: "1: nop; nop; jmp 1b",
		lim:  emu.Limits{Until: Code, UseUntil: true},
		want: emu.Stop{Reason: emu.StopUntil, RIP: 0, Insns: 3},
	},
	{
		name: "until at a jump to itself", code: "eb fe", asm: "1: jmp 1b",
		lim:  emu.Limits{Until: Code, UseUntil: true},
		want: emu.Stop{Reason: emu.StopUntil, RIP: 0, Insns: 1},
	},
	{
		name: "until is not in the middle", code: "90 48 31 c0 90 f4", asm: "nop; xor %rax,%rax; nop; hlt",
		lim:  emu.Limits{Until: 2, UseUntil: true},
		want: emu.Stop{Reason: emu.StopHalt, RIP: 6, Insns: 4},
	},
	{
		name: "until where nothing is mapped", code: "c3", asm: "ret",
		lim:  emu.Limits{Until: Done, UseUntil: true},
		want: emu.Stop{Reason: emu.StopUntil, RIP: Done, Insns: 1},
	},
	{
		name: "until before limit", code: "90 90", asm: "nop; nop",
		lim:  emu.Limits{Until: 1, UseUntil: true, Insns: 1},
		want: emu.Stop{Reason: emu.StopUntil, RIP: 1, Insns: 1},
	},
	{
		name: "limit", code: "90 90 90 90 90", asm: "nop...",
		lim:  emu.Limits{Insns: 3},
		want: emu.Stop{Reason: emu.StopInsns, RIP: 3, Insns: 3},
	},
	{
		name: "limit in a loop", code: "ff c0 ff c3 eb fa", asm: "1: inc %eax; inc %ebx; jmp 1b",
		lim:  emu.Limits{Insns: 100_001},
		want: emu.Stop{Reason: emu.StopInsns, RIP: 4, Insns: 100_001},
	},
	{
		name: "limit before a bad fetch", code: "c3", asm: "ret",
		lim:  emu.Limits{Insns: 1},
		want: emu.Stop{Reason: emu.StopInsns, RIP: Done, Insns: 1},
	},
	{
		name: "limit before an unknown instruction", code: "90 06", asm: "nop; (push %es)",
		lim:  emu.Limits{Insns: 1},
		want: emu.Stop{Reason: emu.StopInsns, RIP: 1, Insns: 1},
	},
	{
		name: "limit inside rep", code: "f3 aa 90", asm: "rep stosb; nop",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RCX] = 5 },
		lim:  emu.Limits{Insns: 3},
		want: emu.Stop{Reason: emu.StopInsns, RIP: 0, Insns: 3},
	},
	{
		name: "limit at the end of rep", code: "f3 aa 90", asm: "rep stosb; nop",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RCX] = 3 },
		lim:  emu.Limits{Insns: 3},
		want: emu.Stop{Reason: emu.StopInsns, RIP: 2, Insns: 3},
	},
	{
		name: "rep of nothing", code: "f3 aa 90 f4", asm: "rep stosb; nop; hlt",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RCX] = 0 },
		want: emu.Stop{Reason: emu.StopHalt, RIP: 4, Insns: 3},
	},
	{
		name: "rep in a loop", code: "b9 02 00 00 00 f3 aa ff c8 75 f5 f4", asm: "1: mov $2,%ecx; rep stosb; dec %eax; jnz 1b; hlt",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RAX] = 3 },
		want: emu.Stop{Reason: emu.StopHalt, RIP: 12, Insns: 16},
	},
	{
		name: "rep with a fault", code: "90 f3 a4 90", asm: "nop; rep movsb; nop",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RCX], r.GPR[emu.RDI] = 10, Data+size-3 },
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Data + size, Size: 1, Insns: 4},
	},
	{
		name: "read from nowhere", code: "90 48 ff c0 48 8b 03 90", asm: "nop; inc %rax; mov (%rbx),%rax; nop",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RBX] = unmapped },
		want: emu.Stop{Reason: emu.StopRead, RIP: 4, Addr: unmapped, Size: 8, Insns: 2},
	},
	{
		name: "read across the end", code: "90 48 8b 03", asm: "nop; mov (%rbx),%rax",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RBX] = Data + size - 3 },
		want: emu.Stop{Reason: emu.StopRead, RIP: 1, Addr: Data + size, Size: 8, Insns: 1},
	},
	{
		name: "read of what may only be written", code: "90 8b 03", asm: "nop; mov (%rbx),%eax",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RBX] = Data + 0x1000
			require.NoError(l.t, l.mem.Protect(Data+0x1000, emu.PageSize, emu.PermW))
		},
		want: emu.Stop{Reason: emu.StopRead, RIP: 1, Addr: Data + 0x1000, Size: 4, Insns: 1},
	},
	{
		name: "write to nowhere", code: "90 66 89 03", asm: "nop; mov %ax,(%rbx)",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RBX] = unmapped },
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: unmapped, Size: 2, Insns: 1},
	},
	{
		name: "write to code", code: "90 c6 07 01", asm: "nop; movb $1,(%rdi)",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RDI] = Code },
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Code, Size: 1, Insns: 1},
	},
	{
		name: "write across into what is read-only", code: "90 48 89 03", asm: "nop; mov %rax,(%rbx)",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RBX] = Data + 0x1000 - 4
			require.NoError(l.t, l.mem.Protect(Data+0x1000, emu.PageSize, emu.PermR))
		},
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Data + 0x1000, Size: 8, Insns: 1},
	},
	{
		name: "write across into nowhere", code: "90 89 03", asm: "nop; mov %eax,(%rbx)",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RBX] = Data + size - 1 },
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Data + size, Size: 4, Insns: 1},
	},
	{
		name: "read-modify-write of what is read-only", code: "90 48 ff 03", asm: "nop; incq (%rbx)",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RBX] = Data
			require.NoError(l.t, l.mem.Protect(Data, emu.PageSize, emu.PermR))
		},
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Data, Size: 8, Insns: 1},
	},
	{
		name: "push without a stack", code: "90 50", asm: "nop; push %rax",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RSP] = Stack },
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Stack - 8, Size: 8, Insns: 1},
	},
	{
		name: "call without a stack", code: "90 e8 00 00 00 00", asm: "nop; call .+5",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RSP] = Stack },
		want: emu.Stop{Reason: emu.StopWrite, RIP: 1, Addr: Stack - 8, Size: 8, Insns: 1},
	},
	{
		name: "jump to nowhere", code: "90 ff e0", asm: "nop; jmp *%rax",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RAX] = unmapped + 5 },
		want: emu.Stop{Reason: emu.StopFetch, RIP: unmapped + 5, Addr: unmapped + 5, Size: 1, Insns: 2},
	},
	{
		name: "jump to data", code: "90 ff e7", asm: "nop; jmp *%rdi",
		want: emu.Stop{Reason: emu.StopNoExec, RIP: Data, Addr: Data, Size: 1, Insns: 2},
	},
	{
		name: "run off the end", code: "ff e0", asm: "jmp *%rax",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RAX] = Code + size - 2
			l.write(Code+size-2, "90 90")
		},
		want: emu.Stop{Reason: emu.StopFetch, RIP: Code + size, Addr: Code + size, Size: 1, Insns: 3},
	},
	{
		name: "an instruction across the end", code: "ff e0", asm: "jmp *%rax",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RAX] = Code + size - 3
			l.write(Code+size-3, "90 b8 01") // nop; mov $..01,%eax
		},
		want: emu.Stop{Reason: emu.StopFetch, RIP: Code + size - 2, Addr: Code + size, Size: 1, Insns: 2},
	},
	{
		name: "an instruction across into data", code: "ff e0", asm: "jmp *%rax",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RAX] = Code + 0x1000 - 3
			l.write(Code+0x1000-3, "90 b8 01 02 03 04")
			require.NoError(l.t, l.mem.Protect(Code+0x1000, emu.PageSize, emu.PermR))
		},
		want: emu.Stop{Reason: emu.StopNoExec, RIP: Code + 0x1000 - 2, Addr: Code + 0x1000, Size: 1, Insns: 2},
	},
	{
		name: "an unknown instruction", code: "90 06 90", asm: "nop; (push %es)",
		want: emu.Stop{Reason: emu.StopUnknown, RIP: 1, Insns: 1},
	},
	{
		name: "a vector instruction", code: "90 c5 fd fe c0", asm: "nop; vpaddd %ymm0,%ymm0,%ymm0",
		want: emu.Stop{Reason: emu.StopUnknown, RIP: 1, Insns: 1},
	},
	{
		name: "int n", code: "90 cd 80", asm: "nop; int $0x80",
		want: emu.Stop{Reason: emu.StopUnknown, RIP: 1, Insns: 1},
	},
	{
		name: "int3", code: "90 cc", asm: "nop; int3",
		want: emu.Stop{Reason: emu.StopInt3, RIP: 2, Insns: 2},
	},
	{
		name: "ud2", code: "90 0f 0b", asm: "nop; ud2",
		want: emu.Stop{Reason: emu.StopUD, RIP: 1, Insns: 1},
	},
	{
		name: "hlt", code: "90 f4", asm: "nop; hlt",
		want: emu.Stop{Reason: emu.StopHalt, RIP: 2, Insns: 2},
	},
	{
		name: "division by zero", code: "90 31 c9 f7 f1", asm: "nop; xor %ecx,%ecx; div %ecx",
		want: emu.Stop{Reason: emu.StopDivide, RIP: 3, Insns: 2},
	},
	{
		name: "division with overflow", code: "90 48 f7 f1", asm: "nop; div %rcx",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RCX], r.GPR[emu.RDX] = 1, 1 },
		want: emu.Stop{Reason: emu.StopDivide, RIP: 1, Insns: 1},
	},
	{
		name: "signed division with overflow", code: "90 f7 f9", asm: "nop; idiv %ecx",
		prep: func(l *lab, r *emu.Regs) {
			r.GPR[emu.RAX], r.GPR[emu.RDX], r.GPR[emu.RCX] = 0x80000000, 0xffffffff, 0xffffffff
		},
		want: emu.Stop{Reason: emu.StopDivide, RIP: 1, Insns: 1},
	},
	{
		name: "read from a non-canonical address", code: "90 48 8b 03", asm: "nop; mov (%rbx),%rax",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RBX] = nonCanonical },
		want: emu.Stop{Reason: emu.StopGeneral, RIP: 1, Addr: nonCanonical, Size: 8, Insns: 1},
	},
	{
		name: "jump to a non-canonical address", code: "90 ff e0", asm: "nop; jmp *%rax",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RAX] = nonCanonical },
		want: emu.Stop{Reason: emu.StopGeneral, RIP: nonCanonical, Addr: nonCanonical, Insns: 2},
	},
	{
		name: "a fault after a long run", code: "ff c9 75 fc 48 8b 03", asm: "1: dec %ecx; jnz 1b; mov (%rbx),%rax",
		prep: func(l *lab, r *emu.Regs) { r.GPR[emu.RCX], r.GPR[emu.RBX] = 500_000, unmapped },
		want: emu.Stop{Reason: emu.StopRead, RIP: 4, Addr: unmapped, Size: 8, Insns: 1_000_000},
	},
	{
		name: "a fault in a long run", code: "ff c0 50 eb fb", asm: "1: inc %eax; push %rax; jmp 1b",
		prep: func(l *lab, r *emu.Regs) {
			require.NoError(l.t, l.mem.Map(unmapped, 0x80000, emu.PermRW, "deep stack"))
			r.GPR[emu.RSP] = unmapped + 0x80000
		},
		want: emu.Stop{Reason: emu.StopWrite, RIP: 2, Addr: unmapped - 8, Size: 8, Insns: 0x10000*3 + 1},
	},
}

// at makes a relative address absolute.
func at(a uint64) uint64 {
	if a < emu.PageSize {
		return Code + a
	}
	return a
}

// runStops runs each case in one go, and again one instruction at a time where
// that is quick enough: the stop is the same, but for the count.
func runStops(t *testing.T, e emu.Engine) {
	for _, c := range stopCases {
		t.Run(c.name, func(t *testing.T) {
			skip(t, e, c.name)
			start := func() *lab {
				l := newLab(t, e, emu.Config{}, c.code)
				if c.prep != nil {
					c.prep(l, l.cpu().Regs())
				}
				return l
			}
			lim := c.lim
			lim.Until = at(lim.Until)
			want := c.want
			want.RIP = at(want.RIP)

			l := start()
			before := *l.cpu().Regs()
			got := l.cpu().Run(lim)
			if want.Reason == emu.StopUnknown {
				require.NotEmpty(t, got.Bytes)
				code := make([]byte, len(got.Bytes))
				require.NoError(t, l.mem.Read(want.RIP, code))
				require.Equal(t, code, got.Bytes)
				want.Bytes = got.Bytes
			}
			require.Equal(t, want, got, "%v", got)
			require.Equal(t, want.RIP, l.cpu().Regs().RIP)
			if want.Insns == 1 && want.Fault() && want.Reason != emu.StopInt3 {
				// Only a nop executed.
				before.RIP = want.RIP
				require.Equal(t, before, *l.cpu().Regs())
				data := make([]byte, size)
				require.NoError(t, l.mem.Read(Data, data))
				require.Equal(t, startData(), data)
			}

			if want.Insns > 1000 || lim != (emu.Limits{Until: Code}) {
				return
			}
			l = start()
			var steps uint64
			for stop := (emu.Stop{Reason: emu.StopInsns}); stop.Reason == emu.StopInsns; steps += stop.Insns {
				require.LessOrEqual(t, steps, want.Insns)
				stop = l.cpu().Run(emu.Limits{Insns: 1})
				got = stop
			}
			require.Equal(t, want.Insns, steps)
			got.Insns = steps
			require.Equal(t, want, got, "%v", got)
		})
	}
}
