package trampoline

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// directGates makes the two logging functions of direct trampolines.
func (g *guest) directGates() (entry, exit uint64) {
	entry = g.gate("log_entry", func(c emu.CPU) {
		gpr := &c.Regs().GPR
		require.Equal(g.t, uint64(8), gpr[emu.RSP]%16, "the stack was aligned at the call")
		slot := map[uint64]string{bodyAddr: "fn+5", insteadAddr: "instead"}[gpr[emu.RSI]]
		require.Equal(g.t, []uint64{pattern(emu.RDI), pattern(emu.RSI)}, []uint64{gpr[emu.RDX], gpr[emu.RCX]})
		g.logf("direct %d, slot %s", gpr[emu.RDI], slot)
		gpr[emu.RAX] = 0xbad
	})
	exit = g.gate("log_exit", func(c emu.CPU) {
		gpr := &c.Regs().GPR
		require.Equal(g.t, uint64(8), gpr[emu.RSP]%16, "the stack was aligned at the call")
		g.logf("exit %d, value %#x", gpr[emu.RDI], gpr[emu.RSI])
		gpr[emu.RAX] = 0xbad
	})
	return entry, exit
}

// TestRunDirect runs each kind of direct trampoline, called by the site and
// through ftrace_regs_caller, which may find the return slot changed.
func TestRunDirect(t *testing.T) {
	for _, tt := range []struct {
		kind    DirectKind
		want    []string // with the return slot as the site leaves it
		value   uint64
		changed []string // with another function in the return slot
		cvalue  uint64
	}{
		{Pass, []string{"direct 7, slot fn+5", "body to parent"}, 0x111,
			[]string{"direct 7, slot instead", "instead to parent"}, 0x222},
		{Share, []string{"direct 7, slot fn+5", "body", "exit 7, value 0x111"}, 0x111,
			[]string{"direct 7, slot instead", "instead", "exit 7, value 0x222"}, 0x222},
		{Orig, []string{"direct 7, slot fn+5", "body", "exit 7, value 0x111"}, 0x111,
			[]string{"direct 7, slot instead", "body", "exit 7, value 0x111"}, 0x111},
		{Skip, []string{"direct 7, slot fn+5"}, 777, []string{"direct 7, slot instead"}, 777},
	} {
		t.Run(tt.kind.String(), func(t *testing.T) {
			g := newGuest(t)
			entry, exit := g.directGates()
			code := g.put(Direct(DirectSpec{Kind: tt.kind, Addr: trampAddr, ID: 7, LogEntry: entry, LogExit: exit, Body: bodyAddr}))
			g.attach(code.Addr)
			require.Equal(t, tt.value, g.call())
			require.Equal(t, tt.want, g.log)

			ip := uint64(bodyAddr)
			f := g.callback(0, func(p regs) { p.set(RegsOrigAX, code.Addr); p.set(RegsIP, ip) })
			g.attach(g.put(FtraceRegsCaller(CallerSpec{Addr: regsAddr, Func: f, OpPtr: opPtrAddr})).Addr)
			require.Equal(t, tt.value, g.call())
			require.Equal(t, append([]string{"callback"}, tt.want...), g.log)

			ip = insteadAddr
			require.Equal(t, tt.cvalue, g.call())
			require.Equal(t, append([]string{"callback"}, tt.changed...), g.log)
		})
	}
}

func TestDirectErrors(t *testing.T) {
	_, err := Direct(DirectSpec{Addr: trampAddr, LogEntry: trampAddr})
	require.ErrorIs(t, err, ErrInvalid)
	require.EqualError(t, err, "direct DirectKind(0) at 0xffffffffc0200000: +0x0: kind DirectKind(0), expected pass, share, orig or skip: invalid description")
	_, err = Direct(DirectSpec{Kind: Pass, Addr: trampAddr, LogEntry: 0x1000_0000_0000})
	require.ErrorIs(t, err, ErrReach)
}
