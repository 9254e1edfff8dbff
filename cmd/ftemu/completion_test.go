package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// TestShellsComplete types lines with tabs in them into real shells. The program
// that they find answers the completion, and otherwise prints what it was given.
func TestShellsComplete(t *testing.T) {
	program, err := exec.LookPath("ftemu")
	require.NoError(t, err, "TestMain puts it there")
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "ftemu"), fmt.Appendf(nil, "#!/bin/sh\n[ \"$1\" = complete ] && exec %s \"$@\"\necho \"GOT<$*>\"\n", program), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(home, "objects"), 0o755))
	for _, name := range []string{"two.ft", "two.txt", "objects/box.o", "objects/box.c", "rec.jsonl.gz", "lean.layout"} {
		require.NoError(t, os.WriteFile(filepath.Join(home, name), nil, 0o644))
	}
	cases := [][2]string{
		{"exp\t", "explore"},
		{"run --desi\t", "run --design"},
		{"run --design ea\t", "run --design eagain-flag"},
		{"run --design=ea\t tw\t", "run --design=eagain-flag two.ft"},
		{"run --with naive,keep\t two.ft", "run --with naive,keep-entry two.ft"},
		{"run two.ft --trace-out tw\t", "run two.ft --trace-out two.txt"},
		{"sites obj\tbo\t", "sites objects/box.o"},
		{"conform rec.jsonl.gz re\t", "conform rec.jsonl.gz rec.jsonl.gz"},
		{"trampoline sh\tftrace_r\t", "trampoline show ftrace_regs_caller"},
		{"trampoline compare fentry le\t", "trampoline compare fentry lean.layout"},
		{"why tw\t f kprobe-p\t", "why two. f kprobe-post"}, // as far as two files have it in common
		{"help mis\t", "help mistakes"},
		{"completion fi\t", "completion fish"},
	}
	for _, s := range []struct{ name, start, ready string }{
		{"bash", `bash --norc --noprofile -i`, `bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; eval "$(` + program + ` completion bash)"`},
		{"zsh", `zsh -f -i`, `unsetopt beep; zstyle ':completion:*' list no; zstyle ':completion:*' insert-tab false; autoload -U compinit; compinit -D -u; eval "$(` + program + ` completion zsh)"`},
	} {
		t.Run(s.name, func(t *testing.T) {
			sh := startShell(t, home, s.name, strings.Fields(s.start), s.ready)
			for _, c := range cases {
				require.Equal(t, c[1], sh.type_("ftemu "+c[0]), "%q", c[0])
			}
		})
	}
	t.Run("fish", func(t *testing.T) {
		if _, err := exec.LookPath("fish"); err != nil {
			t.Skip("fish is not installed")
		}
		for _, c := range cases {
			// complete -C lists what a tab offers at the end of a line.
			line, behind, _ := strings.Cut(c[0], "\t")
			if behind != "" {
				continue // the other shells have tabs before the end
			}
			cmd := exec.Command("fish", "--no-config", "-c", program+" completion fish | source; complete -C 'ftemu "+line+"'")
			cmd.Dir, cmd.Env = home, append(os.Environ(), "PATH="+home+":"+os.Getenv("PATH"), "HOME="+home)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			want := strings.Fields(c[1])
			require.Regexp(t, `(?m)^`+regexp.QuoteMeta(want[len(want)-1])+`(\t|$)`, string(out), line)
		}
	})
}

// A shellSession is a shell at the other end of a terminal.
type shellSession struct {
	t    *testing.T
	tty  *os.File
	read chan string
}

// startShell starts a shell and waits until it is ready for words.
func startShell(t *testing.T, home, name string, command []string, ready string) *shellSession {
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name + " is not installed")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "PATH="+home+":"+os.Getenv("PATH"), "HOME="+home, "TERM=dumb", "PS1=> ", "INPUTRC=/dev/null")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	require.NoError(t, err)
	s := &shellSession{t, tty, make(chan string)}
	go func() {
		defer close(s.read)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			if err != nil {
				return
			}
			s.read <- string(buf[:n])
		}
	}()
	t.Cleanup(func() {
		// A read of the terminal ends with the shell, not with a close.
		_ = cmd.Process.Kill()
		for range s.read {
		}
		_ = cmd.Wait()
		tty.Close()
	})
	_, err = io.WriteString(tty, ready+"; ftemu ready\n")
	require.NoError(t, err)
	require.Equal(t, "ready", s.answer())
	return s
}

// type_ types a line and returns what the program was given.
func (s *shellSession) type_(line string) string {
	for _, part := range strings.SplitAfter(line, "\t") {
		_, err := io.WriteString(s.tty, part)
		require.NoError(s.t, err)
	}
	_, err := io.WriteString(s.tty, "\n")
	require.NoError(s.t, err)
	return s.answer()
}

var got = regexp.MustCompile(`GOT<(.*)>`)

func (s *shellSession) answer() string {
	s.t.Helper()
	text := ""
	deadline := time.After(20 * time.Second)
	for {
		select {
		case part := <-s.read:
			text += part
			if m := got.FindStringSubmatch(text); m != nil {
				return strings.TrimSpace(m[1])
			}
		case <-deadline:
			require.Fail(s.t, "the shell does not answer", "%q", text)
		}
	}
}
