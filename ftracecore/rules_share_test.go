package ftracecore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func (r rule) title() string {
	if r.n == 0 {
		return r.name
	}
	return fmt.Sprintf("rule %d: %s", r.n, r.name)
}

var (
	yes   = []int{0}
	busy  = []int{-int(EBUSY)}
	again = []int{-int(EAGAIN)}
)

func TestIPModify(t *testing.T) {
	runRules(t, []rule{
		{39, "a second IPMODIFY", func(t *testing.T, k *kernel) {
			i1, i2 := k.ops("I1", OpsIPModify, f(0)), k.ops("I2", OpsIPModify, f(0))
			k.register(i1)
			line := k.line(f(0))
			require.Contains(t, line, "f0 [mod] (1)   I  \ttramp:")
			err := k.RegisterFtraceFunction(i2)
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"I1"}, err.(*Error).Owners)
			require.Equal(t, "f0", err.(*Error).Site)
			require.Equal(t, []*Ops{i1}, k.Ops())
			require.Equal(t, OpsIPModify|OpsDynamic|OpsInit|OpsAdding|OpsAllocTramp, i2.Flags)
			require.Zero(t, i2.Trampoline)
			require.Equal(t, line, k.line(f(0)))
		}},
		{40, "a live filter onto another's site", func(t *testing.T, k *kernel) {
			i1, i2 := k.ops("I1", OpsIPModify, f(0)), k.ops("I2", OpsIPModify, f(1))
			k.register(i1, i2)
			require.ErrorIs(t, k.SetFilterIP(i2, f(0), false, false), EBUSY)
			require.Equal(t, []uint64{f(1)}, i2.Filter().IPs())
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN|IPMODIFY", k.flags(f(0)))
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN|IPMODIFY", k.flags(f(1)))
		}},
		{40, "a live filter that moves away and cannot arrive", func(t *testing.T, k *kernel) {
			i1, i2 := k.ops("I1", OpsIPModify, f(2)), k.ops("I2", OpsIPModify, f(0), f(1))
			k.register(i1, i2)
			require.ErrorIs(t, k.SetFilterIPs(i2, []uint64{f(1), f(2)}, false, true), EBUSY)
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN|IPMODIFY", k.flags(f(0)), "its mark is set again")
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN|IPMODIFY", k.flags(f(1)))
		}},
		{41, "several sites, one taken", func(t *testing.T, k *kernel) {
			k.register(k.ops("I1", OpsIPModify, f(1)))
			require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("I2", OpsIPModify, f(0), f(1), f(2))), EBUSY)
			require.Equal(t, "0", k.flags(f(0)))
			require.Equal(t, "0", k.flags(f(2)))
		}},
		{42, "no filter ever", func(t *testing.T, k *kernel) {
			var oops *Oops
			i := k.ops("I", OpsIPModify)
			require.ErrorAs(t, k.RegisterFtraceFunction(i), &oops)
			require.Equal(t, "register_ftrace_function", oops.Func)
		}},
		{42, "a filter that is empty again", func(t *testing.T, k *kernel) {
			i := k.ops("I", OpsIPModify, f(0))
			require.NoError(t, k.SetFilterIP(i, f(0), true, false))
			require.ErrorIs(t, k.RegisterFtraceFunction(i), EINVAL)
			require.Empty(t, k.Ops())
		}},
		{43, "notrace", func(t *testing.T, k *kernel) {
			i := k.ops("I", OpsIPModify, f(0))
			require.ErrorIs(t, k.SetNotrace(i, "f1", false), EINVAL)
			k.register(i)
			require.ErrorIs(t, k.SetNotrace(i, "f1", false), EINVAL)
		}},
		{44, "a live filter that becomes empty", func(t *testing.T, k *kernel) {
			i := k.ops("I", OpsIPModify, f(0))
			k.register(i)
			require.ErrorIs(t, k.SetFilterIP(i, f(0), true, false), EINVAL)
			require.ErrorIs(t, k.SetFilter(i, "", true), EINVAL)
			require.Equal(t, []uint64{f(0)}, i.Filter().IPs())
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN|IPMODIFY", k.flags(f(0)))
		}},
		{45, "alone it has its own plain trampoline", func(t *testing.T, k *kernel) {
			k.register(k.ops("I", OpsIPModify, f(0)))
			k.redirect["I"] = f(7)
			require.Equal(t, "call tramp(I)", k.site(f(0)))
			require.Equal(t, "I body:f7", k.call(f(0)))
		}},
		{46, "gone, the next may come", func(t *testing.T, k *kernel) {
			i1 := k.ops("I1", OpsIPModify, f(0))
			k.register(i1)
			k.unregister(i1)
			require.Equal(t, "0", k.flags(f(0)))
			k.register(k.ops("I2", OpsIPModify, f(0)))
		}},
		{47, "a plain ops does not mind", func(t *testing.T, k *kernel) {
			k.register(k.ops("P", 0, f(0)), k.ops("I", OpsIPModify, f(0)))
			k.redirect["I"] = f(7)
			require.Equal(t, "I P body:f7", k.call(f(0)))
		}},
		{48, "kprobes with and without a post handler", func(t *testing.T, k *kernel) {
			k.register(k.ops("klp", OpsIPModify|OpsPermanent, f(0)), k.ops("kprobe", OpsSaveRegs, f(0)))
			require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("kprobe-post", OpsSaveRegs|OpsIPModify, f(0))), EBUSY)
		}},
		{49, "a kprobe with a post handler alone", func(t *testing.T, k *kernel) {
			k.register(k.ops("kprobe-post", OpsSaveRegs|OpsIPModify, f(0)))
			require.Contains(t, k.line(f(0)), "f0 [mod] (1) R I  \ttramp:")
		}},
	})
}

func TestDirect(t *testing.T) {
	runRules(t, []rule{
		{50, "alone it is called by the site", func(t *testing.T, k *kernel) {
			x := k.direct("X1", nil, f(0))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			require.Equal(t, "call T1", k.site(f(0)))
			require.Equal(t, "1 EN|REGS|REGS_EN|TRAMP|TRAMP_EN|DIRECT|DIRECT_EN", k.flags(f(0)))
			require.Equal(t, "f0 [mod] (1) R   D\ttramp: ftrace_regs_caller+0x0/0x58 (call_direct_funcs+0x0/0x30)\n\tdirect-->T1+0x0/0x10 [mod]", k.line(f(0)))
			require.Equal(t, "T1 body:f0", k.call(f(0)))
		}},
		{51, "with a plain ops it runs after the callbacks", func(t *testing.T, k *kernel) {
			k.register(k.ops("P0", 0, f(0)))
			require.NoError(t, k.RegisterDirectMulti(k.direct("X1", nil, f(0)), tramp(1)))
			k.register(k.ops("P1", 0, f(0)))
			require.Equal(t, "call ftrace_regs_caller", k.site(f(0)))
			require.Equal(t, "P1(regs) P0(regs) T1 body:f0", k.call(f(0)))
		}},
		{52, "and alone again it is called by the site", func(t *testing.T, k *kernel) {
			p := k.ops("P1", 0, f(0))
			require.NoError(t, k.RegisterDirectMulti(k.direct("X1", nil, f(0)), tramp(1)))
			k.register(p)
			k.unregister(p)
			require.Equal(t, "call T1", k.site(f(0)))
		}},
		{53, "a second direct", func(t *testing.T, k *kernel) {
			x1, x2 := k.direct("X1", yes, f(0)), k.direct("X2", yes, f(0))
			require.NoError(t, k.RegisterDirectMulti(x1, tramp(1)))
			err := k.RegisterDirectMulti(x2, tramp(2))
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"X1"}, err.(*Error).Owners)
			require.Empty(t, k.asked)
			require.Nil(t, x2.Func)
			require.Zero(t, x2.Trampoline)
		}},
		{54, "what is wrong with an ops, in order", func(t *testing.T, k *kernel) {
			k.expectRule("has a function", k.RegisterDirectMulti(k.ops("P", 0, f(0)), tramp(1)))
			x := k.direct("X", nil)
			x.Trampoline = 1
			k.expectRule("a trampoline", k.RegisterDirectMulti(x, tramp(1)))
			k.expectRule("not initialised", k.RegisterDirectMulti(k.direct("X", nil), tramp(1)))
			x = k.direct("X", nil, f(0))
			x.Flags |= OpsEnabled
			k.expectRule("registered already", k.RegisterDirectMulti(x, tramp(1)))
			x = k.direct("X", nil, f(0))
			require.NoError(t, k.SetFilterIP(x, f(0), true, false))
			k.expectRule("empty", k.RegisterDirectMulti(x, tramp(1)))
		}},
		{55, "a failed registration leaves its traces", func(t *testing.T, k *kernel) {
			k.register(k.ops("I", OpsIPModify, f(0)))
			x := k.direct("X", again, f(0))
			require.ErrorIs(t, k.RegisterDirectMulti(x, tramp(1)), EAGAIN)
			require.ErrorIs(t, k.RegisterDirectMulti(x, tramp(1)), EINVAL)
		}},
		{56, "unregistered with the wrong address", func(t *testing.T, k *kernel) {
			x := k.direct("X1", nil, f(0))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			require.NoError(t, k.UnregisterDirectMulti(x, tramp(2)))
			require.Equal(t, "nop", k.site(f(0)))
			addr, ok := k.DirectFunction(f(0))
			require.True(t, ok)
			require.Equal(t, tramp(1), addr)
			err := k.RegisterDirectMulti(k.direct("X3", nil, f(0)), tramp(3))
			require.ErrorIs(t, err, EBUSY)
			require.Empty(t, err.(*Error).Owners)
			require.Contains(t, err.(*Error).Explain(), "left behind")
		}},
		{57, "modify never leaves a site without a direct function", func(t *testing.T, k *kernel) {
			x := k.direct("X1", nil, f(0))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			from := len(k.batches)
			var seen []string
			k.onText = func() { seen = append(seen, k.call(f(0))) }
			require.NoError(t, k.ModifyDirectMulti(x, tramp(2)))
			k.onText = nil
			require.Len(t, k.batches[from:], 2)
			require.Equal(t, []string{"T1 body:f0", "T2 body:f0"}, seen, "before each change of the site")
			require.Equal(t, "call T2", k.site(f(0)))
			require.Equal(t, "T2 body:f0", k.call(f(0)))
		}},
		{58, "modify with others there changes the table alone", func(t *testing.T, k *kernel) {
			x := k.direct("X1", nil, f(0))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			k.register(k.ops("P", 0, f(0)))
			from := len(k.batches)
			require.NoError(t, k.ModifyDirectMulti(x, tramp(2)))
			require.Len(t, k.batches, from)
			require.Equal(t, "P(regs) T2 body:f0", k.call(f(0)))
		}},
		{59, "the API for one site", func(t *testing.T, k *kernel) {
			require.ErrorIs(t, k.RegisterDirect(0x1000, tramp(1)), ENODEV)
			require.ErrorIs(t, k.UnregisterDirect(f(0), tramp(1)), ENODEV)
			require.ErrorIs(t, k.ModifyDirect(f(0), tramp(1), tramp(2)), ENODEV)
			require.NoError(t, k.RegisterDirect(f(0), tramp(1)))
			require.ErrorIs(t, k.RegisterDirect(f(0), tramp(1)), EBUSY)
			require.ErrorIs(t, k.ModifyDirect(f(0), tramp(3), tramp(2)), EINVAL)
			require.ErrorIs(t, k.UnregisterDirect(f(1), tramp(1)), ENODEV)
			require.Equal(t, "call T1", k.site(f(0)))
			require.NoError(t, k.ModifyDirect(f(0), tramp(1), tramp(2)))
			require.Equal(t, "call T2", k.site(f(0)))
			require.NoError(t, k.RegisterDirect(f(1), tramp(2)), "a live filter")
			require.Equal(t, "call T2", k.site(f(1)))
			require.ErrorIs(t, k.SetEnabled(false), EBUSY, "direct_ops is PERMANENT")
			require.NoError(t, k.UnregisterDirect(f(0), tramp(2)))
			require.NoError(t, k.UnregisterDirect(f(1), tramp(2)))
			require.Empty(t, k.Ops())
			require.Equal(t, "nop", k.site(f(0)))
			require.Empty(t, k.Warnings())
		}},
		{60, "all functions", func(t *testing.T, k *kernel) {
			require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("X", OpsDirect)), EINVAL)
			require.Equal(t, "0", k.flags(f(0)))
		}},
		{61, "both IPMODIFY and DIRECT", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterFtraceFunction(k.ops("X", OpsIPModify|OpsDirect, f(0))))
			w := k.Warnings()
			require.Equal(t, "__ftrace_hash_update_ipmodify", w[0].Func)
			require.False(t, k.Disabled())
		}},
	})
}

// expectRule requires -EINVAL for a rule with the text in it.
func (k *kernel) expectRule(text string, err error) {
	k.t.Helper()
	require.ErrorIs(k.t, err, EINVAL)
	require.Contains(k.t, err.(*Error).Rule, text)
}

func TestSharing(t *testing.T) {
	runRules(t, []rule{
		{64, "direct over IPMODIFY without an ops_func", func(t *testing.T, k *kernel) {
			k.register(k.ops("I", OpsIPModify, f(0)))
			err := k.RegisterDirectMulti(k.direct("X", nil, f(0)), tramp(1))
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"I"}, err.(*Error).Owners)
		}},
		{65, "SELF answers -EAGAIN", func(t *testing.T, k *kernel) {
			k.register(k.ops("I", OpsIPModify, f(0)))
			before := k.bytes[f(0)]
			x := k.direct("X", again, f(0))
			require.ErrorIs(t, k.RegisterDirectMulti(x, tramp(1)), EAGAIN)
			require.EqualValues(t, 0x20146, x.Flags)
			require.False(t, k.Core.direct.Has(f(0)))
			require.Equal(t, before, k.bytes[f(0)])
			require.Equal(t, []string{"X ENABLE_SELF"}, k.asked)
		}},
		{66, "and the owner tries again", func(t *testing.T, k *kernel) {
			k.register(k.ops("I", OpsIPModify, f(0)))
			x := k.direct("X", []int{-int(EAGAIN), 0}, f(0))
			require.Error(t, k.RegisterDirectMulti(x, tramp(1)))
			x.Func, x.Trampoline = nil, 0
			require.NoError(t, k.RegisterDirectMulti(x, tramp(2)))
			require.Equal(t, "call ftrace_regs_caller", k.site(f(0)))
			require.Equal(t, "f0 [mod] (2) R I D ->arch_ftrace_ops_list_func+0x0/0x1d0\n\tdirect-->T2+0x0/0x10 [mod]", k.line(f(0)))
		}},
		{67, "shared: callback, direct function, replacement", func(t *testing.T, k *kernel) {
			k.register(k.ops("I", OpsIPModify, f(0)))
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", yes, f(0)), tramp(1)))
			k.redirect["I"] = f(7)
			require.Equal(t, "I(regs) T1 body:f7", k.call(f(0)))
		}},
		{68, "IPMODIFY over direct without an ops_func", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", nil, f(0)), tramp(1)))
			i := k.ops("I", OpsIPModify, f(0))
			err := k.RegisterFtraceFunction(i)
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"X"}, err.(*Error).Owners)
			require.Equal(t, OpsIPModify|OpsInit, i.Flags, "refused before anything was touched")
		}},
		{69, "PEER answers -EAGAIN", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", again, f(0)), tramp(1)))
			require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("I", OpsIPModify, f(0))), EAGAIN)
			require.Len(t, k.Ops(), 1)
			require.Equal(t, "call T1", k.site(f(0)))
		}},
		{70, "PEER, and DISABLE_PEER after the site is back", func(t *testing.T, k *kernel) {
			x := k.direct("X", nil, f(0))
			var sites []string
			x.OpsFunc = func(_ *Ops, cmd Command) int {
				sites = append(sites, cmd.String()+": "+k.site(f(0)))
				require.True(t, k.DirectMutex.Held())
				require.False(t, k.FtraceLock.Held())
				return 0
			}
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			i := k.ops("I", OpsIPModify, f(0))
			k.register(i)
			require.Equal(t, "call ftrace_regs_caller", k.site(f(0)))
			k.unregister(i)
			require.Equal(t, []string{"ENABLE_PEER: call T1", "DISABLE_PEER: call T1"}, sites)
		}},
		{71, "modify of a shared site asks again", func(t *testing.T, k *kernel) {
			x := k.direct("X", nil, f(0), f(1))
			answer := 0
			x.OpsFunc = func(*Ops, Command) int {
				k.asked = append(k.asked, k.flags(f(0)))
				return answer
			}
			k.register(k.ops("I", OpsIPModify, f(0), f(1)))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			k.asked = nil
			require.NoError(t, k.ModifyDirectMulti(x, tramp(2)))
			require.Len(t, k.asked, 2, "once for each site")
			require.Contains(t, k.asked[0], "3 ", "under the cover of tmp_ops")
			answer = -int(EAGAIN)
			require.ErrorIs(t, k.ModifyDirectMulti(x, tramp(3)), EAGAIN)
			require.Contains(t, k.call(f(0)), "T2")
			require.Equal(t, "2 EN|REGS|REGS_EN|IPMODIFY|DIRECT", k.flags(f(0)))
		}},
		{71, "but not without the fix", func(t *testing.T, _ *kernel) {
			k := newKernelOf(t, Config{Profile: Profile{Name: "v6.0"}})
			k.register(k.ops("I", OpsIPModify, f(0)))
			x := k.direct("X", []int{0, -int(EAGAIN)}, f(0))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			require.NoError(t, k.ModifyDirectMulti(x, tramp(2)))
			require.Len(t, k.asked, 1)
		}},
		{72, "the direct ops leaves", func(t *testing.T, k *kernel) {
			x := k.direct("X", yes, f(0))
			k.register(k.ops("I", OpsIPModify, f(0)))
			require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
			k.asked = nil
			require.NoError(t, k.UnregisterDirectMulti(x, tramp(1)))
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN|IPMODIFY", k.flags(f(0)))
			require.Equal(t, "call tramp(I)", k.site(f(0)))
			require.Empty(t, k.asked)
		}},
		{73, "IPMODIFY over the API for one site", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterDirect(f(0), tramp(1)))
			err := k.RegisterFtraceFunction(k.ops("I", OpsIPModify, f(0)))
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"direct_ops"}, err.(*Error).Owners)
		}},
		{74, "a live IPMODIFY filter passes by the arbitration", func(t *testing.T, k *kernel) {
			i := k.ops("I", OpsIPModify, f(1))
			k.register(i)
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", nil, f(0)), tramp(1)))
			require.NoError(t, k.SetFilterIP(i, f(0), false, false))
			require.Contains(t, k.line(f(0)), "f0 [mod] (2) R I D ")
			require.Empty(t, k.asked)
		}},
		{0, "peers are asked in the order of the hash", func(t *testing.T, k *kernel) {
			for n := range 4 {
				require.NoError(t, k.RegisterDirectMulti(k.direct(fmt.Sprintf("X%d", n), yes, f(n)), tramp(1)))
			}
			k.register(k.ops("I", OpsIPModify, f(0), f(1), f(2), f(3)))
			require.Equal(t, []string{"X0 ENABLE_PEER", "X3 ENABLE_PEER", "X1 ENABLE_PEER", "X2 ENABLE_PEER"}, k.asked)
		}},
		{0, "a refusal after an agreement does not take it back", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", yes, f(0)), tramp(1)))
			require.NoError(t, k.RegisterDirectMulti(k.direct("Y", busy, f(3)), tramp(1)))
			err := k.RegisterFtraceFunction(k.ops("I", OpsIPModify, f(0), f(3)))
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"X ENABLE_PEER", "Y ENABLE_PEER"}, k.asked)
			require.Contains(t, err.(*Error).Explain(), `"X" had agreed to share before that and stays in shared mode`)
		}},
		{0, "a positive answer is success and ends the asking", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", []int{1}, f(0)), tramp(1)))
			require.NoError(t, k.RegisterDirectMulti(k.direct("Y", nil, f(3)), tramp(1)))
			k.register(k.ops("I", OpsIPModify, f(0), f(3)))
			require.Len(t, k.asked, 1)
			require.Equal(t, "2 EN|REGS|REGS_EN|IPMODIFY|DIRECT", k.flags(f(3)))
		}},
		{0, "unregistering what never was still tells the peers", func(t *testing.T, k *kernel) {
			require.NoError(t, k.RegisterDirectMulti(k.direct("X", yes, f(0)), tramp(1)))
			require.ErrorIs(t, k.UnregisterFtraceFunction(k.ops("I", OpsIPModify, f(0))), EBUSY)
			require.Equal(t, []string{"X DISABLE_PEER"}, k.asked)
		}},
	})
}

// The owner may not call back into ftrace when asked with ftrace_lock held: the
// thread waits for itself, and the kernel never gets its locks back.
func TestSelfDeadlock(t *testing.T) {
	k := newKernel(t)
	x := k.direct("X", nil, f(0))
	returned := false
	x.OpsFunc = func(ops *Ops, _ Command) int {
		ops.Flags |= OpsEnabled
		_ = k.ModifyDirectMultiNolock(ops, tramp(2))
		returned = true
		return 0
	}
	k.register(k.ops("I", OpsIPModify, f(0)))
	err := k.RegisterDirectMulti(x, tramp(1))
	var dead *Deadlock
	require.ErrorAs(t, err, &dead, "rule 87")
	require.Equal(t, "ftrace_lock", dead.Lock)
	require.False(t, returned, "a call that waits for ever does not return to its caller")
	require.Contains(t, k.LastDecision().String(), "self-deadlock")
	require.ErrorAs(t, k.RegisterFtraceFunction(k.ops("P", 0)), &dead, "and so does whoever comes next")
}
