package ftemu_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSessions runs every command of the console blocks in README.md and docs/
// and compares what it prints with what stands there. A line of three dots stands for any number
// of lines. Run with UPDATE_GOLDEN=1 to write what is printed into the files.
func TestSessions(t *testing.T) { checkSessions(t, "```console\n") }

// TestGdbSessions does the same with the blocks that start gdb.
func TestGdbSessions(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb is not installed")
	}
	checkSessions(t, "```console gdb\n")
}

// checkSessions runs the blocks that begin with mark in all pages.
func checkSessions(t *testing.T, mark string) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	program := build(t)
	blocks := 0
	for _, file := range append(pages, "README.md") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if !strings.Contains(string(text), mark) {
			continue
		}
		blocks++
		t.Run(filepath.Base(file), func(t *testing.T) {
			found := runSessions(t, program, string(text), mark)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.WriteFile(file, []byte(found), 0o666))
			}
		})
	}
	require.Positive(t, blocks, "no page has a block %q", mark)
}

// build makes the program, as the first command of README.md says, in a place of
// its own. When the test ends it takes away what sessions left in the folder.
func build(t *testing.T) (program string) {
	before := names(t)
	t.Cleanup(func() {
		for _, name := range names(t) {
			if !slices.Contains(before, name) {
				_ = os.Remove(name) // another run of the tests may have done it
			}
		}
	})
	program = filepath.Join(t.TempDir(), "ftemu")
	said := shell(t, "go build -o "+program+" ./cmd/ftemu")
	require.FileExists(t, program, said)
	return program
}

// names lists the folder of the module.
func names(t *testing.T) (out []string) {
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// runSessions returns text with the output of the commands in the blocks that begin
// with mark as it was, and fails where that differs. program is what ./ftemu stands for.
func runSessions(t *testing.T, program, text, mark string) string {
	var out strings.Builder
	rest := text
	for {
		before, after, ok := strings.Cut(rest, mark)
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		block, next, ok := strings.Cut(after, "```\n")
		require.True(t, ok, "a console block has no end")
		out.WriteString(mark)
		for _, session := range strings.SplitAfter(block, "\n$ ") {
			session = strings.TrimSuffix(session, "$ ")
			command, want, _ := strings.Cut(strings.TrimPrefix(session, "$ "), "\n")
			found := shell(t, strings.ReplaceAll(command, "./ftemu ", program+" "))
			if !matches(found, want) && os.Getenv("UPDATE_GOLDEN") == "" {
				require.Equal(t, want, found, command)
			}
			if matches(found, want) {
				found = want
			}
			out.WriteString("$ " + command + "\n" + found)
		}
		out.WriteString("```\n")
		rest = next
	}
}

// shell runs a command and returns what it prints.
func shell(t *testing.T, command string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "COLUMNS=", "GOFLAGS=-buildvcs=false")
	out, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); !failed {
		require.NoError(t, err, command)
	}
	return string(out)
}

// matches compares output with a pattern in which a line of three dots stands
// for any number of lines.
func matches(found, pattern string) bool {
	parts := strings.Split("\n"+pattern, "\n...\n")
	found = "\n" + found
	if len(parts) == 1 {
		return found == parts[0]
	}
	if !strings.HasPrefix(found, parts[0]+"\n") {
		return false
	}
	found = found[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(found, "\n"+p+"\n")
		if i < 0 {
			return false
		}
		found = found[i+len(p)+1:]
	}
	return strings.HasSuffix(found, "\n"+parts[len(parts)-1])
}

func TestMatches(t *testing.T) {
	require.True(t, matches("a\nb\n", "a\nb\n"))
	require.False(t, matches("a\nb\n", "a\n"))
	require.True(t, matches("a\nb\nc\nd\n", "a\n...\nd\n"))
	require.True(t, matches("a\nb\nc\nd\ne\n", "a\n...\nc\n...\ne\n"))
	require.False(t, matches("a\nb\nc\n", "a\n...\nd\n"))
	require.False(t, matches("x\nb\nc\n", "a\n...\nc\n"))
}
