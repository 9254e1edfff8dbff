package enginetest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// gateAddr is where gates are: nothing is mapped there.
const gateAddr = 0x70000000

// callRAX is: call *%rax; nop; hlt.
const callRAX = "ff d0 90 f4"

func withGates(gates ...emu.Gate) emu.Config {
	var g emu.Gates
	for _, x := range gates {
		if err := g.Add(x); err != nil {
			panic(err) // two gates of a test at one address
		}
	}
	return emu.Config{Gates: &g}
}

var gateTests = []behaviour{
	{"gate keeps", func(t *testing.T, e emu.Engine) {
		var seen emu.Regs
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			seen = *c.Regs()
			c.Regs().GPR[emu.RAX] = 42
			return nil
		}}), callRAX)
		r := l.cpu().Regs()
		r.GPR[emu.RAX] = gateAddr
		r.Flags |= emu.FlagCF | emu.FlagZF
		want := *r
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 4, Insns: 4}, stop)

		inside := want
		inside.RIP, inside.GPR[emu.RSP] = gateAddr, want.GPR[emu.RSP]-8
		require.Equal(t, inside, seen)
		want.RIP, want.GPR[emu.RAX] = Code+4, 42
		require.Equal(t, want, *r)
	}},
	{"gate clobbers", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Clobber: true, Func: func(c emu.CPU) error {
			c.Regs().GPR[emu.RAX] = 7
			return nil
		}}), callRAX)
		r := l.cpu().Regs()
		r.GPR[emu.RAX] = gateAddr
		want := *r
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.StopHalt, stop.Reason)
		want.GPR[emu.RAX] = 7
		for _, i := range emu.Clobbered {
			want.GPR[i] = emu.Poison(i)
		}
		require.Equal(t, want.GPR, r.GPR)
		require.Equal(t, uint64(emu.FlagsStatus), r.Flags&emu.FlagsStatus)
	}},
	{"gate changes where it returns to", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			return c.Memory().WriteU64(c.Regs().GPR[emu.RSP], Code+3)
		}}), callRAX)
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopHalt, RIP: Code + 4, Insns: 3}, stop)
	}},
	{"gate moves the stack", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			c.Regs().GPR[emu.RSP] += 8 // drop the return address: return to the caller's caller
			return nil
		}}), callRAX)
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		stop := l.cpu().Run(emu.Limits{Until: Done, UseUntil: true})
		require.Equal(t, emu.Stop{Reason: emu.StopUntil, RIP: Done, Insns: 2}, stop)
	}},
	{"gate fails", func(t *testing.T, e emu.Engine) {
		oops := errors.New("oops")
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(emu.CPU) error { return oops }}), callRAX)
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopGate, RIP: gateAddr, Insns: 1, Err: oops}, stop)
		require.ErrorIs(t, stop, oops)
	}},
	{"gate without a stack", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(emu.CPU) error { return nil }}), "ff e0")
		r := l.cpu().Regs()
		r.GPR[emu.RAX], r.GPR[emu.RSP] = gateAddr, unmapped
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.Stop{Reason: emu.StopRead, RIP: gateAddr, Addr: unmapped, Size: 8, Insns: 1}, stop)
	}},
	{"gate at the start, limits around it", func(t *testing.T, e emu.Engine) {
		calls := 0
		l := newLab(t, e, withGates(emu.Gate{Addr: Code, Name: "f", Func: func(emu.CPU) error { calls++; return nil }}), "f4")
		stop := l.cpu().Run(emu.Limits{Insns: 1})
		require.Equal(t, emu.Stop{Reason: emu.StopInsns, RIP: Done, Insns: 1}, stop)
		require.Equal(t, 1, calls)

		r := l.cpu().Regs()
		r.RIP, r.GPR[emu.RSP] = Code, Top-8
		stop = l.cpu().Run(emu.Limits{Until: Done, UseUntil: true})
		require.Equal(t, emu.Stop{Reason: emu.StopUntil, RIP: Done, Insns: 1}, stop)
		require.Equal(t, 2, calls)
	}},
	{"gate in the way of straight code", func(t *testing.T, e emu.Engine) {
		var calls int
		cfg := withGates(emu.Gate{Addr: Code + 2, Name: "f", Func: func(c emu.CPU) error {
			calls++
			c.Regs().GPR[emu.RBX] = 1
			return nil
		}})
		l := newLab(t, e, cfg, "90 90 31 db 90 c3")
		stop := l.cpu().Run(emu.Limits{Until: Done, UseUntil: true})
		require.Equal(t, emu.Stop{Reason: emu.StopUntil, RIP: Done, Insns: 3}, stop)
		require.Equal(t, 1, calls)

		// Taken away, the code runs; put back, it is a gate again.
		cfg.Gates.Remove(Code + 2)
		l.call(0, Code)
		require.Equal(t, 1, calls)
		require.Zero(t, l.cpu().Regs().GPR[emu.RBX])
		require.NoError(t, cfg.Gates.Add(emu.Gate{Addr: Code + 4, Name: "g", Func: func(emu.CPU) error { calls++; return nil }}))
		l.call(0, Code)
		require.Equal(t, 2, calls)
	}},
	{"gate adds a gate", func(t *testing.T, e emu.Engine) {
		var gates emu.Gates
		called := false
		require.NoError(t, gates.Add(emu.Gate{Addr: gateAddr, Name: "f", Func: func(emu.CPU) error {
			return gates.Add(emu.Gate{Addr: Code + 2, Name: "g", Func: func(emu.CPU) error { called = true; return nil }})
		}}))
		l := newLab(t, e, emu.Config{Gates: &gates}, callRAX)
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		stop := l.cpu().Run(emu.Limits{Until: Done, UseUntil: true})
		require.Equal(t, emu.Stop{Reason: emu.StopUntil, RIP: Done, Insns: 3}, stop)
		require.True(t, called)
	}},
	{"gate runs its CPU", func(t *testing.T, e emu.Engine) {
		// The gate calls a guest function that calls the gate again.
		depth := 0
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			depth++
			defer func() { depth-- }()
			if depth == 4 {
				return nil
			}
			r := c.Regs()
			saved := *r
			r.GPR[emu.RSP] -= 0x80
			r.RIP = Code
			stop := c.Run(emu.Limits{Until: Code + 2, UseUntil: true, Insns: 100})
			if stop.Reason != emu.StopUntil || stop.Insns != 2 {
				return stop
			}
			count := r.GPR[emu.RBX]
			*r = saved
			r.GPR[emu.RBX] = count + 1
			return nil
		}}), callRAX)
		r := l.cpu().Regs()
		r.GPR[emu.RAX], r.GPR[emu.RBX] = gateAddr, 0
		stop := l.cpu().Run(emu.Limits{Insns: 4})
		require.Equal(t, emu.StopHalt, stop.Reason, "%v", stop)
		require.Equal(t, uint64(4), stop.Insns)
		require.Equal(t, uint64(3), r.GPR[emu.RBX])
	}},
	{"gate runs another CPU", func(t *testing.T, e emu.Engine) {
		var l *lab
		cfg := withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(emu.CPU) error {
			r := l.m.CPU(1).Regs()
			r.RIP = Code + 16
			if stop := l.m.CPU(1).Run(emu.Limits{Insns: 10}); stop.Reason != emu.StopHalt {
				return stop
			}
			return nil
		}})
		cfg.CPUs = 2
		l = newLab(t, e, cfg, callRAX)
		l.write(Code+16, "48 8b 07 f4") // mov (%rdi),%rax; hlt
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.StopHalt, stop.Reason, "%v", stop)
		require.Equal(t, uint64(gateAddr), l.cpu().Regs().GPR[emu.RAX])
		require.Equal(t, uint64(0x342d261f18110a03), l.m.CPU(1).Regs().GPR[emu.RAX])
	}},
	{"gate maps memory", func(t *testing.T, e emu.Engine) {
		l := newLab(t, e, withGates(emu.Gate{Addr: gateAddr, Name: "f", Func: func(c emu.CPU) error {
			if err := c.Memory().Map(unmapped, emu.PageSize, emu.PermRX, "late"); err != nil {
				return err
			}
			c.Regs().GPR[emu.RBX] = unmapped
			return c.Memory().Write(unmapped, unhex("b8 05 00 00 00 f4"))
		}}), "ff d0 ff e3")
		l.cpu().Regs().GPR[emu.RAX] = gateAddr
		stop := l.cpu().Run(emu.Limits{})
		require.Equal(t, emu.StopHalt, stop.Reason, "%v", stop)
		require.Equal(t, uint64(5), l.cpu().Regs().GPR[emu.RAX])
	}},
}
