package why

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/ftracecore"
	"ftemu/ftracecore/listing"
)

const (
	byKlp    = "fn (1)   I  \ttramp: 0xffffffffc0208000 (klp_ftrace_handler+0x0/0x110) ->klp_ftrace_handler+0x0/0x110\n"
	byKprobe = "fn (1) R I  \ttramp: 0xffffffffc0209000 (kprobe_ftrace_handler+0x0/0x1c0) ->kprobe_ftrace_handler+0x0/0x1c0\n"
	byOther  = "fn (1)   I  \ttramp: 0xffffffffc020a000 (my_cb+0x0/0x10 [mod]) ->my_cb+0x0/0x10 [mod]\n"
	byBPF    = "fn (1) R   D\ttramp: ftrace_regs_caller+0x0/0x58 (call_direct_funcs+0x0/0x30)\n\tdirect-->bpf_trampoline_6442489164+0x0/0x85\n"
	byModule = "fn (1) R   D\ttramp: ftrace_regs_caller+0x0/0x58 (call_direct_funcs+0x0/0x30)\n\tdirect-->my_tramp+0x0/0x10 [mod]\n"
	shared   = "fn (2) R I D ->arch_ftrace_ops_list_func+0x0/0x1d0\n\tdirect-->bpf_trampoline_6442489164+0x0/0x85\n"
	traced   = "fn (2)       ->arch_ftrace_ops_list_func+0x0/0x1d0\n"
	// Two ops, no registers: the IPMODIFY one can only be a livepatch.
	klpAndTracer = "fn (2)   I   ->arch_ftrace_ops_list_func+0x0/0x1d0\n"
	elsewhere    = "other (1) R I  \ttramp: 0xffffffffc0209000 (kprobe_ftrace_handler+0x0/0x1c0) ->kprobe_ftrace_handler+0x0/0x1c0\n"
)

func askOne(t *testing.T, text string, kind Kind) Answer {
	t.Helper()
	l, err := listing.Parse("ef", strings.NewReader(text))
	require.NoError(t, err)
	answers, err := Ask(l, "fn", kind)
	require.NoError(t, err)
	require.Len(t, answers, 1)
	return answers[0]
}

// What every kind gets on every state that has one reading, or comes out alike in
// all: "-" is -EBUSY.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		//                           plain livepatch direct fentry fexit kprobe kprobe-post
		{"nobody", "", "0 0 0 0 0 0 0"},
		{"tracers", traced, "0 0 0 0 0 0 0"},
		{"livepatch", byKlp, "0 0 - 0 0 0 -"},
		{"livepatch and tracer", klpAndTracer, "0 0 - 0 0 0 -"},
		{"kprobe with post handler", byKprobe, "0 - - 0 0 0 0"},
		{"another IPMODIFY", byOther, "0 - - 0 0 0 -"},
		{"BPF", byBPF, "0 0 - 0 0 0 0"},
		{"direct function of a module", byModule, "0 - - - - 0 -"},
		{"the same, kprobes live elsewhere", byModule + elsewhere, "0 - - - - 0 0"},
	} {
		var got []string
		for _, k := range Kinds() {
			a := askOne(t, tt.text, k)
			require.Len(t, a.Outcomes, 1, "%s, %s", tt.name, k)
			o := a.Outcomes[0]
			require.Empty(t, o.If)
			require.NotEmpty(t, o.Why)
			require.Equal(t, ftracecore.RetName(o.Ret), o.Errno)
			switch o.Ret {
			case -int(ftracecore.EBUSY):
				got = append(got, "-")
			default:
				got = append(got, o.Errno)
			}
			if tt.text == "" {
				require.Empty(t, a.Versions, "%s", k)
			}
		}
		require.Equal(t, tt.want, strings.Join(got, " "), tt.name)
	}
}

func TestFexitOnALivepatchedFunction(t *testing.T) {
	a := askOne(t, byKlp, Fexit)
	require.Contains(t, a.Outcomes[0].Why, "It answers -EAGAIN")
	require.Contains(t, a.Outcomes[0].Why, "then ftrace gets 0, and the caller never sees the -EAGAIN")
	require.NotContains(t, a.Outcomes[0].Why, killsFtrace)
	require.Len(t, a.Versions, 2)
	require.Equal(t, "v6.6 to v6.17 without the fix of November 2025", a.Versions[0].Version)
	require.Equal(t, "-EBUSY", a.Versions[0].Errno)
	require.Contains(t, a.Versions[0].Why, "its own, of the first try")
	require.Equal(t, "before v6.0", a.Versions[1].Version)

	fentry := askOne(t, byKlp, Fentry)
	require.Contains(t, fentry.Outcomes[0].Why, "agrees at once")
	require.Len(t, fentry.Versions, 1)
}

// The function is patched and has a BPF trampoline already: it depends on what the
// listing does not show.
func TestFexitOnASharedFunction(t *testing.T) {
	a := askOne(t, shared, Fexit)
	require.Len(t, a.Outcomes, 2)
	require.Equal(t, Otherwise, a.Outcomes[1].If)
	require.NotContains(t, a.Outcomes[1].Why, killsFtrace)
	require.Equal(t, "the BPF trampoline has only fentry programs and it came after the IPMODIFY ops", a.Outcomes[0].If)
	require.Zero(t, a.Outcomes[0].Ret)
	require.Contains(t, a.Outcomes[0].Why, killsFtrace)
	var versions []string
	for _, v := range a.Versions {
		require.Contains(t, v.Why, bypasses)
		versions = append(versions, v.Version)
	}
	require.Equal(t, []string{"v6.0 to v6.5 without the fix of November 2025", "v6.6 to v6.17 without the fix of November 2025"}, versions)
}

func TestWhoHasIPModifyIsOpen(t *testing.T) {
	a := askOne(t, shared, Livepatch)
	require.Len(t, a.Outcomes, 2)
	require.Equal(t, "the IPMODIFY ops is a livepatch", a.Outcomes[0].If)
	require.Zero(t, a.Outcomes[0].Ret)
	require.Nil(t, a.Outcomes[0].Decided, "ftrace is not called")
	require.Equal(t, "the IPMODIFY ops is a kprobe with a post handler", a.Outcomes[1].If)
	require.Equal(t, -int(ftracecore.EBUSY), a.Outcomes[1].Ret)
	require.Contains(t, a.Outcomes[1].Why, `owned by "a kprobe with a post handler"`)
	require.NotEmpty(t, a.Outcomes[1].Decided.Steps)
}

// Whether the shared ops of kprobes is live elsewhere can itself be open.
func TestKprobesElsewhereAreOpen(t *testing.T) {
	a := askOne(t, byModule+strings.ReplaceAll(shared, "fn", "other"), KprobePost)
	require.Len(t, a.Outcomes, 2)
	require.Equal(t, "no kprobe with a post handler is live elsewhere", a.Outcomes[0].If)
	require.Equal(t, -int(ftracecore.EBUSY), a.Outcomes[0].Ret)
	require.Equal(t, "a kprobe with a post handler is live elsewhere", a.Outcomes[1].If)
	require.Zero(t, a.Outcomes[1].Ret)
}

func TestManyTracers(t *testing.T) {
	a := askOne(t, strings.Replace(traced, "(2)", "(2000000000)", 1), Plain)
	require.Contains(t, a.Outcomes[0].Why, "has 2000000001 ops")
}

func TestShows(t *testing.T) {
	for text, want := range map[string]string{
		byKlp:        "line 1: count 1, a livepatch (I, klp_ftrace_handler)",
		byKprobe:     "line 1: count 1, a kprobe with a post handler (I, kprobe_ftrace_handler)",
		byOther:      "line 1: count 1, an IPMODIFY ops with the callback my_cb (I)",
		byBPF:        "line 1: count 1, a BPF trampoline (D, bpf_trampoline_6442489164)",
		byModule:     "line 1: count 1, a direct function (D, my_tramp)",
		shared:       "line 1: count 2, a BPF trampoline (D, bpf_trampoline_6442489164) and a livepatch or a kprobe with a post handler (I)",
		traced:       "line 1: count 2, 2 tracers",
		klpAndTracer: "line 1: count 2, a livepatch (I, without R) and 1 tracer",
		"fn (1) \ttramp: 0xffffffffc0208000 (function_trace_call+0x0/0x110)\n": "line 1: count 1, a tracer (function_trace_call)",
	} {
		require.Equal(t, want, askOne(t, text, Plain).Shows)
	}
}

// Static functions of several files can share a name: an answer each.
func TestOneNameTwice(t *testing.T) {
	l, err := listing.Parse("ef", strings.NewReader(byKlp+strings.Replace(traced, "fn", "fn [mod]", 1)))
	require.NoError(t, err)
	answers, err := Ask(l, "fn", KprobePost)
	require.NoError(t, err)
	require.Len(t, answers, 2)
	require.Equal(t, []int{1, 2}, []int{answers[0].Line, answers[1].Line})
	require.Equal(t, "mod", answers[1].Module)
	require.Equal(t, -int(ftracecore.EBUSY), answers[0].Outcomes[0].Ret)
	require.Zero(t, answers[1].Outcomes[0].Ret)
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"vfs_read": "", "kfree.part.0": "", "__x64_sys_read": "",
		"vfs_read [xfs]": "without a module", "vfs_*": "no pattern", "vfs_?": "no pattern", "": "name of a function", "a+0x5": "name of a function",
	} {
		err := CheckName(name)
		if want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, want, name)
		}
	}
	_, err := ParseKind("uprobe")
	require.EqualError(t, err, `unknown kind "uprobe", expected plain, livepatch, direct, fentry, fexit, kprobe, kprobe-post`)
	for _, k := range Kinds() {
		got, err := ParseKind(string(k))
		require.NoError(t, err)
		require.Equal(t, k, got)
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(askOne(t, byOther, Livepatch))
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	require.Equal(t, "fn", m["function"])
	require.Equal(t, "livepatch", m["kind"])
	o := m["outcomes"].([]any)[0].(map[string]any)
	require.EqualValues(t, -16, o["rc"])
	require.Equal(t, "-EBUSY", o["errno"])
}

// Whatever a listing says, every question about it has an answer or an error.
func FuzzAsk(f *testing.F) {
	for _, s := range []string{byKlp, byKprobe, byOther, byBPF, byModule, shared, traced, klpAndTracer + elsewhere, "fn (0) R I D", "fn (3) D"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := listing.Parse("ef", strings.NewReader(s))
		if err != nil {
			return
		}
		fn := "fn"
		if len(l.Entries) > 0 {
			fn = l.Entries[0].Func
		}
		if CheckName(fn) != nil {
			return
		}
		for _, k := range Kinds() {
			answers, err := Ask(l, fn, k)
			if err == nil && len(answers) == 0 {
				t.Fatal("no answer and no error")
			}
			for _, a := range answers {
				if err == nil && len(a.Outcomes) == 0 {
					t.Fatalf("no outcome: %+v", a)
				}
			}
		}
	})
}
