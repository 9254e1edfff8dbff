package trampoline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// A bpfGuest is a guest with what a BPF image calls.
type bpfGuest struct {
	*guest
	spec  BPFSpec
	progs map[uint64]string // by their structures
	start uint64            // what the enter function returns
	held  int               // how often the image is held
}

const imAddr = 0xffff888000001000

func newBPFGuest(t *testing.T, args int, flags BPFFlag) *bpfGuest {
	g := &bpfGuest{guest: newGuest(t), progs: map[uint64]string{}, start: 0x5747}
	sizes := make([]int, args)
	for i := range sizes {
		sizes[i] = 8
	}
	g.spec = BPFSpec{Addr: trampAddr, Flags: flags, Args: sizes, Func: fnAddr, Image: imAddr}
	hold := func(name string, by int) uint64 {
		return g.gate(name, func(c emu.CPU) {
			require.Equal(t, uint64(imAddr), c.Regs().GPR[emu.RDI])
			g.held += by
			c.Regs().GPR[emu.RAX] = 0xbad
		})
	}
	g.spec.TrampEnter, g.spec.TrampExit = hold("__bpf_tramp_enter", 1), hold("__bpf_tramp_exit", -1)
	return g
}

// prog makes a program that logs its context and returns a value.
func (g *bpfGuest) prog(name string, cookie, value uint64) BPFProg {
	n := uint64(len(g.progs))
	p := BPFProg{Prog: 0xffffc90000055000 + n<<12, Cookie: cookie}
	g.progs[p.Prog] = name
	var ctx uint64
	p.Enter = g.gate("__bpf_prog_enter_recur", func(c emu.CPU) {
		gpr := &c.Regs().GPR
		require.Equal(g.t, p.Prog, gpr[emu.RDI])
		ctx = gpr[emu.RSI]
		require.Equal(g.t, cookie, regs{g.guest, ctx}.get(0))
		gpr[emu.RAX] = g.start
	})
	p.Func = g.gate(name, func(c emu.CPU) {
		args := regs{g.guest, c.Regs().GPR[emu.RDI]}
		n := args.get(^uint64(7)) // the word below holds their number
		require.Equal(g.t, uint64(len(g.spec.Args)), n)
		for i := range n {
			require.Equal(g.t, pattern(emu.ArgRegs[i]), args.get(8*i))
		}
		if g.spec.Flags&IPArg != 0 {
			require.Equal(g.t, uint64(fnAddr), args.get(^uint64(15)))
		}
		g.log = append(g.log, name)
		if g.spec.Flags&CallOrig != 0 {
			g.log[len(g.log)-1] += fmt.Sprintf(" sees %#x", args.get(8*n))
		}
		c.Regs().GPR[emu.RAX] = value
	})
	p.Exit = g.gate("__bpf_prog_exit_recur", func(c emu.CPU) {
		gpr := &c.Regs().GPR
		require.Equal(g.t, []uint64{p.Prog, g.start, ctx}, []uint64{gpr[emu.RDI], gpr[emu.RSI], gpr[emu.RDX]})
		gpr[emu.RAX] = 0xbad
	})
	return p
}

// run makes the image and calls the function through it.
func (g *bpfGuest) run() (uint64, []string) {
	code := g.put(BPF(g.spec))
	g.attach(code.Addr)
	v := g.call()
	require.Zero(g.t, g.held, "the image is held no longer")
	return v, g.log
}

func TestRunBPF(t *testing.T) {
	t.Run("fentry", func(t *testing.T) {
		for args := range BPFMaxRegs + 1 {
			g := newBPFGuest(t, args, RestoreRegs|IPArg)
			g.spec.Fentry = []BPFProg{g.prog("second", 0, 1), g.prog("first", 1<<40, 2)}
			v, log := g.run()
			require.Equal(t, g.bodyValue, v)
			// rax is an argument of no fixed function: the image does not keep
			// it, nor the registers behind the last argument.
			require.Equal(t, []string{"second", "first"}, log[:2])
			require.Equal(t, "body to parent", log[len(log)-1])
			for _, r := range emu.ArgRegs[:args] {
				require.False(t, slices.ContainsFunc(log, func(line string) bool {
					return strings.HasPrefix(line, emu.RegNames[r]+"=")
				}), "the body must get argument register %s as it was: %v", emu.RegNames[r], log)
			}
		}
	})
	all := func(t *testing.T, flags BPFFlag, verdict uint64) (*bpfGuest, Code) {
		g := newBPFGuest(t, 6, CallOrig|SkipFrame|flags)
		g.spec.Fentry = []BPFProg{g.prog("fentry", 0, 9)}
		g.spec.FmodRet = []BPFProg{g.prog("fmod", 0, 0), g.prog("fmod2", 0, verdict)}
		g.spec.Fexit = []BPFProg{g.prog("fexit", 5, 9)}
		code, err := BPF(g.spec)
		require.NoError(t, err)
		return g, code
	}
	tail := func(log []string, n int) []string { return log[len(log)-n:] }
	t.Run("all types", func(t *testing.T) {
		g, _ := all(t, IPArg, 0)
		v, log := g.run()
		require.Equal(t, g.bodyValue, v)
		require.Equal(t, []string{"body", "fexit sees 0x111"}, tail(log, 2))
	})
	t.Run("fmod_ret decides", func(t *testing.T) {
		g, _ := all(t, 0, 0x333)
		v, log := g.run()
		require.Equal(t, uint64(0x333), v)
		require.Equal(t, []string{"fmod2 sees 0x0", "fexit sees 0x333"}, tail(log, 2))
		require.NotContains(t, log, "body")
	})
	t.Run("shared", func(t *testing.T) {
		g, code := all(t, OrigStack, 0)
		g.put(code, nil)
		ip := uint64(insteadAddr)
		f := g.callback(0, func(p regs) { p.set(RegsOrigAX, code.Addr); p.set(RegsIP, ip) })
		g.attach(g.put(FtraceRegsCaller(CallerSpec{Addr: regsAddr, Func: f, OpPtr: opPtrAddr})).Addr)
		require.Equal(t, g.insteadValue, g.call())
		require.Equal(t, []string{"instead", "fexit sees 0x222"}, tail(g.log, 2))
		ip = bodyAddr
		require.Equal(t, g.bodyValue, g.call())
		require.Equal(t, []string{"body", "fexit sees 0x111"}, tail(g.log, 2))
	})
	t.Run("programs are skipped", func(t *testing.T) {
		g, _ := all(t, 0, 0x333)
		g.start = 0
		v, log := g.run()
		require.Equal(t, g.bodyValue, v)
		require.Equal(t, "body", log[len(log)-1])
	})
	t.Run("retired", func(t *testing.T) {
		g, code := all(t, 0, 0)
		ip, _, jmp, ok := code.Retirement()
		require.True(t, ok)
		// The image is retired while the body runs.
		g.gates.Remove(bodyAddr)
		g.gateAt(bodyAddr, "body", func(c emu.CPU) {
			g.write(ip, jmp[:])
			g.log = append(g.log, "body")
			c.Regs().GPR[emu.RAX] = g.bodyValue
		})
		v, log := g.run()
		require.Equal(t, g.bodyValue, v)
		require.Equal(t, "body", log[len(log)-1], "no fexit program")
	})
}
