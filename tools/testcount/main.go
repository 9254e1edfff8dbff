// Command testcount reads the output of go test -json and prints what matters:
// a line for each package, all that failed tests said, why tests were skipped,
// and the totals.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// An event is a line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of the package that did not build
	Test       string
	Output     string
}

func main() {
	failed, err := count(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

// count copies what matters and tells whether anything failed.
func count(r io.Reader, w io.Writer) (failed bool, err error) {
	output := make(map[[2]string][]string) // by package and test
	totals := make(map[string]int)         // by action
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line == "" && err == io.EOF {
			break
		}
		if err != nil && err != io.EOF {
			return failed, err
		}
		var ev event
		if json.Unmarshal([]byte(line), &ev) != nil {
			fmt.Fprint(w, line) // not from a test: the go command itself
			continue
		}
		key := [2]string{ev.Package, ev.Test}
		switch ev.Action {
		case "build-output":
			fmt.Fprint(w, ev.Output)
		case "build-fail":
			failed = true
		case "output":
			if ev.Test == "" && (strings.HasPrefix(ev.Output, "ok ") || strings.HasPrefix(ev.Output, "FAIL\t")) {
				fmt.Fprint(w, ev.Output)
			} else {
				output[key] = append(output[key], ev.Output)
			}
		case "fail":
			failed = true
			fmt.Fprint(w, strings.Join(output[key], ""))
			if ev.Test != "" {
				totals["fail"]++
			}
		case "pass", "skip":
			if ev.Test != "" {
				totals[ev.Action]++
				if ev.Action == "skip" {
					fmt.Fprintf(w, "skipped: %s %s: %s\n", ev.Package, ev.Test, reason(output[key]))
				}
			}
		}
		if ev.Action == "pass" || ev.Action == "skip" || ev.Action == "fail" {
			delete(output, key)
		}
	}
	fmt.Fprintf(w, "%d tests passed, %d failed, %d skipped\n", totals["pass"], totals["fail"], totals["skip"])
	return failed, nil
}

// reason is what a skipped test said first.
func reason(lines []string) string {
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "=== ") && !strings.HasPrefix(l, "--- ") {
			return l
		}
	}
	return "no reason given"
}
