package enginetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// forever is: 1: inc %eax; jmp 1b.
const forever = "ff c0 eb fc"

var runTests = []behaviour{
	{"trap claimed", func(t *testing.T, e emu.Engine) {
		var at []uint64
		l := newLab(t, e, emu.Config{Trap: func(c emu.CPU) bool {
			at = append(at, c.Regs().RIP)
			c.Regs().GPR[emu.RBX]++
			return true
		}}, "cc 90 cc f4")
		l.cpu().Regs().GPR[emu.RBX] = 0
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 4, Insns: 4}, stop)
		require.Equal(t, []uint64{Code + 1, Code + 3}, at)
		require.Equal(t, uint64(2), l.cpu().Regs().GPR[emu.RBX])
	}},
	{"trap moves", func(t *testing.T, e emu.Engine) {
		// As the kernel emulates a call in place of the int3.
		l := newLab(t, e, emu.Config{Trap: func(c emu.CPU) bool {
			r := c.Regs()
			r.GPR[emu.RSP] -= 8
			if c.Memory().WriteU64(r.GPR[emu.RSP], Code+5) != nil {
				return false
			}
			r.RIP = Code + 16
			return true
		}}, "cc 11 22 33 44 f4")
		l.write(Code+16, "b8 09 00 00 00 c3") // mov $9,%eax; ret
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 6, Insns: 4}, stop)
		require.Equal(t, uint64(9), l.cpu().Regs().GPR[emu.RAX])
	}},
	{"trap not claimed", func(t *testing.T, e emu.Engine) {
		asked := 0
		l := newLab(t, e, emu.Config{Trap: func(emu.CPU) bool { asked++; return false }}, "90 cc")
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopInt3, RIP: Code + 2, Insns: 2}, stop)
		require.Equal(t, 1, asked)
	}},
	{"interrupt before a run", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, "90 f4")
		l.cpu().Interrupt()
		require.Equal(t, emu.Stop{Reason: emu.StopRequested, RIP: Code}, l.cpu().Run(emu.Limits{}))
		require.Equal(t, emu.StopHalt, l.m.CPU(1).Run(emu.Limits{}).Reason, "the other CPU was not meant")
		require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason, "a request is for one run")
	}},
	{"interrupt by a gate", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			c.Interrupt()
			return nil
		}}), callRAX)
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		require.Equal(t, emu.Stop{Reason: emu.StopRequested, RIP: Code + 2, Insns: 2}, l.cpu().Run(emu.Limits{}))
	}},
	{"interrupt from outside", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, forever)
		r := l.cpu().Regs()
		r.GPR[emu.RAX] = 0
		var total uint64
		for i := range 20 {
			go func() {
				time.Sleep(time.Duration(i) * time.Millisecond / 2)
				l.cpu().Interrupt()
			}()
			stop := l.cpu().Run(emu.Limits{Time: time.Minute})
			require.Equal(t, emu.StopRequested, stop.Reason, "%v", stop)
			total += stop.Insns
			// The count is what the guest counted.
			require.Equal(t, uint32((total+1)/2), uint32(r.GPR[emu.RAX]))
			require.Equal(t, Code+total%2*2, r.RIP)
		}
	}},
	{"time limit", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, forever)
		stop := l.cpu().Run(emu.Limits{Time: 5 * time.Millisecond})
		require.Equal(t, emu.StopTime, stop.Reason, "%v", stop)
		require.Positive(t, stop.Insns)
		stop = l.cpu().Run(emu.Limits{Time: time.Hour, Insns: 10})
		require.Equal(t, emu.StopInsns, stop.Reason, "%v", stop)
	}},
	{"two CPUs in steps", func(t *testing.T, e emu.Engine) {
		// Both add to the same counter without lock: mov (%rdi),%rax; inc %rax; mov %rax,(%rdi); jmp.
		l := newLab(t, e, emu.Config{CPUs: 2}, "48 8b 07 48 ff c0 48 89 07 eb f5")
		require.NoError(t, l.mem.WriteU64(Data, 0))
		l.m.CPU(1).Regs().GPR[emu.RBX] = 99
		for range 4 * 25 {
			for i := range 2 {
				require.Equal(t, emu.StopInsns, l.m.CPU(i).Run(emu.Limits{Insns: 1}).Reason)
			}
		}
		v, err := l.mem.ReadU64(Data)
		require.NoError(t, err)
		require.Equal(t, uint64(25), v, "both read before either writes, each time")
		require.Equal(t, uint64(99), l.m.CPU(1).Regs().GPR[emu.RBX])
		require.Equal(t, uint64(Code), l.cpu().Regs().RIP)
	}},
	{"long runs", func(t *testing.T, e emu.Engine) {
		// A loop with a store, long enough for any engine to change gears.
		l := newLab(t, e, emu.Config{}, "48 01 c2 48 89 17 ff c9 75 f6 f4") // 1: add %rax,%rdx; mov %rdx,(%rdi); dec %ecx; jnz 1b; hlt
		r := l.cpu().Regs()
		const n = 300_000
		r.GPR[emu.RAX], r.GPR[emu.RDX], r.GPR[emu.RCX] = 3, 1, n
		stop := l.cpu().Run(emu.Limits{Insns: 1_000_003})
		require.Equal(t, emu.Stop{Reason: emu.StopInsns, RIP: Code + 8, Insns: 1_000_003}, stop)
		require.Equal(t, uint64(n-250_001), r.GPR[emu.RCX])
		stop = l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 11, Insns: 4*n + 1 - 1_000_003}, stop)
		v, err := l.mem.ReadU64(Data)
		require.NoError(t, err)
		require.Equal(t, uint64(1+3*n), v)
	}},
	{"long rep", func(t *testing.T, e emu.Engine) {
		const n = 400_000
		l := newLab(t, e, emu.Config{}, "f3 aa 90 f4") // rep stosb; nop; hlt
		require.NoError(t, l.mem.Map(unmapped, 0x80000, emu.PermRW, "buffer"))
		r := l.cpu().Regs()
		r.GPR[emu.RDI], r.GPR[emu.RCX] = unmapped, n
		stop := l.cpu().Run(emu.Limits{Insns: n - 1})
		require.Equal(t, emu.Stop{Reason: emu.StopInsns, RIP: Code, Insns: n - 1}, stop)
		require.Equal(t, uint64(1), r.GPR[emu.RCX])
		r.GPR[emu.RDI], r.GPR[emu.RCX], r.RIP = unmapped, n, Code
		stop = l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 4, Insns: n + 2}, stop)
	}},
	{"fs and gs", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, "65 48 8b 04 25 08 00 00 00 64 48 89 04 25 10 00 00 00 f4") // mov %gs:8,%rax; mov %rax,%fs:16; hlt
		for i := range 2 {
			r := l.m.CPU(i).Regs()
			r.GSBase, r.FSBase = Data+uint64(i)*0x100, Data+0x800+uint64(i)*0x100
			require.Equal(t, emu.StopHalt, l.m.CPU(i).Run(emu.Limits{}).Reason)
			want, err := l.mem.ReadU64(Data + uint64(i)*0x100 + 8)
			require.NoError(t, err)
			got, err := l.mem.ReadU64(Data + 0x810 + uint64(i)*0x100)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, want, r.GPR[emu.RAX])
		}
	}},
	{"kernel addresses", func(t *testing.T, e emu.Engine) {
		const text, module, direct = 0xffffffff81000000, 0xffffffffc0000000, 0xffff888000000000
		l := newLab(t, e, emu.Config{}, "f4")
		require.NoError(t, l.mem.Map(text, emu.PageSize, emu.PermRX, "text"))
		require.NoError(t, l.mem.Map(module, emu.PageSize, emu.PermRX, "module"))
		require.NoError(t, l.mem.Map(direct, emu.PageSize, emu.PermRW, "direct map"))
		l.write(text, "e8 fb ff ff 3e 48 c7 c3 00 00 00 81 f4") // call module; mov $text,%rbx; hlt
		l.write(module, "48 89 37 c3")                          // mov %rsi,(%rdi); ret
		r := l.cpu().Regs()
		r.RIP, r.GPR[emu.RDI], r.GPR[emu.RSP] = text, direct, direct+0x800
		stop := l.cpu().Run(emu.Limits{Insns: 10})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: text + 13, Insns: 5}, stop)
		require.Equal(t, uint64(text), r.GPR[emu.RBX])
		v, err := l.mem.ReadU64(direct)
		require.NoError(t, err)
		require.Equal(t, r.GPR[emu.RSI], v)
	}},
	{"machines share nothing", func(t *testing.T, e emu.Engine) {
		a, b := newLab(t, e, emu.Config{}, "b8 01 00 00 00 c3"), newLab(t, e, emu.Config{}, "b8 02 00 00 00 c3")
		done := make(chan uint64)
		go func() { done <- a.call(0, Code) }()
		require.Equal(t, uint64(2), b.call(0, Code))
		require.Equal(t, uint64(1), <-done)
	}},
}
