package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/ftracecore"
)

// drawing is a command in docs/designs.md with what it draws.
var drawing = regexp.MustCompile("(?m)^    ftemu (explore .*--lock-graph) locks.mmd (.*)\n\n```mermaid\n((?:.+\n)*?)```\n")

// TestLockGraphsOfDocs draws the pictures of docs/designs.md anew.
func TestLockGraphsOfDocs(t *testing.T) {
	t.Chdir("../..")
	const page = "docs/designs.md"
	text := readFile(t, page)
	require.Len(t, drawing.FindAllString(text, -1), 2)
	found := drawing.ReplaceAllStringFunc(text, func(block string) string {
		m := drawing.FindStringSubmatch(block)
		file := filepath.Join(t.TempDir(), "locks.mmd")
		args := append(strings.Fields(m[1]), append([]string{file}, strings.Fields(m[2])...)...)
		status := run(args, os.Stdin, devNull(t), devNull(t))
		require.Equal(t, strings.Contains(m[1], "--with"), status == statusDiff, "a mistake is found, and nothing else")
		return strings.Replace(block, "```mermaid\n"+m[3], "```mermaid\n"+readFile(t, file), 1)
	})
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(page, []byte(found), 0o666))
		return
	}
	require.Equal(t, text, found)
}

// TestLockGraphs: the picture is the same however many executions run at the same
// time, Graphviz draws it, and red is what breaks the order.
func TestLockGraphs(t *testing.T) {
	const scenario = "../../examples/explore/livepatch-meets-bpf.ft"
	for _, d := range ftracecore.Designs() {
		t.Run(d.Name(), func(t *testing.T) {
			var files []string
			for _, workers := range []string{"1", "3"} {
				file := filepath.Join(t.TempDir(), "locks.dot")
				run([]string{"explore", "--all", "--bound", "2", "--design", d.Name(), "--workers", workers, "--lock-graph", file, scenario}, os.Stdin, devNull(t), devNull(t))
				files = append(files, readFile(t, file))
				if _, err := exec.LookPath("dot"); err == nil {
					out, err := exec.Command("dot", "-Tsvg", "-o", os.DevNull, file).CombinedOutput()
					require.NoError(t, err, string(out))
					require.Empty(t, string(out))
				}
			}
			require.Equal(t, files[0], files[1])
			require.NotContains(t, files[0], "red", "no design breaks the documented order")
			require.Contains(t, files[0], "style=dashed")
		})
	}
	for mistake, edge := range map[string]string{"blocking-peer": "n1 -> n0", "relock-direct-mutex": "n1 -> n1"} {
		file := filepath.Join(t.TempDir(), "locks.dot")
		run([]string{"explore", "--with", mistake, "--lock-graph", file, scenario}, os.Stdin, devNull(t), devNull(t))
		require.Regexp(t, edge+` .*color=red`, readFile(t, file), mistake)
	}
}

// devNull takes what nobody looks at.
func devNull(t *testing.T) *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
