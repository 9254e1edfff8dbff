package x86

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// listing is code with its text, at address 0x1000, and symbols foo at 0x1000
// and bar at 0x2000.
var listing = []struct{ code, text string }{
	{"e8 fb 0f 00 00", "call   2000 <bar>"},
	{"e9 0b 00 00 00", "jmp    1010 <foo+0x10>"},
	{"eb fe", "jmp    1000 <foo>"},
	{"74 0e", "je     1010 <foo+0x10>"},
	{"0f 85 fa 0f 00 00", "jne    2000 <bar>"},
	{"48 8b 05 01 10 00 00", "mov    0x1001(%rip),%rax        # 2008 <bar+0x8>"},
	{"e8 fb ef ff ff", "call   0"},
	{"ff 15 fa 0f 00 00", "call   *0xffa(%rip)        # 2000 <bar>"},
}

func lookup(a uint64) (string, uint64, bool) {
	switch {
	case a >= 0x2000:
		return "bar", a - 0x2000, true
	case a >= 0x1000:
		return "foo", a - 0x1000, true
	}
	return "", 0, false
}

func TestDisasmSymbols(t *testing.T) {
	for _, c := range listing {
		code := bytesOf(t, c.code)
		text, n, err := Disasm(code, 0x1000, lookup)
		require.NoError(t, err)
		require.Equal(t, c.text, text)
		require.Equal(t, len(code), n)
	}
}

func TestDisasmErrors(t *testing.T) {
	_, _, err := Disasm([]byte{0x06}, 0, nil)
	require.ErrorIs(t, err, ErrUnknown)
	_, _, err = Disasm([]byte{0xe8, 0}, 0, nil)
	require.ErrorIs(t, err, ErrTruncated)
}

// texts are instructions as objdump of binutils 2.40 prints them, one after
// the other from address 0.
var texts = []struct{ code, text string }{
	{"f3 0f 1e fa", "endbr64"},
	{"0f 1f 44 00 00", "nopl 0x0(%rax,%rax,1)"},
	{"90", "nop"},
	{"66 90", "xchg %ax,%ax"},
	{"0f 1f 00", "nopl (%rax)"},
	{"0f 1f 40 00", "nopl 0x0(%rax)"},
	{"66 0f 1f 44 00 00", "nopw 0x0(%rax,%rax,1)"},
	{"0f 1f 80 00 00 00 00", "nopl 0x0(%rax)"},
	{"66 2e 0f 1f 84 00 00 00 00 00", "cs nopw 0x0(%rax,%rax,1)"},
	{"66 66 2e 0f 1f 84 00 00 00 00 00", "data16 cs nopw 0x0(%rax,%rax,1)"},
	{"55", "push %rbp"},
	{"41 57", "push %r15"},
	{"6a 80", "push $0xffffffffffffff80"},
	{"68 78 56 34 12", "push $0x12345678"},
	{"ff 75 08", "push 0x8(%rbp)"},
	{"8f 45 f8", "pop -0x8(%rbp)"},
	{"66 6a 01", "pushw $0x1"},
	{"9c", "pushf"},
	{"9d", "popf"},
	{"c9", "leave"},
	{"c3", "ret"},
	{"f3 c3", "repz ret"},
	{"c2 08 00", "ret $0x8"},
	{"c8 10 00 01", "enter $0x10,$0x1"},
	{"48 89 e5", "mov %rsp,%rbp"},
	{"48 8b 44 24 10", "mov 0x10(%rsp),%rax"},
	{"48 c7 c0 ff ff ff ff", "mov $0xffffffffffffffff,%rax"},
	{"b8 ff ff ff ff", "mov $0xffffffff,%eax"},
	{"48 b8 88 77 66 55 44 33 22 11", "movabs $0x1122334455667788,%rax"},
	{"c6 00 ff", "movb $0xff,(%rax)"},
	{"66 c7 00 ff ff", "movw $0xffff,(%rax)"},
	{"c7 44 24 04 01 00 00 00", "movl $0x1,0x4(%rsp)"},
	{"48 c7 00 ff ff ff ff", "movq $0xffffffffffffffff,(%rax)"},
	{"65 48 8b 04 25 28 00 00 00", "mov %gs:0x28,%rax"},
	{"65 48 8b 15 00 10 00 00", "mov %gs:0x1000(%rip),%rdx # RIP+0x1000"},
	{"64 8b 04 25 f8 ff ff ff", "mov %fs:0xfffffffffffffff8,%eax"},
	{"48 8b 04 fd 00 00 00 81", "mov -0x7f000000(,%rdi,8),%rax"},
	{"8b 04 bd 00 00 00 00", "mov 0x0(,%rdi,4),%eax"},
	{"48 a1 88 77 66 55 44 33 22 11", "movabs 0x1122334455667788,%rax"},
	{"88 e0", "mov %ah,%al"},
	{"40 88 f7", "mov %sil,%dil"},
	{"45 89 c1", "mov %r8d,%r9d"},
	{"8c d8", "mov %ds,%eax"},
	{"0f 20 d8", "mov %cr3,%rax"},
	{"0f b6 c0", "movzbl %al,%eax"},
	{"0f b7 47 08", "movzwl 0x8(%rdi),%eax"},
	{"48 0f be c0", "movsbq %al,%rax"},
	{"48 63 c7", "movslq %edi,%rax"},
	{"8d 04 37", "lea (%rdi,%rsi,1),%eax"},
	{"48 8d 0c cd 00 00 00 00", "lea 0x0(,%rcx,8),%rcx"},
	{"67 8d 04 48", "lea (%eax,%ecx,2),%eax"},
	{"48 83 c4 80", "add $0xffffffffffffff80,%rsp"},
	{"83 c0 ff", "add $0xffffffff,%eax"},
	{"66 83 c0 ff", "add $0xffff,%ax"},
	{"04 ff", "add $0xff,%al"},
	{"48 83 2c 24 05", "subq $0x5,(%rsp)"},
	{"f0 48 ff 07", "lock incq (%rdi)"},
	{"f0 0f c1 07", "lock xadd %eax,(%rdi)"},
	{"f0 48 0f b1 16", "lock cmpxchg %rdx,(%rsi)"},
	{"48 0f c7 0f", "cmpxchg16b (%rdi)"},
	{"48 87 07", "xchg %rax,(%rdi)"},
	{"85 c0", "test %eax,%eax"},
	{"f6 47 04 01", "testb $0x1,0x4(%rdi)"},
	{"48 f7 d8", "neg %rax"},
	{"f7 1f", "negl (%rdi)"},
	{"48 c1 e0 04", "shl $0x4,%rax"},
	{"d1 e8", "shr %eax"},
	{"d3 f8", "sar %cl,%eax"},
	{"d1 2f", "shrl (%rdi)"},
	{"48 d3 27", "shlq %cl,(%rdi)"},
	{"0f a4 c2 04", "shld $0x4,%eax,%edx"},
	{"48 0f ad c2", "shrd %cl,%rax,%rdx"},
	{"48 6b c7 18", "imul $0x18,%rdi,%rax"},
	{"48 0f af c7", "imul %rdi,%rax"},
	{"48 f7 f1", "div %rcx"},
	{"48 0f ba e8 3f", "bts $0x3f,%rax"},
	{"f0 0f ba 2f 05", "lock btsl $0x5,(%rdi)"},
	{"0f a3 37", "bt %esi,(%rdi)"},
	{"f3 48 0f bc c7", "tzcnt %rdi,%rax"},
	{"f3 48 0f b8 c7", "popcnt %rdi,%rax"},
	{"48 0f c8", "bswap %rax"},
	{"0f 94 c0", "sete %al"},
	{"0f 9f 00", "setg (%rax)"},
	{"48 0f 44 c2", "cmove %rdx,%rax"},
	{"98", "cwtl"},
	{"48 98", "cltq"},
	{"99", "cltd"},
	{"48 99", "cqto"},
	{"f3 a4", "rep movsb %ds:(%rsi),%es:(%rdi)"},
	{"f3 48 a5", "rep movsq %ds:(%rsi),%es:(%rdi)"},
	{"a5", "movsl %ds:(%rsi),%es:(%rdi)"},
	{"f3 48 ab", "rep stos %rax,%es:(%rdi)"},
	{"f2 ae", "repnz scas %es:(%rdi),%al"},
	{"f3 a6", "repz cmpsb %es:(%rdi),%ds:(%rsi)"},
	{"ac", "lods %ds:(%rsi),%al"},
	{"ff d0", "call *%rax"},
	{"ff 50 08", "call *0x8(%rax)"},
	{"ff 24 c5 00 00 00 81", "jmp *-0x7f000000(,%rax,8)"},
	{"3e ff e0", "notrack jmp *%rax"},
	{"cc", "int3"},
	{"cd 80", "int $0x80"},
	{"0f 0b", "ud2"},
	{"f4", "hlt"},
	{"f3 90", "pause"},
	{"0f ae e8", "lfence"},
	{"0f 18 0f", "prefetcht0 (%rdi)"},
	{"0f a2", "cpuid"},
	{"0f 31", "rdtsc"},
	{"ec", "in (%dx),%al"},
	{"0f 01 f8", "swapgs"},
	{"48 cf", "iretq"},
	{"0f 01 cb", "stac"},
	{"48 0f 38 f1 07", "movbe %rax,(%rdi)"},
	{"f2 48 0f 38 f1 c7", "crc32 %rdi,%rax"},
	{"f2 0f 38 f0 07", "crc32b (%rdi),%eax"},
	{"c4 e2 f0 f2 c1", "andn %rcx,%rcx,%rax"},
	{"c4 e2 c1 f7 c1", "shlx %rdi,%rcx,%rax"},
	{"c4 e3 fb f0 c1 07", "rorx $0x7,%rcx,%rax"},
	{"66 48 0f 38 f6 c3", "adcx %rbx,%rax"},
	{"f3 0f c7 f8", "rdpid %rax"},
	{"66 0f ae 37", "clwb (%rdi)"},
	{"c5 f8 77", "vzeroupper"},
	{"0f 10 07", "movups (%rdi),%xmm0"},
}

func TestDisasmTexts(t *testing.T) {
	pc := uint64(0)
	for _, c := range texts {
		code := bytesOf(t, c.code)
		text, n, err := Disasm(code, pc, nil)
		require.NoError(t, err, c.code)
		require.Equal(t, len(code), n, c.code)
		pc += uint64(n)
		want := strings.ReplaceAll(c.text, "RIP+0x1000", fmt.Sprintf("%x", pc+0x1000))
		require.Equal(t, want, strings.Join(strings.Fields(text), " "), c.code)
	}
}

// accepted are names and texts that differ between releases of objdump, theirs
// to ours.
var accepted = map[string]string{
	"retq": "ret", "callq": "call", "jmpq": "jmp", "leaveq": "leave", "pushq": "push", "popq": "pop",
	"pushfq": "pushf", "popfq": "popf", "enterq": "enter",
	"shr $1,%eax": "shr %eax", "shrl $1,(%rdi)": "shrl (%rdi)",
}

// canonicalText is objdump's text with single blanks and one spelling.
func canonicalText(s string) string {
	f := strings.Fields(strings.ReplaceAll(s, "# 0x", "# ")) // the latter with symbols
	for i, w := range f {
		if a, ok := accepted[w]; ok {
			f[i] = a
		}
	}
	s = strings.Join(f, " ")
	if a, ok := accepted[s]; ok {
		return a
	}
	return s
}

func TestDisasmAgainstObjdump(t *testing.T) {
	if _, err := exec.LookPath("objdump"); err != nil {
		t.Skip("objdump is not installed")
	}
	var all []byte
	for _, c := range texts {
		all = append(all, bytesOf(t, c.code)...)
	}
	file := filepath.Join(t.TempDir(), "code")
	require.NoError(t, os.WriteFile(file, all, 0o600))
	out, err := exec.Command("objdump", "-D", "-w", "-b", "binary", "-m", "i386:x86-64", "--insn-width=16", file).Output()
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			continue
		}
		pc, err := strconv.ParseUint(strings.TrimSuffix(f[0], ":"), 16, 64)
		require.NoError(t, err)
		text, _, err := Disasm(all[pc:], pc, nil)
		require.NoError(t, err, line)
		require.Equal(t, canonicalText(f[2]), strings.Join(strings.Fields(text), " "), f[1])
		n++
	}
	require.Equal(t, len(texts), n)
}
