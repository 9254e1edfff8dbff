package conform_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/conform"
)

// Every recorded sequence of BPF programs, on the interpreter.
func TestSequences(t *testing.T) {
	recs := readRecordings(t, "sequences")
	require.Len(t, recs, 60)
	replay(t, recs, ftemu.Options{})
}

// sequence makes a recording of steps on bpf_fentry_test2 in which nothing was
// recorded, so that every value is a difference.
func sequence(steps ...string) string {
	return `{"name":"n","status":"ok","fn":"bpf_fentry_test2","steps":[` + strings.Join(steps, ",") + `]}`
}

// recorded returns what ftemu gives for a sequence as a recording of its own.
func recorded(t *testing.T, status string, steps ...string) (out []map[string]json.RawMessage, text string) {
	recs := conform.Read("f", strings.NewReader(sequence(steps...)))
	require.NoError(t, recs[0].Err)
	rep, err := recs[0].Case.Run(conform.Options{Steps: true})
	require.NoError(t, err)
	require.Len(t, rep.Steps, len(steps))
	for i, s := range rep.Steps {
		var did map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(steps[i]), &did))
		var came map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(s.Ftemu), &came))
		maps.Copy(came, did)
		out = append(out, came)
	}
	b, err := json.Marshal(map[string]any{"name": "n", "status": status, "fn": "bpf_fentry_test2", "steps": out})
	require.NoError(t, err)
	return out, string(b)
}

// The bug of 6.1.192: a livepatched function gets a fentry program, then an fexit
// program, and the next call kills ftrace. The comparison ends there.
func TestSequenceDead(t *testing.T) {
	steps, text := recorded(t, "dead",
		`{"op":"patch","kind":"klp","id":"l1","rc":0}`, `{"op":"attach fentry","rc":0}`, `{"op":"attach fexit","rc":0}`,
		`{"op":"unpatch","id":"l1","rc":-19}`)
	require.Equal(t, `-77`, string(steps[1]["ret"]))
	require.Equal(t, `3`, string(steps[2]["ret"]), "the patch is bypassed")
	require.Equal(t, `["arch_ftrace_ops_list_func"]`, string(steps[2]["warn"]))
	require.Equal(t, `1`, string(steps[2]["dead"]))
	require.Equal(t, `true`, string(steps[2]["orig_stack"]))
	require.Equal(t, `null`, string(steps[3]["ef"]))

	run := func(text string) []conform.Diff {
		recs := conform.Read("f", strings.NewReader(text))
		require.NoError(t, recs[0].Err)
		rep, err := recs[0].Case.Run(conform.Options{})
		require.NoError(t, err)
		return rep.Diffs
	}
	require.Empty(t, run(text))
	i := strings.LastIndex(text, `"ret":3`)
	last := text[:i] + `"ret":4` + text[i+len(`"ret":3`):]
	require.Empty(t, run(last), "what comes behind the warning is not compared")
	require.NotEmpty(t, run(strings.Replace(last, `"dead"`, `"ok"`, 1)), "but in a sequence of status ok it is")

	// Where the fexit program comes first, or the livepatch later, all is well.
	for _, order := range [][]string{
		{`{"op":"patch","kind":"klp","id":"l1"}`, `{"op":"attach fexit","rc":0}`, `{"op":"attach fentry","rc":0}`},
		{`{"op":"attach fentry","rc":0}`, `{"op":"patch","kind":"ipmod","id":"l1"}`, `{"op":"attach fexit","rc":0}`},
	} {
		steps, _ := recorded(t, "ok", order...)
		require.Equal(t, `-77`, string(steps[2]["ret"]))
		require.Equal(t, `0`, string(steps[2]["dead"]))
	}
}

// An ID that is used again for another ops is that ID in the result.
func TestSequenceIDs(t *testing.T) {
	steps, _ := recorded(t, "ok",
		`{"op":"tracer","kind":"plain","id":"tr"}`, `{"op":"untracer","id":"tr"}`, `{"op":"tracer","kind":"regs","id":"tr"}`)
	require.Contains(t, string(steps[2]["site"]), `"tgt":"tramp:tr"`)
	require.Contains(t, string(steps[2]["ef"]), `<tramp:tr>`)
	require.Contains(t, string(steps[2]["ev"]), `"cb":"tr"`)
	require.Contains(t, string(steps[2]["ev"]), `"regs":1`)
}

// Every value of a recorded sequence is compared: each is changed in turn.
func TestEveryValueOfSequences(t *testing.T) {
	total := 0
	for _, r := range readRecordings(t, "sequences")[:20] {
		changed, missed, err := conform.DisturbSequence(r.Case.(*conform.Sequence))
		require.NoError(t, err)
		require.Empty(t, missed, "%s: changes that were not found", r.Name())
		total += changed
	}
	require.Greater(t, total, 3000)
}

func TestBadSequences(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"function", strings.Replace(sequence(), "test2", "test9", 1), `sequence n: function "bpf_fentry_test9", expected bpf_fentry_test1 to 6`},
		{"status", strings.Replace(sequence(), `"ok"`, `"fine"`, 1), `sequence n: status "fine", expected ok, dead or crash`},
		{"op", sequence(`{"op":"frob"}`), `sequence n: step 0: unknown op "frob", expected patch`},
		{"key", sequence(`{"op":"call","x":1}`), `sequence n: step 0: unknown key "x"`},
		{"detached", sequence(`{"op":"detach fentry","detached":0}`), `sequence n: step 0: key "detached": 0, where 0 programs are attached`},
		{"kind of program", sequence(`{"op":"attach kprobe","rc":0}`), `sequence n: n:3: unknown kind of program "kprobe", expected fentry`},
		{"kind of ops", sequence(`{"op":"patch","kind":"odd","id":"l1"}`), `sequence n: n:3: unknown kind "odd", expected one of`},
		{"unknown ops", sequence(`{"op":"unpatch","id":"l1"}`), `sequence n: n:3: unregister takes "ID", found ""`},
		{"type", sequence(`{"op":7}`), `sequence n: step 0: key "op": json: cannot unmarshal number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			recs := conform.Read("f", strings.NewReader(c.line))
			require.Error(t, recs[0].Err)
			require.True(t, strings.HasPrefix(recs[0].Err.Error(), "f:1: "+c.want), "found %v, expected %s", recs[0].Err, c.want)
		})
	}
}
