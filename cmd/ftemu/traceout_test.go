package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/script"
)

// traceOf runs a scenario with one of the forms of --trace-out and returns the file.
func traceOf(t *testing.T, engine emu.Engine, file, format string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	a := newApp(strings.NewReader(""), os.Stdout, os.Stderr)
	s, err := parseScenario(a, file)
	require.NoError(t, err)
	o, err := newTraceOut(out, format)
	require.NoError(t, err)
	r, err := script.NewRunner(s, ftemu.Options{Engine: engine, Tracer: o})
	require.NoError(t, err)
	defer r.Close()
	o.runner = r
	for _, step := range s.Steps {
		o.before(step)
		if r.Run(step).Oops != "" {
			break
		}
	}
	require.NoError(t, o.write(a))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	return text
}

// scenarios are examples with tracers of all kinds, calls that do not come back,
// and BPF programs.
func scenarios(t *testing.T) []string {
	files, err := filepath.Glob("../../examples/*.ft")
	require.NoError(t, err)
	traces, err := filepath.Glob("../../examples/traces/*.ft")
	require.NoError(t, err)
	more, err := filepath.Glob("testdata/trace/*.ft")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	require.NotEmpty(t, traces)
	require.NotEmpty(t, more)
	return slices.Concat(files, traces, more)
}

// TestChromeTrace checks what viewers rely on: on each thread slices begin and end
// in pairs, one inside the other, and time does not go back.
func TestChromeTrace(t *testing.T) {
	for _, file := range scenarios(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var doc struct {
				DisplayTimeUnit string
				TraceEvents     []struct {
					Name, Cat, Ph, S string
					TS               *float64
					PID, TID         *int
				}
			}
			text := traceOf(t, engines()[0], file, "json")
			require.NoError(t, json.Unmarshal(text, &doc))
			require.Equal(t, "ns", doc.DisplayTimeUnit)
			open, last, slices := map[int]int{}, 0.0, 0
			for _, e := range doc.TraceEvents {
				require.NotNil(t, e.TS)
				require.NotNil(t, e.PID)
				require.NotNil(t, e.TID)
				require.GreaterOrEqual(t, *e.TS, last)
				last = *e.TS
				switch e.Ph {
				case "B":
					slices++
					open[*e.TID]++
					require.Contains(t, []string{"function", "trampoline", "gate", "callback"}, e.Cat)
				case "E":
					open[*e.TID]--
					require.GreaterOrEqual(t, open[*e.TID], 0)
				case "i":
					require.Contains(t, []string{"t", "g"}, e.S)
				case "C", "M":
				default:
					require.Fail(t, "unknown phase", e.Ph)
				}
				if e.Ph != "E" {
					require.NotEmpty(t, e.Name)
				}
			}
			for cpu, n := range open {
				require.Zero(t, n, "slices of CPU %d that do not end", cpu)
			}
			require.Positive(t, slices)
		})
	}
}

// TestTraceOnEngines: every engine gives the same file.
func TestTraceOnEngines(t *testing.T) {
	if len(engines()) < 2 {
		t.Skip("this build has one engine: there is nothing to compare with")
	}
	for _, file := range scenarios(t) {
		for _, f := range traceFormats() {
			t.Run(filepath.Base(file)+"/"+f.name, func(t *testing.T) {
				want := traceOf(t, engines()[0], file, f.name)
				for _, e := range engines() {
					require.Equal(t, string(want), string(traceOf(t, e, file, f.name)), e.Name())
				}
			})
		}
	}
}

// TestTraceCmd lets trace-cmd read a file and compares what it prints with our
// text, line by line. Only its report is used: other commands would mount the
// tracefs of this machine.
func TestTraceCmd(t *testing.T) {
	if _, err := exec.LookPath("trace-cmd"); err != nil {
		t.Skip("trace-cmd is not installed")
	}
	for _, file := range scenarios(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			dat := filepath.Join(t.TempDir(), "trace.dat")
			require.NoError(t, os.WriteFile(dat, traceOf(t, engines()[0], file, "dat"), 0o666))
			var stdout, stderr bytes.Buffer
			cmd := exec.Command("trace-cmd", "report", "-O", "parent=1", "-i", dat)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			require.NoError(t, cmd.Run(), stderr.String())
			want := plainLines(string(traceOf(t, engines()[0], file, "text")))
			require.Equal(t, want, plainLines(stdout.String()))
			require.NotContains(t, strings.Join(want, "\n"), "UNKNOWN")
			require.Equal(t, strings.Contains(readFile(t, file), "\ntracer "), len(want) > 0)
		})
	}
}

func readFile(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

var (
	// Ours: task, CPU, flags, time, function; CPU, duration, function.
	functionLine = regexp.MustCompile(`^ *(\S+) +\[(\d+)\] \S{5} +(\S+: .*)$`)
	graphLine    = regexp.MustCompile(`^ *(\d+)\) (.{2} *[\d.]* ?u?s?) *\|  (.*)$`)
	// trace-cmd's.
	commandLine = regexp.MustCompile(`^ *(\S+) +\[(\d+)\] +(\S+:) function: +(\S+)(?: <-- (.*))?$`)
	commandExit = regexp.MustCompile(`^ *\S+ +\[0*(\d+)\] +\S+: funcgraph_(?:entry|exit): {6}(.{2} *[\d.]* ?u?s?) *\|  (.*)$`)
	module      = regexp.MustCompile(` \[[^\]]*\]\(\)`)
)

// plainLines brings the lines of both to one form: what trace-cmd leaves out is
// left out, columns are taken apart.
func plainLines(text string) []string {
	lines := []string{}
	for _, l := range strings.Split(text, "\n") {
		graph := func(m []string) {
			lines = append(lines, m[1]+") "+strings.TrimSpace(m[2])+" | "+module.ReplaceAllString(m[3], "()"))
		}
		switch {
		case l == "" || strings.HasPrefix(l, "#") || strings.HasPrefix(l, "cpus="):
		case commandLine.MatchString(l):
			m := commandLine.FindStringSubmatch(l)
			lines = append(lines, m[1]+" "+m[2]+" "+m[3]+" "+m[4]+" <-"+m[5])
		case commandExit.MatchString(l):
			graph(commandExit.FindStringSubmatch(l))
		case functionLine.MatchString(l):
			m := functionLine.FindStringSubmatch(l)
			lines = append(lines, m[1]+" "+m[2]+" "+m[3])
		case graphLine.MatchString(l):
			graph(graphLine.FindStringSubmatch(l))
		default:
			lines = append(lines, "UNKNOWN: "+l)
		}
	}
	return lines
}
