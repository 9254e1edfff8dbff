package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trampoline"
)

func parse(t testing.TB, text string) *Layout {
	l, err := Parse("t.layout", strings.NewReader(text))
	require.NoError(t, err)
	return l
}

func listing(t testing.TB, m trampoline.Maker) string {
	var s trampoline.Sample
	p, err := m.Make(s.Env(trampoline.Return{}))
	require.NoError(t, err)
	return p.Code.Listing(s.Name)
}

// instructions is the listing reduced to its instructions.
func instructions(t testing.TB, m trampoline.Maker) []string {
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(listing(t, m)), "\n")[1:] {
		line, _, _ = strings.Cut(line, " ; ")
		if len(line) > 43 { // no label
			out = append(out, strings.Join(strings.Fields(line[43:]), " "))
		}
	}
	return out
}

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "layout a\nleave to return", []string{"ret"}},
		{"skip", "layout a\nset result 777\nleave to parent", []string{"mov $0x309,%eax", "add $0x8,%rsp", "ret"}},
		{"jump to the body", "layout a\nleave to body", []string{"add $0x8,%rsp", "jmp ffffffff81001005 <body>"}},
		{"jump to another", "layout a\nframe 16\nleave to other", []string{"sub $0x10,%rsp", "add $0x10,%rsp", "jmp ffffffff81008000 <other>"}},
		{"the frame is aligned where nothing else is said", "layout a\nslot rdi 8\nsave rdi\ncall f(rdi)\nrestore rdi\nleave to return", []string{
			"sub $0x10,%rsp", "mov %rdi,(%rsp)", "mov (%rsp),%rdi", "call ffffffff81008000 <f>", "mov (%rsp),%rdi", "add $0x10,%rsp", "ret"}},
		{"with a frame pointer too", "layout a\nframe rbp\ncall f()\nleave to return", []string{
			"push %rbp", "mov %rsp,%rbp", "sub $0x8,%rsp", "call ffffffff81008000 <f>", "leave", "ret"}},
		{"without calls the frame is what the slots need", "layout a\nslot x 3\nslot rax 8 at 8\nsave rax\nrestore rax\nleave to return", []string{
			"sub $0x10,%rsp", "mov %rax,0x8(%rsp)", "mov 0x8(%rsp),%rax", "add $0x10,%rsp", "ret"}},
		{"flags", "layout a\nslot f 8\nsave flags in f\nrestore flags from f\nleave to return", []string{
			"lea -0x8(%rsp),%rsp", "pushf", "pop (%rsp)", "push (%rsp)", "popf", "lea 0x8(%rsp),%rsp", "ret"}},
		{"every value", "layout a\nframe 0x20\nslot x 8\nslot buf 24\nset x -1\nset x 0x123456789\nset x result\nset return x\nset result x\n" +
			"call f(return, site, parent, id, x, 0)\ncall g(&frame, &return, &buf, result, 0xffffffffffffffff)\ncall original\ncall body\nleave to return", []string{
			"sub $0x20,%rsp",
			"movq $0xffffffffffffffff,(%rsp)",
			"movabs $0x123456789,%r11", "mov %r11,(%rsp)",
			"mov %rax,(%rsp)",
			"mov (%rsp),%r11", "mov %r11,0x20(%rsp)",
			"mov (%rsp),%rax",
			"mov 0x20(%rsp),%rdi", "mov 0x20(%rsp),%rsi", "sub $0x5,%rsi", "mov 0x28(%rsp),%rdx", "mov $0x7,%ecx", "mov (%rsp),%r8", "xor %r9d,%r9d", "call ffffffff81008000 <f>",
			"mov %rsp,%rdi", "lea 0x20(%rsp),%rsi", "lea 0x8(%rsp),%rdx", "mov %rax,%rcx", "movabs $0xffffffffffffffff,%r8", "call ffffffff81008040 <g>",
			"mov 0x20(%rsp),%r11", "call *%r11",
			"call ffffffff81001005 <body>",
			"add $0x20,%rsp", "ret"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, instructions(t, parse(t, tt.text)))
		})
	}
}

func TestListing(t *testing.T) {
	require.Equal(t, `a: 31 bytes at 0xffffffffc0200000
   0  48 83 ec 10                          sub    $0x10,%rsp                     ; frame of 0x10 bytes
   4  48 89 3c 24                          mov    %rdi,(%rsp)                    ; to slot rdi
   8  48 8b 3c 24                          mov    (%rsp),%rdi                    ; call f( rdi , 1 )
   c  be 01 00 00 00                       mov    $0x1,%esi
  11  e8 ea 7f e0 c0                       call   ffffffff81008000 <f>
  16  48 8b 3c 24                          mov    (%rsp),%rdi                    ; from slot rdi
  1a  48 83 c4 10                          add    $0x10,%rsp                     ; leave to return
  1e  c3                                   ret
`, listing(t, parse(t, "layout a # comment\n\nslot rdi 8\nsave rdi in rdi\n call  f( rdi , 1 )\nrestore rdi\nleave to return\n")))
}

func TestContract(t *testing.T) {
	word := func(off int64) trampoline.Word { return trampoline.Word{Off: off, Has: true} }
	for _, tt := range []struct {
		text string
		want trampoline.Contract
	}{
		{"leave to return", trampoline.Contract{Args: 6, RAX: true, Align: 16}},
		{"args 0\nexclusive\nleave to body", trampoline.Contract{Align: 16, Exclusive: true}},
		{"args 6\nset return 1\nleave to return", trampoline.Contract{Args: 6, Align: 16, WritesReturn: true}},
		{"call f(&return)\nleave to return", trampoline.Contract{Args: 6, RAX: true, Align: 16, IP: word(0)}},
		{"slot ip 8\nset ip return\ncall f(ip)\nleave to return", trampoline.Contract{Args: 6, RAX: true, Align: 16}},
		{"slot a 8\nslot ip 8\ncall f(&ip)\nleave to return", trampoline.Contract{Args: 6, RAX: true, Align: 16, IP: word(-8)}},
		{"frame rbp\nslot a 8\nslot ip 8\ncall f(&frame)\nleave to return", trampoline.Contract{Args: 6, RAX: true, Align: 16, IP: word(-24)}},
	} {
		require.Equal(t, tt.want, parse(t, "layout a\n"+tt.text).Contract(), tt.text)
	}
}

func TestFrame(t *testing.T) {
	l := parse(t, "layout a\nframe 0x20 rbp\nslot a 4\nslot b 16 at 0x10\nleave to return")
	require.Equal(t, []trampoline.Slot{{Name: "a", Off: -0x28, Size: 4}, {Name: "b", Off: -0x18, Size: 16}, {Name: "saved rbp", Off: -8, Size: 8}}, l.Frame())
}

func TestErrors(t *testing.T) {
	const head = "layout a\nslot rdi 8\nslot small 4\n"
	for _, tt := range []struct {
		text string
		want string
	}{
		{"", `t.layout:1: no name, expected layout NAME`},
		{"leave to return", `t.layout:1: no name, expected layout NAME`},
		{"layout a", `t.layout:1: the last step does not leave, expected leave to return, parent, body or a name`},
		{"layout", `t.layout:1: found "layout", expected layout NAME`},
		{"layout a b", `t.layout:1: found "layout a b", expected layout NAME`},
		{"layout 1", `t.layout:1: "1" is no name, expected letters, digits, _ and -`},
		{"layout a\nlayout b", `t.layout:2: a second name "b", it is "a" already`},
		{"layuot a", `t.layout:1: found "layuot", expected layout, args, exclusive, frame, slot, save, restore, set, call or leave`},
		{"args 7", `t.layout:1: args 7, expected 0 to 6: trampolines of Linux 6.1 take no more`},
		{"args -1", `t.layout:1: args -1, expected 0 to 6`},
		{"args x", `t.layout:1: found "x", expected a number`},
		{"args", `t.layout:1: found "args", expected args N`},
		{"exclusive yes", `t.layout:1: found "exclusive yes", expected exclusive`},
		{"frame 4104", `t.layout:1: frame of 0x1008 bytes, expected at most a page (0x1000)`},
		{"frame -8", `t.layout:1: frame of -8 bytes, expected 0 to 4096`},
		{"frame 12", `t.layout:1: frame of 0xc bytes, expected a multiple of 8`},
		{"frame 8 16", `t.layout:1: found "frame 8 16", expected frame [SIZE] [rbp]`},
		{"frame rsp", `t.layout:1: found "rsp", expected a number`},
		{"frame 8\nframe 8", `t.layout:2: a second frame, expected one`},
		{"slot x", `t.layout:1: found "slot x", expected slot NAME SIZE [at OFFSET]`},
		{"slot x 8 on 8", `t.layout:1: found "slot x 8 on 8", expected slot NAME SIZE [at OFFSET]`},
		{"slot x 0", `t.layout:1: slot x of 0 bytes, expected 1 to 4096`},
		{"slot x 8 at -8", `t.layout:1: slot x of 0x8 bytes at -0x8, expected a frame of at most a page (0x1000)`},
		{"slot x 8 at 4089", `t.layout:1: slot x of 0x8 bytes at 0xff9, expected a frame of at most a page (0x1000)`},
		{"slot x 9223372036854775807", `t.layout:1: slot x of 9223372036854775807 bytes, expected 1 to 4096`},
		{"slot x 8 at 9223372036854775807", `t.layout:1: slot x of 0x8 bytes at 0x7fffffffffffffff, expected a frame`},
		{"slot x 8\nslot y 8 at 4", `t.layout:2: slot y at 0x4 to 0xb overlaps slot x at 0x0 to 0x7 (line 1)`},
		{"slot x 8\nslot x 8", `t.layout:2: a second slot x, the first is in line 1`},
		{"slot return 8", `t.layout:1: a slot cannot be named return, which has a meaning of its own`},
		{"slot frame 8", `t.layout:1: a slot cannot be named frame, which has a meaning of its own`},
		{"slot a,b 8", `t.layout:1: "a,b" is no name`},
		{"layout a\nframe 8\nslot x 16\nleave to return", `t.layout:4: slot x ends at 0x10, the frame has 0x8 bytes`},
		{head + "save rdi\nslot x 8", `t.layout:5: slot after the first step, expected it before`},
		{head + "leave to return\nsave rdi", `t.layout:5: save after leave, expected nothing behind it`},
		{head + "save", `t.layout:4: found "save", expected save REG... or save REG in SLOT`},
		{head + "save rdi in", `t.layout:4: found "save rdi in", expected save`},
		{head + "save rfi", `t.layout:4: unknown register "rfi", expected rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 to r15 or flags`},
		{head + "save edi", `t.layout:4: unknown register "edi"`},
		{head + "save rsp", `t.layout:4: rsp cannot be saved or restored, the frame does that`},
		{head + "save rsi", `t.layout:4: unknown slot "rsi", expected rdi, small`},
		{"layout a\nsave rsi", `t.layout:2: unknown slot "rsi", there are none`},
		{head + "save rdi in return", `t.layout:4: return is no slot, expected rdi and a slot's name`},
		{head + "save rdi in small", `t.layout:4: slot small has 4 bytes, expected 8 for a register`},
		{head + "restore rdi", `t.layout:4: slot rdi is read, but nothing was stored in it before`},
		{head + "restore rdi in rdi", `t.layout:4: found "restore rdi in rdi", expected restore REG`},
		{head + "set rdi", `t.layout:4: found "set rdi", expected set SLOT|return|result VALUE`},
		{head + "set rsi 1", `t.layout:4: unknown slot "rsi"`},
		{head + "set rdi 99999999999999999999", `t.layout:4: found "99999999999999999999", expected a number of 64 bits`},
		{head + "set rdi rsi", `t.layout:4: rsi is a register, expected a slot in which it was saved`},
		{head + "set rdi x", `t.layout:4: unknown slot "x"`},
		{head + "set rdi &x", `t.layout:4: unknown slot "x"`},
		{head + "set rdi small", `t.layout:4: slot small has 4 bytes`},
		{head + "call", `t.layout:4: found "call", expected call NAME(VALUE, ...), call original or call body`},
		{head + "call f", `t.layout:4: found "call f", expected call NAME(VALUE, ...)`},
		{head + "call f(", `t.layout:4: found "call f(", expected`},
		{head + "call f() x", `t.layout:4: found "call f() x", expected`},
		{head + "call (1)", `t.layout:4: found "call (1)", expected`},
		{head + "call original()", `t.layout:4: found "call original()", expected`},
		{head + "call f(1,,2)", `t.layout:4: unknown slot ""`},
		{head + "call f(rdi)", `t.layout:4: slot rdi is read, but nothing was stored in it before`},
		{head + "call f(1,2,3,4,5,6,7)", `t.layout:4: call of f with 7 arguments, expected at most 6: registers carry no more`},
		{head + "leave", `t.layout:4: found "leave", expected leave to return|parent|body|NAME`},
		{head + "leave to 7", `t.layout:4: found "leave to 7", expected leave to`},
		{"layout " + strings.Repeat("a", maxLine), `t.layout:1: a line of more than 4096 bytes`},
	} {
		l, err := Parse("t.layout", strings.NewReader(tt.text))
		require.Nil(t, l, tt.text)
		require.ErrorContains(t, err, tt.want)
		require.NotContains(t, err.Error(), "\n")
		var at *Error
		require.ErrorAs(t, err, &at)
	}
}

func TestMisaligned(t *testing.T) {
	l := parse(t, "layout a\nframe 8\nset result 1\ncall f()\nleave to return")
	var s trampoline.Sample
	_, err := l.Make(s.Env(trampoline.Return{}))
	require.ErrorIs(t, err, ErrMisaligned)
	require.EqualError(t, err, "t.layout:4: call with a misaligned stack: the frame takes 0x8 bytes in all, expected a multiple of 16")
	p, err := l.MakeUnchecked(s.Env(trampoline.Return{}))
	require.NoError(t, err)
	require.NotEmpty(t, p.Code.Bytes)
	for _, text := range []string{"frame 8 rbp\ncall original\nleave to parent", "frame 8\nleave to return", "frame 0x10\ncall body\nleave to parent"} {
		require.NoError(t, parse(t, "layout a\n"+text).CheckAlignment(), text)
	}
	for _, text := range []string{"frame 8\ncall original\nleave to parent", "frame 0x10 rbp\ncall body\nleave to parent"} {
		require.ErrorIs(t, parse(t, "layout a\n"+text).CheckAlignment(), ErrMisaligned, text)
	}
}

func TestMakeErrors(t *testing.T) {
	env := trampoline.Env{Addr: trampoline.SampleAddr, Symbol: func(name string) (uint64, error) {
		if name == "far" {
			return 0x7fff00000000, nil
		}
		return 0, fmt.Errorf("unknown function %q", name)
	}}
	for _, tt := range []struct{ text, want string }{
		{"call body\nleave to return", "t.layout:2: body is meant for one function, expected to be told which"},
		{"leave to body", "t.layout:2: body is meant for one function, expected to be told which"},
		{"call f()\nleave to return", `t.layout:2: unknown function "f"`},
		{"leave to f", `t.layout:2: unknown function "f"`},
		{"leave to far", `t.layout: a at 0xffffffffc0200000: +0x0: jmp to 0x7fff00000000: 32 bits do not reach: out of reach`},
	} {
		_, err := parse(t, "layout a\n"+tt.text).Make(env)
		require.ErrorContains(t, err, tt.want)
	}
	_, err := Parse("t.layout", strings.NewReader("layout a\n"+strings.Repeat("call f()\n", maxSteps+1)))
	require.ErrorContains(t, err, "more than 4096 steps")
	var s trampoline.Sample
	_, err = parse(t, "layout a\n"+strings.Repeat("call f()\n", 1000)+"leave to return").Make(s.Env(trampoline.Return{}))
	require.ErrorIs(t, err, trampoline.ErrTooLarge)
}

func examples(t testing.TB) []string {
	files, err := filepath.Glob("../../examples/layouts/*.layout")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// FuzzParse: a layout parses or gives a one-line error with its place; what
// parses compiles to code that fits, or says why not.
func FuzzParse(f *testing.F) {
	for _, file := range examples(f) {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(string(data))
	}
	f.Add("layout a\nargs 2\nexclusive\nframe 0x20 rbp\nslot x 8 at 0x10\nsave flags in x\nset return 0x123456789\ncall f(&frame, site)\nleave to other")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse("t.layout", strings.NewReader(text))
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			require.True(t, strings.HasPrefix(err.Error(), "t.layout:"), err)
			return
		}
		var s trampoline.Sample
		p, err := l.MakeUnchecked(s.Env(trampoline.Return{SLS: true}))
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NotEmpty(t, p.Code.Bytes)
		for _, slot := range l.Frame() {
			require.LessOrEqual(t, slot.Off+slot.Size, int64(0))
			require.GreaterOrEqual(t, slot.Off, int64(-MaxFrame-8))
		}
		c := l.Contract()
		require.LessOrEqual(t, c.Args, maxArgs)
	})
}
