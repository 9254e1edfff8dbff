package ftracecore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

func TestLocation(t *testing.T) {
	k := newKernel(t)
	const ibt, data = 0xffffffffc0300000, 0xffffffffc0300100
	k.symbols = append(k.symbols,
		Symbol{Name: "with_endbr", Addr: ibt, Size: 0x20},
		Symbol{Name: "without_site", Addr: data, Size: 0x20})
	k.AddSites([]uint64{ibt + 4})
	for _, tt := range []struct {
		name     string
		ip, want uint64
	}{
		{"the site", f(1), f(1)},
		{"inside its five bytes", f(1) + 4, f(1)},
		{"behind them", f(1) + 5, 0},
		{"before it", f(1) - 1, 0},
		{"a function that begins with endbr64", ibt, ibt + 4},
		{"inside its site", ibt + 6, ibt + 4},
		{"inside its endbr64", ibt + 1, 0},
		{"a function without a site", data, 0},
		{"NULL", 0, 0},
		{"all ones", ^uint64(0), 0},
	} {
		require.Equal(t, tt.want, k.Location(tt.ip), tt.name)
	}
}

func TestRecordsAreInPages(t *testing.T) {
	k := newKernel(t)
	k.AddSites([]uint64{0x3000, 0x1000, 0x2000, 0x1000, f(0)})
	var ips []uint64
	k.Records(func(r *Record) bool { ips = append(ips, r.IP); return true })
	require.Equal(t, []uint64{f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), 0x1000, 0x2000, 0x3000}, ips,
		"sorted among those added together, behind the others, each once")
	require.Equal(t, uint64(0x2000), k.RecordAt(0x2000).IP)
	require.Nil(t, k.RecordAt(0x2001))
}

func TestFilterByName(t *testing.T) {
	k := newKernel(t)
	p := k.ops("P", 0)
	require.NoError(t, k.SetFilter(p, "f[0-3]", false))
	require.NoError(t, k.SetFilter(p, "!f1", false))
	require.NoError(t, k.SetFilter(p, "!f7", false), "known and not in the filter")
	require.Equal(t, []uint64{f(0), f(2), f(3)}, p.Filter().IPs())
	require.ErrorIs(t, k.SetFilter(p, "nosuch", false), EINVAL)
	require.ErrorIs(t, k.SetFilter(p, "!nosuch", false), EINVAL)
	require.ErrorIs(t, k.SetFilter(p, "T1", false), EINVAL, "a function without a site")
	require.Equal(t, 3, p.Filter().Count())
	k.RecordAt(f(5)).Flags |= RecDisabled
	require.ErrorIs(t, k.SetFilter(p, "f5", false), EINVAL)
	require.NoError(t, k.SetFilter(p, "", true))
	require.True(t, p.Filter().Empty())
}

func TestCountOverflows(t *testing.T) {
	k := newKernel(t)
	k.RecordAt(f(0)).Count = MaxRefs
	require.ErrorIs(t, k.RegisterFtraceFunction(k.ops("P", 0, f(0))), ENODEV)
	require.True(t, k.Disabled())
	require.Contains(t, k.Warnings()[0].Text, "overflows")
}

func TestCountUnderflows(t *testing.T) {
	k := newKernel(t)
	p := k.ops("P", 0, f(0))
	k.register(p)
	k.RecordAt(f(0)).Count = 0
	_ = k.UnregisterFtraceFunction(p)
	require.True(t, k.Disabled())
	require.Contains(t, k.Warnings()[0].Text, "below 0")
}

func TestNullFuncKillsInTheList(t *testing.T) {
	k := newKernel(t)
	p, q, x := k.ops("P", 0, f(0)), k.ops("Q", 0, f(0)), k.direct("X", nil, f(0))
	k.register(p)
	require.NoError(t, k.RegisterDirectMulti(x, tramp(1)))
	k.register(q)
	x.Func, x.Trampoline = nil, 0 // what the owner's retry does in v6.1.192
	require.Equal(t, "Q(regs) body:f0", k.call(f(0)), "those behind it are skipped, the direct function too")
	require.True(t, k.Disabled())
	require.Equal(t, "arch_ftrace_ops_list_func", k.Warnings()[0].Func)
	require.Equal(t, "Q(regs) body:f0", k.call(f(0)), "and its text goes on calling the list")
}

func TestListing(t *testing.T) {
	k := newKernel(t)
	const bare = 0xffffffffa0000000
	k.AddSites([]uint64{bare})
	k.bytes[bare] = x86.Nop5
	a, b := k.ops("A", 0, f(0), bare), k.ops("B", OpsIPModify|OpsRecursion, f(1))
	k.register(a, b)
	require.Equal(t, []string{
		"f0 [mod] (1)      \ttramp: 0xffffffffc0211000 (cb+0x0/0x10 [mod]) ->cb+0x0/0x10 [mod]",
		"f1 [mod] (1)   I  \ttramp: 0xffffffffc0212000 (cb+0x0/0x10 [mod]) ->ftrace_ops_assist_func+0x0/0xd0",
		"0xffffffffa0000000 (1)      \ttramp: 0xffffffffc0211000 (cb+0x0/0x10 [mod]) ->cb+0x0/0x10 [mod]",
	}, k.EnabledFunctions())
	require.Equal(t, "f1+0x5/0x31 [mod]", k.Symbolic(f(1)+5))
	require.Equal(t, "0x0000000000001000", k.Symbolic(0x1000))
	require.Equal(t, "0x0", k.Symbolic(0))
}
