package patcher

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

// Where the tests keep code and stack.
const (
	textBase = 0xffffffff81000000
	textSize = 16 * emu.PageSize
	stackTop = 0xffffc90000004000
)

// newMemory returns memory with pages of code (all int3) and of stack.
func newMemory(t require.TestingT) *emu.Memory {
	mem := emu.NewMemory(emu.MemoryOptions{})
	require.NoError(t, mem.Map(textBase, textSize, emu.PermRX, "text"))
	require.NoError(t, mem.Map(stackTop-emu.PageSize, emu.PageSize, emu.PermRW, "stack"))
	fill := make([]byte, textSize)
	for i := range fill {
		fill[i] = x86.OpInt3
	}
	require.NoError(t, mem.Write(textBase, fill))
	return mem
}

// A fakeCPU knows just the instructions that a site may hold.
type fakeCPU struct {
	mem  *emu.Memory
	regs emu.Regs
	trap func(emu.CPU) bool
}

func (c *fakeCPU) ID() int             { return 0 }
func (c *fakeCPU) Memory() *emu.Memory { return c.mem }
func (c *fakeCPU) Regs() *emu.Regs     { return &c.regs }
func (c *fakeCPU) Interrupt()          {}

// Run executes one instruction.
func (c *fakeCPU) Run(emu.Limits) emu.Stop {
	ip := c.regs.RIP
	var b x86.Bytes5
	if c.mem.Fetch(ip, b[:]) != nil {
		return emu.Stop{Reason: emu.StopFetch, RIP: ip}
	}
	switch form, target := x86.ParseSite(b, ip); form {
	case x86.FormNop:
		c.regs.RIP += x86.SiteLen
	case x86.FormCall:
		if err := c.mem.WriteU64(c.regs.GPR[emu.RSP]-8, ip+x86.SiteLen); err != nil {
			return emu.Stop{Reason: emu.StopWrite, RIP: ip}
		}
		c.regs.GPR[emu.RSP] -= 8
		c.regs.RIP = target
	case x86.FormJmp:
		c.regs.RIP = target
	case x86.FormInt3:
		c.regs.RIP++
		if c.trap == nil || !c.trap(c) {
			return emu.Stop{Reason: emu.StopInt3, RIP: c.regs.RIP}
		}
	default:
		return emu.Stop{Reason: emu.StopUnknown, RIP: ip, Bytes: b[:]}
	}
	return emu.Stop{Reason: emu.StopInsns, RIP: c.regs.RIP}
}

// execute tells what executing the site at ip amounts to.
func execute(t require.TestingT, p *Poker, mem *emu.Memory, ip uint64) string {
	c := &fakeCPU{mem: mem, trap: p.Trap}
	c.regs.RIP, c.regs.GPR[emu.RSP] = ip, stackTop-64
	if stop := c.Run(emu.Limits{}); stop.Reason != emu.StopInsns {
		return stop.Reason.String()
	}
	out := fmt.Sprintf("to %#x", c.regs.RIP)
	if c.regs.GPR[emu.RSP] != stackTop-64 {
		ret, err := mem.ReadU64(c.regs.GPR[emu.RSP])
		require.NoError(t, err)
		out += fmt.Sprintf(" returning to %#x", ret)
	}
	return out
}

// expected tells what a site that holds b amounts to.
func expected(b x86.Bytes5, ip uint64) string {
	switch form, target := x86.ParseSite(b, ip); form {
	case x86.FormCall:
		return fmt.Sprintf("to %#x returning to %#x", target, ip+x86.SiteLen)
	case x86.FormJmp:
		return fmt.Sprintf("to %#x", target)
	}
	return fmt.Sprintf("to %#x", ip+x86.SiteLen)
}

// callTo and jmpTo encode a site; the target must be in reach.
func callTo(t require.TestingT, ip, target uint64) x86.Bytes5 {
	b, ok := x86.EncodeCall(ip, target)
	require.True(t, ok)
	return b
}

func jmpTo(t require.TestingT, ip, target uint64) x86.Bytes5 {
	b, ok := x86.EncodeJmp(ip, target)
	require.True(t, ok)
	return b
}

// put writes the old bytes of changes.
func put(t require.TestingT, mem *emu.Memory, changes ...Change) {
	for _, c := range changes {
		require.NoError(t, mem.Write(c.IP, c.Old[:]))
	}
}

// site reads the five bytes at ip.
func site(t require.TestingT, mem *emu.Memory, ip uint64) (b x86.Bytes5) {
	require.NoError(t, mem.Read(ip, b[:]))
	return b
}

// observer calls functions that may be nil.
type observer struct {
	wrote func(Step, int)
	done  func(Step)
}

func (o observer) Wrote(s Step, i int) {
	if o.wrote != nil {
		o.wrote(s, i)
	}
}

func (o observer) Done(s Step) {
	if o.done != nil {
		o.done(s)
	}
}

func TestFakeCPUFaults(t *testing.T) {
	mem := newMemory(t)
	p := NewPoker(mem)
	require.Equal(t, emu.StopInt3.String(), execute(t, p, mem, textBase))
	require.NoError(t, mem.Write(textBase, []byte{0x0f, 1, 2, 3, 4}))
	require.Equal(t, emu.StopUnknown.String(), execute(t, p, mem, textBase))
}
