package conform_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/conform"
	"ftemu/script"
)

const (
	arbitration = "../docs/arbitration.md"
	ownRules    = "../testdata/rules"
)

// caseName is how the table of rules names a script.
var caseName = regexp.MustCompile("`((?:rules2?|slow|nasty|own):[\\w-]+)`")

// A rule is a row of the table.
type rule struct {
	section string
	line    int
	cells   []string
	cases   []string
}

func readRules(t *testing.T) (rules []rule) {
	text, err := os.ReadFile(arbitration)
	require.NoError(t, err)
	section := ""
	for i, l := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(l, "## "):
			section = l[3:]
		case strings.HasPrefix(l, "| rule |"), strings.HasPrefix(l, "|---"):
		case strings.HasPrefix(l, "|"):
			cells := strings.Split(strings.Trim(l, "|"), "|")
			for j := range cells {
				cells[j] = strings.TrimSpace(cells[j])
			}
			require.Len(t, cells, 5, "%s:%d", arbitration, i+1)
			r := rule{section: section, line: i + 1, cells: cells}
			for _, m := range caseName.FindAllStringSubmatch(cells[4], -1) {
				r.cases = append(r.cases, m[1])
			}
			rules = append(rules, r)
		}
	}
	return rules
}

// Every rule of the table is shown by scripts that exist and pass, and every
// script that was recorded for a rule is in it.
func TestArbitration(t *testing.T) {
	scripts := make(map[string]func(t *testing.T))
	for _, name := range []string{"rules", "rules2", "slow", "nasty"} {
		for _, r := range readRecordings(t, name) {
			scripts[r.Name()] = func(t *testing.T) {
				rep, err := r.Case.Run(conform.Options{})
				require.NoError(t, err)
				require.Empty(t, rep.Diffs)
			}
		}
	}
	own, err := filepath.Glob(filepath.Join(ownRules, "*.ft"))
	require.NoError(t, err)
	for _, file := range own {
		name := "own:" + strings.TrimSuffix(filepath.Base(file), ".ft")
		scripts[name] = func(t *testing.T) { runScenario(t, file) }
	}
	shown := make(map[string]bool)
	for _, r := range readRules(t) {
		for i, c := range r.cells {
			require.True(t, c != "" || i == 1, "%s:%d: cell %d is empty", arbitration, r.line, i+1)
		}
		require.NotEmpty(t, r.cases, "%s:%d: no script shows this rule", arbitration, r.line)
		t.Run(r.section+"/"+r.cells[0], func(t *testing.T) {
			for _, c := range r.cases {
				require.Contains(t, scripts, c, "%s:%d", arbitration, r.line)
				if !shown[c] {
					scripts[c](t)
				}
				shown[c] = true
			}
		})
	}
	var missing []string
	for name := range scripts {
		if !shown[name] {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	require.Empty(t, missing, "scripts that no rule names")
}

// runScenario runs a scenario all of whose expectations must be met.
func runScenario(t *testing.T, file string) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	s, err := script.Parse(file, f, script.Options{})
	require.NoError(t, err)
	r, err := script.NewRunner(s, ftemu.Options{})
	require.NoError(t, err)
	defer r.Close()
	wants, oops := 0, ""
	for _, step := range s.Steps {
		if strings.HasPrefix(step.Text, "want ") {
			wants++
		} else if oops != "" {
			break // nothing runs behind an oops but what is said of it
		}
		res := r.Run(step)
		require.Empty(t, res.Failed, "%s:%d: %s", file, step.Line, step.Text)
		if res.Oops != "" {
			oops = res.Oops
		} else if step.Text == "want oops" {
			return
		}
	}
	require.Empty(t, oops, file)
	require.NotZero(t, wants, file)
}
