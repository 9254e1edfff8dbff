package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// jsonCalls are calls of every verb that has --json, by the section of
// docs/json.md that describes what is printed.
var jsonCalls = map[string][]string{
	"run": {
		"run --json --explain ROOT/examples/livepatch-first.ft",
		"run --json ROOT/examples/fexit-kills-ftrace.ft",
		"run --json --explain ROOT/examples/two-livepatches.ft",
		"run --json --trace all ROOT/examples/bpf-first.ft",
		"run --json --trace all ROOT/examples/traces/graph.ft",
	},
	"sites":  {"sites --json ROOT/examples/own/own.o"},
	"disasm": {"disasm --json ROOT/examples/own/own.o"},
	"why": {
		"why --json --explain ROOT/examples/conflict/enabled_functions vfs_read livepatch",
		"why --json ROOT/examples/conflict/enabled_functions vfs_read kprobe-post",
	},
	"explore": {
		"explore --json --all --with skip-int3 ROOT/examples/explore/call-to-call-1.ft",
		"explore --json --bound 1 --designs ROOT/examples/explore/nop-to-call-1.ft",
		"explore --json --max-states 3 ROOT/examples/explore/nop-to-call-1.ft",
		"explore --json --design rinse-repeat --replay 1:f517acf7 ROOT/examples/share/livepatch-first.ft",
	},
	"conform": {
		"conform --json ROOT/testdata/recordings/rules.jsonl.gz",
		"conform --json --verbose --design eagain-flag ROOT/testdata/recordings/rules.jsonl.gz",
		"conform --json ROOT/go.sum",
	},
	"trampoline list":    {"trampoline list --json"},
	"trampoline show":    {"trampoline show --json --mitigations sls,rethunk fentry"},
	"trampoline frame":   {"trampoline frame --json fentry"},
	"trampoline check":   {"trampoline check --json --states 2 ftrace_caller", "trampoline check --json --states 2 ROOT/examples/layouts/lean.layout"},
	"trampoline compare": {"trampoline compare --json fentry fexit"},
	"trampoline golden":  {"trampoline golden --json -o TMP fentry"},
	"engines":            {"engines --json", "engines --json --coverage ROOT/examples/own/own.o"},
	"version":            {"version --json"},
	"bench":              {"bench --json quiet call"},
}

// A documented key.
type documented struct {
	kind     string
	optional bool
}

var (
	section  = regexp.MustCompile(`(?m)^## (.*)$`)
	tableRow = regexp.MustCompile(`(?m)^\| ([a-z_.\[\]]+)(\??) \| ([a-z]+) \| .+ \|$`)
)

// jsonTables reads the tables of docs/json.md by section. There may be more than one
// in a section, for objects of more than one kind.
func jsonTables(t *testing.T) map[string][]map[string]documented {
	text := readFile(t, "../../docs/json.md")
	out := make(map[string][]map[string]documented)
	places := section.FindAllStringSubmatchIndex(text, -1)
	for i, p := range places {
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		for _, part := range strings.Split(text[p[1]:end], "| key | type | meaning |\n")[1:] {
			table := make(map[string]documented)
			for _, row := range tableRow.FindAllStringSubmatch(part, -1) {
				table[row[1]] = documented{row[3], row[2] != ""}
			}
			out[text[p[2]:p[3]]] = append(out[text[p[2]:p[3]]], table)
		}
	}
	return out
}

// TestJSONIsDocumented holds what --json prints against docs/json.md: one object a
// line, each key there and of its type, and no key left out that always is there.
func TestJSONIsDocumented(t *testing.T) {
	tables := jsonTables(t)
	t.Setenv("COLUMNS", "20")
	for name, calls := range jsonCalls {
		t.Run(name, func(t *testing.T) {
			require.NotEmpty(t, tables[name])
			for _, call := range calls {
				objects := 0
				for line := range strings.Lines(output(t, strings.ReplaceAll(call, "TMP", t.TempDir()))) {
					if strings.HasPrefix(line, "ftemu: ") {
						continue // of standard error
					}
					var object map[string]any
					require.NoError(t, json.Unmarshal([]byte(line), &object), call)
					var problems []string
					for _, table := range tables[name] {
						p := undocumented(table, object)
						if p == "" {
							problems = nil
							break
						}
						problems = append(problems, p)
					}
					require.Empty(t, problems, "%s: %s", call, line)
					objects++
				}
				require.Positive(t, objects, call)
			}
		})
	}
}

// undocumented says how an object is not as a table has it, "" if it is.
func undocumented(table map[string]documented, object map[string]any) string {
	var visit func(prefix string, object map[string]any) string
	visit = func(prefix string, object map[string]any) string {
		for key, d := range table {
			rest, ok := strings.CutPrefix(key, prefix)
			if _, has := object[rest]; ok && !strings.Contains(rest, ".") && !has && !d.optional {
				return "no " + key
			}
		}
		for key, value := range object {
			d, ok := table[prefix+key]
			if !ok {
				return "undocumented: " + prefix + key
			}
			kind := fmt.Sprintf("%T", value)
			want := map[string]string{"string": "string", "number": "float64", "bool": "bool", "list": "[]interface {}",
				"object": "map[string]interface {}", "map": "map[string]interface {}", "decision": "map[string]interface {}"}[d.kind]
			if value != nil && d.kind != "any" && kind != want {
				return fmt.Sprintf("%s%s is a %s", prefix, key, kind)
			}
			switch v := value.(type) {
			case map[string]any:
				if d.kind != "object" {
					continue
				}
				if p := visit(prefix+key+".", v); p != "" {
					return p
				}
			case []any:
				for _, x := range v {
					if o, ok := x.(map[string]any); ok && described(table, prefix+key+"[].") {
						if p := visit(prefix+key+"[].", o); p != "" {
							return p
						}
					}
				}
			}
		}
		return ""
	}
	return visit("", object)
}

// described tells whether the objects in a list have keys in the table; decisions
// and objects of other sections have not.
func described(table map[string]documented, prefix string) bool {
	for key := range table {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// TestEveryJSONVerbIsDocumented: a verb with --json has its section and its calls.
func TestEveryJSONVerbIsDocumented(t *testing.T) {
	k, err := newParser(newApp(nil, devNull(t), devNull(t)), func(int) {})
	require.NoError(t, err)
	tables := jsonTables(t)
	for _, n := range k.Model.Leaves(true) {
		name := strings.TrimPrefix(verbPath(n), "ftemu ")
		if slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == "json" }) {
			require.NotEmpty(t, tables[name], "docs/json.md has nothing on %s --json", name)
			require.True(t, name == "shell" || len(jsonCalls[name]) > 0, "%s --json is not called", name) // shell has tests of its own
		}
	}
}
