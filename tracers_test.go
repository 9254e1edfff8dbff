package ftemu_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/ftracecore"
	"ftemu/guest"
	"ftemu/trace"
)

// noted keeps what the tracers note, as text.
type noted []string

func (*noted) Mask() trace.Mask { return trace.MaskOf(trace.Func, trace.Entry, trace.Exit) }

func (n *noted) Trace(ev *trace.Event) { *n = append(*n, ev.Kind.String()) }

// nestedLab is a lab with functions that call others.
func nestedLab(t *testing.T, sink trace.Tracer) *ftemu.Lab {
	img, err := guest.LoadFile("testdata/guest/gcc-fentry.o", guest.LoadOptions{})
	require.NoError(t, err)
	lab, err := ftemu.New(ftemu.Options{Guest: img, Tracer: sink})
	require.NoError(t, err)
	t.Cleanup(lab.Close)
	return lab
}

func address(t *testing.T, lab *ftemu.Lab, name string) uint64 {
	a, ok := lab.Symbols.Lookup(name)
	require.True(t, ok, name)
	return a
}

func TestGraphHasOneUser(t *testing.T) {
	lab := nestedLab(t, nil)
	require.NoError(t, lab.Graph.Start())
	err := lab.Graph.Start()
	require.ErrorIs(t, err, ftracecore.EBUSY)
	require.EqualError(t, err, "-EBUSY: function_graph is running already")
	require.NoError(t, lab.Graph.Stop())
	require.NoError(t, lab.Graph.Start())
}

// A call that does not come back leaves nothing on the shadow stack.
func TestGraphAfterFailure(t *testing.T) {
	var seen noted
	lab := nestedLab(t, &seen)
	require.NoError(t, lab.Graph.Start())
	_, err := lab.Call(address(t, lab, "walk"), 0x10)
	var failed *ftemu.CallError
	require.True(t, errors.As(err, &failed))
	require.Zero(t, lab.Graph.Level(0))
	ret, err := lab.Call(address(t, lab, "nested"), 3)
	require.NoError(t, err)
	require.Equal(t, uint64(90), ret)
	require.Equal(t, noted{"entry", "entry", "entry", "exit", "entry", "exit", "exit"}, seen)
}

// A snapshot brings a tracer back.
func TestGraphSnapshot(t *testing.T) {
	lab := nestedLab(t, nil)
	require.NoError(t, lab.Graph.Start())
	digest := func() string {
		var b bytes.Buffer
		lab.Digest(&b)
		return b.String()
	}
	restore := lab.Snapshot()
	before := digest()
	require.NoError(t, lab.Graph.Stop())
	ret, err := lab.Call(address(t, lab, "nested"), 3)
	require.NoError(t, err)
	require.Equal(t, uint64(90), ret)
	require.NotEqual(t, before, digest())
	require.NoError(t, restore())
	require.Equal(t, before, digest())
	require.True(t, lab.Graph.Running())
}

// The function tracer notes calls for as long as it runs.
func TestFunctionTracer(t *testing.T) {
	var seen noted
	lab := nestedLab(t, &seen)
	require.False(t, lab.Function.Running())
	require.NoError(t, lab.Function.Start())
	require.True(t, lab.Function.Running())
	_, err := lab.Call(address(t, lab, "nested"), 3)
	require.NoError(t, err)
	require.Equal(t, noted{"func", "func", "func"}, seen)
	require.NoError(t, lab.Function.Stop())
	_, err = lab.Call(address(t, lab, "nested"), 3)
	require.NoError(t, err)
	require.Len(t, seen, 3)
}
