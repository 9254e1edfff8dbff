package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestInterrupt: a search that is interrupted has not done what it was asked to,
// and says so.
func TestInterrupt(t *testing.T) {
	// A signal that comes before the search listens must not end the test.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	const said = "not exhaustive, no finding: interrupted\n"
	for _, tt := range []struct{ name, call, said string }{
		{"explore", "explore ROOT/examples/share/at-once.ft", said},
		{"by chance", "explore --random 1 --executions 100000000 ROOT/examples/share/at-once.ft", said},
		{"JSON", "explore --json ROOT/examples/share/at-once.ft", `"stopped":"interrupted","interrupted":true`},
		{"designs", "explore --designs ROOT/examples/share/at-once.ft", "  interrupted  no finding\n"},
		{"the next file", "explore ROOT/examples/share/at-once.ft next.ft", "ftemu: next.ft: interrupted\n"},
		{"report", "report --max-states 10000000 -o TMP/page.html ROOT/examples/share/at-once.ft", "ftemu: ROOT/examples/share/at-once.ft: " + said},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, err := filepath.Abs("../..")
			require.NoError(t, err)
			paths := strings.NewReplacer("ROOT", root, "TMP", t.TempDir())
			out, err := os.Create(filepath.Join(t.TempDir(), "out"))
			require.NoError(t, err)
			defer out.Close()
			status := make(chan int)
			go func() { status <- run(strings.Fields(paths.Replace(tt.call)), strings.NewReader(""), out, out) }()
			for {
				select {
				case found := <-status:
					text, err := os.ReadFile(out.Name())
					require.NoError(t, err)
					require.Contains(t, string(text), paths.Replace(tt.said))
					require.Equal(t, statusBad, found)
					return
				case <-time.After(100 * time.Millisecond):
					require.NoError(t, self.Signal(os.Interrupt))
				}
			}
		})
	}
}
