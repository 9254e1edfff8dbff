package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// captured runs the program on an input and returns its exit status and output.
func captured(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	diag, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	status = run(args, strings.NewReader(stdin), out, diag)
	for f, text := range map[*os.File]*string{out: &stdout, diag: &stderr} {
		content, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.NoError(t, f.Close())
		*text = string(content)
	}
	return status, stdout, stderr
}

// examplesToSave are the examples that run on any machine.
func examplesToSave(t *testing.T) []string {
	var files []string
	for _, pattern := range []string{"*.ft", "share/*.ft", "traces/*.ft", "conflict/*.ft"} {
		found, err := filepath.Glob("../../examples/" + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found)
		files = append(files, found...)
	}
	return files
}

// TestShellSaves: what a session that began with an example saves gives, run, what
// the session gave: the same objects, and for people the same text but for how
// columns are spaced, which run fits to the lines that it knows from the start.
func TestShellSaves(t *testing.T) {
	spaces := regexp.MustCompile(` +`)
	text := func(out string) string {
		_, below, _ := strings.Cut(out, "\n") // the first line names the file
		return spaces.ReplaceAllString(below, " ")
	}
	for _, file := range examplesToSave(t) {
		t.Run(strings.TrimPrefix(file, "../../examples/"), func(t *testing.T) {
			saved := filepath.Join(t.TempDir(), "saved.ft")
			_, out, _ := captured(t, "save "+saved, "shell", "--json", file)
			_, again, diag := captured(t, "", "run", "--json", saved)
			require.NotEmpty(t, again, diag)
			objects := strings.SplitAfter(out, "\n")
			objects = slices.DeleteFunc(objects, func(l string) bool { return strings.HasPrefix(l, `{"shell":"save `) })
			require.Equal(t, again, strings.Join(objects, ""))

			status, out, _ := captured(t, "", "shell", file)
			expected, again, _ := captured(t, "", "run", saved)
			require.Equal(t, expected, status)
			require.Equal(t, strings.TrimLeft(text(again), " "), strings.TrimLeft(text(out), " "))
		})
	}
}

// A terminal is one on which the program runs and somebody types.
type terminal struct {
	t    *testing.T
	pty  *os.File
	cmd  *exec.Cmd
	more chan string
	seen string // what was printed behind what was waited for
}

func sitDown(t *testing.T, columns uint16, env []string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command("ftemu", args...)
	cmd.Env = append(os.Environ(), append([]string{"TERM=xterm", "COLUMNS=", "NO_COLOR=1", "XDG_STATE_HOME=" + t.TempDir()}, env...)...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: columns})
	require.NoError(t, err)
	x := &terminal{t: t, pty: f, cmd: cmd, more: make(chan string)}
	t.Cleanup(func() { f.Close() })
	go func() {
		defer close(x.more)
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			x.more <- string(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return x
}

// press types keys, and wait waits until something is printed behind what was
// waited for before.
func (x *terminal) press(keys string) {
	x.t.Helper()
	_, err := io.WriteString(x.pty, keys)
	require.NoError(x.t, err)
}

func (x *terminal) wait(text string) {
	x.t.Helper()
	limit := time.After(20 * time.Second)
	for !strings.Contains(x.seen, text) {
		select {
		case more, ok := <-x.more:
			x.seen += more
			if !ok && !strings.Contains(x.seen, text) {
				require.FailNow(x.t, "the program has ended", "%q was not printed: %q", text, x.seen)
			}
		case <-limit:
			require.FailNow(x.t, "nothing more", "%q was not printed: %q", text, x.seen)
		}
	}
	_, x.seen, _ = strings.Cut(x.seen, text)
}

// ended waits for the program and returns its exit status.
func (x *terminal) ended() int {
	go func() {
		for range x.more {
		}
	}()
	var exit *exec.ExitError
	if err := x.cmd.Wait(); err != nil {
		require.ErrorAs(x.t, err, &exit)
		return exit.ExitCode()
	}
	return 0
}

const (
	tab   = "\t"
	enter = "\r"
	up    = "\x1b[A"
	ctrlC = "\x03"
	ctrlD = "\x04"
)

func TestShellTerminal(t *testing.T) {
	state := t.TempDir()
	x := sitDown(t, 100, []string{"XDG_STATE_HOME=" + state}, "shell")
	x.wait("Tab completes")
	x.wait("1> ")
	x.press("new klp1 klp" + enter)
	x.wait("2  new klp1 klp\r\n")
	x.wait("3> ")
	x.press("filter kl" + tab)
	x.wait("filter klp1 ")
	x.press("f0" + enter)
	x.wait(" 3  filter klp1 f0                                0\r\n")
	x.wait("4> ")
	x.press(up)
	x.wait("filter klp1 f0")
	x.press(ctrlC)
	x.wait("4> ")
	x.press("undo" + enter)
	x.wait("taken back:")
	x.wait("3  filter klp1 f0")
	x.wait("3> ")
	x.press("frob" + enter)
	x.wait(`ftemu: shell:3: unknown verb "frob"`)
	x.wait("3> ")
	x.press("want dead" + enter)
	x.wait("FAILED: found ftrace alive, wanted ftrace dead")
	x.wait("4> ")
	x.press("quit" + enter)
	x.wait("not as expected: 1 line")
	require.Equal(t, statusDiff, x.ended(), "a wrong line counts only where nobody can put it right")

	history, err := os.ReadFile(filepath.Join(state, "ftemu", "history"))
	require.NoError(t, err)
	require.Equal(t, "new klp1 klp\nfilter klp1 f0\nundo\nfrob\nwant dead\nquit\n", string(history))
	x = sitDown(t, 100, []string{"XDG_STATE_HOME=" + state}, "shell")
	x.wait("1> ")
	x.press(up + up + up + up + up)
	x.wait("filter klp1 f0")
	x.press(ctrlC)
	x.wait("1> ")
	x.press(ctrlD)
	require.Zero(t, x.ended())
}

// TestShellStops: Ctrl-C stops a call that does not end, and takes it back.
func TestShellStops(t *testing.T) {
	x := sitDown(t, 100, nil, "shell")
	for _, l := range []string{"new k klp", "filter k f0", "redirect k f0 f0", "register k"} {
		x.wait("> ")
		x.press(l + enter)
	}
	x.wait("6> ")
	x.press("call f0 1 2" + enter)
	x.wait(" 6  call f0 1 2")
	time.Sleep(100 * time.Millisecond) // so that it runs
	pressed := time.Now()
	x.press(ctrlC)
	x.wait("stopped, and taken back")
	require.Less(t, time.Since(pressed), 10*time.Second)
	x.wait("6> ")
	x.press("call f1 1 2" + enter)
	x.wait("= 2013")
	x.wait("7> ")
	x.press(ctrlD)
	x.wait("all clean")
	require.Zero(t, x.ended())
}

// TestShellPlainTerminals: narrow ones work, and those that cannot edit.
func TestShellPlainTerminals(t *testing.T) {
	x := sitDown(t, 20, nil, "shell")
	x.wait("1> ")
	x.press("call f0 1 2" + enter)
	x.wait("= 1013")
	x.wait("3> ")
	x.press(ctrlD)
	require.Zero(t, x.ended())

	x = sitDown(t, 80, []string{"TERM=dumb"}, "shell")
	x.wait("1> ")
	x.press("call f0 1 2" + enter)
	x.wait("= 1013")
	x.wait("3> ")
	require.NotContains(t, x.seen, "\x1b")
	x.press("quit\n")
	require.Zero(t, x.ended())
}
