// Command mutants breaks the rules of ftracecore one at a time and runs the
// quick tests: each break must be noticed. The tree is not touched; a mutated
// file takes the place of the real one by go test -overlay.
//
//	go run ./internal/mutants [-run REGEXP] [-list]
//
// Exit status: 0 every mutant was killed, 1 one survived, 2 the table does not fit
// the code (a text that is not found exactly once, a mutant that does not
// compile) or nothing could be run.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// packages are the tests that must notice.
var packages = []string{"./ftracecore/...", "./conform"}

// A mutant is one rule broken.
type mutant struct {
	file string // in ftracecore
	rule string // what is broken, in a phrase
	old  string // a text that occurs once in the file
	new  string // what takes its place
}

func main() {
	only := flag.String("run", "", "only mutants whose file or rule matches")
	list := flag.Bool("list", false, "check the table and list it, run nothing")
	flag.Parse()
	os.Exit(run(*only, *list))
}

func run(only string, list bool) int {
	match, err := regexp.Compile(only)
	if err != nil {
		return fail(err)
	}
	var chosen []mutant
	for _, m := range mutants {
		if match.MatchString(m.file + ": " + m.rule) {
			chosen = append(chosen, m)
		}
	}
	bad := false
	for _, m := range chosen {
		if _, err := m.apply(); err != nil {
			fail(err)
			bad = true
		}
	}
	switch {
	case bad:
		return 2
	case list:
		for _, m := range chosen {
			fmt.Printf("%s: %s\n", m.file, m.rule)
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	if out, err := test(""); err != nil {
		return fail(fmt.Errorf("the tests fail without a mutant:\n%s", out))
	}
	fmt.Print("| file | rule broken | result | noticed by |\n|---|---|---|---|\n")
	survived := 0
	for _, m := range chosen {
		by, err := m.run(dir)
		if err != nil {
			return fail(err)
		}
		result := "killed"
		if by == "" {
			result = "**survived**"
			survived++
		}
		fmt.Printf("| %s | %s | %s | %s |\n", m.file, m.rule, result, by)
	}
	fmt.Printf("\n%d mutants: %d killed, %d survived\n", len(chosen), len(chosen)-survived, survived)
	if survived > 0 {
		return 1
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "mutants:", err)
	return 2
}

func (m *mutant) path() string { return filepath.Join("ftracecore", m.file) }

// apply returns the mutated file.
func (m *mutant) apply() ([]byte, error) {
	text, err := os.ReadFile(m.path())
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s: %s: the text to replace occurs %d times, expected once:\n%s", m.path(), m.rule, n, m.old)
	}
	return bytes.Replace(text, []byte(m.old), []byte(m.new), 1), nil
}

// run runs the tests on the mutant and returns which noticed it; "" is none.
func (m *mutant) run(dir string) (by string, err error) {
	text, err := m.apply()
	if err != nil {
		return "", err
	}
	real, err := filepath.Abs(m.path())
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(dir, m.file)
	overlay := filepath.Join(dir, "overlay.json")
	spec, err := json.Marshal(map[string]map[string]string{"Replace": {real: mutated}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(mutated, text, 0o600), os.WriteFile(overlay, spec, 0o600)); err != nil {
		return "", err
	}
	out, err := test(overlay)
	switch {
	case err == nil:
		return "", nil
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return "", fmt.Errorf("%s: %s: the mutant does not compile:\n%s", m.path(), m.rule, out)
	}
	return noticed(out), nil
}

// test runs the tests. The one that tests the comparison itself, which does not
// depend on ftracecore, is left out.
func test(overlay string) ([]byte, error) {
	args := []string{"test", "-vet=off", "-count=1", "-timeout=2m", "-skip=^TestEveryValueIsCompared$"}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	return exec.Command("go", append(args, packages...)...).CombinedOutput()
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// noticed names the first innermost test that failed, and how many more did.
func noticed(out []byte) string {
	var all []string
	for _, m := range failedTest.FindAllSubmatch(out, -1) {
		all = append(all, string(m[1]))
	}
	var leaves []string
	for i, t := range all {
		if i+1 == len(all) || !strings.HasPrefix(all[i+1], t+"/") {
			leaves = append(leaves, t)
		}
	}
	switch {
	case len(leaves) == 0 && bytes.Contains(out, []byte("panic: test timed out")):
		return "the time limit"
	case len(leaves) == 0:
		return "a panic"
	case len(leaves) == 1:
		return leaves[0]
	}
	return fmt.Sprintf("%s and %d more", leaves[0], len(leaves)-1)
}
