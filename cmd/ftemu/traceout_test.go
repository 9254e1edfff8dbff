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

	"github.com/santhosh-tekuri/jsonschema/v6"
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
	o, err := newTraceOut(&out, format)
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

// chromeSchema is the schema of Chrome traces.
func chromeSchema(t *testing.T) *jsonschema.Schema {
	schema, err := jsonschema.NewCompiler().Compile("testdata/chrome-trace.schema.json")
	require.NoError(t, err)
	return schema
}

// validate holds a Chrome trace against the schema.
func validate(schema *jsonschema.Schema, text []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}

// TestChromeSchema: the schema refuses what is wrong.
func TestChromeSchema(t *testing.T) {
	schema := chromeSchema(t)
	event := func(text string) []byte { return []byte(`{"traceEvents":[{` + text + `,"pid":1,"tid":0}]}`) }
	require.NoError(t, validate(schema, event(`"ph":"E","ts":1,"name":"f","cat":"function"`)))
	for _, wrong := range []string{
		`"ph":"E","ts":-1,"name":"f","cat":"function"`,
		`"ph":"E","ts":1`,
		`"ph":"X","ts":1,"name":"f","cat":"function"`,
		`"ph":"B","ts":1,"cat":"function"`,
		`"ph":"B","ts":"1","name":"f","cat":"function"`,
		`"ph":"B","ts":1,"name":"f","cat":"function","s":"g"`,
		`"ph":"i","ts":1,"name":"f","cat":"poke","s":"x"`,
		`"ph":"C","ts":1,"name":"f","args":{"n":"many"}`,
		`"ph":"M","ts":1,"name":"process","args":{"name":"x"}`,
	} {
		require.Error(t, validate(schema, event(wrong)), wrong)
	}
	require.Error(t, validate(schema, []byte(`{"traceEvents":[]}`)))
	require.Error(t, validate(schema, []byte(`[]`)))
}

// TestChromeTrace checks what viewers rely on: the file fits the schema, on each
// thread slices begin and end in pairs, one inside the other, and time does not
// go back.
func TestChromeTrace(t *testing.T) {
	schema := chromeSchema(t)
	for _, file := range scenarios(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var doc struct {
				DisplayTimeUnit string
				TraceEvents     []struct {
					Name, Cat, Ph string
					TS            float64
					TID           int
				}
			}
			text := traceOf(t, engines()[0], file, "json")
			require.NoError(t, validate(schema, text))
			require.NoError(t, json.Unmarshal(text, &doc))
			require.Equal(t, "ns", doc.DisplayTimeUnit)
			open, last, slices := map[int][]string{}, 0.0, 0
			for _, e := range doc.TraceEvents {
				require.GreaterOrEqual(t, e.TS, last)
				last = e.TS
				switch e.Ph {
				case "B":
					slices++
					open[e.TID] = append(open[e.TID], e.Name)
					require.Contains(t, []string{"function", "trampoline", "gate", "callback"}, e.Cat)
				case "E":
					last := len(open[e.TID]) - 1
					require.GreaterOrEqual(t, last, 0)
					require.Equal(t, open[e.TID][last], e.Name)
					open[e.TID] = open[e.TID][:last]
				}
			}
			for cpu, n := range open {
				require.Empty(t, n, "slices of CPU %d that do not end", cpu)
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
