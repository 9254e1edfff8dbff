package listing

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	l, err := Parse("ef", strings.NewReader(strings.Join([]string{
		"tgt_a [ftt] (1)      \ttramp: 0xffffffffc020a000 (cb+0x0/0x100 [ftt]) ->cb+0x0/0x100 [ftt]",
		"tgt_b [ftt] (2)       ->arch_ftrace_ops_list_func+0x0/0x1d0",
		"vfs_read (3) R     ->arch_ftrace_ops_list_func+0x0/0x1d0",
		"cmdline_proc_show (1)   I  \ttramp: 0xffffffffc0208000 (klp_ftrace_handler+0x0/0x110) ->klp_ftrace_handler+0x0/0x110\r",
		"tgt_c [ftt] (2) R I D ->arch_ftrace_ops_list_func+0x0/0x1d0",
		"\tdirect-->tr1+0x0/0x10 [ftt]",
		"tgt_d [ftt] (1) R   D\ttramp: ftrace_regs_caller+0x0/0x58 (call_direct_funcs+0x0/0x30)",
		"\tdirect-->bpf_trampoline_6442489164+0x0/0x85",
		"",
		// Later versions.
		"vfs_write (1) R   D   M \ttramp: ftrace_regs_caller+0x0/0x65 (call_direct_funcs+0x0/0x20)",
		"\tdirect(jmp)-->bpf_trampoline_6442489165+0x0/0x85",
		"kfree.part.0 (1)         \ttramp: 0xffffffffc0300000 (function_trace_call+0x0/0x150) ->ftrace_ops_assist_func+0x0/0xd0",
		"schedule (1)       O   \tops: graph_ops+0x0/0x140 (ftrace_graph_func+0x0/0x80)\tsubops: {ent:trace_graph_entry+0x0/0x180 ret:trace_graph_return+0x0/0x90}",
		"broken (1)\ttramp: ERROR!",
	}, "\n")))
	require.NoError(t, err)
	cb := Symbol{Name: "cb", Module: "ftt"}
	list := Symbol{Name: "arch_ftrace_ops_list_func"}
	klp := Symbol{Name: "klp_ftrace_handler"}
	assist := Symbol{Name: "ftrace_ops_assist_func"}
	require.Equal(t, []Entry{
		{Line: 1, Func: "tgt_a", Module: "ftt", Count: 1, Tramps: []Tramp{{Symbol{Addr: 0xffffffffc020a000}, cb, &cb}}},
		{Line: 2, Func: "tgt_b", Module: "ftt", Count: 2, Calls: &list},
		{Line: 3, Func: "vfs_read", Count: 3, Regs: true, Calls: &list},
		{Line: 4, Func: "cmdline_proc_show", Count: 1, IPModify: true, Tramps: []Tramp{{Symbol{Addr: 0xffffffffc0208000}, klp, &klp}}},
		{Line: 5, Func: "tgt_c", Module: "ftt", Count: 2, Regs: true, IPModify: true, Direct: true, Calls: &list, DirectTo: &Symbol{Name: "tr1", Module: "ftt"}},
		{Line: 7, Func: "tgt_d", Module: "ftt", Count: 1, Regs: true, Direct: true,
			Tramps:   []Tramp{{Symbol{Name: "ftrace_regs_caller"}, Symbol{Name: "call_direct_funcs"}, nil}},
			DirectTo: &Symbol{Name: "bpf_trampoline_6442489164"}},
		{Line: 10, Func: "vfs_write", Count: 1, Regs: true, Direct: true, Modified: true,
			Tramps:   []Tramp{{Symbol{Name: "ftrace_regs_caller"}, Symbol{Name: "call_direct_funcs"}, nil}},
			DirectTo: &Symbol{Name: "bpf_trampoline_6442489165"}},
		{Line: 12, Func: "kfree.part.0", Count: 1, Tramps: []Tramp{{Symbol{Addr: 0xffffffffc0300000}, Symbol{Name: "function_trace_call"}, &assist}}},
		{Line: 13, Func: "schedule", Count: 1, CallOps: true},
		{Line: 14, Func: "broken", Count: 1},
	}, l.Entries)
	require.Len(t, l.Find("vfs_read"), 1)
	require.Empty(t, l.Find("vfs_readv"))
	require.Equal(t, "0xffffffffc020a000", l.Entries[0].Tramps[0].Addr.String())
	require.Equal(t, "cb", l.Entries[0].Tramps[0].Func.String())
}

func TestErrors(t *testing.T) {
	const good = "vfs_read (1)\n"
	for _, tt := range []struct{ text, want string }{
		{good + "vfs_write\n", `ef:2: found the end of the line, expected how many ops trace vfs_write, as in "(1)"`},
		{good + "vfs_write (x)\n", `ef:2: found "x)", expected a count and )`},
		{good + "vfs_write (1", `ef:2: found "1", expected a count and )`},
		{good + "vfs_write (-1)", `ef:2: found "-1)", expected a count and )`},
		{good + "vfs_write (99999999999)", `ef:2: found "99999999999)", expected a count and )`},
		{good + "vfs_write [xfs (1)", `ef:2: found "(1)", expected the name of a module and ]`},
		{good + "vfs_write (1) Q", `ef:2: found "Q", expected one of R I D O M, "tramp:", "->", "direct-->", "ops:" or "subops:"`},
		{good + "vfs_write (1) tramp: x", `ef:2: found "x", expected a symbol with offset and size, or an address`},
		{good + "vfs_write (1) tramp: x+0x0/0x1", `ef:2: found the end of the line, expected the callback of the ops, in parentheses`},
		{good + "vfs_write (1) tramp: x+0x0/0x1 (y+0x0/0x1", `ef:2: found the end of the line, expected )`},
		{good + "vfs_write (1) ->", `ef:2: found the end of the line, expected a symbol with offset and size, or an address`},
		{good + "vfs_write (1) ->0x12345678901234567890", `ef:2: found "0x12345678901234567890", expected a symbol with offset and size, or an address`},
		{"\tdirect-->x+0x0/0x1\n", `ef:1: found "direct-->x+0x0/0x1", expected a function and its count, as in "vfs_read (1)"`},
		{good + "\tdirect-->x+0x0/0x1\n", `ef:2: found "direct-->x+0x0/0x1", expected it only where vfs_read has the column D`},
		{"# tracer: nop\n", `ef:1: found "# tracer: nop", expected the name of a function`},
		{good + "\tsomething else", `ef:2: found "something else", expected one of R I D O M, "tramp:", "->", "direct-->", "ops:" or "subops:"`},
	} {
		_, err := Parse("ef", strings.NewReader(tt.text))
		require.EqualError(t, err, tt.want)
	}
	_, err := Parse("ef", strings.NewReader(good+strings.Repeat("x", maxLine+1)))
	require.EqualError(t, err, "ef:2: a line of more than 1048576 bytes")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"tgt_a [ftt] (1)      \ttramp: 0xffffffffc020a000 (cb+0x0/0x100 [ftt]) ->cb+0x0/0x100 [ftt]\n",
		"tgt_c [ftt] (2) R I D ->arch_ftrace_ops_list_func+0x0/0x1d0\n\tdirect-->tr1+0x0/0x10 [ftt]\n",
		"vfs_write (1) R   D   M \ttramp: ERROR!\tops: a+0x0/0x1 (b+0x0/0x1)\n", "a(", "a [", "a (1) ->\n\t", "[ftt] (1)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse("ef", strings.NewReader(s))
		if (l == nil) == (err == nil) {
			t.Fatal("a listing or an error, one of them")
		}
		if err != nil {
			return
		}
		for i, e := range l.Entries {
			if e.Func == "" || e.Count < 0 || e.Line < 1 || i > 0 && e.Line <= l.Entries[i-1].Line {
				t.Fatalf("%+v", e)
			}
			if strings.ContainsAny(e.Func+e.Module, " \t\n()[]") {
				t.Fatalf("the name %q or the module %q has more than a name in it", e.Func, e.Module)
			}
		}
	})
}
