package interp

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

// flagLetters names the flags in the order of their bits, as text tables do.
var flagLetters = []struct {
	letter byte
	bit    uint64
}{{'C', emu.FlagCF}, {'P', emu.FlagPF}, {'A', emu.FlagAF}, {'Z', emu.FlagZF}, {'S', emu.FlagSF}, {'D', emu.FlagDF}, {'O', emu.FlagOF}}

func parseFlags(t *testing.T, s string) uint64 {
	var f uint64
next:
	for i := range len(s) {
		for _, l := range flagLetters {
			if l.letter == s[i] {
				f |= l.bit
				continue next
			}
		}
		require.Failf(t, "flags", "%q", s)
	}
	return f
}

func formatFlags(f uint64) string {
	var s []byte
	for _, l := range flagLetters {
		if f&l.bit != 0 {
			s = append(s, l.letter)
		}
	}
	return string(s)
}

// state is a set of values by name: registers, "f" for the flags, "m0" to "m3"
// for the words at data.
type state map[string]string

func parseState(s string) state {
	st := state{}
	for _, w := range strings.Fields(s) {
		name, value, _ := strings.Cut(w, "=")
		st[name] = value
	}
	return st
}

func (st state) apply(t *testing.T, m emu.Machine) {
	r := m.CPU(0).Regs()
	for name, value := range st {
		if name == "f" {
			r.Flags = parseFlags(t, value) | emu.FlagsFixed
			continue
		}
		v, err := strconv.ParseUint(value, 16, 64)
		require.NoError(t, err)
		if name[0] == 'm' {
			require.NoError(t, m.Memory().WriteU64(data+8*uint64(name[1]-'0'), v))
			continue
		}
		r.GPR[regIndex(t, name)] = v
	}
}

func regIndex(t *testing.T, name string) int {
	for i, n := range emu.RegNames {
		if n == name {
			return i
		}
	}
	require.Failf(t, "register", "%q", name)
	return 0
}

func (st state) check(t *testing.T, m emu.Machine, undefined uint64) {
	r := m.CPU(0).Regs()
	for name, value := range st {
		if name == "f" {
			require.Equal(t, formatFlags(parseFlags(t, value)&^undefined), formatFlags(r.Flags&^undefined), "flags")
			continue
		}
		got := uint64(0)
		if name[0] == 'm' {
			var err error
			got, err = m.Memory().ReadU64(data + 8*uint64(name[1]-'0'))
			require.NoError(t, err)
		} else {
			got = r.GPR[regIndex(t, name)]
		}
		require.Equal(t, value, strconv.FormatUint(got, 16), name)
	}
}

// The rows: code, what it says, values before, values after in hexadecimal.
// RDI points to data in all of them. Registers not named after must be as
// before, and so must the flags where "f" is not named; "u" names those that the
// manual leaves undefined.
var semantics = []struct{ code, asm, before, after string }{
	// Addition and subtraction: carries, borrows, overflow at every size.
	{"00c8", "add %cl,%al", "rax=80 rcx=80 f=", "rax=0 f=CPZO"},
	{"00c8", "add %cl,%al", "rax=ff0f rcx=1 f=C", "rax=ff10 f=A"},
	{"00cc", "add %cl,%ah", "rax=7f00 rcx=1 f=", "rax=8000 f=ASO"},
	{"6601c8", "add %cx,%ax", "rax=1234ffff rcx=1 f=", "rax=12340000 f=CPAZ"},
	{"01c8", "add %ecx,%eax", "rax=1234567880000000 rcx=80000000 f=", "rax=0 f=CPZO"},
	{"4801c8", "add %rcx,%rax", "rax=7fffffffffffffff rcx=1 f=", "rax=8000000000000000 f=PASO"},
	{"4811c8", "adc %rcx,%rax", "rax=ffffffffffffffff rcx=0 f=C", "rax=0 f=CPAZ"},
	{"4811c8", "adc %rcx,%rax", "rax=ffffffffffffffff rcx=ffffffffffffffff f=C", "rax=ffffffffffffffff f=CPAS"},
	{"10c8", "adc %cl,%al", "rax=7f rcx=0 f=C", "rax=80 f=ASO"},
	{"4829c8", "sub %rcx,%rax", "rax=0 rcx=1 f=", "rax=ffffffffffffffff f=CPAS"},
	{"4829c8", "sub %rcx,%rax", "rax=8000000000000000 rcx=1 f=", "rax=7fffffffffffffff f=PAO"},
	{"28c8", "sub %cl,%al", "rax=80 rcx=ff f=", "rax=81 f=CPAS"},
	{"4819c8", "sbb %rcx,%rax", "rax=0 rcx=ffffffffffffffff f=C", "rax=0 f=CPAZ"},
	{"19c8", "sbb %ecx,%eax", "rax=0 rcx=0 f=C", "rax=ffffffff f=CPAS"},
	{"39c8", "cmp %ecx,%eax", "rax=ffffffff80000000 rcx=7fffffff f=", "f=AO"},
	{"3c80", "cmp $0x80,%al", "rax=80 f=C", "f=PZ"},
	{"fec0", "inc %al", "rax=ff f=C", "rax=0 f=CPAZ"},
	{"48ffc0", "inc %rax", "rax=7fffffffffffffff f=", "rax=8000000000000000 f=PASO"},
	{"ffc8", "dec %eax", "rax=0 f=", "rax=ffffffff f=PAS"},
	{"66ffc8", "dec %ax", "rax=8000 f=C", "rax=7fff f=CPAO"},
	{"48f7d8", "neg %rax", "rax=0 f=CO", "rax=0 f=PZ"},
	{"f6d8", "neg %al", "rax=80 f=", "rax=80 f=CSO"},
	{"f7d0", "not %eax", "rax=ffffffff00000000 f=CZ", "rax=ffffffff"},
	{"48830705", "addq $5,(%rdi)", "m0=fffffffffffffffb f=", "m0=0 f=CPAZ"},
	{"8007f0", "addb $0xf0,(%rdi)", "m0=1122334455667710 f=", "m0=1122334455667700 f=CPZ"},

	// Logic clears CF and OF.
	{"21c8", "and %ecx,%eax", "rax=fffffffff0f0f0f0 rcx=ff00ff00 f=CO", "rax=f000f000 f=PS u=A"},
	{"4831c0", "xor %rax,%rax", "rax=5 f=CO", "rax=0 f=PZ u=A"},
	{"08c8", "or %cl,%al", "rax=1201 rcx=80 f=C", "rax=1281 f=PS u=A"},
	{"84e4", "test %ah,%ah", "rax=8000 f=CO", "f=S u=A"},

	// Shifts: by 0, by 1, by the size, beyond it; the count is taken modulo 32 or 64.
	{"d3e0", "shl %cl,%eax", "rax=ffffffff80000001 rcx=20 f=CPAZSO", "rax=80000001 f=CPAZSO"},
	{"48d3e0", "shl %cl,%rax", "rax=1 rcx=40 f=CZ", "rax=1 f=CZ"},
	{"48d1e0", "shl %rax", "rax=c000000000000000 f=", "rax=8000000000000000 f=CPS u=A"},
	{"48d1e0", "shl %rax", "rax=4000000000000000 f=", "rax=8000000000000000 f=PSO u=A"},
	{"c0e008", "shl $8,%al", "rax=1 f=", "rax=0 f=CPZ u=AO"},
	{"c0e009", "shl $9,%al", "rax=ff f=C", "rax=0 f=PZ u=CAO"},
	{"48c1e03f", "shl $63,%rax", "rax=3 f=", "rax=8000000000000000 f=CPS u=AO"},
	{"d1e8", "shr %eax", "rax=80000001 f=", "rax=40000000 f=CPO u=A"},
	{"66c1e810", "shr $16,%ax", "rax=128000 f=", "rax=120000 f=CPZ u=AO"},
	{"d0f8", "sar %al", "rax=81 f=O", "rax=c0 f=CPS u=A"},
	{"c0f81f", "sar $31,%al", "rax=80 f=", "rax=ff f=CPS u=AO"},
	{"48c1f83f", "sar $63,%rax", "rax=8000000000000000 f=C", "rax=ffffffffffffffff f=PS u=AO"},
	{"d0c0", "rol %al", "rax=80 f=Z", "rax=1 f=CZO"},
	{"c0c008", "rol $8,%al", "rax=81 f=Z", "rax=81 f=CZ u=O"},
	{"d1c8", "ror %eax", "rax=1 f=", "rax=80000000 f=CSO u=S"},
	{"48c1c804", "ror $4,%rax", "rax=123456789abcdef0 f=", "rax=123456789abcdef f= u=O"},
	{"d0d0", "rcl %al", "rax=80 f=", "rax=0 f=CO"},
	{"d0d0", "rcl %al", "rax=40 f=C", "rax=81 f=O"},
	{"c0d009", "rcl $9,%al", "rax=5a f=C", "rax=5a f=C"},
	{"c0d00a", "rcl $10,%al", "rax=5a f=C", "rax=b5 f= u=O"},
	{"c0d808", "rcr $8,%al", "rax=81 f=", "rax=2 f=C u=O"},
	{"66c1d811", "rcr $17,%ax", "rax=1234 f=C", "rax=1234 f=C"},
	{"48d1d8", "rcr %rax", "rax=1 f=C", "rax=8000000000000000 f=CO"},
	{"48d3d0", "rcl %cl,%rax", "rax=1 rcx=3f f=C", "rax=c000000000000000 f= u=O"},
	{"0fa4c804", "shld $4,%ecx,%eax", "rax=1234567f1 rcx=90000000 f=", "rax=34567f19 f= u=AOC"},
	{"480facc801", "shrd $1,%rcx,%rax", "rax=1 rcx=1 f=", "rax=8000000000000000 f=CPSO u=A"},
	{"480fa5c8", "shld %cl,%rcx,%rax", "rax=5 rcx=40 f=C", "rax=5 f=C"},

	// Multiplication: CF and OF tell that the high half matters.
	{"f6e1", "mul %cl", "rax=12ff rcx=ff f=", "rax=fe01 f=CO u=PAZS"},
	{"f7e1", "mul %ecx", "rax=ffffffff00000002 rcx=3 rdx=7 f=CO", "rax=6 rdx=0 f= u=PAZS"},
	{"48f7e1", "mul %rcx", "rax=ffffffffffffffff rcx=ffffffffffffffff f=", "rax=1 rdx=fffffffffffffffe f=CO u=PAZS"},
	{"f6e9", "imul %cl", "rax=80 rcx=80 f=", "rax=4000 f=CO u=PAZS"},
	{"f6e9", "imul %cl", "rax=ff rcx=80 f=", "rax=80 f=CO u=PAZS"},
	{"f6e9", "imul %cl", "rax=ff rcx=7f f=CO", "rax=ff81 f= u=PAZS"},
	{"48f7e9", "imul %rcx", "rax=ffffffffffffffff rcx=2 f=C", "rax=fffffffffffffffe rdx=ffffffffffffffff f= u=PAZS"},
	{"48f7e9", "imul %rcx", "rax=8000000000000000 rcx=8000000000000000 f=", "rax=0 rdx=4000000000000000 f=CO u=PAZS"},
	{"480fafc1", "imul %rcx,%rax", "rax=4000000000000000 rcx=2 f=", "rax=8000000000000000 f=CO u=PAZS"},
	{"6bc180", "imul $-128,%ecx,%eax", "rcx=2 f=C", "rax=ffffff00 f= u=PAZS"},
	{"6669c10080", "imul $-32768,%cx,%ax", "rax=990000 rcx=ffff f=", "rax=998000 f=CO u=PAZS"},

	// Division.
	{"f6f1", "div %cl", "rax=1ff rcx=2 f=", "rax=1ff f= u=CPAZSO"},
	{"f7f1", "div %ecx", "rax=0 rcx=2 rdx=1", "rax=80000000 rdx=0"},
	{"48f7f1", "div %rcx", "rax=5 rcx=ffffffffffffffff rdx=fffffffffffffffe", "rax=ffffffffffffffff rdx=4"},
	{"48f7f9", "idiv %rcx", "rax=fffffffffffffff9 rcx=2 rdx=ffffffffffffffff", "rax=fffffffffffffffd rdx=ffffffffffffffff"},
	{"48f7f9", "idiv %rcx", "rax=7 rcx=fffffffffffffffe rdx=0", "rax=fffffffffffffffd rdx=1"},
	{"f6f9", "idiv %cl", "rax=ff80 rcx=1", "rax=80"},

	// Bits.
	{"0fa3c8", "bt %ecx,%eax", "rax=80000000 rcx=3f f=Z", "f=CZ u=OSAP"},
	{"480fab0f", "bts %rcx,(%rdi)", "m2=0 rcx=80 f=C", "m2=1 f= u=OSAP"},
	{"480fb30f", "btr %rcx,(%rdi)", "m1=ffffffffffffffff rcx=7f f=", "m1=7fffffffffffffff f=C u=OSAP"},
	{"0fbb4f08", "btc %ecx,8(%rdi)", "m0=0 rcx=ffffffffffffffff f=C", "m0=8000000000000000 f= u=OSAP"},
	{"480fba2f43", "btsq $0x43,(%rdi)", "m0=0 f=", "m0=8 f= u=OSAP"},
	{"480fbcc1", "bsf %rcx,%rax", "rcx=8000000000000000 f=", "rax=3f f= u=COSAP"},
	{"0fbdc1", "bsr %ecx,%eax", "rcx=ffffffff00000100 f=Z", "rax=8 f= u=COSAP"},
	{"480fbdc1", "bsr %rcx,%rax", "rax=5 rcx=0 f=", "rax=5 f=Z u=COSAP"},
	{"f30fbcc1", "tzcnt %ecx,%eax", "rcx=0 f=Z", "rax=20 f=C u=OSAP"},
	{"66f30fbcc1", "tzcnt %cx,%ax", "rax=ff0000 rcx=10001 f=C", "rax=ff0000 f=Z u=OSAP"},
	{"66f30fbdc1", "lzcnt %cx,%ax", "rcx=1 f=CZ", "rax=f f= u=OSAP"},
	{"f3480fbdc1", "lzcnt %rcx,%rax", "rcx=8000000000000000 f=C", "rax=0 f=Z u=OSAP"},
	{"f3480fb8c1", "popcnt %rcx,%rax", "rcx=8000000000000001 f=CPAZSO", "rax=2 f="},
	{"f30fb8c1", "popcnt %ecx,%eax", "rcx=0 f=CPASO", "rax=0 f=Z"},
	{"f2480f38f1c1", "crc32q %rcx,%rax", "rax=ffffffff00000000 rcx=1 f=", "rax=493c7d27"},

	// Moves and widths.
	{"b801000080", "mov $0x80000001,%eax", "rax=ffffffffffffffff", "rax=80000001"},
	{"48c7c001000080", "mov $-0x7fffffff,%rax", "rax=0", "rax=ffffffff80000001"},
	{"88e1", "mov %ah,%cl", "rax=1234 rcx=ffff", "rcx=ff12"},
	{"4088f1", "mov %sil,%cl", "rsi=1256 rcx=ff00", "rcx=ff56"},
	{"66b83412", "mov $0x1234,%ax", "rax=ffffffffffffffff", "rax=ffffffffffff1234"},
	{"0fb6c4", "movzx %ah,%eax", "rax=ffffffffffff80ff", "rax=80"},
	{"660fbe07", "movsbw (%rdi),%ax", "rax=ffffffff m0=80", "rax=ffffff80"},
	{"0fbec1", "movsx %cl,%eax", "rax=0 rcx=80", "rax=ffffff80"},
	{"4863c1", "movsxd %ecx,%rax", "rcx=80000000", "rax=ffffffff80000000"},
	{"6698", "cbtw", "rax=ff80", "rax=ff80"},
	{"98", "cwtl", "rax=ffffffffffff8000", "rax=ffff8000"},
	{"4898", "cltq", "rax=80000000", "rax=ffffffff80000000"},
	{"6699", "cwtd", "rax=8000 rdx=12345678", "rdx=1234ffff"},
	{"99", "cltd", "rax=7fffffff rdx=ffffffffffffffff", "rdx=0"},
	{"4899", "cqto", "rax=8000000000000000 rdx=0", "rdx=ffffffffffffffff"},
	{"0fc8", "bswap %eax", "rax=ffffffff12345678", "rax=78563412"},
	{"480f38f007", "movbe (%rdi),%rax", "m0=102030405060708", "rax=807060504030201"},
	{"660f38f107", "movbe %ax,(%rdi)", "rax=1234 m0=ffffffffffffffff", "m0=ffffffffffff3412"},
	{"8d4708", "lea 8(%rdi),%eax", "rax=ffffffffffffffff", "rax=10008"},
	{"678d0448", "lea (%eax,%ecx,2),%eax", "rax=ffffffff80000000 rcx=ffffffff40000000", "rax=0"},
	{"66 8d 04 09", "lea (%rcx,%rcx),%ax", "rax=ffff0000 rcx=9000", "rax=ffff2000"},
	{"d7", "xlat", "rbx=ffff888000010000 rax=ffff09 m1=aabb", "rax=ffffaa"},

	// Conditions.
	{"0f92c0", "setb %al", "rax=ff00 f=C", "rax=ff01"},
	{"0f9fc4", "setg %ah", "rax=ffff f=SO", "rax=1ff"},
	{"0f9ec0", "setle %al", "f=S", "rax=1"},
	{"0f9ac0", "setp %al", "rax=5 f=CZSO", "rax=0"},
	{"0f44c1", "cmove %ecx,%eax", "rax=ffffffffffffffff rcx=1 f=", "rax=ffffffff"},
	{"480f4dc1", "cmovge %rcx,%rax", "rax=0 rcx=1234567890abcdef f=SO", "rax=1234567890abcdef"},
	{"660f47c1", "cmova %cx,%ax", "rax=11112222 rcx=33334444 f=", "rax=11114444"},

	// Exchanges.
	{"4891", "xchg %rax,%rcx", "rax=1 rcx=2", "rax=2 rcx=1"},
	{"4190", "xchg %eax,%r8d", "rax=ffffffff00000001 r8=ffffffff00000002", "rax=2 r8=1"},
	{"86e0", "xchg %ah,%al", "rax=1234", "rax=3412"},
	{"f0480fc107", "lock xadd %rax,(%rdi)", "rax=1 m0=ffffffffffffffff f=", "rax=ffffffffffffffff m0=0 f=CPAZ"},
	{"0fc1c0", "xadd %eax,%eax", "rax=ffffffff00000003 f=", "rax=6 f=P"},
	{"f0480fb10f", "lock cmpxchg %rcx,(%rdi)", "rax=5 rcx=9 m0=5 f=", "m0=9 f=PZ"},
	{"f0480fb10f", "lock cmpxchg %rcx,(%rdi)", "rax=5 rcx=9 m0=6 f=", "rax=6 m0=6 f=CPAS"},
	{"0fb1c8", "cmpxchg %ecx,%eax", "rax=ffffffff00000005 rcx=9 f=", "rax=9 f=PZ"},
	{"480fc70f", "cmpxchg16b (%rdi)", "rax=1 rdx=2 rbx=3 rcx=4 m0=1 m1=2 f=CPASO", "m0=3 m1=4 f=CPAZSO"},
	{"480fc70f", "cmpxchg16b (%rdi)", "rax=1 rdx=2 rbx=3 rcx=4 m0=1 m1=9 f=CPAZSO", "rdx=9 m0=1 m1=9 f=CPASO"},
	{"0fc70f", "cmpxchg8b (%rdi)", "rax=ffffffff00000001 rdx=2 rbx=3 rcx=4 m0=200000001 f=", "m0=400000003 f=Z"},

	// Flags as a whole.
	{"9f", "lahf", "rax=0 f=CPAZSO", "rax=d700"},
	{"9e", "sahf", "rax=4100 f=PASO", "f=CZO"},
	{"f5", "cmc", "f=CO", "f=O"},
	{"f9", "stc", "f=O", "f=CO"},
	{"fd", "std", "f=", "f=D"},
	{"fb 0f01cb 9c58 fa 0f01ca", "sti; stac; pushf; pop %rax; cli; clac", "f=C", "rax=40203"},
	{"9c58", "pushf; pop %rax", "f=CZD", "rax=443"},
	{"68d70c0000 9d", "push $0xcd7; popf", "f=", "f=CPAZSDO"},

	// The stack.
	{"54 58", "push %rsp; pop %rax", "", "rax=ffffc90000001000"},
	{"6a80 58", "push $-128; pop %rax", "", "rax=ffffffffffffff80"},
	{"6650 6659", "push %ax; pop %cx", "rax=12345678 rcx=ffffffff", "rcx=ffff5678"},
	{"ff37 8f4708", "push (%rdi); pop 8(%rdi)", "m0=1234 m1=0", "m1=1234"},
	{"c8200000 c9", "enter $32,$0; leave", "rbp=77", ""},
	{"4889e5 c8080002 4889e8 4829e0 c9", "mov %rsp,%rbp; enter $8,$2; mov %rbp,%rax; sub %rsp,%rax; leave",
		"rbp=0 f=", "rax=18 rbp=ffffc90000001000 f=P"},

	// Strings, forwards and backwards.
	{"aa", "stosb", "rax=12 m0=ffffffffffffffff", "rdi=ffff888000010001 m0=ffffffffffffff12"},
	{"fd ab fc", "std; stosl; cld", "rax=12345678", "rdi=ffff88800000fffc m0=12345678 f="},
	{"f348ab", "rep stosq", "rax=7 rcx=3", "rcx=0 rdi=ffff888000010018 m0=7 m1=7 m2=7 m3=0"},
	{"4889fe 4883c708 f3a4", "mov %rdi,%rsi; add $8,%rdi; rep movsb", // overlapping: a byte at a time
		"rcx=10 m0=807060504030201 f=", "rcx=0 rsi=ffff888000010010 rdi=ffff888000010018 m1=807060504030201 m2=807060504030201 f=S u=PAZSC"},
	{"f2ae", "repne scasb", "rax=3 rcx=ff m0=403020100 f=", "rcx=fb rdi=ffff888000010004 f=PZ"},
	{"f3ae", "repe scasb", "rax=0 rcx=5 m0=0 f=", "rcx=0 rdi=ffff888000010005 f=PZ"},
	{"f3ae", "repe scasb", "rax=0 rcx=0 f=C", "f=C"},
	{"488d7710 f3a6", "lea 16(%rdi),%rsi; repe cmpsb", "rcx=8 m0=1122334455667788 m2=1122334455007788 f=",
		"rcx=5 rsi=ffff888000010013 rdi=ffff888000010003 f=CPAS"},
	{"4889fe 48ad", "mov %rdi,%rsi; lodsq", "m0=1234", "rax=1234 rsi=ffff888000010008"},
	{"67f3aa", "addr32 rep stosb", "rcx=ffffffff00000000", ""},

	// BMI.
	{"c4e2f0f2c2", "andn %rdx,%rcx,%rax", "rcx=f0 rdx=ff f=CO", "rax=f f= u=PA"},
	{"c4e2e8f7c1", "bextr %rdx,%rcx,%rax", "rcx=123456 rdx=804 f=CO", "rax=45 f= u=PAS"},
	{"c4e2e8f5c1", "bzhi %rdx,%rcx,%rax", "rcx=ff rdx=40 f=", "rax=ff f=C u=PA"},
	{"c4e2f8f3c9", "blsr %rcx,%rax", "rax=5 rcx=c f=C", "rax=8 f= u=PA"},
	{"c4e2f8f3d9", "blsi %rcx,%rax", "rcx=c f=", "rax=4 f=C u=PA"},
	{"c4e2f8f3d1", "blsmsk %rcx,%rax", "rcx=0 f=", "rax=ffffffffffffffff f=CS u=PA"},
	{"c4e2f3f6c2", "mulx %rdx,%rcx,%rax", "rdx=ffffffffffffffff f=C", "rax=fffffffffffffffe rcx=1"},
	{"c4e2f3f5c2", "pdep %rdx,%rcx,%rax", "rcx=5 rdx=f0f0", "rax=50"},
	{"c4e2f2f5c2", "pext %rdx,%rcx,%rax", "rcx=1234 rdx=ff0", "rax=23"},
	{"c4e3fbf0c104", "rorx $4,%rcx,%rax", "rcx=1 f=CZ", "rax=1000000000000000"},
	{"c4e2eaf7c1", "sarx %rdx,%rcx,%rax", "rcx=8000000000000000 rdx=43", "rax=f000000000000000"},
	{"66480f38f6c1", "adcx %rcx,%rax", "rax=ffffffffffffffff rcx=0 f=CO", "rax=0 f=CO"},
	{"f3480f38f6c1", "adox %rcx,%rax", "rax=1 rcx=1 f=CO", "rax=3 f=C"},

	// Counters.
	{"48ffc0 e2fb", "1: inc %rax; loop 1b", "rax=0 rcx=5 f=", "rax=5 rcx=0 f=P u=PAZSO"},
	{"e302 0f0b", "jrcxz 1f; ud2; 1:", "rcx=0", ""},
	{"67e302 0f0b", "jecxz 1f; ud2; 1:", "rcx=1200000000", ""},
	{"e101 f4", "loope 1f; hlt; 1:", "rcx=2 f=Z", "rcx=1 f=Z"},
}

func TestSemantics(t *testing.T) {
	for _, c := range semantics {
		t.Run(c.asm+" "+c.before, func(t *testing.T) {
			code, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
			require.NoError(t, err)
			m := newMachine(t, append(code, 0xf4), emu.Config{})
			r := m.CPU(0).Regs()
			r.GPR[emu.RDI] = data
			parseState(c.before).apply(t, m)
			before := *r
			stop := m.CPU(0).Run(emu.Limits{Insns: 10_000})
			require.Equal(t, emu.StopHalt, stop.Reason, stop.Error())
			require.Equal(t, text+uint64(len(code))+1, r.RIP)

			after := parseState(c.after)
			undefined := parseFlags(t, after["u"])
			delete(after, "u")
			for i, name := range emu.RegNames {
				if _, ok := after[name]; !ok {
					after[name] = strconv.FormatUint(before.GPR[i], 16)
				}
			}
			if _, ok := after["f"]; !ok {
				after["f"] = formatFlags(before.Flags)
			}
			after.check(t, m, undefined)
		})
	}
}
