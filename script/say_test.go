package script

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/x86"
)

func TestChanges(t *testing.T) {
	f0 := SiteState{Site: "f0", IP: 0x1000, Form: "nop", Raw: "0f1f440000", Bytes: x86.Nop5}
	called := f0
	called.Count, called.Flags, called.Form, called.Raw, called.Bytes = 1, "EN", "call", "e8........", x86.Bytes5{0xe8}
	twice := called
	twice.Count = 2
	for _, tt := range []struct {
		name string
		res  Result
		want []SiteChange
	}{
		{"unlisted before", Result{Sites: []SiteState{called}}, []SiteChange{{&f0, &called}}},
		{"listed before", Result{Before: []SiteState{called}, Sites: []SiteState{twice}}, []SiteChange{{&called, &twice}}},
		{"as it was", Result{Before: []SiteState{called}, Sites: []SiteState{called}}, nil},
		{"unlisted after", Result{Before: []SiteState{called}}, []SiteChange{{&called, &f0}}},
		{"listed by name alone", Result{Before: []SiteState{f0}}, nil},
		{"too many before", Result{BeforeMore: 2000, Sites: []SiteState{called}}, []SiteChange{{nil, &called}}},
		{"too many after", Result{More: 2000, Before: []SiteState{called}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, tt.res.Changes()) })
	}
}

// TestCallSay: what a line asked a BPF trampoline, and what came of its image.
func TestCallSay(t *testing.T) {
	said := func(text, verb string) (out []string) {
		s, err := Parse("test.ft", strings.NewReader(text), Options{})
		require.NoError(t, err)
		r, err := NewRunner(s, ftemu.Options{})
		require.NoError(t, err)
		defer r.Close()
		for _, step := range s.Steps {
			res := r.Run(step)
			if step.Text != verb {
				continue
			}
			require.Empty(t, res.OF, "the recordings have no questions to BPF")
			for _, c := range res.Calls {
				what, name, text, _ := c.Say()
				out = append(out, what+" "+name+" "+text)
			}
			for _, c := range res.Images() {
				out = append(out, c.Fn+" "+c.String())
			}
		}
		return out
	}
	require.Equal(t, []string{
		"ops_func bpf_trampoline:ftor_f1 is asked ENABLE_PEER, answers 0",
		"api register_ftrace_function = 0",
		"f1 154 bytes at 0xffffffffc0210000 -> 155 bytes at 0xffffffffc0211000",
	}, said("prog p fexit\nattach p f1\nnew lp klp\nfilter lp f1\nregister lp", "register lp"))
	require.Equal(t, []string{
		"ops_func bpf_trampoline:ftor_f1 is asked ENABLE_SELF, answers -EAGAIN",
		"image f1 154 bytes -> 155 bytes at 0xffffffffc0211000, made again so that it can share",
		"ops_func bpf_trampoline:ftor_f1 is asked ENABLE_SELF, answers 0",
		"api bpf_trampoline_link_prog = 0",
	}, said("new lp klp\nfilter lp f1\nregister lp\nprog p fexit\nattach p f1", "attach p f1"))
	require.Equal(t, []string{"api bpf_trampoline_link_prog = 0"}, said("prog p fexit\nattach p f1", "attach p f1"))
}
