// Command mutants breaks the rules of ftracecore, of its BPF client and of the
// trampolines one at a time and runs the quick tests: each break must be noticed.
// The tree is not touched; a mutated file takes the place of the real one by go
// test -overlay.
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

// A suite is the mutants of one package.
type suite struct {
	dir     string   // of the package
	tests   []string // arguments of go test: the tests that must notice
	mutants []mutant
}

// suites are all there are. The test of the comparison itself, which does not
// depend on ftracecore, is left out.
func suites() []suite {
	return []suite{
		{"ftracecore", []string{"-skip=^TestEveryValue", "./ftracecore/...", "./conform"}, mutants},
		{"ftracecore/bpf", []string{"-run=BPF|Sequences|SequenceDead", ".", "./conform"}, bpfMutants},
		{"trampoline", []string{"./trampoline"}, trampolineMutants},
	}
}

// A mutant is one rule broken.
type mutant struct {
	file string // in the suite's directory
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
	var chosen []suite
	bad := false
	for _, s := range suites() {
		all := s.mutants
		s.mutants = nil
		for _, m := range all {
			if !match.MatchString(s.name(m)) {
				continue
			}
			s.mutants = append(s.mutants, m)
			if _, err := s.apply(m); err != nil {
				fail(err)
				bad = true
			}
		}
		chosen = append(chosen, s)
	}
	switch {
	case bad:
		return 2
	case list:
		for _, s := range chosen {
			for _, m := range s.mutants {
				fmt.Println(s.name(m))
			}
		}
		return 0
	}
	return runAll(chosen)
}

// runAll runs the mutants and prints a table.
func runAll(chosen []suite) int {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	for _, s := range chosen {
		if len(s.mutants) == 0 {
			continue
		}
		if out, err := s.test(""); err != nil {
			return fail(fmt.Errorf("the tests of %s fail without a mutant:\n%s", s.dir, out))
		}
	}
	fmt.Print("| file | rule broken | result | noticed by |\n|---|---|---|---|\n")
	count, survived := 0, 0
	for _, s := range chosen {
		for _, m := range s.mutants {
			by, err := s.run(m, dir)
			if err != nil {
				return fail(err)
			}
			result := "killed"
			if by == "" {
				result = "**survived**"
				survived++
			}
			count++
			fmt.Printf("| %s | %s | %s | %s |\n", s.path(m), m.rule, result, by)
		}
	}
	fmt.Printf("\n%d mutants: %d killed, %d survived\n", count, count-survived, survived)
	if survived > 0 {
		return 1
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "mutants:", err)
	return 2
}

func (s *suite) path(m mutant) string { return filepath.Join(s.dir, m.file) }

func (s *suite) name(m mutant) string { return s.path(m) + ": " + m.rule }

// apply returns the mutated file.
func (s *suite) apply(m mutant) ([]byte, error) {
	text, err := os.ReadFile(s.path(m))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s: the text to replace occurs %d times, expected once:\n%s", s.name(m), n, m.old)
	}
	return bytes.Replace(text, []byte(m.old), []byte(m.new), 1), nil
}

// run runs the tests on the mutant and returns which noticed it; "" is none.
func (s *suite) run(m mutant, dir string) (by string, err error) {
	text, err := s.apply(m)
	if err != nil {
		return "", err
	}
	real, err := filepath.Abs(s.path(m))
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
	out, err := s.test(overlay)
	switch {
	case err == nil:
		return "", nil
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return "", fmt.Errorf("%s: the mutant does not compile:\n%s", s.name(m), out)
	}
	return noticed(out), nil
}

// test runs the tests.
func (s *suite) test(overlay string) ([]byte, error) {
	args := []string{"test", "-vet=off", "-count=1", "-timeout=2m"}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	return exec.Command("go", append(args, s.tests...)...).CombinedOutput()
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
