package jsonl_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
	"ftemu/trace/jsonl"
	"ftemu/trace/sinktest"
)

func TestSink(t *testing.T) {
	sinktest.Run(t, func(w io.Writer, mask trace.Mask, syms ...sinktest.Lookup) sinktest.Sink {
		return jsonl.New(w, mask, syms...)
	})
}

// Every line is an object that an ordinary decoder reads back.
func TestDecodes(t *testing.T) {
	var out strings.Builder
	s := jsonl.New(&out, trace.All, sinktest.Symbols)
	for _, ev := range sinktest.Events() {
		s.Trace(&ev)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for i, ev := range sinktest.Events() {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &m), lines[i])
		require.Equal(t, ev.Kind.String(), m["kind"])
		if ev.Text == "" {
			require.NotContains(t, m, "text")
		} else {
			require.Equal(t, ev.Text, m["text"])
		}
	}
}
