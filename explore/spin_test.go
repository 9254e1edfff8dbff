package explore

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// A verdict is what Spin says.
type verdict struct {
	states, transitions int
	errors              string  // the first, "" if there is none
	rate                float64 // states a second; 0 where it was over too soon to tell
}

var (
	spinStates      = regexp.MustCompile(`(\d+) states, stored`)
	spinTransitions = regexp.MustCompile(`(\d+) transitions`)
	spinError       = regexp.MustCompile(`pan:1: ([a-z ]*[a-z])`)
	spinRate        = regexp.MustCompile(`pan: rate +([0-9.]+) states/second`)
)

// spinFigures, when it is set in the environment, makes TestSpin take the larger
// model too, and the verifiers fast.
const spinFigures = "FTEMU_SPIN"

// spin makes a verifier of the model in Promela and runs it. Optimisations
// that take states away are off.
func spin(t *testing.T, reduce bool, defines ...string) verdict {
	t.Helper()
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: Debian's packages spin and gcc have what the comparison takes", tool)
		}
	}
	model, err := filepath.Abs("../testdata/spin/ops_func.pml")
	require.NoError(t, err)
	dir := t.TempDir()
	tool := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		return string(out)
	}
	tool("spin", append(append([]string{"-a", "-o1", "-o2", "-o3"}, defines...), model)...)
	speed := "-O0"
	if os.Getenv(spinFigures) != "" {
		speed = "-O2"
	}
	flags := []string{speed, "-w", "-DSAFETY", "-o", "pan", "pan.c"}
	if !reduce {
		flags = append(flags, "-DNOREDUCE")
	}
	tool("gcc", flags...)
	out := tool(filepath.Join(dir, "pan"), "-m100000", "-c0")
	var v verdict
	number := func(re *regexp.Regexp) int {
		m := re.FindStringSubmatch(out)
		require.NotNil(t, m, "%v in %s", re, out)
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		return n
	}
	v.states, v.transitions = number(spinStates), number(spinTransitions)
	if m := spinRate.FindStringSubmatch(out); m != nil {
		v.rate, err = strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
	}
	if m := spinError.FindStringSubmatch(out); m != nil {
		v.errors = m[1]
	}
	return v
}

// TestSpin: Spin and our search without reduction visit the same number of states
// and make the same number of steps between them. Spin counts the way to the
// first state as a step too.
func TestSpin(t *testing.T) {
	slowly(t)
	models := []int{2}
	if os.Getenv(spinFigures) != "" {
		models = []int{1, 2, 3}
	}
	for _, n := range models {
		t.Run(fmt.Sprintf("livepatches=%d", n), func(t *testing.T) {
			define := fmt.Sprintf("-DLIVEPATCHES=%d", n)
			theirs, theirReduced := spin(t, false, define), spin(t, true, define)
			full, reduced := explored(t, true, n, false, false), explored(t, false, n, false, false)
			require.Equal(t, theirs.states, full.all)
			require.Equal(t, theirs.transitions, full.transitions+1)
			require.Empty(t, theirs.errors)
			require.Empty(t, full.Counts)

			t.Logf("without reduction, both: %d states, %d transitions", full.all, full.transitions)
			factor := func(n, of int) string { return fmt.Sprintf("%d (a factor of %.1f)", n, float64(of)/float64(n)) }
			t.Logf("with reduction: Spin stores %s; ftemu passes %s and stores %s, in %d executions",
				factor(theirReduced.states, theirs.states), factor(reduced.all, full.all), factor(reduced.States, full.all), reduced.Executions)
			t.Logf("states a second without reduction: ftemu %.0f", float64(full.all)/full.took.Seconds())
			if theirs.rate > 0 {
				t.Logf("states a second without reduction: Spin %.0f", theirs.rate)
			}
		})
	}
}

// TestSpinMistakes: the two find the same mistakes.
func TestSpinMistakes(t *testing.T) {
	slowly(t)
	require.Equal(t, "invalid end state", spin(t, false, "-DBLOCKING").errors)
	require.Equal(t, "assertion violated", spin(t, false, "-DNO_SELF").errors)
	require.Positive(t, explored(t, true, 2, true, false).Counts[Deadlock])
	require.Positive(t, explored(t, true, 2, false, true).Counts[Livepatch])
}
