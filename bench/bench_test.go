package bench_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/bench"
	"ftemu/emu/interp"
	"ftemu/guest"
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

func TestCompare(t *testing.T) {
	w := bench.Works()[0]
	s := subjects()
	c, err := bench.Compare(w, s)
	require.NoError(t, err)
	require.Len(t, c.Sides, len(s))
	for i, side := range c.Sides {
		require.Equal(t, s[i].Name(), side.Subject)
		require.Positive(t, side.NS.Max)
		require.LessOrEqual(t, side.NS.Min, side.NS.Median)
		require.LessOrEqual(t, side.NS.Median, side.NS.Max)
		require.Equal(t, i > 0, side.Ratio != nil)
	}
}

// Sites are switched on and off again, a part of them and all.
func TestSites(t *testing.T) {
	img := bench.SynthImage()
	require.Len(t, img.Sites, bench.SynthSites)
	for share, want := range map[int]int{0: bench.SynthSites, 1: 382, 100: bench.SynthSites} {
		r, err := bench.Sites(interp.New(), img, share)
		require.NoError(t, err)
		require.Equal(t, want, r.Sites)
		require.Equal(t, share == 0, r.All)
		require.Positive(t, r.MS.Median)
	}
	img.Sites = nil
	_, err := bench.Sites(interp.New(), img, 10)
	require.EqualError(t, err, "synthetic: 0 sites, of which 10% are none")
}

func TestQuiet(t *testing.T) {
	r, err := bench.Quiet(interp.New())
	require.NoError(t, err)
	require.Equal(t, 20, r.Rounds)
	require.Positive(t, r.Untraced.Median)
	require.Positive(t, r.Quiet.Median)
}

func TestLoadKernel(t *testing.T) {
	_, err := bench.LoadKernel("no-such-file")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = bench.LoadKernel("bench_test.go")
	require.ErrorContains(t, err, "bench_test.go")
	file, err := guest.InstalledKernel()
	if err != nil {
		t.Skip(err)
	}
	r, err := bench.LoadKernel(file)
	require.NoError(t, err)
	require.Positive(t, r.Sites)
	require.Positive(t, r.MS.Median)
}

// BenchmarkSites reports the time for one site, on and off.
func BenchmarkSites(b *testing.B) {
	img := bench.SynthImage()
	for _, share := range []int{10, 50, 100, 0} {
		b.Run(fmt.Sprint(share), func(b *testing.B) {
			for range b.N {
				r, err := bench.Sites(interp.New(), img, share)
				require.NoError(b, err)
				b.ReportMetric(r.NSSite, "ns/site")
				b.ReportMetric(r.Ratio.Median, "ratio")
			}
		})
	}
}
