//go:build unicorn

package enginetest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu/emu/enginetest"
	"ftemu/emu/interp"
	"ftemu/emu/unicorn"
)

var nodiffTime = flag.Duration("nodiff", 3*time.Second, "how long to compare engines on random programs")

// seed is FTEMU_SEED, or one of the clock.
func seed(t *testing.T) uint64 {
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("FTEMU_SEED"); v != "" {
		var err error
		s, err = strconv.ParseUint(v, 0, 64)
		require.NoError(t, err, "FTEMU_SEED")
	}
	return s
}

// TestNoDiff runs random programs on both engines: in one go, in chunks and
// traced. Whatever can be seen is the same. The seed of a program that differs
// is printed; given as FTEMU_SEED it is the first one to run.
func TestNoDiff(t *testing.T) {
	a, err := enginetest.NewSubject(interp.New())
	require.NoError(t, err)
	defer a.Close()
	b, err := enginetest.NewSubject(unicorn.New())
	require.NoError(t, err)
	defer b.Close()

	first := seed(t)
	end := time.Now().Add(*nodiffTime)
	n := uint64(0)
	for ; n == 0 || time.Now().Before(end); n++ {
		rng := rand.New(rand.NewPCG(first+n, 1))
		p := enginetest.Random(rng)
		for _, how := range []string{"in one go", "in chunks", "traced"} {
			p.Traced = how == "traced"
			p.Chunk = 0
			if how == "in chunks" {
				p.Chunk = 1 + rng.Uint64N(20)
			}
			x, err := a.Observe(p)
			require.NoError(t, err)
			y, err := b.Observe(p)
			require.NoError(t, err)
			if d := enginetest.Diff(x, y, p.Undefined); d != "" {
				file := fmt.Sprintf("%s/program.bin", t.ArtifactDir())
				require.NoError(t, os.WriteFile(file, p.Code, 0o644))
				t.Fatalf("FTEMU_SEED=%d %s (code in %s; keep it with -artifacts):\n%s", first+n, how, file, d)
			}
		}
	}
	t.Logf("%d programs from FTEMU_SEED=%d", n, first)
}
