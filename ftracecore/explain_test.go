package ftracecore

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecision(t *testing.T) {
	k := newKernel(t)
	k.register(k.ops("klp", OpsIPModify, f(1)))
	require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("second", OpsIPModify, f(0), f(1), f(2))), EBUSY)
	require.Equal(t, `register_ftrace_function(second) = -EBUSY
  - "second" is IPMODIFY: look for direct ops on its 3 sites, in the order of its hash: f0, f1, f2
  - make a trampoline for "second" alone
  - put "second" at the head of the list of ops, 2 now
  - IPMODIFY: walk the records in the filter of "second": f0 free, f1 taken by "klp"
  - refuse with -EBUSY: site f1: it already has IPMODIFY, owned by "klp"
  - IPMODIFY: put 1 site back as before: f0
  - take "second" off the list
  - free the trampoline of "second"
  - roll back: "second" is off the list, no site was counted or patched; its flags keep ADDING|ALLOC_TRAMP
`, k.LastDecision().String())
}

// An owner that remakes its trampoline when asked: what it calls is told inside
// the question.
func TestDecisionNests(t *testing.T) {
	k := newKernel(t)
	x := k.direct("bpf", nil, f(0))
	x.OpsFunc = func(ops *Ops, cmd Command) int { return Ret(k.ModifyDirectMultiNolock(ops, tramp(2))) }
	require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
	k.register(k.ops("klp", OpsIPModify, f(0)))
	require.Equal(t, `register_ftrace_function(klp) = 0
  - "klp" is IPMODIFY: look for direct ops on its 1 site, in the order of its hash: f0
  - ask the ops_func of "bpf", because of f0: ENABLE_PEER
  - modify_ftrace_direct_multi_nolock(bpf) = 0
    - register tmp_ops on the same sites, so that they call ftrace_regs_caller, which looks the direct function up
    - make a trampoline for "tmp_ops" alone
    - put "tmp_ops" at the head of the list of ops, 2 now
    - count "tmp_ops" in at 1 site: f0 now 2 -TRAMP
    - patch 1 site: f0 to call ftrace_regs_caller
    - IPMODIFY: walk the records in the filter of "bpf": f0 free
    - direct_functions: the entries now hold T2
    - unregister tmp_ops
    - take "tmp_ops" off the list
    - count "tmp_ops" out at 1 site: f0 now 1 +TRAMP
    - patch 1 site: f0 to call T2
  - "bpf" answers 0
  - make a trampoline for "klp" alone
  - put "klp" at the head of the list of ops, 2 now
  - IPMODIFY: walk the records in the filter of "klp": f0 free
  - count "klp" in at 1 site: f0 now 2 -TRAMP
  - patch 1 site: f0 to call ftrace_regs_caller
`, k.LastDecision().String())
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		name, short, long string
		run               func(k *kernel) error
	}{
		{
			"second IPMODIFY", `-EBUSY: site f0: it already has IPMODIFY, owned by "klp"`,
			`register_ftrace_function of "b" returned -EBUSY because of function f0: it already has IPMODIFY, owned by "klp". Only one ops may change where a function continues. A livepatch is such an ops, and so is a kprobe with a post handler. "b" is off the list again, no site was counted or patched; its flags keep ADDING|ALLOC_TRAMP.`,
			func(k *kernel) error {
				k.register(k.ops("klp", OpsIPModify, f(0)))
				return k.RegisterFtraceFunction(k.ops("b", OpsIPModify, f(0)))
			},
		},
		{
			"second direct", `-EBUSY: site f0: it already has a direct function, owned by "x"`,
			`register_ftrace_direct_multi of "y" returned -EBUSY because of function f0: it already has a direct function, owned by "x". The table direct_functions holds one function for each site, so that a second direct caller, such as a BPF trampoline, must wait until the first is gone. No ops_func is asked.`,
			func(k *kernel) error {
				require.NoError(k.t, k.RegisterDirectMulti(k.direct("x", nil, f(0)), tramp(1)))
				return k.RegisterDirectMulti(k.direct("y", nil, f(0)), tramp(2))
			},
		},
		{
			"owner refuses", `-EBUSY: site f0: the ops_func of "x", which has a direct function there, answered -EBUSY to ENABLE_PEER`,
			`register_ftrace_function of "klp" returned -EBUSY because of function f0: the ops_func of "x", which has a direct function there, answered -EBUSY to ENABLE_PEER. ftrace passes the answer on as it is and adds no meaning to it.`,
			func(k *kernel) error {
				require.NoError(k.t, k.RegisterDirectMulti(k.direct("x", busy, f(0)), tramp(1)))
				return k.RegisterFtraceFunction(k.ops("klp", OpsIPModify, f(0)))
			},
		},
		{
			"no function named", `-EINVAL: 0x0000000000001000 is no ftrace site`,
			`ftrace_set_filter_ip of "p" returned -EINVAL: 0x0000000000001000 is no ftrace site.`,
			func(k *kernel) error { return k.SetFilterIP(k.ops("p", 0), 0x1000, false, false) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.run(newKernel(t))
			require.EqualError(t, err, tt.short)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.long, e.Explain())
			require.NotEmpty(t, e.Decision.Steps)
		})
	}
}

// A core that need not explain keeps no steps; its errors still say everything
// but those.
func TestSilent(t *testing.T) {
	k := newKernel(t)
	k.explain = false
	k.register(k.ops("klp", OpsIPModify, f(0)))
	err := k.RegisterFtraceFunction(k.ops("b", OpsIPModify, f(0)))
	var e *Error
	require.True(t, errors.As(err, &e))
	require.Empty(t, e.Decision.Steps)
	require.Contains(t, e.Explain(), `function f0: it already has IPMODIFY, owned by "klp"`)
}

func TestLongWalksAreCut(t *testing.T) {
	k := newKernel(t)
	var ips []uint64
	for i := range 100 {
		ips = append(ips, 0x1000+uint64(i)*16)
	}
	k.AddSites(ips)
	require.NoError(t, k.SetFilterIPs(k.ops("p", 0), ips, false, false))
	require.Contains(t, k.LastDecision().String(), " and 84 more")
}
