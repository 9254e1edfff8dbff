package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ftemu": main})
}

// TestScripts runs testdata/script/*.txtar. Run with UPDATE_GOLDEN=1 to
// rewrite what they compare with.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_GOLDEN") != "",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "damage": damage},
		Condition: func(cond string) (bool, error) {
			if file, ok := strings.CutPrefix(cond, "exists:"); ok {
				_, err := os.Stat(file)
				return err == nil, nil
			}
			_, err := engineByName(cond)
			return err == nil, nil
		},
		Setup: func(env *testscript.Env) error {
			root, err := os.Getwd()
			if err != nil {
				return err
			}
			env.Setenv("ROOT", root+"/../..")
			return nil
		},
	})
}

// exits is the command "exits N program [args...]": run the program and expect
// exit status N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	found := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		found = exit.ExitCode()
	}
	if found != want {
		ts.Fatalf("exit status %d, expected %d", found, want)
	}
}

// damage is the command "damage FILE NEWFILE N|OFFSET=BYTE": NEWFILE is the
// first N bytes of FILE, or FILE with one byte changed.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage FILE NEWFILE N|OFFSET=BYTE")
	}
	data := []byte(ts.ReadFile(args[0]))
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		ts.Check(err)
		return n
	}
	if offset, value, ok := strings.Cut(args[2], "="); ok {
		data[number(offset)] = byte(number(value))
	} else {
		data = data[:number(args[2])]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o666))
}
