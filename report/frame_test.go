package report_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu/interp"
	"ftemu/report"
	"ftemu/trampoline"
	"ftemu/trampoline/abi"
)

// The frame that a run shows is the one that executing the trampoline by itself
// shows.
func TestFrames(t *testing.T) {
	for _, tt := range []struct {
		name, builtin, text string
		opt                 trampoline.BuiltinOptions
	}{
		{"trampoline of a", "ops", "new a plain\nfilter a f0\nregister a\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"trampoline of a", "ops-regs", "new a plain +regs\nfilter a f0\nregister a\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"ftrace_caller", "ftrace_caller", "new a plain\nfilter a f0\nregister a\nnew b plain\nfilter b f0\nregister b\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"ftrace_regs_caller", "ftrace_regs_caller", "new a plain +regs\nfilter a f0\nregister a\nnew b plain\nfilter b f0\nregister b\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"direct trampoline pass", "pass", "sdirect_register f0 pass\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"direct trampoline share", "share", "sdirect_register f0 share\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"direct trampoline skip", "skip", "sdirect_register f0 skip\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"direct trampoline orig0", "orig", "sdirect_register f0 orig0\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"BPF image of f0", "fexit", "params f0 8,8\nprog p fexit\nattach p f0\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"BPF image of f0", "fentry", "params f0 8,8\nprog p fentry\nattach p f0\ncall f0 1 2\n", trampoline.BuiltinOptions{}},
		{"BPF image of f0", "bpf", "params f0 8,8,8\nprog p fexit\nprog q fmod_ret\nattach p f0\nattach q f0\ncall f0 1 2\n",
			trampoline.BuiltinOptions{Args: 3, HasArgs: true, Progs: []string{"fexit", "fmod_ret"}}},
	} {
		t.Run(tt.builtin, func(t *testing.T) {
			p := pageOf(t, "frame.ft", tt.text, ftemu.Options{})
			m, err := trampoline.NewBuiltin(tt.builtin, tt.opt)
			require.NoError(t, err)
			want, err := abi.FrameOf(m, interp.New(), trampoline.Return{})
			require.NoError(t, err)
			var found *report.FramePicture
			for _, tr := range p.Tramps {
				if tr.Name == tt.name {
					require.Nil(t, found, "two of %s", tt.name)
					found = tr.Frame
				}
			}
			require.NotNil(t, found)
			require.Equal(t, want.Size, found.Size)
			require.Equal(t, want.Deep, found.Deep)
			require.Equal(t, want.RBP, found.RBP)
			require.Len(t, found.Boxes, len(want.Parts))
			for i, part := range want.Parts {
				b := found.Boxes[i]
				require.Equal(t, part.Name, b.Name)
				require.Equal(t, part.Size, b.Size)
				require.Equal(t, len(part.Content) > 0 || b.Class == "above", b.Class != "unused", "%s: %q and %q", part.Name, part.Content, b.Content)
				for _, register := range []string{"rdi", "rsi", "rbx", "rbp", "r12", "r15", "rsp before the call at the site", "flags"} {
					if len(part.Content) == 1 && part.Content[0] == register {
						require.Equal(t, register, b.Content)
					}
				}
			}
			for i, b := range found.Boxes[1:] { // to scale, one below the other
				above := found.Boxes[i]
				require.InDelta(t, above.Y+above.H, b.Y, 0.001)
				require.InDelta(t, above.H/float64(above.Size), b.H/float64(b.Size), 0.001)
			}
		})
	}
}
