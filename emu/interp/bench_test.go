package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trace"
)

// shortFunc has four instructions.
var shortFunc = []byte{
	0x48, 0x8d, 0x04, 0x37, // lea (%rdi,%rsi),%rax
	0x48, 0x01, 0xf8, // add %rdi,%rax
	0x48, 0x31, 0xf0, // xor %rsi,%rax
	0xc3, // ret
}

// mixedLoop sums RSI words at RDI, with a store, a call and two branches in
// each round.
var mixedLoop = []byte{
	0x55,             // push %rbp
	0x48, 0x89, 0xe5, // mov %rsp,%rbp
	0x31, 0xc0, // xor %eax,%eax
	0x31, 0xc9, // xor %ecx,%ecx
	// 8: round:
	0x48, 0x8b, 0x14, 0xcf, // mov (%rdi,%rcx,8),%rdx
	0xf6, 0xc2, 0x01, // test $1,%dl
	0x74, 0x03, // je even
	0x48, 0xff, 0xc2, // inc %rdx
	// 14: even:
	0x48, 0x01, 0xd0, // add %rdx,%rax
	0x48, 0x89, 0x14, 0xcf, // mov %rdx,(%rdi,%rcx,8)
	0xe8, 0x09, 0x00, 0x00, 0x00, // call leaf
	0xff, 0xc1, // inc %ecx
	0x39, 0xf1, // cmp %esi,%ecx
	0x75, 0xe2, // jne round
	0x5d, // pop %rbp
	0xc3, // ret
	0x90,
	// 29: leaf:
	0x0f, 0x1f, 0x44, 0x00, 0x00, // nopl 0x0(%rax,%rax,1)
	0x48, 0xc1, 0xc0, 0x03, // rol $3,%rax
	0x0f, 0xb7, 0xd0, // movzwl %ax,%edx
	0xc3, // ret
}

func call(b *testing.B, c emu.CPU, a0, a1 uint64) uint64 {
	r := c.Regs()
	r.RIP = text
	r.GPR[emu.RSP] = sp
	r.GPR[emu.RDI] = a0
	r.GPR[emu.RSI] = a1
	stop := c.Run(emu.Limits{Until: done, UseUntil: true})
	if stop.Reason != emu.StopUntil {
		b.Fatal(stop)
	}
	return stop.Insns
}

func perInsn(b *testing.B, n uint64) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/insn")
}

func BenchmarkShortCall(b *testing.B) {
	c := newMachine(b, shortFunc, emu.Config{}).CPU(0)
	for b.Loop() {
		call(b, c, 5, 6)
	}
}

func BenchmarkMixedLoop(b *testing.B) {
	c := newMachine(b, mixedLoop, emu.Config{}).CPU(0)
	n := uint64(0)
	for b.Loop() {
		n += call(b, c, data, 512)
	}
	perInsn(b, n)
}

// straightCode is 50 instructions of register arithmetic.
func straightCode() []byte {
	var code []byte
	for range 10 {
		code = append(code,
			0x48, 0x01, 0xf0, // add %rsi,%rax
			0x48, 0x89, 0xc2, // mov %rax,%rdx
			0x48, 0x31, 0xfa, // xor %rdi,%rdx
			0x48, 0x83, 0xc2, 0x07, // add $7,%rdx
			0x48, 0x8d, 0x04, 0x90, // lea (%rax,%rdx,4),%rax
		)
	}
	return append(code, 0xc3)
}

func BenchmarkStraightCode(b *testing.B) {
	c := newMachine(b, straightCode(), emu.Config{}).CPU(0)
	n := uint64(0)
	for b.Loop() {
		n += call(b, c, 1, 2)
	}
	perInsn(b, n)
}

func benchStep(b *testing.B, cfg emu.Config) {
	// A loop without end in front of the function.
	c := newMachine(b, cat(straightCode()[:170], []byte{0xe9, 0x51, 0xff, 0xff, 0xff}), cfg).CPU(0)
	for b.Loop() {
		c.Run(emu.Limits{Insns: 1})
	}
}

func BenchmarkStep(b *testing.B) { benchStep(b, emu.Config{}) }

type counter struct{ n int }

func (*counter) Mask() trace.Mask     { return trace.MaskOf(trace.Insn) }
func (c *counter) Trace(*trace.Event) { c.n++ }

func BenchmarkTracedStep(b *testing.B) { benchStep(b, emu.Config{Tracer: &counter{}}) }

func BenchmarkTracedLoop(b *testing.B) {
	c := newMachine(b, mixedLoop, emu.Config{Tracer: &counter{}}).CPU(0)
	n := uint64(0)
	for b.Loop() {
		n += call(b, c, data, 512)
	}
	perInsn(b, n)
}

// BenchmarkPatchAndRun changes five bytes of a function of 52 instructions and
// runs it, each time.
func BenchmarkPatchAndRun(b *testing.B) {
	nop := []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}
	mov := []byte{0xb8, 0x01, 0x00, 0x00, 0x00} // mov $1,%eax
	m := newMachine(b, cat(nop, straightCode()), emu.Config{})
	for b.Loop() {
		require.NoError(b, m.Memory().Write(text, mov))
		call(b, m.CPU(0), 1, 2)
		require.NoError(b, m.Memory().Write(text, nop))
		call(b, m.CPU(0), 1, 2)
	}
}

func BenchmarkRepMovs(b *testing.B) {
	c := newMachine(b, []byte{0xb9, 0x00, 0x10, 0x00, 0x00, 0xf3, 0xa4, 0xc3}, emu.Config{}).CPU(0) // mov $4096,%ecx; rep movsb; ret
	n := uint64(0)
	for b.Loop() {
		n += call(b, c, data, data+1)
	}
	perInsn(b, n)
}
