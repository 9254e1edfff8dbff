package bench

import "ftemu/emu"

// Where the guest of the loads lies.
const (
	Text  = 0xffffffffc0400000
	Data  = 0xffff888000100000
	Stack = 0xffffc90000000000
	// Done is where calls return to; nothing is mapped there.
	Done = 0xffffffffc0500000

	TextSize  = emu.PageSize
	DataSize  = 4 * emu.PageSize
	StackSize = 4 * emu.PageSize // as a kernel thread's

	// SP points to the return address, which is written once.
	SP = Stack + StackSize - 16
)

// short has four instructions, as compilers make them of a sum: site, two to
// compute, and the return.
var short = []byte{
	0x0f, 0x1f, 0x44, 0x00, 0x00, // nopl 0x0(%rax,%rax,1)
	0x48, 0x8d, 0x04, 0x37, // lea (%rdi,%rsi),%rax
	0x48, 0x31, 0xf0, // xor %rsi,%rax
	0xc3, // ret
}

// mixed goes over RSI words at RDI and stores to R8, with a load, a store, a
// call and two or three branches in each round.
var mixed = []byte{
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
	0x49, 0x89, 0x14, 0xc8, // mov %rdx,(%r8,%rcx,8)
	0xe8, 0x09, 0x00, 0x00, 0x00, // call leaf
	0xff, 0xc1, // inc %ecx
	0x39, 0xf1, // cmp %esi,%ecx
	0x75, 0xe2, // jne round
	0x5d, // pop %rbp
	0xc3, // ret
	0x90,
	// 29: leaf:
	0x0f, 0x1f, 0x44, 0x00, 0x00, // nopl 0x0(%rax,%rax,1): the leaf's site
	0x48, 0xc1, 0xc0, 0x03, // rol $3,%rax
	0x0f, 0xb7, 0xd0, // movzwl %ax,%edx
	0xc3, // ret
}

// mixedWords is how many words mixed goes over.
const mixedWords = 512

// mixedWord is the i-th of them.
func mixedWord(i int) uint64 { return uint64(i)*0x9e3779b97f4a7c15>>7 | uint64(i)>>1&1 }

// mixedModel is what mixed returns, and how many instructions that takes.
func mixedModel() (rax uint64, insns int) {
	insns = 4 + 2
	for i := range mixedWords {
		w := mixedWord(i)
		insns += 13
		if w&1 == 1 {
			w++
			insns++
		}
		rax += w
		rax = rax<<3 | rax>>61
	}
	return rax, insns
}

// arithUnroll is how often arith repeats its five instructions in each of
// arithRounds rounds.
const (
	arithUnroll = 4
	arithRounds = 500
	arithInsns  = arithRounds*(5*arithUnroll+2) + 1
)

// arith computes in registers, RCX rounds.
func arith() []byte {
	code := arithBody(arithUnroll)
	back := -(len(code) + 5)
	return append(code,
		0x48, 0xff, 0xc9, // dec %rcx
		0x75, byte(back), // jne
		0xc3, // ret
	)
}

func arithBody(n int) []byte {
	var code []byte
	for range n {
		code = append(code,
			0x48, 0x01, 0xf0, // add %rsi,%rax
			0x48, 0x89, 0xc2, // mov %rax,%rdx
			0x48, 0x31, 0xfa, // xor %rdi,%rdx
			0x48, 0x83, 0xc2, 0x07, // add $7,%rdx
			0x48, 0x8d, 0x04, 0x90, // lea (%rax,%rdx,4),%rax
		)
	}
	return code
}

// arithModel is what arith returns when it begins with RAX 0.
func arithModel(rdi, rsi uint64) (rax uint64) {
	for range arithRounds * arithUnroll {
		rax += rsi
		rax += ((rax ^ rdi) + 7) * 4
	}
	return rax
}

// The two states of the site that patched begins with.
var (
	siteNop  = []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}
	siteCall = []byte{0xe8, 0xfb, 0x07, 0x00, 0x00} // call stub
)

// stubAt is the offset of stub, a lone ret.
const stubAt = 0x800

// patched is a site and 49 instructions, loads and stores among them.
func patched() []byte {
	code := append([]byte(nil), siteNop...)
	for range 8 {
		code = append(code,
			0x48, 0x01, 0xf0, // add %rsi,%rax
			0x48, 0x33, 0x17, // xor (%rdi),%rdx
			0x48, 0x8d, 0x4c, 0x10, 0x03, // lea 3(%rax,%rdx,1),%rcx
			0x48, 0x83, 0xe9, 0x07, // sub $7,%rcx
			0x48, 0x89, 0x4f, 0x08, // mov %rcx,8(%rdi)
			0x48, 0x89, 0xc8, // mov %rcx,%rax
		)
	}
	code = append(code, 0xc3)
	full := make([]byte, stubAt+1)
	copy(full, code)
	full[stubAt] = 0xc3
	return full
}

// patchedModel is what patched returns when it begins with RAX and RDX 0 and
// word is at RDI.
func patchedModel(rsi, word uint64) (rax uint64) {
	rdx := uint64(0)
	for range 8 {
		rax += rsi
		rdx ^= word
		rax = rax + rdx + 3 - 7
	}
	return rax
}

// writer stores to the four pages of data.
var writer = []byte{
	0x48, 0x89, 0x37, // mov %rsi,(%rdi)
	0x48, 0x89, 0xb7, 0x00, 0x10, 0x00, 0x00, // mov %rsi,0x1000(%rdi)
	0x48, 0x89, 0xb7, 0x00, 0x20, 0x00, 0x00, // mov %rsi,0x2000(%rdi)
	0x48, 0x89, 0xb7, 0x00, 0x30, 0x00, 0x00, // mov %rsi,0x3000(%rdi)
	0x48, 0x8d, 0x46, 0x01, // lea 1(%rsi),%rax
	0xc3, // ret
}
