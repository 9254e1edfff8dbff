package trampoline

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"
)

// emitted assembles with f at an address of the kernel's text.
func emitted(t *testing.T, f func(a *Asm)) Code {
	a := NewAsm("test", 0xffffffff81000000)
	f(a)
	code, err := a.Code()
	require.NoError(t, err)
	return code
}

// TestForms has every form with its text in the syntax of GNU as and the bytes
// that as gives it, but for LoadDisp32, and lets a decoder read the bytes back.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		emit func(a *Asm)
		hex  string
		text string
	}{
		{func(a *Asm) { a.Mov(RBP, RSP) }, "4889e5", "mov %rsp,%rbp"},
		{func(a *Asm) { a.Mov(R9, RDX) }, "4989d1", "mov %rdx,%r9"},
		{func(a *Asm) { a.Mov(RSI, R12) }, "4c89e6", "mov %r12,%rsi"},
		{func(a *Asm) { a.Load(RAX, At(RDX, 0)) }, "488b02", "mov (%rdx),%rax"},
		{func(a *Asm) { a.Load(RAX, At(RBP, 0)) }, "488b4500", "mov (%rbp),%rax"},
		{func(a *Asm) { a.Load(RAX, At(R13, 0)) }, "498b4500", "mov (%r13),%rax"},
		{func(a *Asm) { a.Load(RBX, At(RBP, 8)) }, "488b5d08", "mov 0x8(%rbp),%rbx"},
		{func(a *Asm) { a.Load(RDI, At(RBP, -0x80)) }, "488b7d80", "mov -0x80(%rbp),%rdi"},
		{func(a *Asm) { a.Load(RDI, At(RBP, -0x88)) }, "488bbd78ffffff", "mov -0x88(%rbp),%rdi"},
		{func(a *Asm) { a.Load(R15, At(RSP, 0)) }, "4c8b3c24", "mov (%rsp),%r15"},
		{func(a *Asm) { a.Load(R12, At(RSP, 0x18)) }, "4c8b642418", "mov 0x18(%rsp),%r12"},
		{func(a *Asm) { a.Load(RAX, At(RSP, 0x80)) }, "488b842480000000", "mov 0x80(%rsp),%rax"},
		{func(a *Asm) { a.Load(RCX, At(R12, 8)) }, "498b4c2408", "mov 0x8(%r12),%rcx"},
		{func(a *Asm) { a.LoadDisp32(RAX, At(RBP, -0x30)) }, "488b85d0ffffff", "mov -0x30(%rbp),%rax"},
		{func(a *Asm) { a.LoadDisp32(RAX, At(RSP, 8)) }, "488b842408000000", "mov 0x8(%rsp),%rax"},
		{func(a *Asm) { a.Store(At(RSP, 0x48), R8) }, "4c89442448", "mov %r8,0x48(%rsp)"},
		{func(a *Asm) { a.Store(At(RBP, -8), RAX) }, "488945f8", "mov %rax,-0x8(%rbp)"},
		{func(a *Asm) { a.StoreImm(At(RSP, 0x78), 0) }, "48c744247800000000", "movq $0,0x78(%rsp)"},
		{func(a *Asm) { a.StoreImm(At(RSP, 0x88), -1) }, "48c7842488000000ffffffff", "movq $-1,0x88(%rsp)"},
		{func(a *Asm) { a.Lea(RCX, At(RSP, 0)) }, "488d0c24", "lea (%rsp),%rcx"},
		{func(a *Asm) { a.LoadRIP(RDX, 0xffffffff81000017) }, "488b1510000000", "mov 0x10(%rip),%rdx"},
		{func(a *Asm) { a.LoadRIP(R8, 0xffffffff81000007) }, "4c8b0500000000", "mov (%rip),%r8"},
		{func(a *Asm) { a.MovImm(RDI, 0) }, "31ff", "xor %edi,%edi"},
		{func(a *Asm) { a.MovImm(R8, 0) }, "4531c0", "xor %r8d,%r8d"},
		{func(a *Asm) { a.MovImm(RAX, 2) }, "b802000000", "mov $0x2,%eax"},
		{func(a *Asm) { a.MovImm(R9, 0xffffffff) }, "41b9ffffffff", "mov $0xffffffff,%r9d"},
		{func(a *Asm) { a.MovImm(RDI, 0x100000000) }, "48bf0000000001000000", "movabs $0x100000000,%rdi"},
		{func(a *Asm) { a.MovImm(R10, 1<<63) }, "49ba0000000000000080", "movabs $0x8000000000000000,%r10"},
		{func(a *Asm) { a.MovImmSigned(RCX, 0x18) }, "48c7c118000000", "mov $0x18,%rcx"},
		{func(a *Asm) { a.AddImm(RSP, 8) }, "4883c408", "add $0x8,%rsp"},
		{func(a *Asm) { a.AddImm(RSP, 0xa8) }, "4881c4a8000000", "add $0xa8,%rsp"},
		{func(a *Asm) { a.SubImm(RSP, 0x28) }, "4883ec28", "sub $0x28,%rsp"},
		{func(a *Asm) { a.SubImm(RSP, 0x80) }, "4881ec80000000", "sub $0x80,%rsp"},
		{func(a *Asm) { a.SubImm(RAX, 0x80) }, "482d80000000", "sub $0x80,%rax"},
		{func(a *Asm) { a.AddImm(RAX, -0x81) }, "48057fffffff", "add $-0x81,%rax"},
		{func(a *Asm) { a.AddImm(R8, 0x80) }, "4981c080000000", "add $0x80,%r8"},
		{func(a *Asm) { a.SubImm(R12, -1) }, "4983ecff", "sub $-1,%r12"},
		{func(a *Asm) { a.Test(RAX, RAX) }, "4885c0", "test %rax,%rax"},
		{func(a *Asm) { a.CmpMem(At(RBP, -8), 0) }, "48837df800", "cmpq $0,-0x8(%rbp)"},
		{func(a *Asm) { a.Push(RBP) }, "55", "push %rbp"},
		{func(a *Asm) { a.Push(R12) }, "4154", "push %r12"},
		{func(a *Asm) { a.Pop(RBX) }, "5b", "pop %rbx"},
		{func(a *Asm) { a.Pop(R15) }, "415f", "pop %r15"},
		{func(a *Asm) { a.PushMem(At(RSP, 0x40)) }, "ff742440", "push 0x40(%rsp)"},
		{func(a *Asm) { a.PushMem(At(R12, 0)) }, "41ff3424", "push (%r12)"},
		{func(a *Asm) { a.PopMem(At(RSP, 0)) }, "8f0424", "pop (%rsp)"},
		{func(a *Asm) { a.PopMem(At(RBP, -0x100)) }, "8f8500ffffff", "pop -0x100(%rbp)"},
		{func(a *Asm) { a.PushFlags() }, "9c", "pushfq"},
		{func(a *Asm) { a.PopFlags() }, "9d", "popfq"},
		{func(a *Asm) { a.Leave() }, "c9", "leave"},
		{func(a *Asm) { a.Int3() }, "cc", "int3"},
		{func(a *Asm) { a.Call(0xffffffff81000005) }, "e800000000", "call .+5"},
		{func(a *Asm) { a.CallReg(RBX) }, "ffd3", "call *%rbx"},
		{func(a *Asm) { a.CallReg(R11) }, "41ffd3", "call *%r11"},
		{func(a *Asm) { a.Jmp(0xffffffff81000000) }, "e9fbffffff", "jmp ."},
		{func(a *Asm) { a.Ret(Return{}) }, "c3", "ret"},
		{func(a *Asm) { a.Ret(Return{Thunk: 0xffffffff81000105}) }, "e900010000", "jmp .+0x105"},
		{func(a *Asm) { a.Ret(Return{SLS: true, Thunk: 0xffffffff81000105}) }, "e900010000", "jmp .+0x105"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			code := emitted(t, tt.emit)
			require.Equal(t, tt.hex, hex.EncodeToString(code.Bytes))
			inst, err := x86asm.Decode(code.Bytes, 64)
			require.NoError(t, err)
			require.Equal(t, len(code.Bytes), inst.Len)
			require.Regexp(t, "^"+strings.ToLower(inst.Op.String()), tt.text)
		})
	}
}

// TestSequences has the forms that are more than one instruction, that refer to
// labels, or that the decoder does not know.
func TestSequences(t *testing.T) {
	for _, tt := range []struct {
		name string
		emit func(a *Asm)
		hex  string
	}{
		{"endbr64", func(a *Asm) { a.Endbr64() }, "f30f1efa"},
		{"ret with int3", func(a *Asm) { a.Ret(Return{SLS: true}) }, "c3cc"},
		{"short jump forward", func(a *Asm) { a.JccShort(CondZ, "l"); a.Leave(); a.Label("l") }, "7401c9"},
		{"short jump back", func(a *Asm) { a.Label("l"); a.Leave(); a.JccShort(CondNZ, "l") }, "c975fd"},
		{"near jump", func(a *Asm) { a.JccNear(CondNZ, "l"); a.Leave(); a.Label("l") }, "0f8501000000c9"},
		{"load a label", func(a *Asm) { a.LoadLabel(RDX, "l"); a.Int3(); a.Label("l"); a.Quad(1) }, "488b1501000000cc0100000000000000"},
		{"align", func(a *Asm) { a.Leave(); a.Align(16) }, "c9" + "0f1f840000000000" + "0f1f8000000000"},
		{"align nothing", func(a *Asm) { a.Align(16) }, ""},
		{"nops", func(a *Asm) { a.Nop(2); a.Nop(5) }, "66900f1f440000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.hex, hex.EncodeToString(emitted(t, tt.emit).Bytes))
		})
	}
}

func TestAsmErrors(t *testing.T) {
	far := uint64(0xffff888000000000)
	for _, tt := range []struct {
		name string
		emit func(a *Asm)
		is   error
		want string
	}{
		{"call", func(a *Asm) { a.Nop(3); a.Call(far) }, ErrReach,
			"test at 0xffffffff81000000: +0x3: call to 0xffff888000000000: 32 bits do not reach: out of reach"},
		{"jmp", func(a *Asm) { a.Jmp(far) }, ErrReach, "+0x0: jmp to"},
		{"return thunk", func(a *Asm) { a.Ret(Return{Thunk: far}) }, ErrReach, "+0x0: jmp to"},
		{"load", func(a *Asm) { a.LoadRIP(RAX, far) }, ErrReach, "+0x0: riprel to"},
		{"just out of reach", func(a *Asm) { a.Call(0xffffffff81000005 - 1<<31 - 1) }, ErrReach, "call to 0xffffffff01000004"},
		{"short jump", func(a *Asm) { a.JccShort(CondZ, "l"); a.Nop(128); a.Label("l") }, ErrReach,
			"+0x0: short jump to l is 128 bytes, at most 127 fit"},
		{"no label", func(a *Asm) { a.JccShort(CondZ, "l") }, ErrLabel, "+0x0: label l is not defined"},
		{"label twice", func(a *Asm) { a.Label("l"); a.Leave(); a.Label("l") }, ErrLabel, "+0x1: label l is defined twice"},
		{"size", func(a *Asm) { a.Limit = 8; a.Nop(9) }, ErrTooLarge, "+0x8: 9 bytes, room for 8"},
		{"a page", func(a *Asm) { a.Nop(DefaultLimit + 1) }, ErrTooLarge, "4097 bytes, room for 4096"},
		{"the first counts", func(a *Asm) { a.Call(far); a.JccShort(CondZ, "l") }, ErrReach, "call to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAsm("test", 0xffffffff81000000)
			tt.emit(a)
			code, err := a.Code()
			require.ErrorIs(t, err, tt.is)
			require.ErrorContains(t, err, tt.want)
			require.Empty(t, code.Bytes)
		})
	}
	require.NotEmpty(t, emitted(t, func(a *Asm) { a.Call(0xffffffff81000005 - 1<<31) }).Bytes, "just in reach")
}

func TestRefsAndLabels(t *testing.T) {
	code := emitted(t, func(a *Asm) {
		a.Label("start")
		a.LoadLabel(RDX, "data")
		a.Note("call %s", "it")
		a.Call(0xffffffff81001000)
		a.MovImm(RAX, 0xffff888000000000)
		a.Label("out")
		a.Label("end")
		a.Jmp(0xffffffff81002000)
		a.Label("data")
		a.Quad(7)
	})
	require.Equal(t, []Ref{
		{0, RefRIPRel, 0xffffffff8100001b},
		{7, RefCall, 0xffffffff81001000},
		{0xc, RefImm64, 0xffff888000000000},
		{0x16, RefJmp, 0xffffffff81002000},
		{0x1b, RefQuad, 7},
	}, code.Refs)
	require.Equal(t, []Note{{7, "call it"}}, code.Notes)
	require.Equal(t, []Span{{0x1b, 8}}, code.Data)
	require.Equal(t, []string{"start", "end", "out", "data"}, code.LabelNames())
	addr, ok := code.Label("data")
	require.True(t, ok)
	require.Equal(t, uint64(0xffffffff8100001b), addr)
	_, ok = code.Label("nowhere")
	require.False(t, ok)
	var kinds []string
	for _, r := range code.Refs {
		kinds = append(kinds, r.Kind.String())
	}
	require.Equal(t, "riprel call imm64 jmp quad", strings.Join(kinds, " "))
	require.Equal(t, "RefKind(0)", RefKind(0).String())
}
