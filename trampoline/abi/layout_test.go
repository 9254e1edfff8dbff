package abi_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu/interp"
	"ftemu/trampoline"
	"ftemu/trampoline/abi"
	"ftemu/trampoline/layout"
	"ftemu/x86"
)

// rulesBroken parses and checks a layout and returns the names of the rules that it breaks.
func rulesBroken(t *testing.T, text string) []string {
	l, err := layout.Parse("t.layout", strings.NewReader(text))
	require.NoError(t, err)
	return rulesBrokenBy(t, l)
}

func rulesBrokenBy(t *testing.T, m trampoline.Maker) []string {
	rep, err := abi.Check(m, abi.CheckOptions{Engine: interp.New(), Seed: 1, Rounds: 8})
	require.NoError(t, err)
	var rules []string
	for _, f := range rep.Faults {
		rules = append(rules, f.Rule.String())
	}
	return rules
}

// TestLayoutMistakes makes the mistakes that people make in a correct layout,
// one at a time; each must be found.
func TestLayoutMistakes(t *testing.T) {
	data, err := os.ReadFile("../../examples/layouts/lean.layout")
	require.NoError(t, err)
	lean := string(data)
	require.Empty(t, rulesBroken(t, lean))
	const restore = "restore rdi rsi rdx rcx r8 r9 rax"
	change := func(old, new string) string {
		require.Equal(t, 1, strings.Count(lean, old), old)
		return strings.Replace(lean, old, new, 1)
	}
	for _, reg := range strings.Fields(restore)[1:] {
		require.Equal(t, []string{"arguments"}, rulesBroken(t, change(restore, strings.Replace(restore+" ", " "+reg+" ", " ", 1))), "%s is not restored", reg)
	}
	for _, tt := range []struct {
		name, old, new string
		want           []string
	}{
		{"ip is not put back", "set return ip\n", "", []string{"changed-ip"}},
		{"ip is put back from the wrong slot", "set return ip\n", "set return rdi\n", []string{"end"}},
		{"the parent is returned to, the original not called", "leave to return", "leave to body", []string{"changed-ip"}},
		{"the original runs twice", "leave to return", "call original\nleave to return", []string{"once"}},
		{"the original's result is lost", "leave to return", "call original\nset result 1\nleave to parent", []string{"result"}},
		{"swapped arguments", restore, "restore rdi from rsi\nrestore rsi from rdi\nrestore rdx rcx r8 r9 rax", []string{"arguments"}},
		{"a callee-saved register in use", restore, restore + "\nrestore rbx from rdi", []string{"callee-saved"}},
		{"the frame pointer in use", restore, restore + "\nrestore rbp from rdi", []string{"callee-saved"}},
		{"saved after the call", "save rdi rsi rdx rcx r8 r9 rax\nset ip return\ncall callback(id, &ip, rdi, rsi)",
			"set ip return\ncall callback(id, &ip)\nsave rdi rsi rdx rcx r8 r9 rax", []string{"arguments"}},
	} {
		require.Equal(t, tt.want, rulesBroken(t, change(tt.old, tt.new)), tt.name)
	}
}

// without is a trampoline with one instruction made nops.
type without struct {
	trampoline.Maker
	off, n int
}

func (w without) Make(e trampoline.Env) (trampoline.Placed, error) {
	p, err := w.Maker.Make(e)
	if err == nil {
		for i := range w.n {
			p.Code.Bytes[w.off+i] = 0x90
		}
	}
	return p, err
}

// TestMissingInstructions leaves out each instruction of ftrace_caller in turn.
// The check finds all that the traced function and its caller depend on; what
// only the callback depends on is none of its business.
func TestMissingInstructions(t *testing.T) {
	m, err := trampoline.NewBuiltin("ftrace_caller", trampoline.BuiltinOptions{})
	require.NoError(t, err)
	var s trampoline.Sample
	p, err := m.Make(s.Env(trampoline.Return{}))
	require.NoError(t, err)
	var unnoticed []string
	code := p.Code.Bytes[:p.Code.Labels[trampoline.LabelEnd]]
	for off := 0; off < len(code); {
		text, n, err := x86.Disasm(code[off:], p.Code.Addr+uint64(off), s.Name)
		require.NoError(t, err)
		if rulesBrokenBy(t, without{m, off, n}) == nil {
			unnoticed = append(unnoticed, strings.Join(strings.Fields(text), " "))
		}
		off += n
	}
	require.Equal(t, []string{
		"movq $0x0,0x78(%rsp)", // orig_rax, which this caller ignores
		"mov 0xb0(%rsp),%rsi",  // argument: the parent
		"sub $0x5,%rdi",        // argument: the site
		"lea 0xb0(%rsp),%rcx",  // rsp in the registers
		"mov %rcx,0x98(%rsp)",  //
		"mov -0x3f1f802e(%rip),%rdx # ffffffff81008040 <function_trace_op>",
		"lea (%rsp),%rcx",      // argument: the registers
		"movq $0x0,0x88(%rsp)", // cs in the registers
		"mov 0x20(%rsp),%rbp",  // callbacks keep rbp
	}, unnoticed)
}
