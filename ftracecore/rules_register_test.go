package ftracecore

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

// A rule is one of the conformance rules that ftrace can be held to, by its
// number in the project's reference; rules of one number are parts of it.
type rule struct {
	n    int
	name string
	run  func(t *testing.T, k *kernel)
}

func runRules(t *testing.T, rules []rule) {
	for _, r := range rules {
		t.Run(r.title(), func(t *testing.T) { r.run(t, newKernel(t)) })
	}
}

func TestRegistration(t *testing.T) {
	runRules(t, []rule{
		{13, "one plain ops has its own trampoline", func(t *testing.T, k *kernel) {
			p1 := k.ops("P1", 0, f(0))
			k.register(p1)
			require.Equal(t, "call tramp(P1)", k.site(f(0)))
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN", k.flags(f(0)))
			require.Equal(t, "f0 [mod] (1)      \ttramp: 0xffffffffc0211000 (cb+0x0/0x10 [mod]) ->cb+0x0/0x10 [mod]", k.line(f(0)))
			require.Equal(t, "P1 body:f0", k.call(f(0)))
		}},
		{14, "two share ftrace_caller, the newest first", func(t *testing.T, k *kernel) {
			k.register(k.ops("P1", 0, f(0)), k.ops("P2", 0, f(0)))
			require.Equal(t, "call ftrace_caller", k.site(f(0)))
			require.Equal(t, "2 EN", k.flags(f(0)))
			require.Equal(t, "f0 [mod] (2)       ->arch_ftrace_ops_list_func+0x0/0x1d0", k.line(f(0)))
			require.Equal(t, "P2 P1 body:f0", k.call(f(0)))
		}},
		{15, "one that wants registers takes all to ftrace_regs_caller", func(t *testing.T, k *kernel) {
			k.register(k.ops("P1", 0, f(0)), k.ops("P2", 0, f(0)), k.ops("R3", OpsSaveRegs, f(0)))
			require.Equal(t, "call ftrace_regs_caller", k.site(f(0)))
			require.Equal(t, "3 EN|REGS|REGS_EN", k.flags(f(0)))
			require.Equal(t, "f0 [mod] (3) R     ->arch_ftrace_ops_list_func+0x0/0x1d0", k.line(f(0)))
			require.Equal(t, "R3(regs) P2(regs) P1(regs) body:f0", k.call(f(0)))
		}},
		{16, "the one that is left has its trampoline again", func(t *testing.T, k *kernel) {
			p1, p2, r3 := k.ops("P1", 0, f(0)), k.ops("P2", 0, f(0)), k.ops("R3", OpsSaveRegs, f(0))
			k.register(p1, p2, r3)
			k.unregister(p1, p2)
			require.Equal(t, "call tramp(R3)", k.site(f(0)))
			require.Equal(t, "1 EN|REGS|REGS_EN|TRAMP|TRAMP_EN", k.flags(f(0)))
			require.Equal(t, "R3(regs) body:f0", k.call(f(0)))
		}},
		{17, "and after the last the nop is back", func(t *testing.T, k *kernel) {
			r := k.ops("R", OpsSaveRegs, f(0))
			k.register(r)
			k.unregister(r)
			require.Equal(t, "nop", k.site(f(0)))
			require.Equal(t, "0", k.flags(f(0)))
			require.Equal(t, OpsSaveRegs|OpsDynamic|OpsInit|OpsAllocTramp, r.Flags, "ALLOC_TRAMP stays")
			require.Zero(t, r.Trampoline)
			require.Empty(t, k.EnabledFunctions())
		}},
		{19, "REGS goes with the one that wanted it", func(t *testing.T, k *kernel) {
			p1, r2 := k.ops("P1", 0, f(0)), k.ops("R2", OpsSaveRegs, f(0))
			k.register(p1, r2)
			k.unregister(r2)
			require.Equal(t, "call tramp(P1)", k.site(f(0)))
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN", k.flags(f(0)))
		}},
		{20, "REGS stays while another wants it", func(t *testing.T, k *kernel) {
			r1, r2 := k.ops("R1", OpsSaveRegs, f(0)), k.ops("R2", OpsSaveRegs, f(0))
			k.register(r1, r2)
			k.unregister(r2)
			require.Equal(t, "call tramp(R1)", k.site(f(0)))
			require.Equal(t, "1 EN|REGS|REGS_EN|TRAMP|TRAMP_EN", k.flags(f(0)))
		}},
		{21, "two on two sites: own trampolines, static ones call the list", func(t *testing.T, k *kernel) {
			k.register(k.ops("P1", 0, f(0)), k.ops("P2", 0, f(1)))
			require.Equal(t, "call tramp(P1)", k.site(f(0)))
			require.Equal(t, "call tramp(P2)", k.site(f(1)))
			require.Same(t, k.listFunc, k.static)
		}},
		{22, "no memory for a trampoline", func(t *testing.T, k *kernel) {
			k.noTramp = true
			k.register(k.ops("P1", 0, f(0)), k.ops("R2", OpsSaveRegs, f(1)))
			require.Equal(t, "call ftrace_caller", k.site(f(0)))
			require.Equal(t, "call ftrace_regs_caller", k.site(f(1)))
			require.Equal(t, "1 EN", k.flags(f(0)))
			require.Equal(t, "f0 [mod] (1)       ->arch_ftrace_ops_list_func+0x0/0x1d0", k.line(f(0)))
			require.Equal(t, "P1 body:f0", k.call(f(0)))
		}},
		{23, "one ops of the core kernel is called directly", func(t *testing.T, k *kernel) {
			k.noTramp = true
			o := k.ops("S", 0, f(0))
			o.Static = true
			k.register(o)
			require.False(t, o.Has(OpsDynamic))
			require.Same(t, o.Func, k.static)
			require.Same(t, o, k.traceOp)
			require.Equal(t, "S body:f0", k.call(f(0)))
		}},
		{23, "by the assist function if it has no protection of its own", func(t *testing.T, k *kernel) {
			for _, flag := range []OpsFlags{OpsRecursion, OpsRCU} {
				o := k.ops("S", flag, f(0))
				o.Static = true
				k.register(o)
				require.Same(t, k.assistFunc, k.targets[o], "its own trampoline")
				if flag == OpsRecursion {
					require.Same(t, k.assistFunc, k.static)
				} else {
					require.Same(t, k.listFunc, k.static, "an RCU ops goes by the list")
				}
				require.Equal(t, "S body:f0", k.call(f(0)))
				k.unregister(o)
			}
		}},
		{24, "registered twice", func(t *testing.T, k *kernel) {
			p := k.ops("P", 0, f(0))
			k.register(p)
			before := *p
			require.ErrorIs(t, k.RegisterFtraceFunction(p), EBUSY)
			require.Equal(t, before.Flags, p.Flags)
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN", k.flags(f(0)))
			require.Equal(t, "__register_ftrace_function", k.Warnings()[0].Func)
			require.Len(t, k.Ops(), 1)
		}},
		{25, "unregistered and never registered", func(t *testing.T, k *kernel) {
			p := k.ops("P", 0, f(0))
			require.ErrorIs(t, k.UnregisterFtraceFunction(p), EBUSY)
			require.Equal(t, "__unregister_ftrace_function", k.Warnings()[0].Func)
		}},
		{26, "PERMANENT while ftrace_enabled is 0", func(t *testing.T, k *kernel) {
			require.NoError(t, k.SetEnabled(false))
			p := k.ops("P", OpsPermanent, f(0))
			require.ErrorIs(t, k.RegisterFtraceFunction(p), EBUSY)
			require.EqualValues(t, 0x10040, p.Flags)
			require.Empty(t, k.Ops())
			require.NoError(t, k.SetEnabled(true))
			k.register(p)
		}},
		{27, "ftrace_enabled stays 1 for PERMANENT", func(t *testing.T, k *kernel) {
			p := k.ops("P", OpsPermanent, f(0))
			k.register(p, k.ops("Q", 0, f(0)))
			err := k.SetEnabled(false)
			require.ErrorIs(t, err, EBUSY)
			require.Equal(t, []string{"P"}, err.(*Error).Owners)
			require.True(t, k.Enabled())
			require.Equal(t, "call ftrace_caller", k.site(f(0)))
		}},
		{28, "ftrace_enabled 0 and 1", func(t *testing.T, k *kernel) {
			k.register(k.ops("P", 0, f(0)))
			require.NoError(t, k.SetEnabled(false))
			require.Equal(t, "nop", k.site(f(0)))
			require.Empty(t, k.EnabledFunctions())
			require.Equal(t, "1 TRAMP", k.flags(f(0)))
			require.Equal(t, "body:f0", k.call(f(0)))
			require.NoError(t, k.SetEnabled(true))
			require.Equal(t, "call tramp(P)", k.site(f(0)))
			require.Equal(t, "1 EN|TRAMP|TRAMP_EN", k.flags(f(0)))
		}},
		{29, "nothing works once ftrace is disabled", func(t *testing.T, k *kernel) {
			p, q := k.ops("P", 0, f(0)), k.ops("Q", 0, f(1))
			x := k.direct("X", nil, f(2))
			k.register(p)
			k.kill()
			for name, err := range map[string]error{
				"register": k.RegisterFtraceFunction(q), "unregister": k.UnregisterFtraceFunction(p),
				"filter": k.SetFilterIP(q, f(1), false, false), "name": k.SetFilter(q, "f1", false),
				"notrace": k.SetNotrace(q, "f1", false), "sysctl": k.SetEnabled(true),
				"direct": k.RegisterDirectMulti(x, tramp(1)),
			} {
				require.ErrorIs(t, err, ENODEV, name)
			}
			require.Equal(t, "call tramp(P)", k.site(f(0)))
			require.Equal(t, "P body:f0", k.call(f(0)), "what sites call goes on running")
			require.Empty(t, k.EnabledFunctions())
		}},
		{30, "no filter means all functions", func(t *testing.T, k *kernel) {
			k.RecordAt(f(5)).Flags |= RecDisabled
			k.register(k.ops("P", 0))
			for i := range 8 {
				want := "1 EN|TRAMP|TRAMP_EN"
				if i == 5 {
					want = "0 DISABLED"
				}
				require.Equal(t, want, k.flags(f(i)), "f%d", i)
			}
			require.Equal(t, "nop", k.site(f(5)))
		}},
		{31, "a live filter moves", func(t *testing.T, k *kernel) {
			p := k.ops("P", 0, f(0))
			k.register(p)
			require.NoError(t, k.SetFilterIP(p, f(1), false, true))
			require.Equal(t, "nop", k.site(f(0)))
			require.Equal(t, "0", k.flags(f(0)))
			require.Equal(t, "call tramp(P)", k.site(f(1)))
			require.Zero(t, p.Flags&OpsModifying)
		}},
		{32, "notrace", func(t *testing.T, k *kernel) {
			p := k.ops("P", 0)
			require.NoError(t, k.SetNotrace(p, "f0", false))
			k.register(p)
			require.Equal(t, "nop", k.site(f(0)))
			require.Equal(t, "call tramp(P)", k.site(f(1)))
			require.NoError(t, k.SetNotrace(p, "!f0", false))
			require.Equal(t, "call tramp(P)", k.site(f(0)))
			require.NoError(t, k.SetNotrace(p, "f[1-3]", false))
			require.Equal(t, "nop", k.site(f(2)))
			require.Equal(t, "0", k.flags(f(2)))
		}},
		{33, "who does not cover a site is not called there", func(t *testing.T, k *kernel) {
			k.register(k.ops("P1", 0, f(0)), k.ops("R2", OpsSaveRegs, f(1)), k.ops("P3", 0, f(0)))
			require.Equal(t, "P3 P1 body:f0", k.call(f(0)))
		}},
		{34, "no registers, no callback that needs them", func(t *testing.T, k *kernel) {
			k.register(k.ops("P1", 0, f(0)), k.ops("R2", OpsSaveRegs, f(0)))
			k.bytes[f(0)], _ = x86.EncodeCall(f(0), k.addr.FtraceCaller) // a CPU that fetched the site before
			require.Equal(t, "P1 body:f0", k.call(f(0)))
		}},
		{35, "STUB counts and is not called", func(t *testing.T, k *kernel) {
			k.register(k.ops("S", OpsStub, f(0)), k.ops("P", 0, f(0)))
			require.Equal(t, "call ftrace_caller", k.site(f(0)))
			require.Equal(t, "P body:f0", k.call(f(0)))
		}},
		{36, "one nested entry is let through, no more", func(t *testing.T, k *kernel) {
			k.register(k.ops("P", 0, f(0)), k.ops("S", OpsStub, f(0)))
			k.nest = 2
			require.Equal(t, "P P body:f0 body:f0 body:f0", k.call(f(0)))
			require.Equal(t, "P body:f0", k.call(f(0)), "and all is as before after that")
		}},
		{37, "unknown and absent sites", func(t *testing.T, k *kernel) {
			p := k.ops("P", 0, f(0))
			require.ErrorIs(t, k.SetFilterIP(p, f(0)+5, false, false), EINVAL)
			require.ErrorIs(t, k.SetFilterIPs(p, []uint64{f(1), 0x1000}, false, false), EINVAL)
			require.ErrorIs(t, k.SetFilterIP(p, f(1), true, false), ENOENT)
			require.Equal(t, []uint64{f(0)}, p.Filter().IPs(), "all or none")
			require.NoError(t, k.SetFilterIP(p, f(0), false, false), "present already")
			require.NoError(t, k.SetFilterIP(p, f(0)+4, true, false), "inside the site")
			require.True(t, p.Filter().Empty())
		}},
		{38, "a corrupted site", func(t *testing.T, k *kernel) {
			p := k.ops("P", 0, f(0), f(1), f(2))
			k.register(p)
			b := k.bytes[f(1)]
			b[2] ^= 0xff
			k.bytes[f(1)] = b
			written, before := len(k.batches), k.bytes[f(0)]
			require.NoError(t, k.UnregisterFtraceFunction(p), "as the kernel: the call does not look")
			require.True(t, k.Disabled())
			require.Len(t, k.batches, written, "nothing is written")
			require.Equal(t, before, k.bytes[f(0)])
			w := k.Warnings()
			i := slices.IndexFunc(w, func(w Warning) bool { return w.Func == "ftrace_bug" })
			require.GreaterOrEqual(t, i, 0)
			require.Contains(t, w[i].Text, "f1")
		}},
		{38, "a corrupted site when one registers", func(t *testing.T, k *kernel) {
			k.bytes[f(1)] = x86.Bytes5{0x90, 0x90, 0x90, 0x90, 0x90}
			p := k.ops("P", 0, f(0), f(1))
			require.ErrorIs(t, k.RegisterFtraceFunction(p), ENODEV)
			require.True(t, k.Disabled())
			require.Empty(t, k.batches)
			require.Equal(t, "nop", k.site(f(0)))
			require.Empty(t, k.Ops())
			require.True(t, p.Has(OpsEnabled|OpsAdding), "as the kernel: only the list is put back")
		}},
		{0, "DELETED", func(t *testing.T, k *kernel) {
			require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("P", OpsDeleted, f(0))), EINVAL)
			require.Empty(t, k.Ops())
		}},
	})
}
