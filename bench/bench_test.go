package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/bench"
	"ftemu/emu/interp"
)

// subjects are the subjects of this build.
func subjects() []bench.Subject {
	return append([]bench.Subject{bench.OnEngine(interp.New())}, taggedSubjects()...)
}

// Every load does its work: loads check what the guest computes.
func TestLoads(t *testing.T) {
	for _, w := range bench.Works() {
		for _, s := range subjects() {
			t.Run(w.Name+"/"+s.Name(), func(t *testing.T) {
				l, err := w.Prepare(s)
				require.NoError(t, err)
				require.NoError(t, l.Run(3))
				if w.Name == "step" {
					require.NoError(t, l.Run(2*w.Program.Insns))
				}
				require.NoError(t, l.Run(1))
				if l.Close != nil {
					require.NoError(t, l.Close())
				}
			})
		}
	}
}

// A guest that computes something else is noticed.
func TestLoadsNotice(t *testing.T) {
	for _, w := range bench.Works() {
		for _, s := range subjects() {
			w.Program.RAX++
			l, err := w.Prepare(s)
			require.NoError(t, err)
			n := 1
			if w.Name == "step" {
				n = w.Program.Insns
			}
			require.ErrorContains(t, l.Run(n), "the guest returned", w.Name)
			if l.Close != nil {
				require.NoError(t, l.Close())
			}
		}
	}
}

func BenchmarkWorks(b *testing.B) {
	for _, w := range bench.Works() {
		for _, s := range subjects() {
			b.Run(w.Name+"/"+s.Name(), func(b *testing.B) {
				l, err := w.Prepare(s)
				require.NoError(b, err)
				b.ResetTimer()
				require.NoError(b, l.Run(b.N))
				b.StopTimer()
				b.ReportMetric(w.PerUnit(float64(b.Elapsed().Nanoseconds())/float64(b.N)), "ns/unit")
				if l.Close != nil {
					require.NoError(b, l.Close())
				}
			})
		}
	}
}
