package conform_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/conform"
)

const recordings = "../testdata/recordings"

// scripts are the files of recorded scripts, with how many each holds.
var scripts = []struct {
	name  string
	count int
}{{"rules", 113}, {"rules2", 39}, {"random", 400}, {"slow", 6}, {"nasty", 6}}

func readRecordings(t testing.TB, name string) []conform.Recording {
	t.Helper()
	recs, err := conform.ReadFile(filepath.Join(recordings, name+".jsonl.gz"))
	require.NoError(t, err)
	for _, r := range recs {
		require.NoError(t, r.Err)
	}
	return recs
}

// replay runs the recordings on the lab that opt makes, and fails for every
// difference.
func replay(t *testing.T, recs []conform.Recording, opt ftemu.Options) {
	passed, failed := 0, 0
	conform.Run(recs, conform.Options{Lab: opt}, runtime.NumCPU(), func(r conform.Result) {
		if r.Passed() {
			passed++
			return
		}
		failed++
		if r.Err != nil {
			t.Error(r.Err)
		}
		for _, d := range r.Diffs {
			t.Errorf("%s: %s", r.Name(), d)
		}
	})
	t.Logf("%d passed, %d failed", passed, failed)
}

// Every recording, on the interpreter.
func TestRecordings(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			recs := readRecordings(t, s.name)
			require.Len(t, recs, s.count)
			replay(t, recs, ftemu.Options{})
		})
	}
}

// A comparison that cannot find anything would pass, so every value of a
// recording is changed in turn, and each change must be found.
func TestEveryValueIsCompared(t *testing.T) {
	total := 0
	for _, name := range []string{"rules2", "slow"} {
		for _, r := range readRecordings(t, name) {
			changed, missed, err := conform.Disturb(r.Case.(*conform.Script))
			require.NoError(t, err)
			require.Empty(t, missed, "%s: changes that were not found", r.Name())
			total += changed
		}
	}
	t.Logf("%d values", total)
	require.Greater(t, total, 10_000)
}

// A recording can be run more than once, with the same result.
func TestRunTwice(t *testing.T) {
	for _, r := range readRecordings(t, "slow") {
		for range 2 {
			rep, err := r.Case.Run(conform.Options{Steps: true})
			require.NoError(t, err)
			require.Empty(t, rep.Diffs)
			require.Len(t, rep.Steps, len(r.Case.(*conform.Script).Lines()))
		}
	}
}

// BenchmarkRules replays the recordings of the hand-written rules one after the
// other, comparison included.
func BenchmarkRules(b *testing.B) {
	recs := readRecordings(b, "rules")
	lines := 0
	for _, r := range recs {
		lines += len(r.Case.(*conform.Script).Lines())
	}
	for b.Loop() {
		conform.Run(recs, conform.Options{}, 1, func(r conform.Result) {
			if !r.Passed() {
				b.Fatal(r.Name(), r.Err, r.Diffs)
			}
		})
	}
	b.ReportMetric(float64(len(recs)), "scripts/op")
	b.ReportMetric(float64(lines), "lines/op")
}

// What a machine would trip over in a file of recordings.
func TestBadFiles(t *testing.T) {
	const good = `{"name":"n","status":"ok","input":["begin n sites=","end"],"out":[{"op":"begin n sites=","rc":0,"dead":0,"ef":null,"ops":[],"sites":[]},{"op":"end","rc":0,"dead":0,"ef":null,"ops":[],"sites":[],"left":[],"unclean":0}]}`
	for _, c := range []struct{ name, line, want string }{
		{"truncated", good[:len(good)-20], "f:2: not a JSON object: unexpected end of JSON input"},
		{"no object", `[1]`, "f:2: not a JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage"},
		{"other keys", `{"x":1}`, `f:2: not a recording that is known: expected key "input" (a script with what a kernel did)`},
		{"unknown key", strings.Replace(good, `"status"`, `"extra":1,"status"`, 1), `f:2: unknown key "extra"`},
		{"missing key", strings.Replace(good, `"status":"ok",`, ``, 1), `f:2: case n: key "status" is missing`},
		{"unknown key in a line", strings.Replace(good, `"rc"`, `"rx"`, 1), `f:2: case n: script line 1: unknown key "rx"`},
		{"line not recorded", strings.Replace(good, `"end"]`, `"dump","end"]`, 1), `f:2: case n: 2 lines recorded, of a script of 3`},
		{"status", strings.Replace(good, `"ok"`, `"fine"`, 1), `f:2: case n: status "fine", expected ok, dead or crash`},
		{"never begins", strings.Replace(good, `["begin n sites=","end"]`, `["end"]`, 1), `f:2: case n: the script never begins: line 1 is "end", expected begin`},
		{"never ends", strings.Replace(good, `,"end"]`, `,"dump"]`, 1), `f:2: case n: the script never ends: line 2 is "dump", expected end`},
		{"other line", strings.Replace(good, `"op":"end"`, `"op":"dump"`, 1), `f:2: case n: script line 2: recorded for "dump", the script has "end"`},
		{"crash without a line", strings.Replace(good, `"ok"`, `"crash"`, 1), `f:2: case n: status crash, and no line is left to crash on`},
		{"verb", strings.NewReplacer(`"end"]`, `"frob","end"]`, `{"op":"end"`, `{"op":"frob","rc":0},{"op":"end"`).Replace(good), `f:2: case n: script line 2: unknown verb "frob", expected one that`},
		{"site", strings.ReplaceAll(good, `sites="`, `sites=f9"`), `f:2: case n: script line 1: unknown function "f9" in ftoracle.o`},
		{"blank line", strings.NewReplacer(`"end"]`, `"","end"]`, `{"op":"end"`, `{"op":"","rc":0},{"op":"end"`).Replace(good), `f:2: case n: script line 2: found "", expected one verb`},
		{"type", strings.Replace(good, `"input":[`, `"input":[7,`, 1), `f:2: case n: key "input": json: cannot unmarshal number into Go value of type string`},
		{"too long", `{"name":"` + strings.Repeat("x", 17<<20) + `"}`, "f:2: a line of more than 16777216 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			recs := conform.Read("f", strings.NewReader(good+"\n"+c.line+"\n\n"+good))
			require.Len(t, recs, 3, "the recordings around the bad line are there")
			require.NoError(t, recs[0].Err)
			require.Error(t, recs[1].Err)
			require.True(t, strings.HasPrefix(recs[1].Err.Error(), c.want), "found %v, expected %s", recs[1].Err, c.want)
			require.NoError(t, recs[2].Err)
			require.Equal(t, 4, recs[2].Line)
			passed := 0
			conform.Run(recs, conform.Options{}, 2, func(r conform.Result) {
				if r.Passed() {
					passed++
				}
			})
			require.Equal(t, 2, passed)
		})
	}
	for name, want := range map[string]string{"": "f:1: no recording in this file", "\x1f\x8bx": "f:1: unexpected EOF"} {
		recs := conform.Read("f", strings.NewReader(name))
		require.Len(t, recs, 1)
		require.EqualError(t, recs[0].Err, want)
	}
}

// A script of status dead is compared to the first warning that matters, one of
// status crash must crash where the kernel did.
func TestDeadAndCrash(t *testing.T) {
	const begin = `{"name":"n","status":"%","input":["begin n sites=","new a ipmod","register a force","end"],"out":[{"op":"begin n sites=","rc":0,"dead":0,"ef":null,"ops":[],"sites":[]},{"op":"new a ipmod","rc":0,"dead":0,"ef":null,"ops":[{"fl":"DYNAMIC|SAVE_REGS|IPMODIFY","id":"a","tramp":"none"}],"sites":[]}]}`
	run := func(t *testing.T, line string) conform.Report {
		recs := conform.Read("f", strings.NewReader(line))
		require.NoError(t, recs[0].Err)
		rep, err := recs[0].Case.Run(conform.Options{})
		require.NoError(t, err)
		return rep
	}
	crash := strings.Replace(begin, "%", "crash", 1)
	require.Empty(t, run(t, crash).Diffs)

	rep := run(t, strings.Replace(crash, "register a force", "register a", 1))
	require.Len(t, rep.Diffs, 1)
	require.Equal(t, `line 3 (register a): oops: kernel "the kernel oopsed", ftemu nothing`, rep.Diffs[0].String())

	dead := strings.NewReplacer(`%`, "dead", `,"register a force"`, "", `"sites":[]}]}`,
		`"sites":[],"warn":["kernel/trace/ftrace.c:1 f.isra.0+0x3"]},{"op":"end","rc":7}]}`).Replace(begin)
	rep = run(t, dead)
	require.Len(t, rep.Diffs, 1, "nothing behind the warning is compared")
	require.Equal(t, `line 2 (new a ipmod): warn: kernel ["f"], ftemu nothing`, rep.Diffs[0].String())
}
