package ftracecore

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every call takes its locks in the documented order (the kernel of the tests
// checks that) and these are the ones it takes.
func TestLocksTaken(t *testing.T) {
	k := newKernel(t)
	p, i, x := k.ops("P", 0, f(0)), k.ops("I", OpsIPModify, f(1)), k.direct("X", yes, f(1))
	took := func(call func() error) string {
		k.locked = nil
		require.NoError(t, call())
		return strings.Join(k.locked, " ")
	}
	const (
		text     = "+text_mutex -text_mutex"
		startup  = "+ftrace_lock " + text + " -ftrace_lock"
		noText   = "+ftrace_lock -ftrace_lock"
		register = "+direct_mutex " + startup + " -direct_mutex"
	)
	require.Equal(t, "+regex_lock of P +ftrace_lock -ftrace_lock -regex_lock of P",
		took(func() error { return k.SetFilterIP(p, f(0), false, true) }), "not registered")
	require.Equal(t, register, took(func() error { return k.RegisterFtraceFunction(p) }))
	require.Equal(t, "+regex_lock of P +ftrace_lock +text_mutex -text_mutex -ftrace_lock -regex_lock of P",
		took(func() error { return k.SetFilterIP(p, f(2), false, true) }), "registered")
	require.Equal(t, register, took(func() error { return k.RegisterDirectMulti(x, tramp(1)) }))
	require.Equal(t, "+direct_mutex "+noText+" "+startup+" -direct_mutex",
		took(func() error { return k.RegisterFtraceFunction(i) }), "the peers are looked up first")
	require.Equal(t, "+direct_mutex "+noText+" "+noText+" "+noText+" -direct_mutex",
		took(func() error { return k.ModifyDirectMulti(x, tramp(2)) }), "tmp_ops in, the swap, tmp_ops out; the site stays")
	require.Equal(t, startup+" +direct_mutex "+noText+" -direct_mutex",
		took(func() error { return k.UnregisterFtraceFunction(i) }))
	require.Equal(t, "+direct_mutex "+startup+" -direct_mutex", took(func() error { return k.UnregisterDirectMulti(x, tramp(2)) }))
	require.Equal(t, startup, took(func() error { return k.UnregisterFtraceFunction(p) }))
	require.Equal(t, noText, took(func() error { return k.SetEnabled(false) }))
}

func TestLocksOfTheAPIForOneSite(t *testing.T) {
	k := newKernel(t)
	require.NoError(t, k.RegisterDirect(f(0), tramp(1)))
	require.NoError(t, k.ModifyDirect(f(0), tramp(1), tramp(2)))
	require.NoError(t, k.UnregisterDirect(f(0), tramp(2)))
	// That ftrace_lock is given up while stub_ops stands in shows in the order: a
	// regex_lock under it would have been refused.
	require.Contains(t, strings.Join(k.locked, " "), "+direct_mutex +ftrace_lock -ftrace_lock +regex_lock of stub_ops")
}

// Refused calls leave no lock taken either; that is checked at the end of each test.
func TestLocksAfterRefusals(t *testing.T) {
	k := newKernel(t)
	k.register(k.ops("I", OpsIPModify, f(0)))
	x := k.direct("X", busy, f(0))
	for _, err := range []error{
		k.RegisterFtraceFunction(k.ops("J", OpsIPModify, f(0))), k.RegisterDirectMulti(x, tramp(1)),
		k.RegisterDirectMulti(x, tramp(1)), k.ModifyDirectMulti(x, tramp(1)), k.UnregisterDirectMulti(x, tramp(1)),
		k.RegisterDirect(f(0), tramp(1)), k.RegisterDirect(0, tramp(1)), k.ModifyDirect(f(0), 1, 2), k.UnregisterDirect(f(0), 1),
		k.SetFilterIP(x, 0, false, false), k.SetNotrace(x, "nosuch", false),
	} {
		require.Error(t, err)
		require.Empty(t, k.held)
	}
}

func TestTryAcquire(t *testing.T) {
	c := New(Config{Profile: V6_1(), Design: OpsFuncDesign()})
	var l Lock
	require.True(t, c.TryAcquire(&l))
	require.True(t, l.Held())
	require.False(t, c.TryAcquire(&l))
	c.Release(&l)
	require.True(t, c.TryAcquire(&l))
}
