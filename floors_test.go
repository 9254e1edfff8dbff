package ftemu_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// floors is the package map of the README: a package imports from lower floors
// only, a sub-package from its parents, and a package of tests from its siblings.
var floors = map[string]int{
	"ftemu/trace":      0,
	"ftemu/x86":        0,
	"ftemu/files":      0,
	"ftemu/graph":      0,
	"ftemu/near":       0,
	"ftemu/emu":        1,
	"ftemu/guest":      2,
	"ftemu/trampoline": 3,
	"ftemu/patcher":    3,
	"ftemu/ftracecore": 4,
	"ftemu":            5,
	"ftemu/script":     6,
	"ftemu/why":        6,
	"ftemu/explore":    7,
	"ftemu/conform":    7,
	"ftemu/gdb":        7,
	"ftemu/shell":      7,
	"ftemu/internal":   8, // what makes test data
	"ftemu/report":     8,
	"ftemu/cmd":        9,
	"ftemu/bench":      7,
	"ftemu/tools":      8,
}

// floorOf finds the floor of a package: its own, or that of the nearest parent.
func floorOf(path string) (int, bool) {
	for p := path; p != "ftemu"; p = p[:strings.LastIndexByte(p, '/')] {
		if f, ok := floors[p]; ok {
			return f, true
		}
	}
	return floors["ftemu"], path == "ftemu"
}

func TestImportsGoDown(t *testing.T) {
	type pkg struct {
		ImportPath string
		Imports    []string
	}
	cmd := exec.Command("go", "list", "-tags", "unicorn", "-json=ImportPath,Imports", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // to see the files that need it, not to build them
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		own, ok := floorOf(p.ImportPath)
		require.True(t, ok, "%s stands on no floor", p.ImportPath)
		for _, i := range p.Imports {
			if i != "ftemu" && !strings.HasPrefix(i, "ftemu/") {
				continue
			}
			floor, _ := floorOf(i)
			sibling := floor == own && strings.HasSuffix(p.ImportPath, "test")
			if floor >= own && !strings.HasPrefix(p.ImportPath, i+"/") && !sibling {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, own, i, floor)
			}
		}
	}
	require.Greater(t, seen, len(floors)-3, "go list found all packages")
}

func TestFloorOf(t *testing.T) {
	for path, want := range map[string]int{"ftemu": 5, "ftemu/emu/interp": 1, "ftemu/cmd/ftemu": 9} {
		f, ok := floorOf(path)
		require.True(t, ok, path)
		require.Equal(t, want, f, path)
	}
	_, ok := floorOf("ftemu/elsewhere/deep")
	require.False(t, ok)
}
