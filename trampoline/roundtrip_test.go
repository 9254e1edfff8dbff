package trampoline

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"
	"pgregory.net/rapid"

	"ftemu/x86"
)

// TestRoundTrip emits forms with random operands and has a decoder tell what
// they are.
func TestRoundTrip(t *testing.T) {
	reg := func(r Reg) x86asm.Arg { return x86asm.RAX + x86asm.Reg(r) }
	low := func(r Reg) x86asm.Arg { return x86asm.EAX + x86asm.Reg(r) }
	imm := func(v int32) x86asm.Arg { return x86asm.Imm(v) }
	rapid.Check(t, func(t *rapid.T) {
		drawReg := rapid.Custom(func(t *rapid.T) Reg { return Reg(rapid.IntRange(0, 15).Draw(t, "reg")) })
		x, y := drawReg.Draw(t, "x"), drawReg.Draw(t, "y")
		n := rapid.OneOf(rapid.Int32(), rapid.Int32Range(-130, 130)).Draw(t, "n")
		m := At(drawReg.Draw(t, "base"), rapid.OneOf(rapid.Int32(), rapid.Int32Range(-130, 130)).Draw(t, "disp"))
		v := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Uint64Range(math.MaxUint32-1, math.MaxUint32+1)).Draw(t, "v")

		form := rapid.SampledFrom([]struct {
			name string
			emit func(a *Asm)
			op   x86asm.Op
			args []x86asm.Arg // nil stands for the memory operand
		}{
			{"Mov", func(a *Asm) { a.Mov(x, y) }, x86asm.MOV, []x86asm.Arg{reg(x), reg(y)}},
			{"Load", func(a *Asm) { a.Load(x, m) }, x86asm.MOV, []x86asm.Arg{reg(x), nil}},
			{"LoadDisp32", func(a *Asm) { a.LoadDisp32(x, m) }, x86asm.MOV, []x86asm.Arg{reg(x), nil}},
			{"Store", func(a *Asm) { a.Store(m, x) }, x86asm.MOV, []x86asm.Arg{nil, reg(x)}},
			{"StoreImm", func(a *Asm) { a.StoreImm(m, n) }, x86asm.MOV, []x86asm.Arg{nil, imm(n)}},
			{"Lea", func(a *Asm) { a.Lea(x, m) }, x86asm.LEA, []x86asm.Arg{reg(x), nil}},
			{"MovImmSigned", func(a *Asm) { a.MovImmSigned(x, n) }, x86asm.MOV, []x86asm.Arg{reg(x), imm(n)}},
			{"Xor32", func(a *Asm) { a.Xor32(x) }, x86asm.XOR, []x86asm.Arg{low(x), low(x)}},
			{"AddImm", func(a *Asm) { a.AddImm(x, n) }, x86asm.ADD, []x86asm.Arg{reg(x), imm(n)}},
			{"SubImm", func(a *Asm) { a.SubImm(x, n) }, x86asm.SUB, []x86asm.Arg{reg(x), imm(n)}},
			{"Test", func(a *Asm) { a.Test(x, y) }, x86asm.TEST, []x86asm.Arg{reg(x), reg(y)}},
			{"CmpMem", func(a *Asm) { a.CmpMem(m, int8(n)) }, x86asm.CMP, []x86asm.Arg{nil, imm(int32(int8(n)))}},
			{"Push", func(a *Asm) { a.Push(x) }, x86asm.PUSH, []x86asm.Arg{reg(x)}},
			{"Pop", func(a *Asm) { a.Pop(x) }, x86asm.POP, []x86asm.Arg{reg(x)}},
			{"CallReg", func(a *Asm) { a.CallReg(x) }, x86asm.CALL, []x86asm.Arg{reg(x)}},
			{"MovImm", func(a *Asm) { a.MovImm(x, v) }, x86asm.MOV, nil},
		}).Draw(t, "form")

		a := NewAsm("test", trampAddr)
		form.emit(a)
		code, err := a.Code()
		require.NoError(t, err)
		got, err := x86.Decode(code.Bytes)
		require.NoError(t, err, "% x", code.Bytes)
		require.Equal(t, len(code.Bytes), got.Len, "% x", code.Bytes)
		if form.name == "MovImm" {
			requireMovImm(t, got, x, v)
			return
		}
		require.Equal(t, form.op, got.Op)
		for i, want := range form.args {
			if want != nil {
				require.Equal(t, want, got.Args[i], "% x", code.Bytes)
				continue
			}
			mem, ok := got.Args[i].(x86asm.Mem)
			require.True(t, ok, "% x", code.Bytes)
			require.Equal(t, reg(m.Base), x86asm.Arg(mem.Base))
			require.Equal(t, int64(m.Disp), mem.Disp)
			require.True(t, mem.Scale == 0 || mem.Index == 0, "% x: no index", code.Bytes)
		}
	})
}

// requireMovImm checks that an instruction leaves v in register r, in the form
// that the kernel's JIT has for it.
func requireMovImm(t *rapid.T, got x86.Inst, r Reg, v uint64) {
	switch {
	case v == 0:
		require.Equal(t, x86asm.XOR, got.Op)
		require.Equal(t, x86asm.EAX+x86asm.Reg(r), got.Args[0])
	case v <= math.MaxUint32:
		require.Equal(t, x86asm.MOV, got.Op)
		require.Equal(t, x86asm.EAX+x86asm.Reg(r), got.Args[0])
		require.Equal(t, uint32(v), uint32(got.Args[1].(x86asm.Imm)))
	default:
		require.Equal(t, x86asm.MOV, got.Op)
		require.Equal(t, x86asm.RAX+x86asm.Reg(r), got.Args[0])
		require.Equal(t, v, uint64(got.Args[1].(x86asm.Imm)))
	}
}
