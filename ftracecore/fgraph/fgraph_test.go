package fgraph

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/ftracecore"
	"ftemu/trace"
)

// word is a return slot.
type word uint64

func (w *word) Get() uint64  { return uint64(*w) }
func (w *word) Set(a uint64) { *w = word(a) }

type events []trace.Event

func (*events) Mask() trace.Mask        { return trace.MaskOf(trace.Entry, trace.Exit) }
func (e *events) Trace(ev *trace.Event) { *e = append(*e, *ev) }

const handler = 0xffffffff810768d0

func TestShadowStack(t *testing.T) {
	var seen events
	tr := New(nil, &ftracecore.Ops{Name: "function_graph"}, handler, 2, &seen)
	for i := range Depth {
		slot := word(1000 + i)
		tr.Enter(1, uint64(i), &slot)
		require.Equal(t, word(handler), slot)
	}
	slot := word(77)
	tr.Enter(1, 99, &slot)
	require.Equal(t, word(77), slot, "a function that there is no room for returns as ever")
	require.Equal(t, Depth, tr.Level(1))
	require.Zero(t, tr.Level(0), "each task has a stack of its own")
	for i := Depth - 1; i >= 0; i-- {
		ret, err := tr.Return(1)
		require.NoError(t, err)
		require.Equal(t, uint64(1000+i), ret)
	}
	_, err := tr.Return(1)
	require.ErrorContains(t, err, "empty shadow stack")

	require.Len(t, seen, 2*Depth)
	last := seen[len(seen)-1]
	require.Equal(t, trace.Event{Kind: trace.Exit, CPU: 1, Addr: 1000, Value: 1, Name: "function_graph"}, last)
	require.Equal(t, Depth-1, seen[Depth-1].Depth)
	require.Equal(t, seen[Depth-1].Depth, seen[Depth].Depth)
}

func TestSnapshot(t *testing.T) {
	tr := New(nil, &ftracecore.Ops{}, handler, 1, nil)
	a, b := word(1), word(2)
	tr.Enter(0, 10, &a)
	restore := tr.Snapshot()
	digest := func() string {
		var buf bytes.Buffer
		tr.Digest(&buf)
		return buf.String()
	}
	before := digest()
	for range 2 {
		tr.Enter(0, 20, &b)
		require.Equal(t, uint64(1), tr.Returns(0)[1], "the last function entered comes first")
		require.NotEqual(t, before, digest())
		tr.Unwind(0, 0)
		require.Empty(t, tr.Returns(0))
		restore()
		require.Equal(t, []uint64{1}, tr.Returns(0))
		require.Equal(t, before, digest())
	}
}
