package enginetest

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

// five is: mov $5,%eax; ret. The immediate is at five+1.
const five = "b8 05 00 00 00 c3"

// A patcher is a tracer that writes to memory when an address is announced.
type patcher struct {
	mem  *emu.Memory
	at   uint64
	addr uint64
	code []byte
}

func (p *patcher) Mask() trace.Mask { return trace.MaskOf(trace.Insn) }

func (p *patcher) Trace(ev *trace.Event) {
	if ev.IP == p.at {
		_ = p.mem.Write(p.addr, p.code) // a failure shows in what the guest computes
	}
}

// A protector is a tracer that changes what may be done with the data when an
// address is announced.
type protector struct {
	mem  *emu.Memory
	at   uint64
	perm emu.Perm
}

func (p *protector) Mask() trace.Mask { return trace.MaskOf(trace.Insn) }

func (p *protector) Trace(ev *trace.Event) {
	if ev.IP == p.at {
		_ = p.mem.Protect(Data, size, p.perm) // a failure shows in what the guest may do
	}
}

// Changes of code: what executes next is what is in memory now.
var codeTests = []behaviour{
	{"host patches code that ran", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 3}, five)
		for i := range 3 {
			require.Equal(t, uint64(5), l.call(i, Code))
		}
		for n := range byte(5) {
			require.NoError(t, l.mem.Write(Code+1, []byte{n + 20}))
			for i := range 3 {
				require.Equal(t, uint64(n+20), l.call(i, Code))
				require.Equal(t, uint64(n+20), l.call(i, Code))
			}
		}
	}},
	{"host patches between steps", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, "90 90 b8 01 00 00 00 c3")
		l.call(0, Code)
		l.call(1, Code)
		c := l.m.CPU(1)
		c.Regs().RIP, c.Regs().GPR[emu.RSP] = Code, Top-8
		c.Run(emu.Limits{Insns: 1})
		l.write(Code+1, "cc")
		require.Equal(t, emu.Stop{Reason: emu.StopInt3, RIP: Code + 2, Insns: 1}, c.Run(emu.Limits{Insns: 5}))
		l.write(Code+1, "90")
		l.write(Code+3, "07")
		stop := c.Run(emu.Limits{Until: Done, UseUntil: true})
		require.Equal(t, emu.StopUntil, stop.Reason)
		require.Equal(t, uint64(7), c.Regs().GPR[emu.RAX])
	}},
	{"host patches a call site", func(t *testing.T, e emu.Engine) {
		// The site at Code is a nop5, then a call of Code+0x40, then a nop5.
		l := newLab(t, e, emu.Config{}, "0f 1f 44 00 00 b8 01 00 00 00 01 d8 c3") // nop5; mov $1,%eax; add %ebx,%eax; ret
		l.write(Code+0x40, "ff c3 c3")                                            // inc %ebx; ret
		call := binary.LittleEndian.AppendUint32([]byte{0xe8}, 0x40-5)
		l.cpu().Regs().GPR[emu.RBX] = 0
		for n := range uint64(4) {
			require.Equal(t, 1+n, l.call(0, Code))
			require.NoError(t, l.mem.Write(Code, call))
			require.Equal(t, 2+n, l.call(0, Code))
			l.write(Code, "0f 1f 44 00 00")
		}
	}},
	{"host patches across pages", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "")
		const at = Code + emu.PageSize - 3
		l.write(at, five)
		require.Equal(t, uint64(5), l.call(0, at))
		l.write(at+1, "44 33 22 11")
		require.Equal(t, uint64(0x11223344), l.call(0, at))
		l.write(at+4, "00")
		require.Equal(t, uint64(0x00223344), l.call(0, at))
	}},
	{"gate patches its caller", func(t *testing.T, e emu.Engine) {
		// call *%rax; mov $1,%ebx; hlt: the gate changes the 1, which ran before.
		n := byte(0)
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			n++
			return c.Memory().Write(Code+3, []byte{n})
		}}), "ff d0 bb 01 00 00 00 f4")
		r := l.cpu().Regs()
		for want := uint64(1); want < 5; want++ {
			r.GPR[emu.RAX], r.RIP = gateAddr, Code
			require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
			require.Equal(t, want, r.GPR[emu.RBX])
		}
	}},
	{"trap patches its site", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{Trap: func(c emu.CPU) bool {
			c.Regs().RIP--
			return c.Memory().Write(Code+1, []byte{0x90}) == nil
		}}, "90 cc b8 05 00 00 00 c3")
		require.Equal(t, uint64(5), l.call(0, Code))
	}},
	{"tracer patches what comes next", func(t *testing.T, e emu.Engine) {
		// nop; nop; mov $5,%eax; ret: patched when the second nop is announced.
		l := newLab(t, e, emu.Config{}, "90 90 b8 05 00 00 00 c3")
		require.Equal(t, uint64(5), l.call(0, Code))
		p := &patcher{mem: l.mem, at: Code + 1, addr: Code + 3, code: []byte{9}}
		l.m.SetTracer(p)
		require.Equal(t, uint64(9), l.call(0, Code))
		p.code = []byte{11}
		require.Equal(t, uint64(11), l.call(0, Code))
		l.m.SetTracer(nil)
		require.Equal(t, uint64(11), l.call(0, Code))
	}},
	{"tracer takes a permission away", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "90 90 90 89 07 f4") // nop; nop; nop; mov %eax,(%rdi); hlt
		require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{}).Reason)
		p := &protector{l.mem, Code + 1, emu.PermR}
		l.m.SetTracer(p)
		l.cpu().Regs().RIP = Code
		require.Equal(t, emu.Stop{Reason: emu.StopWrite, RIP: Code + 3, Addr: Data, Size: 4, Insns: 3}, l.cpu().Run(emu.Limits{}))
		p.perm = emu.PermRW
		l.cpu().Regs().RIP = Code
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 6, Insns: 5}, l.cpu().Run(emu.Limits{}))
	}},
	{"guest patches the next instruction", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "f4")
		// mov %cl,1f(%rip) [0x40000007]; 1: mov $5,%eax -> its immediate; ret
		l.mapRWX("88 0d 01 00 00 00 b8 05 00 00 00 c3")
		for n := range uint64(4) {
			l.cpu().Regs().GPR[emu.RCX] = 0x70 + n
			require.Equal(t, 0x70+n, l.call(0, RWX))
		}
	}},
	{"guest patches in steps and traced", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "f4")
		l.mapRWX("88 0d 01 00 00 00 b8 05 00 00 00 c3")
		require.NoError(t, l.mem.WriteU64(Top-8, Done))
		r := l.cpu().Regs()
		for n := range uint64(4) {
			r.RIP, r.GPR[emu.RSP], r.GPR[emu.RCX] = RWX, Top-8, 0x30+n
			for range 3 {
				require.Equal(t, uint64(1), l.cpu().Run(emu.Limits{Insns: 1}).Insns)
			}
			require.Equal(t, uint64(Done), r.RIP)
			require.Equal(t, 0x30+n, r.GPR[emu.RAX])
		}
		rec := &Recorder{Want: trace.MaskOf(trace.Insn, trace.Mem)}
		l.m.SetTracer(rec)
		r.GPR[emu.RCX] = 0x55
		require.Equal(t, uint64(0x55), l.call(0, RWX))
		require.Equal(t, []string{
			"0 insn 0x40000000 6 88 0d 01 00 00 00",
			"0 mem 0x40000000 write 0x40000007 1 0x55",
			"0 insn 0x40000006 5 b8 55 00 00 00",
			"0 insn 0x4000000b 1 c3",
			"0 mem 0x4000000b read 0x30001ff8 8 0x50000000",
		}, rec.Events)
	}},
	{"guest patches another function", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{CPUs: 2}, "88 0b c3") // mov %cl,(%rbx); ret
		l.mapRWX(five)
		page := l.mem.Page(RWX)
		for n := range uint64(4) {
			for i := range 2 {
				l.call(i, RWX)
			}
			before := page.Version
			r := l.cpu().Regs()
			r.GPR[emu.RBX], r.GPR[emu.RCX] = RWX+1, n
			l.call(0, Code)
			require.NotEqual(t, before, page.Version, "version of the page")
			for i := range 2 {
				require.Equal(t, n, l.call(i, RWX))
			}
		}
	}},
	{"guest fills code by rep", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "f4")
		// rep stosb over the nops behind it with inc %eax's bytes would need two: fill with
		// 0x91 (xchg %eax,%ecx) instead. rep stosb; nop x4; hlt
		l.mapRWX("f3 aa 90 90 90 f4")
		r := l.cpu().Regs()
		for range 2 {
			*r = startRegs()
			r.RIP, r.GPR[emu.RDI], r.GPR[emu.RCX], r.GPR[emu.RAX] = RWX, RWX+2, 3, 0x91
			stop := l.cpu().Run(emu.Limits{Insns: 100})
			require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: RWX + 6, Insns: 7}, stop)
			require.Equal(t, uint64(0), r.GPR[emu.RAX])
			require.Equal(t, uint64(0x91), r.GPR[emu.RCX])
			l.write(RWX+2, "90 90 90")
			*r = startRegs()
			r.RIP, r.GPR[emu.RCX] = RWX, 0
			require.Equal(t, emu.StopHalt, l.cpu().Run(emu.Limits{Insns: 100}).Reason)
		}
	}},
	{"self-modifying loop", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, emu.Config{}, "f4")
		// 1: add $1,%ebx (the immediate grows each time); incb 1b+2(%rip); dec %ecx; jnz 1b; hlt
		l.mapRWX("83 c3 01 fe 05 f9 ff ff ff ff c9 75 f3 f4")
		r := l.cpu().Regs()
		r.RIP, r.GPR[emu.RBX], r.GPR[emu.RCX] = RWX, 0, 50
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: RWX + 14, Insns: 201}, stop)
		require.Equal(t, uint64(50*51/2), r.GPR[emu.RBX])
	}},
}
