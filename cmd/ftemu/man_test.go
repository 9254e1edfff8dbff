package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"ftemu/script"
)

// manPage returns the manual page.
func manPage(t *testing.T) (string, *kong.Application) {
	var out bytes.Buffer
	a := &app{stdout: bufio.NewWriter(&out)}
	k, err := newParser(a, func(int) {})
	require.NoError(t, err)
	require.NoError(t, manCmd{}.Run(a, k))
	require.NoError(t, a.stdout.Flush())
	return out.String(), k.Model
}

func TestManPageIsComplete(t *testing.T) {
	page, model := manPage(t)
	words := strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(dq`, `"`).Replace(page)
	var visit func(n *kong.Node)
	visit = func(n *kong.Node) {
		for _, c := range n.Children {
			if c.Hidden {
				continue
			}
			require.Contains(t, words, `.SS "`+verbPath(c))
			for _, f := range c.Flags {
				require.Contains(t, words, "--"+f.Name)
			}
			visit(c)
		}
	}
	visit(model.Node)
	for _, v := range script.Verbs() {
		require.Contains(t, words, `.B "`+v.Name)
	}
	for _, e := range environment().entries {
		require.Contains(t, words, `.B "`+e.name+`"`)
	}
	require.Contains(t, words, ".SH \"EXIT STATUS\"\n.TP\n.B \"0\"\n")
}

// TestManPageReaders lets formatters of manual pages look for mistakes.
func TestManPageReaders(t *testing.T) {
	page, _ := manPage(t)
	for _, command := range []string{"groff -man -ww -z", "mandoc -T lint -W warning"} {
		t.Run(command, func(t *testing.T) {
			args := strings.Fields(command)
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skip(args[0] + " is not installed")
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin = strings.NewReader(page)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Empty(t, string(out))
		})
	}
}
