package interp

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// countTo is: xor %eax,%eax; 2: inc %rax; cmp %rdi,%rax; jne 2; ret.
var countTo = []byte{0x31, 0xc0, 0x48, 0xff, 0xc0, 0x48, 0x39, 0xf8, 0x75, 0xf8, 0xc3}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		lim   emu.Limits
		stop  emu.StopReason
		rip   uint64
		insns uint64
		rax   uint64
	}{
		{"to the end", toEnd, emu.StopUntil, done, 1 + 3*5 + 1, 5},
		{"instructions", emu.Limits{Insns: 3}, emu.StopInsns, text + 8, 3, 1},
		{"one instruction", emu.Limits{Insns: 1}, emu.StopInsns, text + 2, 1, 0},
		{"until in the middle of a block", emu.Limits{Until: text + 5, UseUntil: true}, emu.StopUntil, text + 5, 2, 1},
		{"until comes before instructions", emu.Limits{Until: text + 5, UseUntil: true, Insns: 2}, emu.StopUntil, text + 5, 2, 1},
		{"until inside an instruction is none", emu.Limits{Until: text + 6, UseUntil: true, Insns: 30}, emu.StopFetch, done, 17, 5},
		{"the first instruction is not looked at", emu.Limits{Until: text, UseUntil: true, Insns: 4}, emu.StopInsns, text + 2, 4, 1},
		{"until not used", emu.Limits{Until: text + 5, Insns: 4}, emu.StopInsns, text + 2, 4, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			cpu := newMachine(t, countTo, emu.Config{}).CPU(0)
			for range 2 { // decoded afresh, then from the cache
				start(cpu)
				cpu.Regs().GPR[emu.RDI] = 5
				stop := cpu.Run(c.lim)
				require.Equal(t, c.stop, stop.Reason, stop.Error())
				require.Equal(t, c.rip, stop.RIP)
				require.Equal(t, c.rip, cpu.Regs().RIP)
				require.Equal(t, c.insns, stop.Insns)
				require.Equal(t, c.rax, cpu.Regs().GPR[emu.RAX])
			}
		})
	}
}

func TestUntilAroundALoop(t *testing.T) {
	cpu := newMachine(t, countTo, emu.Config{}).CPU(0)
	cpu.Regs().GPR[emu.RDI] = 100
	cpu.Run(emu.Limits{Insns: 1})
	for i := range uint64(10) {
		require.Equal(t, i, cpu.Regs().GPR[emu.RAX])
		stop := cpu.Run(emu.Limits{Until: text + 2, UseUntil: true})
		require.Equal(t, emu.StopUntil, stop.Reason)
		require.EqualValues(t, 3, stop.Insns)
	}
}

// TestStepsAreARun: any division of a run into smaller ones gives the same.
func TestStepsAreARun(t *testing.T) {
	for _, step := range []uint64{1, 2, 3, 7} {
		whole, parts := newMachine(t, mixedLoop, emu.Config{}).CPU(0), newMachine(t, mixedLoop, emu.Config{}).CPU(0)
		for _, c := range []emu.CPU{whole, parts} {
			c.Regs().GPR[emu.RDI], c.Regs().GPR[emu.RSI] = data, 20
		}
		stop := whole.Run(toEnd)
		require.Equal(t, emu.StopUntil, stop.Reason)
		n := uint64(0)
		for {
			s := parts.Run(emu.Limits{Insns: step, Until: done, UseUntil: true})
			n += s.Insns
			if s.Reason == emu.StopUntil {
				break
			}
			require.Equal(t, emu.StopInsns, s.Reason)
			require.Equal(t, step, s.Insns)
		}
		require.Equal(t, stop.Insns, n)
		require.Equal(t, whole.Regs(), parts.Regs())
	}
}

func TestTimeLimit(t *testing.T) {
	cpu := newMachine(t, []byte{0xeb, 0xfe}, emu.Config{}).CPU(0)
	begin := time.Now()
	stop := cpu.Run(emu.Limits{Time: 20 * time.Millisecond})
	require.Equal(t, emu.StopTime, stop.Reason)
	require.GreaterOrEqual(t, time.Since(begin), 20*time.Millisecond)
	require.Equal(t, uint64(text), stop.RIP)
	require.Positive(t, stop.Insns)
}

func TestInterrupt(t *testing.T) {
	for _, code := range [][]byte{
		{0xeb, 0xfe}, // a loop
		{0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff, 0xf3, 0xac}, // mov $-1,%rcx; rep lodsb, with 64 bits of counter
	} {
		cpu := newMachine(t, code, emu.Config{}).CPU(0)
		cpu.Interrupt()
		stop := cpu.Run(emu.Limits{})
		require.Equal(t, emu.StopRequested, stop.Reason)
		require.Zero(t, stop.Insns)

		go func() {
			time.Sleep(5 * time.Millisecond)
			cpu.Interrupt()
		}()
		cpu.Regs().GPR[emu.RSI] = data
		for { // the second one runs out of memory now and then
			if stop = cpu.Run(emu.Limits{}); stop.Reason != emu.StopRead {
				break
			}
			cpu.Regs().GPR[emu.RSI] = data
		}
		require.Equal(t, emu.StopRequested, stop.Reason, stop.Error())
		cpu.Regs().GPR[emu.RSI] = data
		require.Equal(t, emu.StopInsns, cpu.Run(emu.Limits{Insns: 1}).Reason, "a request is good for one run")
	}
}

func TestNoMachine(t *testing.T) {
	_, err := New().NewMachine(emu.Config{})
	require.EqualError(t, err, "interp: a machine needs memory")
	_, err = New().NewMachine(emu.Config{Memory: New().NewMemory(0), CPUs: -1})
	require.EqualError(t, err, "interp: -1 CPUs, expected at least 1")
}

// gated is: call gate (at text+0x800); add $1,%rax; ret.
var gated = []byte{0xe8, 0xfb, 0x07, 0x00, 0x00, 0x48, 0x83, 0xc0, 0x01, 0xc3}

const gateAddr = text + 0x800

func gates(t *testing.T, g emu.Gate) *emu.Gates {
	var gs emu.Gates
	require.NoError(t, gs.Add(g))
	return &gs
}

func TestGate(t *testing.T) {
	calls := 0
	gs := gates(t, emu.Gate{Addr: gateAddr, Name: "g", Func: func(c emu.CPU) error {
		calls++
		require.Equal(t, uint64(gateAddr), c.Regs().RIP)
		ret, err := c.Memory().ReadU64(c.Regs().GPR[emu.RSP])
		require.NoError(t, err)
		require.Equal(t, uint64(text+5), ret)
		require.EqualValues(t, emu.FlagCF, c.Regs().Flags&emu.FlagsStatus)
		c.Regs().GPR[emu.RAX] = 41
		c.Regs().Flags |= emu.FlagDF
		return nil
	}})
	cpu := newMachine(t, gated, emu.Config{Gates: gs}).CPU(0)
	cpu.Regs().Flags |= emu.FlagCF
	before := *cpu.Regs()
	stop := cpu.Run(toEnd)
	require.Equal(t, emu.StopUntil, stop.Reason, stop.Error())
	require.EqualValues(t, 4, stop.Insns)
	require.Equal(t, 1, calls)
	require.EqualValues(t, 42, cpu.Regs().GPR[emu.RAX])
	require.NotZero(t, cpu.Regs().Flags&emu.FlagDF)
	before.GPR[emu.RAX], before.GPR[emu.RSP] = 42, sp+8
	require.Equal(t, before.GPR, cpu.Regs().GPR, "a gate keeps registers")
}

func TestGateClobbers(t *testing.T) {
	gs := gates(t, emu.Gate{Addr: gateAddr, Name: "g", Clobber: true, Func: func(c emu.CPU) error {
		c.Regs().GPR[emu.RAX] = 7
		return nil
	}})
	cpu := newMachine(t, gated, emu.Config{Gates: gs}).CPU(0)
	before := *cpu.Regs()
	stop := cpu.Run(emu.Limits{Until: text + 5, UseUntil: true})
	require.Equal(t, emu.StopUntil, stop.Reason, stop.Error())
	for _, r := range emu.Clobbered {
		before.GPR[r] = emu.Poison(r)
	}
	before.GPR[emu.RAX] = 7
	require.Equal(t, before.GPR, cpu.Regs().GPR)
	require.NotEqual(t, before.Flags&emu.FlagsStatus, cpu.Regs().Flags&emu.FlagsStatus)
}

func TestGateFails(t *testing.T) {
	oops := errors.New("oops")
	gs := gates(t, emu.Gate{Addr: gateAddr, Name: "g", Func: func(emu.CPU) error { return oops }})
	cpu := newMachine(t, gated, emu.Config{Gates: gs}).CPU(0)
	stop := cpu.Run(toEnd)
	require.Equal(t, emu.StopGate, stop.Reason)
	require.ErrorIs(t, stop, oops)
	require.Equal(t, uint64(gateAddr), stop.RIP)
	require.EqualValues(t, 1, stop.Insns)
	require.Equal(t, uint64(sp-8), cpu.Regs().GPR[emu.RSP])
}

func TestGateWithoutStack(t *testing.T) {
	gs := gates(t, emu.Gate{Addr: gateAddr, Name: "g", Func: func(emu.CPU) error {
		t.Error("called")
		return nil
	}})
	cpu := newMachine(t, gated, emu.Config{Gates: gs}).CPU(0)
	cpu.Regs().RIP = gateAddr
	cpu.Regs().GPR[emu.RSP] = 0x10
	stop := cpu.Run(toEnd)
	require.Equal(t, emu.Stop{Reason: emu.StopRead, RIP: gateAddr, Addr: 0x10, Size: 8}, stop)
}

// TestGatesComeAndGo: also in the middle of code that was decoded before, and
// where nothing is mapped.
func TestGatesComeAndGo(t *testing.T) {
	var gs emu.Gates
	cpu := newMachine(t, countTo, emu.Config{Gates: &gs}).CPU(0)
	run := func() emu.Stop {
		start(cpu)
		cpu.Regs().GPR[emu.RDI] = 3
		return cpu.Run(toEnd)
	}
	require.EqualValues(t, 11, run().Insns)
	ret := emu.Gate{Addr: text + 5, Name: "in the middle", Func: func(c emu.CPU) error { return nil }}
	require.NoError(t, gs.Add(ret))
	require.EqualValues(t, 3, run().Insns)
	gs.Remove(text + 5)
	require.EqualValues(t, 11, run().Insns)

	require.NoError(t, gs.Add(emu.Gate{Addr: 0x5000, Name: "nowhere", Func: func(c emu.CPU) error { return nil }}))
	start(cpu)
	cpu.Regs().RIP = 0x5000
	require.Equal(t, emu.StopUntil, cpu.Run(toEnd).Reason)
}

// TestNestedRun: a gate runs its own CPU; limits, counts and requests of the
// two runs are apart.
func TestNestedRun(t *testing.T) {
	code := make([]byte, 0x900)
	copy(code, gated)
	copy(code[0x100:], countTo)
	var gs emu.Gates
	require.NoError(t, gs.Add(emu.Gate{Addr: gateAddr, Name: "outer", Func: func(c emu.CPU) error {
		r := c.Regs()
		saved := *r
		r.RIP = text + 0x100
		r.GPR[emu.RDI] = 50
		stop := c.Run(emu.Limits{Until: text + 5, UseUntil: true, Insns: 1000})
		require.Equal(t, emu.StopUntil, stop.Reason, stop.Error())
		require.EqualValues(t, 152, stop.Insns)
		require.Equal(t, emu.StopInsns, func() emu.StopReason {
			r.RIP = text + 0x100
			return c.Run(emu.Limits{Insns: 10}).Reason
		}())
		*r = saved
		r.GPR[emu.RAX] = 50
		return nil
	}}))
	cpu := newMachine(t, code, emu.Config{Gates: &gs}).CPU(0)
	stop := cpu.Run(emu.Limits{Until: done, UseUntil: true, Insns: 4})
	require.Equal(t, emu.StopUntil, stop.Reason, stop.Error())
	require.EqualValues(t, 4, stop.Insns)
	require.EqualValues(t, 51, cpu.Regs().GPR[emu.RAX])
}

func TestTrap(t *testing.T) {
	// nop; int3; inc %rax; ret
	code := []byte{0x90, 0xcc, 0x48, 0xff, 0xc0, 0xc3}
	cpu := newMachine(t, code, emu.Config{}).CPU(0)
	require.Equal(t, emu.Stop{Reason: emu.StopInt3, RIP: text + 2, Insns: 2}, cpu.Run(toEnd))

	asked := 0
	cpu = newMachine(t, code, emu.Config{Trap: func(c emu.CPU) bool {
		asked++
		require.Equal(t, uint64(text+2), c.Regs().RIP)
		c.Regs().RIP = text + 5
		return true
	}}).CPU(0)
	stop := cpu.Run(toEnd)
	require.Equal(t, emu.StopUntil, stop.Reason)
	require.EqualValues(t, 3, stop.Insns)
	require.Equal(t, 1, asked)
	require.Zero(t, cpu.Regs().GPR[emu.RAX])

	cpu = newMachine(t, code, emu.Config{Trap: func(c emu.CPU) bool { return false }}).CPU(0)
	require.Equal(t, emu.StopInt3, cpu.Run(toEnd).Reason)
}

// TestTwoCPUs: one instruction of each in turn, over one counter in memory.
func TestTwoCPUs(t *testing.T) {
	// mov $50,%ecx; 5: lock incq (%rdi); dec %ecx; jne 5; ret
	code := []byte{0xb9, 50, 0, 0, 0, 0xf0, 0x48, 0xff, 0x07, 0xff, 0xc9, 0x75, 0xf8, 0xc3}
	m := newMachine(t, code, emu.Config{CPUs: 2})
	running := 2
	for i := range 2 {
		m.CPU(i).Regs().GPR[emu.RDI] = data
		m.CPU(i).Regs().GPR[emu.RSP] = sp
		require.Equal(t, i, m.CPU(i).ID())
	}
	for n := 0; running > 0; n++ {
		require.Less(t, n, 1000)
		c := m.CPU(n % 2)
		if c.Regs().RIP == done {
			continue
		}
		c.Run(emu.Limits{Insns: 1})
		if c.Regs().RIP == done {
			running--
		}
	}
	v, err := m.Memory().ReadU64(data)
	require.NoError(t, err)
	require.EqualValues(t, 100, v)
}

func TestDeterministicIdentity(t *testing.T) {
	// rdtsc; shl $32,%rdx; or %rdx,%rax; hlt
	code := []byte{0x90, 0x90, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xf4}
	cpu := newMachine(t, code, emu.Config{}).CPU(0)
	require.Equal(t, emu.StopHalt, cpu.Run(emu.Limits{}).Reason)
	require.EqualValues(t, 2, cpu.Regs().GPR[emu.RAX])
	cpu.Regs().RIP = text + 2
	require.Equal(t, emu.StopHalt, cpu.Run(emu.Limits{}).Reason)
	require.EqualValues(t, 6, cpu.Regs().GPR[emu.RAX])

	cpu = newMachine(t, []byte{0x0f, 0xa2, 0xf4}, emu.Config{}).CPU(0) // cpuid; hlt
	cpu.Regs().GPR[emu.RAX] = 1
	require.Equal(t, emu.StopHalt, cpu.Run(emu.Limits{}).Reason)
	require.NotZero(t, cpu.Regs().GPR[emu.RCX]&(1<<23), "popcnt")
	require.Zero(t, cpu.Regs().GPR[emu.RDX]&(1<<25), "sse")
}

func TestSupported(t *testing.T) {
	names := Supported()
	require.IsIncreasing(t, names)
	for _, n := range []string{"mov", "add", "rcl", "movsq", "cmpxchg16b", "endbr64", "jne", "setg", "cmovbe", "andn", "rdtsc"} {
		require.Contains(t, names, n)
	}
	require.NotContains(t, names, "addps")
}
