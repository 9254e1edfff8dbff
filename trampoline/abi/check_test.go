package abi

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu/interp"
	"ftemu/trampoline"
)

func builtin(t testing.TB, name string, progs ...string) trampoline.Maker {
	m, err := trampoline.NewBuiltin(name, trampoline.BuiltinOptions{Progs: progs})
	require.NoError(t, err)
	return m
}

// all are all built-in layouts, those with programs in several variants.
func all(t testing.TB) []trampoline.Maker {
	var out []trampoline.Maker
	for _, info := range trampoline.Builtins() {
		if !strings.Contains(info.Options, "--progs") {
			out = append(out, builtin(t, info.Name))
			continue
		}
		out = append(out,
			builtin(t, info.Name, "fentry", "fmod_ret", "fexit"),
			builtin(t, info.Name, "fexit", "fexit", "fentry", "fmod_ret", "fmod_ret"))
	}
	return out
}

// TestBuiltins: every built-in layout keeps what it promises, in full coverage.
func TestBuiltins(t *testing.T) {
	for _, m := range all(t) {
		for _, ret := range []trampoline.Return{{}, {SLS: true}, {Thunk: trampoline.SampleThunk}} {
			rep, err := Check(m, CheckOptions{Engine: interp.New(), Return: ret, Seed: 1, Rounds: 48})
			require.NoError(t, err)
			require.Empty(t, rep.Faults, m.Name())
			for _, u := range rep.Unseen {
				require.Equal(t, "int3", u.Text, "%s: %+v", m.Name(), u)
			}
		}
	}
}

// asm is a trampoline given as machine code; it promises the whole ABI.
type asm struct {
	code     string // hexadecimal, blanks between instructions; CALL stands for a call of fn
	contract trampoline.Contract
}

func (a asm) Name() string                  { return "asm" }
func (a asm) Contract() trampoline.Contract { return a.contract }
func (a asm) Frame() []trampoline.Slot      { return nil }

func (a asm) Make(e trampoline.Env) (trampoline.Placed, error) {
	fn, err := e.Symbol("fn")
	if err != nil {
		return trampoline.Placed{}, err
	}
	code := trampoline.Code{Name: "asm", Addr: e.Addr}
	for _, insn := range strings.Fields(a.code) {
		if insn == "CALL" {
			call := trampoline.NewAsm("call", e.Addr+uint64(len(code.Bytes)))
			call.Call(fn)
			c, err := call.Code()
			if err != nil {
				return trampoline.Placed{}, err
			}
			code.Bytes = append(code.Bytes, c.Bytes...)
			continue
		}
		b, err := hex.DecodeString(insn)
		if err != nil {
			return trampoline.Placed{}, err
		}
		code.Bytes = append(code.Bytes, b...)
	}
	return trampoline.Placed{Code: code}, nil
}

// TestFaults has one trampoline for each way to break each rule. The whole set
// of rules that it breaks is compared, so that no rule is reported for nothing.
func TestFaults(t *testing.T) {
	abi := trampoline.Contract{Args: 6, RAX: true, Align: 16}
	with := func(f func(c *trampoline.Contract)) trampoline.Contract {
		c := abi
		f(&c)
		return c
	}
	two := with(func(c *trampoline.Contract) { c.Args, c.RAX = 2, false })
	none := with(func(c *trampoline.Contract) { c.Args, c.RAX = 0, false })
	for _, tt := range []struct {
		name  string
		asm   asm
		rules []Rule
		where string
		found string
	}{
		{"a bare ret is a correct trampoline", asm{"c3", abi}, nil, "", ""},
		{"a call that saves nothing", asm{"CALL c3", abi}, []Rule{RuleArgs}, "+0x5 ret", "rdi 0xdead000700000bad"},
		{"for functions without arguments", asm{"CALL c3", none}, nil, "", ""},
		{"one argument of two", asm{"57 57 CALL 5f 5f c3", two}, []Rule{RuleArgs}, "+0x9 ret", "rsi 0xdead000600000bad in the body"},
		{"rax changed", asm{"31c0 c3", abi}, []Rule{RuleArgs}, "+0x2 ret", "rax 0x0 in the body"},
		{"rbx changed", asm{"31db c3", abi}, []Rule{RuleSaved}, "+0x2 ret", "rbx 0x0 on the way into the original"},
		{"rbx in use while the original runs", asm{"53 31db 57 ff542410 5f 5b 4883c408 c3", none}, nil, "", ""},
		{"r15 changed after the original", asm{"50 50 ff542410 4531ff 58 58 4883c408 c3", none}, []Rule{RuleSaved, RuleResult}, "+0xf ret", "r15 0x0 in the parent"},
		{"rsp low", asm{"ff742408 ff742408 c3", abi}, []Rule{RuleStack}, "+0x8 ret", "off by -16"},
		{"the wrong return address", asm{"6a01 ff742408 c3", abi}, []Rule{RuleReturn}, "+0x6 ret", "return address 0x1"},
		{"misaligned call", asm{"50 CALL 58 c3", none}, []Rule{RuleAlign}, "+0x1 call", "8 bytes past a multiple"},
		{"misaligned call of the original", asm{"50 ff542408 59 4883c408 c3", none}, []Rule{RuleAlign}, "+0x1 call", "call of the body"},
		{"the kernel's alignment", asm{"50 CALL 58 c3", with(func(c *trampoline.Contract) { c.Args, c.RAX, c.Align = 0, false, 8 })}, nil, "", ""},
		{"direction flag at a call", asm{"fd CALL fc c3", none}, []Rule{RuleDF}, "+0x1 call", "set at the call of fn"},
		{"direction flag on the way out", asm{"fd c3", abi}, []Rule{RuleDF}, "+0x1 ret", "set on the way into the original"},
		{"return slot written", asm{"4883042400 c3", abi}, []Rule{RuleWrites}, "+0x0 add", "the return slot (entry rsp+0x0)"},
		{"return slot written as declared", asm{"4883042400 c3", with(func(c *trampoline.Contract) { c.WritesReturn = true })}, nil, "", ""},
		{"caller's frame written", asm{"48c744241000000000 c3", abi}, []Rule{RuleWrites}, "+0x0 movq", "the caller's frame (entry rsp+0x10)"},
		{"return address written", asm{"48c744240800000000 c3", abi}, []Rule{RuleReturn, RuleWrites}, "+0x9 ret", "return address 0x0"},
		{"red zone", asm{"488944 24f8 488b4424f8 c3", abi}, []Rule{RuleRedZone}, "+0x5 mov", "8 bytes read 8 below rsp"},
		{"red zone across a call", asm{"48897c24f0 CALL 488b7c24f0 c3", with(func(c *trampoline.Contract) { c.Args, c.RAX = 1, false })}, []Rule{RuleArgs, RuleRedZone}, "+0xf ret", "rdi 0x"},
		{"changed ip ignored", asm{"e8XX 4883c408 c3", none}, []Rule{RuleIP}, "+0x0 call", "the body at"},
		{"changed ip ignored as declared", asm{"e8XX 4883c408 c3", with(func(c *trampoline.Contract) { c.Args, c.RAX, c.Exclusive = 0, false, true })}, nil, "", ""},
		{"callback's ip ignored", asm{"50 50 CALL 58 58 c3", with(func(c *trampoline.Contract) {
			c.Args, c.RAX, c.IP = 0, false, trampoline.Word{Off: -8, Has: true}
		})}, []Rule{RuleIP}, "+0x9 ret", "the body at"},
		{"original twice", asm{"ff1424 c3", none}, []Rule{RuleOnce}, "+0x3 ret", "entered 2 times"},
		{"result lost", asm{"ff1424 31c0 4883c408 c3", none}, []Rule{RuleResult}, "+0x9 ret", "rax 0x0 in the parent"},
		{"skip is allowed", asm{"4883c408 c3", none}, nil, "", ""},
		{"int3", asm{"cc", abi}, []Rule{RuleEnd}, "", "int3 that nobody claimed"},
		{"endless", asm{"ebfe", abi}, []Rule{RuleEnd}, "+0x0 jmp", "instruction limit"},
		{"wild", asm{"6a00 c3", abi}, []Rule{RuleEnd}, "", "fetch from unmapped memory at 0x0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.asm.code = bodyCalls(t, tt.asm.code)
			rep, err := Check(tt.asm, CheckOptions{Engine: interp.New(), Seed: 3, Rounds: 20})
			require.NoError(t, err)
			var rules []Rule
			for _, f := range rep.Faults {
				rules = append(rules, f.Rule)
				require.NotEmpty(t, f.Expected)
			}
			require.Equal(t, tt.rules, rules, "%+v", rep.Faults)
			if len(rules) > 0 {
				require.Contains(t, rep.Faults[0].Where, tt.where)
				require.Contains(t, rep.Faults[0].Found, tt.found)
			}
		})
	}
}

// bodyCalls replaces e8XX by a call of the body.
func bodyCalls(t *testing.T, code string) string {
	before, _, ok := strings.Cut(code, "e8XX")
	if !ok {
		return code
	}
	b, err := hex.DecodeString(strings.ReplaceAll(before, " ", ""))
	require.NoError(t, err)
	call := trampoline.NewAsm("call", trampoline.SampleAddr+uint64(len(b)))
	call.Call(trampoline.SampleBody)
	c, err := call.Code()
	require.NoError(t, err)
	return strings.Replace(code, "e8XX", hex.EncodeToString(c.Bytes), 1)
}

// TestCoverage: code that no state reaches is reported.
func TestCoverage(t *testing.T) {
	rep, err := Check(asm{"eb02 31c0 c3 0f0b", trampoline.Contract{Args: 6, RAX: true, Align: 16}}, CheckOptions{Engine: interp.New(), Rounds: 3})
	require.NoError(t, err)
	require.Empty(t, rep.Faults)
	require.Equal(t, []Range{{2, 2, "xor    %eax,%eax"}, {5, 2, "ud2"}}, rep.Unseen)
}

// TestSeeds: a seed gives the same report each time.
func TestSeeds(t *testing.T) {
	m := asm{"50 CALL 58 c3", trampoline.Contract{Align: 16}}
	check := func(seed uint64) *Report {
		rep, err := Check(m, CheckOptions{Engine: interp.New(), Seed: seed, Rounds: 2})
		require.NoError(t, err)
		return rep
	}
	require.Equal(t, check(5), check(5))
	require.NotEqual(t, check(5).Faults[0].Entry, check(6).Faults[0].Entry)
}

// TestBPFBranches: programs that are not run, and fmod_ret programs that
// replace the body, are among the cases.
func TestBPFBranches(t *testing.T) {
	rep, err := Check(builtin(t, "bpf", "fmod_ret", "fexit"), CheckOptions{Engine: interp.New(), Rounds: 20, Seed: 9})
	require.NoError(t, err)
	require.True(t, rep.OK())
	require.Equal(t, uint64(16), rep.Aligned)
	require.Equal(t, []string{"rax", "rdx", "rcx", "r8", "r9", "r10", "r11"}, rep.Lost, "two arguments are kept")
}

// TestMeasure has the numbers that can be counted by hand in the listings.
func TestMeasure(t *testing.T) {
	for _, tt := range []struct {
		m    trampoline.Maker
		want Cost
	}{
		{asm{"c3", trampoline.Contract{Align: 16}}, Cost{Name: "asm", Bytes: 1, Insns: 1, Reads: 1, ReadBytes: 8}},
		{asm{"57 CALL 5f c3", trampoline.Contract{Align: 8}}, Cost{
			Name: "asm", Bytes: 8, Insns: 4, Stack: 16, Reads: 2, ReadBytes: 16, Writes: 2, WriteBytes: 16, Calls: 1, Saved: []string{"rdi"},
		}},
		// call *(%rsp); add $8,%rsp; ret: the return to the parent finds the
		// call at the site on the return stack.
		{asm{"ff1424 4883c408 c3", trampoline.Contract{Align: 16}}, Cost{
			Name: "asm", Bytes: 8, Insns: 3, Stack: 8, Reads: 2, ReadBytes: 16, Writes: 1, WriteBytes: 8, Calls: 1, Indirect: 1,
			Mispredicted: 1, StackLeft: 1,
		}},
		// add $8,%rsp; jmp body: two calls, one return.
		{asm{"4883c408 ff6424f8", trampoline.Contract{Align: 16}}, Cost{
			Name: "asm", Bytes: 8, Insns: 2, Reads: 1, ReadBytes: 8, Indirect: 1, Mispredicted: 1, StackLeft: 1,
		}},
		{builtin(t, "ftrace_caller"), Cost{
			Name: "ftrace_caller", Bytes: 199, Insns: 33, Stack: 0xb0, Reads: 13, ReadBytes: 104, Writes: 14, WriteBytes: 112, Calls: 1,
			Saved: []string{"rax", "rcx", "rdx", "rbp", "rsi", "rdi", "r8", "r9"},
		}},
	} {
		got, err := Measure(tt.m, interp.New(), trampoline.Return{})
		require.NoError(t, err)
		require.Equal(t, tt.want, *got)
	}
	_, err := Measure(asm{"cc", trampoline.Contract{Align: 16}}, interp.New(), trampoline.Return{})
	require.ErrorContains(t, err, "expected return to the parent, found int3")
}

// TestFrames: what is found by execution lies in the slots that the descriptions
// name, and what a slot is named after is what it holds.
func TestFrames(t *testing.T) {
	for _, m := range all(t) {
		f, err := FrameOf(m, interp.New(), trampoline.Return{})
		require.NoError(t, err)
		end := f.Size + 16
		for _, p := range f.Parts {
			require.NotEmpty(t, p.Name, "%s: %+v", m.Name(), p)
			require.Equal(t, end, p.Off+p.Size, "%s: no holes: %+v", m.Name(), p)
			end = p.Off
			if reg, ok := strings.CutPrefix(p.Name, "saved r"); ok && len(reg) == 2 {
				require.Equal(t, []string{"r" + reg}, p.Content, m.Name())
			}
			if len(p.Content) > 0 && len(p.Name) <= 3 && p.Name[0] == 'r' && p.Name != "rip" && p.Name != "rsp" {
				require.Equal(t, p.Name, p.Content[0], m.Name())
			}
		}
		require.Zero(t, end, m.Name())
		require.Equal(t, f.Size+8, f.Deep, "%s: its calls push one word more", m.Name())
	}
	f, err := FrameOf(asm{"50 57 CALL 5f 58 c3", trampoline.Contract{Align: 16}}, interp.New(), trampoline.Return{})
	require.NoError(t, err)
	require.Equal(t, []Part{
		{Off: 24, Size: 8, Slot: 8, Name: "parent's return address", Content: []string{"return address of the traced function"}},
		{Off: 16, Size: 8, Slot: 0, Name: "return slot", Content: []string{"address behind the site"}},
		{Off: 8, Size: 8, Slot: -8, Content: []string{"rax"}},
		{Off: 0, Size: 8, Slot: -16, Content: []string{"rdi"}},
	}, f.Parts)
}
