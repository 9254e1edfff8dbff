package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDesigns makes the table of docs/designs.md anew. It takes a while, so that
// the page's other commands have a test of their own (TestSessions).
func TestDesigns(t *testing.T) {
	if testing.Short() {
		t.Skip("explores some 150,000 executions")
	}
	const page = "docs/designs.md"
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	t.Chdir(root)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), "```text\n$ ./ftemu ")
	require.True(t, ok)
	command, rest, _ := strings.Cut(rest, "\n")
	table, after, ok := strings.Cut(rest, "```\n")
	require.True(t, ok)

	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer out.Close()
	require.Equal(t, statusDiff, run(strings.Fields(command), strings.NewReader(""), out, out), "rinse-repeat has findings")
	_, err = out.Seek(0, io.SeekStart)
	require.NoError(t, err)
	found, err := io.ReadAll(out)
	require.NoError(t, err)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(page, []byte(before+"```text\n$ ./ftemu "+command+"\n"+string(found)+"```\n"+after), 0o666))
		return
	}
	require.Equal(t, table, string(found))
}
