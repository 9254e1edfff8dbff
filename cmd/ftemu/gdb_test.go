package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/gdb"
)

// runGdbVerb runs the verb on a scenario with a call.
func runGdbVerb(t *testing.T, args ...string) (status int, stdout, stderr string) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.ft")
	require.NoError(t, os.WriteFile(file, []byte("call f0 1 2\n"), 0o666))
	out, err := os.Create(filepath.Join(dir, "out"))
	require.NoError(t, err)
	defer out.Close()
	diag, err := os.Create(filepath.Join(dir, "err"))
	require.NoError(t, err)
	defer diag.Close()
	status = run(append([]string{"gdb", file}, args...), os.Stdin, out, diag)
	text, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	lines, err := os.ReadFile(diag.Name())
	require.NoError(t, err)
	return status, string(text), string(lines)
}

func TestGdbIsMissing(t *testing.T) {
	t.Setenv("PATH", "")
	status, _, stderr := runGdbVerb(t)
	require.Equal(t, statusBad, status)
	require.Equal(t, "ftemu: gdb is not installed: the package gdb has it, and --listen waits for one to connect\n", stderr)
}

// TestGdbStatus: the exit status is gdb's own, and nothing is left behind.
func TestGdbStatus(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb is not installed")
	}
	t.Setenv("TMPDIR", t.TempDir())
	for _, c := range []struct {
		command string
		status  int
	}{{"quit 7", 7}, {"continue", 0}, {"kill", 0}} {
		status, _, stderr := runGdbVerb(t, "--", "-nx", "-batch", "-ex", c.command)
		require.Equal(t, c.status, status, c.command)
		require.Empty(t, stderr)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestGdbPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	where := l.Addr().String()
	status, stdout, stderr := runGdbVerb(t, "--listen", where)
	require.Equal(t, statusBad, status)
	require.Empty(t, stdout)
	require.Equal(t, "ftemu: --listen "+where+": bind: address already in use\n", stderr)
}

// TestGdbSecondClient: while one is served another is refused.
func TestGdbSecondClient(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.ft")
	require.NoError(t, os.WriteFile(file, []byte("call f0 1 2\n"), 0o666))
	s, err := parseScenario(&app{}, file)
	require.NoError(t, err)
	for _, where := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		run, err := gdb.NewRun(s, ftemu.Options{})
		require.NoError(t, err)
		l, err := gdb.Listen(where)
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- serve(run, l) }()
		dial := func() (net.Conn, error) { return net.Dial(l.Addr().Network(), l.Addr().String()) }
		first, err := dial()
		require.NoError(t, err)
		require.NoError(t, first.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = first.Write([]byte("$?#3f"))
		require.NoError(t, err)
		var b [1]byte
		_, err = first.Read(b[:])
		require.NoError(t, err)
		_, err = dial()
		require.Error(t, err, where)
		require.NoError(t, first.Close())
		require.NoError(t, <-served)
		run.Close()
	}
}

// TestGdbInTerminal: gdb has the terminal, and Ctrl-C is its own: it stops the guest.
func TestGdbInTerminal(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skip("gdb is not installed")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.ft"), []byte("call f0 1 2\n"), 0o666))
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Args = []string{"ftemu", "gdb", "x.ft"}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb", "HOME="+dir)
	terminal, err := pty.Start(cmd)
	require.NoError(t, err)
	defer terminal.Close()
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill(); _ = terminal.Close() })
	defer timer.Stop()
	seen := ""
	until := func(want string) {
		b := make([]byte, 4096)
		for !strings.Contains(seen, want) {
			n, err := terminal.Read(b)
			require.NoError(t, err, "waiting for %q, there was:\n%s", want, seen)
			seen += string(b[:n])
		}
		_, seen, _ = strings.Cut(seen, want)
	}
	say := func(text string) {
		_, err := terminal.WriteString(text)
		require.NoError(t, err)
	}
	until("call f0 1 2")
	until("(gdb) ")
	say("set *(short *)ftor_f0 = (short)0xfeeb\n") // jmp to itself
	until("(gdb) ")
	say("tbreak *ftor_f0\n")
	until("(gdb) ")
	say("continue\n")
	until("Temporary breakpoint 1, ")
	until("(gdb) ")
	say("continue\n")
	until("Continuing.")
	say("\x03")
	until("SIGINT")
	until("in ftor_f0 ()")
	until("(gdb) ")
	say("kill\n")
	until("(y or n) ")
	say("y\n")
	until("(gdb) ")
	say("quit 3\n")
	var status *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &status)
	require.Equal(t, 3, status.ExitCode())
}
