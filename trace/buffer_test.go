package trace_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
)

func TestBuffer(t *testing.T) {
	b := trace.NewBuffer(2)
	for _, k := range []trace.Kind{trace.Insn, trace.Func, trace.Gate, trace.Poke, trace.Branch, trace.Insn, trace.Exit, trace.Entry, trace.Func} {
		b.Trace(&trace.Event{Kind: k})
	}
	notes := b.Notes()
	require.Len(t, notes, 2)
	require.Equal(t, trace.Func, notes[0].Kind)
	require.Equal(t, uint64(1), notes[0].Time)
	require.Equal(t, trace.Exit, notes[1].Kind)
	require.Equal(t, uint64(3), notes[1].Time, "only instructions and gates take time")
	require.Equal(t, 2, b.Lost())
	require.False(t, b.Mask().Has(trace.Poke))
}
