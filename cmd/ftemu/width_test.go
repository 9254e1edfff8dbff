package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// calls are calls of every verb, with the lines that are kept whole however
// narrow the output is: tables, code, events, lines of scenarios, files.
var calls = []struct{ args, whole string }{
	{"help", ``},
	{"help run", ``},
	{"help trampoline", ``},
	{"help explore", ``},
	{"help language", ``},
	{"help mistakes", ``},
	{"version", ``},
	{"man", `.`},
	{"completion bash", `.`},
	{"run ROOT/examples/livepatch-first.ft", `^ *\d+  |^    begin|nopl|call  |\[ftoracle\]$|->`},
	{"run --explain --trace poke,reg ROOT/examples/bpf-first.ft", `^ *\d+  |^    begin|nopl|call  |\[ftoracle\]$|->|^ +0 (poke|reg)`},
	{"sites ROOT/examples/own/own.o", `.`},
	{"disasm ROOT/examples/own/own.o gcd", `.`},
	{"why ROOT/examples/conflict/enabled_functions vfs_read livepatch", ``},
	{"why --explain ROOT/examples/conflict/enabled_functions vfs_read direct", ``},
	{"explore --bound 1 ROOT/examples/explore/nop-to-call-1.ft", ``},
	{"explore --with skip-int3 ROOT/examples/explore/call-to-call-1.ft", `^(step|\d+ ) |^line `},
	{"explore --bound 1 --designs ROOT/examples/explore/nop-to-call-1.ft", `.`},
	{"conform ROOT/testdata/recordings/rules.jsonl.gz", ``},
	{"trampoline list", ``},
	{"trampoline show fentry", `.`},
	{"trampoline frame fentry", ` \| |\+--|^ rsp`},
	{"trampoline check --states 2 fentry", ``},
	{"trampoline compare fentry fexit", `  +\d`},
	{"engines", ``},
	{"engines --coverage ROOT/examples/own/own.o", ` %$`},
	{"bench quiet", `interp|ENGINE`},
}

// TestWidth: no line is wider than the output but those that are kept whole, and
// those of one word behind a label or a dash.
func TestWidth(t *testing.T) {
	for _, c := range calls {
		t.Run(c.args, func(t *testing.T) {
			for _, width := range []int{20, 40, 80, 200} {
				t.Setenv("COLUMNS", fmt.Sprint(width))
				for line := range strings.Lines(output(t, c.args)) {
					line = strings.TrimRight(line, "\n")
					require.NotContains(t, line, "\x1b")
					whole := c.whole != "" && regexp.MustCompile(c.whole).MatchString(line)
					if utf8.RuneCountInString(line) > width && !whole {
						text := line[strings.LastIndex(line, "  ")+1:]
						require.NotContains(t, strings.TrimPrefix(strings.TrimSpace(text), "- "), " ", "%d columns: %q", width, line)
					}
				}
			}
		})
	}
}

// TestCallsAreOfEveryVerb: a verb that is not among the calls is left out for a reason.
func TestCallsAreOfEveryVerb(t *testing.T) {
	for _, verb := range leaves(t) {
		called := slices.ContainsFunc(calls, func(c struct{ args, whole string }) bool { return strings.HasPrefix(c.args, verb) })
		switch verb {
		case "gdb", "shell": // wait for somebody, and have tests of their own
		case "report", "trampoline golden": // print the name of a file
		default:
			require.True(t, called, verb)
		}
	}
}

// leaves lists the verbs that do something, with those above them.
func leaves(t *testing.T) (out []string) {
	k, err := newParser(newApp(nil, devNull(t), devNull(t)), func(int) {})
	require.NoError(t, err)
	for _, n := range k.Model.Leaves(true) {
		out = append(out, strings.TrimPrefix(verbPath(n), "ftemu "))
	}
	require.NotEmpty(t, out)
	return out
}

// output runs the program and returns what it prints.
func output(t *testing.T, args string) string {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	run(strings.Fields(strings.ReplaceAll(args, "ROOT", "../..")), strings.NewReader(""), file, file)
	return readFile(t, file.Name())
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[mK]")

// TestTerminals: a terminal of 20 columns has the text of an output of that
// width, in colours where it can and may.
func TestTerminals(t *testing.T) {
	for _, c := range calls {
		if strings.HasPrefix(c.args, "bench") {
			continue // figures vary
		}
		t.Run(c.args, func(t *testing.T) {
			t.Setenv("COLUMNS", "20")
			want := output(t, c.args)
			t.Setenv("COLUMNS", "")
			for _, env := range []struct {
				vars   string
				colour bool
			}{{"TERM=xterm", true}, {"TERM=xterm NO_COLOR=1", false}, {"TERM=dumb", false}} {
				found := narrowTerminal(t, c.args, strings.Fields(env.vars))
				if !env.colour {
					require.NotContains(t, found, "\x1b[", env.vars)
				}
				require.Equal(t, want, escapes.ReplaceAllString(found, ""), env.vars)
			}
		})
	}
	require.Contains(t, narrowTerminal(t, "help", []string{"TERM=xterm"}), "\x1b[1mrun\x1b[0m")
}

// narrowTerminal runs the program on a terminal of 20 columns.
func narrowTerminal(t *testing.T, args string, env []string) string {
	cmd := exec.Command("ftemu", strings.Fields(strings.ReplaceAll(args, "ROOT", "../.."))...)
	cmd.Env = append(os.Environ(), append(env, "COLUMNS=")...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 20})
	require.NoError(t, err)
	defer tty.Close()
	text, _ := io.ReadAll(tty) // ends with an error when the program ends
	_ = cmd.Wait()             // whatever its status
	progress := regexp.MustCompile("\r[0-9]+ of [0-9]+|\r\x1b\\[K")
	return progress.ReplaceAllString(strings.ReplaceAll(string(text), "\r\n", "\n"), "")
}
