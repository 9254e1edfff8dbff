package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/script"
	"ftemu/trace"
)

// users are what may hold a function beside function_graph, as lines of a
// scenario in which F stands for the function. A livepatch without a redirect
// line goes on to the body.
var users = map[string]string{
	"nobody":           "",
	"livepatch":        "new kF klp\nfilter kF F\nregister kF\n",
	"direct":           "new dF direct of=bpf\nfilter dF F\ndirect_register_retry dF orig:F share\n",
	"livepatch-direct": "new kF klp\nfilter kF F\nregister kF\nnew dF direct of=bpf\nfilter dF F\ndirect_register_retry dF orig:F share\n",
	"direct-livepatch": "new dF direct of=bpf\nfilter dF F\ndirect_register_retry dF orig:F share\nnew kF klp\nfilter kF F\nregister kF\n",
	"fexit":            "prog pF fexit\nattach pF F\n",
	"fexit-livepatch":  "prog pF fexit\nattach pF F\nnew kF klp\nfilter kF F\nregister kF\n",
}

// A nesting follows the stack pointer: a function is entered when its site is
// executed, and has returned when its return slot is above the stack.
type nesting struct {
	cpu   func() emu.CPU
	sites map[uint64]string
	open  []struct {
		name string
		slot uint64
	}
	want, got []string
}

func (*nesting) Mask() trace.Mask { return trace.MaskOf(trace.Insn, trace.Entry, trace.Exit) }

func (n *nesting) Trace(ev *trace.Event) {
	if n.sites == nil { // the lab is being made
		return
	}
	line := func(what string, depth int, ip uint64) string {
		return fmt.Sprintf("%*s%s %s", 2*depth, "", what, n.sites[ip])
	}
	switch ev.Kind {
	case trace.Entry:
		n.got = append(n.got, line("enter", ev.Depth, ev.IP))
	case trace.Exit:
		n.got = append(n.got, line("leave", ev.Depth, ev.IP))
	case trace.Insn:
		rsp := n.cpu().Regs().GPR[emu.RSP]
		for last := len(n.open) - 1; last >= 0 && n.open[last].slot < rsp; last-- {
			n.want = append(n.want, fmt.Sprintf("%*sleave %s", 2*last, "", n.open[last].name))
			n.open = n.open[:last]
		}
		if name, ok := n.sites[ev.IP]; ok {
			n.want = append(n.want, line("enter", len(n.open), ev.IP))
			n.open = append(n.open, struct {
				name string
				slot uint64
			}{name, rsp})
		}
	}
}

// TestGraphNesting: whoever else holds the functions, and whoever came first,
// function_graph notes each entry and return in the place where the stack
// pointer says it was, and what is called returns what it returned without it.
func TestGraphNesting(t *testing.T) {
	traced := []string{"nested", "hidden", "indirect"}
	returns := func(t *testing.T, engine emu.Engine, text string, n *nesting) []int64 {
		a := newApp(strings.NewReader("guest ../../testdata/guest/gcc-fentry.o\n"+text), os.Stdout, os.Stderr)
		s, err := parseScenario(a, "-")
		require.NoError(t, err)
		r, err := script.NewRunner(s, ftemu.Options{Engine: engine, Tracer: n})
		require.NoError(t, err)
		defer r.Close()
		n.cpu = func() emu.CPU { return r.Lab().Machine.CPU(0) }
		n.sites = make(map[uint64]string)
		for _, f := range traced {
			ip, ok := r.SiteOf(f)
			require.True(t, ok)
			n.sites[ip] = f
		}
		var out []int64
		for _, step := range s.Steps {
			res := r.Run(step)
			require.Empty(t, res.Oops, step.Text)
			if res.Ret != nil {
				out = append(out, *res.Ret)
			}
		}
		return out
	}
	for _, engine := range engines() {
		for outer, outerLines := range users {
			for inner, innerLines := range users {
				for _, redirect := range []bool{false, true} {
					lines := strings.ReplaceAll(outerLines, "F", "nested") + strings.ReplaceAll(innerLines, "F", "hidden")
					if redirect = redirect && strings.Contains(inner, "livepatch"); redirect {
						lines += "redirect khidden hidden indirect\n"
					}
					t.Run(fmt.Sprintf("%s/%s/%s/%t", engine.Name(), outer, inner, redirect), func(t *testing.T) {
						var plain, first, last nesting
						want := returns(t, engine, lines+"call nested 3\n", &plain)
						require.Equal(t, want, returns(t, engine, "tracer function_graph nested,hidden,indirect\n"+lines+"call nested 3\n", &first))
						require.Equal(t, want, returns(t, engine, lines+"tracer function_graph nested,hidden,indirect\ncall nested 3\n", &last))
						require.Len(t, first.want, 2*(3+strings.Count(lines, "redirect")))
						require.Equal(t, first.want, first.got)
						require.Equal(t, last.want, last.got)
					})
				}
			}
		}
	}
}
