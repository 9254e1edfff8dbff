package text_test

import (
	"io"
	"testing"

	"ftemu/trace"
	"ftemu/trace/sinktest"
	"ftemu/trace/text"
)

func TestSink(t *testing.T) {
	sinktest.Run(t, func(w io.Writer, mask trace.Mask, syms ...sinktest.Lookup) sinktest.Sink {
		return text.New(w, mask, syms...)
	})
}
