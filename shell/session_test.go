package shell

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu"
	"ftemu/guest"
	"ftemu/script"
	"ftemu/script/scripttest"
	"ftemu/trampoline"
	"ftemu/trampoline/layout"
)

// A recorder is a display that writes down what lines gave, and forgets it when
// they are taken back.
type recorder struct {
	results  []string // as JSON
	said     []string
	explains []*script.Result
	starts   int
	failures int
}

func (d *recorder) Start(*script.Runner) { d.starts++ }
func (d *recorder) Asked(script.Step)    {}
func (d *recorder) Answered(res *script.Result) {
	text, err := json.Marshal(res)
	if err != nil {
		panic(err) // results have nothing that JSON has not
	}
	d.results = append(d.results, string(text))
}
func (d *recorder) Explain(res *script.Result)  { d.explains = append(d.explains, res) }
func (d *recorder) Say(_ string, rows []string) { d.said = rows }
func (d *recorder) End(failures int)            { d.failures = failures }
func (d *recorder) Snapshot() (restore func()) {
	n := len(d.results)
	return func() { d.results = d.results[:n:n] }
}

func newSession(t require.TestingT) (*Session, *recorder) {
	d := &recorder{}
	s := New(Options{
		Name: "shell", Dir: "..", Display: d, Write: func(file string, b []byte) error { return os.WriteFile(file, b, 0o666) },
		Script: script.Options{
			LoadGuest: func(path string) (*guest.Image, error) {
				return guest.LoadFile(filepath.Join("..", path), guest.LoadOptions{})
			},
			LoadTrampoline: func(path string) (trampoline.Maker, error) { return layout.Open(filepath.Join("..", path)) },
		},
		Lab: func(s *script.Script) (*script.Runner, error) {
			return script.NewRunner(s, ftemu.Options{Explain: true})
		},
	})
	return s, d
}

// enter enters lines that are right.
func enter(t *testing.T, s *Session, lines ...string) {
	t.Helper()
	for _, l := range lines {
		require.NoError(t, s.Enter(l), l)
	}
}

// digest is all that the behaviour from here on depends on.
func digest(s *Session) string {
	var b bytes.Buffer
	for _, l := range s.lines {
		fmt.Fprintln(&b, l.text)
	}
	if s.runner != nil {
		s.runner.Digest(&b)
	}
	return b.String()
}

// TestUndo enters random lines and takes some back: the state is then as it was,
// and in the end as if those that are left had been the only ones.
func TestUndo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, d := newSession(t)
		defer s.Close()
		var digests []string // before each line
		for _, text := range scripttest.Draw(t) {
			before := digest(s)
			n := len(s.lines)
			if err := s.Enter(text); err != nil {
				require.Equal(t, before, digest(s), "%s: %v", text, err)
				continue
			}
			if n == 0 && len(s.lines) == 2 { // begin came with it
				digests = append(digests, before)
			}
			digests = append(digests, before)
			if rapid.IntRange(0, 9).Draw(t, "undo") == 0 {
				n := rapid.IntRange(1, len(s.lines)).Draw(t, "lines")
				require.NoError(t, s.Enter(fmt.Sprint("undo ", n)))
				digests = digests[:len(s.lines)+1]
				require.Equal(t, digests[len(s.lines)], digest(s))
				digests = digests[:len(s.lines)]
			}
		}
		if len(s.lines) == 0 {
			return
		}
		again, fresh := newSession(t)
		defer again.Close()
		for _, l := range s.lines {
			if !l.implied {
				require.NoError(t, again.Enter(l.text))
			}
		}
		require.Equal(t, digest(again), digest(s))
		require.Equal(t, fresh.results, d.results)
		if s.Enter("dump") == nil {
			require.NoError(t, again.Enter("dump"))
			require.Equal(t, fresh.results, d.results)
		}
	})
}

// TestSaveReplays: what save writes gives, run as a scenario, what the lines gave.
func TestSaveReplays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "saved.ft")
	rapid.Check(t, func(t *rapid.T) {
		s, d := newSession(t)
		defer s.Close()
		for _, text := range scripttest.Draw(t) {
			if s.Enter(text) != nil {
				continue // behind an oops, or about what is no more
			}
			if rapid.IntRange(0, 19).Draw(t, "undo") == 0 {
				require.NoError(t, s.Enter("undo 2"))
			}
		}
		if len(s.lines) == 0 {
			return
		}
		require.NoError(t, s.Enter("save! "+file))
		failures := s.End()
		require.Len(t, failures, d.failures)

		text, err := os.Open(file)
		require.NoError(t, err)
		defer text.Close()
		saved, err := script.Parse(file, text, script.Options{})
		require.NoError(t, err)
		r, err := script.NewRunner(saved, ftemu.Options{})
		require.NoError(t, err)
		defer r.Close()
		replay := &recorder{}
		for _, step := range saved.Steps {
			if len(replay.results) == len(d.results) {
				break // an oops ends it
			}
			replay.Answered(r.Run(step))
		}
		require.Equal(t, d.results, replay.results)
	})
}

// TestUndoFar takes back more than is remembered, and everything.
func TestUndoFar(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	enter(t, s, "new a plain", "filter a f0", "register a")
	early := digest(s)
	for range Levels + 5 {
		enter(t, s, "sysctl 0", "sysctl 1", "# why not")
	}
	enter(t, s, fmt.Sprint("undo ", 2*(Levels+5)))
	require.Equal(t, early, digest(s))
	enter(t, s, "undo")
	require.Equal(t, 3, len(s.lines), "what is remembered after lines ran again")
	enter(t, s, "undo 99")
	require.Empty(t, s.lines)
	require.Nil(t, s.runner)
	require.Empty(t, d.results)
	require.EqualError(t, s.Enter("undo"), "undo: no line to take back")
	enter(t, s, "guest examples/own/own.o", "call gcd 1071 462", "want ret 21")
	enter(t, s, "undo 3")
	require.ErrorContains(t, s.Enter("call gcd 1 1"), `shell:1: unknown function "gcd" in ftoracle.o`)
	enter(t, s, "call f0 1 2")
	require.Equal(t, 3, d.starts)
	enter(t, s, "quit")
	require.True(t, s.Over())
}

// TestUndoTramp: a name that a line gave to a trampoline is free again, and the next
// that gets it is its own.
func TestUndoTramp(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	use := []string{"new d direct", "filter d f0", "direct_register d mine", "call f0 1 2"}
	enter(t, s, append([]string{"tramp mine examples/layouts/lean.layout"}, use...)...)
	lean := d.results
	enter(t, s, "undo 9", "tramp mine examples/layouts/heed.layout")
	enter(t, s, use...)
	require.NotEqual(t, lean, d.results)
	enter(t, s, "undo 9", "tramp mine examples/layouts/lean.layout")
	enter(t, s, use...)
	require.Equal(t, lean, d.results)
}

// TestManyLines: a long session keeps a bounded number of states.
func TestManyLines(t *testing.T) {
	s, _ := newSession(t)
	defer s.Close()
	enter(t, s, "new a plain", "filter a f0")
	for range 1000 {
		enter(t, s, "register a", "unregister a")
	}
	kept := 0
	for _, l := range s.lines {
		if l.before != nil {
			kept++
		}
	}
	require.Equal(t, Levels, kept)
}

func TestLoad(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	require.NoError(t, s.Load("x.ft", strings.NewReader("# a lesson\n\nnew a plain   # a tracer\nfilter a f1\nregister a\nend\n")))
	enter(t, s, "call f1 1 2", "list")
	require.Equal(t, []string{
		"  1  # a lesson", "  2", "  3  begin x sites=f1", "  4  new a plain   # a tracer", "  5  filter a f1", "  6  register a", "  7  call f1 1 2",
	}, d.said)
	enter(t, s, "undo 9")
	require.Len(t, s.lines, 2, "comments that stand before all lines stay")

	for text, want := range map[string]string{
		"new a plain\nfrob": `x.ft:2: unknown verb "frob"`,
		"list":              `x.ft:1: unknown verb "list"`,
		"":                  "no verb in the whole script",
	} {
		s, _ := newSession(t)
		require.ErrorContains(t, s.Load("x.ft", strings.NewReader(text)), want)
		require.Equal(t, 1, s.Next())
	}
}

// What stands behind an oops does not run until the oops is taken back.
func TestOops(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	oops := "new k klp\nregister k force\n"
	require.EqualError(t, s.Load("x.ft", strings.NewReader(oops+"dump\n")),
		"x.ft:4: nothing runs behind an oops but want; undo takes it back; the rest of the file did not run")
	require.Error(t, s.Enter("call f0 1 2"))
	enter(t, s, "want oops", "undo 2", "filter k f0", "register k", "want rc 0", "want rc 1")
	failures := s.End()
	require.Len(t, failures, 1)
	require.EqualError(t, failures[0], "x.ft:6: want rc 1: found 0, wanted 1")
	require.Equal(t, 1, d.failures)

	for text, want := range map[string]int{oops: 1, oops + "want oops": 0} {
		s, _ := newSession(t)
		defer s.Close()
		require.NoError(t, s.Load("x.ft", strings.NewReader(text)))
		require.Len(t, s.End(), want)
	}
}

// A line for a CPU that the lab lacks makes a lab that has it, in the same state.
func TestMoreCPUs(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	enter(t, s, "new a plain", "filter a f0", "register a", "thread one", "unregister a")
	n := len(d.results)
	enter(t, s, "cpu 3: call f0 1 2")
	require.Contains(t, d.results[n], `"ret":1013`)
	enter(t, s, "join", "want ret 1013", "undo 3")
	require.Len(t, d.results, n)
	enter(t, s, "cpu 7: call f0 2 2", "undo", "join", "call f0 1 2", "want callbacks body:f0")
	require.Empty(t, s.End())
}

func TestInterrupt(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	s.Interrupt() // nothing runs
	enter(t, s, "new k klp", "filter k f0", "redirect k f0 f0", "register k")
	before := digest(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !s.running.busy() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		s.Interrupt()
	}()
	enter(t, s, "call f0 1 2")
	<-done
	require.Equal(t, []string{"stopped, and taken back"}, d.said)
	require.Equal(t, before, digest(s))
	enter(t, s, "call f1 1 2", "want ret 2013")
	require.Empty(t, s.End())
}

func (r *running) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cpu != nil
}

func TestWhy(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	enter(t, s, "why")
	require.Equal(t, []string{"No line was refused."}, d.said)
	enter(t, s, "new a klp", "filter a f0", "register a", "new b klp", "filter b f0", "register b", "call f1", "why")
	require.Len(t, d.explains, 1)
	require.Equal(t, "register b", d.explains[0].Op)
	require.NotEmpty(t, d.explains[0].Decisions[0].Steps)

	// What was taken back is not explained, nor what comes before it forgotten.
	enter(t, s, "register b", "undo", "why")
	require.Len(t, d.explains, 2)
	require.Equal(t, 7, d.explains[1].Line)
	enter(t, s, "undo 2", "why")
	require.Len(t, d.explains, 2)
	require.Equal(t, []string{"No line was refused."}, d.said)
}

// TestTrailingSpaces: Tab leaves a space behind the last word.
func TestTrailingSpaces(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "x.ft")
	enter(t, s, "new a klp ", "# noted \t", "  ", "filter a f0\t ", "list")
	require.Equal(t, []string{"  1  begin shell sites=", "  2  new a klp", "  3  # noted", "  4", "  5  filter a f0"}, d.said)
	enter(t, s, "save "+file)
	saved, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "begin shell sites=\nnew a klp\n# noted\n\nfilter a f0\n", string(saved))
}

func TestSave(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("theirs.ft", nil, 0o666))
	s, d := newSession(t)
	defer s.Close()
	require.EqualError(t, s.Enter("save x.ft"), "save: there is no line yet")
	require.EqualError(t, s.Enter("save"), "save: no file was opened, expected the name of one")
	enter(t, s, "call f0 1 2   # as it is", "save x.ft")
	require.Equal(t, []string{"2 lines in x.ft"}, d.said)
	content := func(file string) string {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "begin shell sites=\ncall f0 1 2   # as it is\n", content("x.ft"))
	enter(t, s, "undo", "call f1 1 2", "save x.ft")
	require.Equal(t, "begin shell sites=\ncall f1 1 2\n", content("x.ft"))
	require.EqualError(t, s.Enter("save theirs.ft"), "save: theirs.ft exists and is not of this session; save! theirs.ft replaces it")
	require.Empty(t, content("theirs.ft"))
	enter(t, s, "save! theirs.ft", "save theirs.ft")
	s.opt.Write = func(string, []byte) error { return errors.New("disk full") }
	require.EqualError(t, s.Enter("save y.ft"), "save: disk full")
	require.NoFileExists(t, "y.ft")
}

// TestSaveElsewhere: files that lines name are found from the folder of the file.
func TestSaveElsewhere(t *testing.T) {
	s, _ := newSession(t)
	defer s.Close()
	enter(t, s, "tramp mine examples/layouts/lean.layout for f0", "call f0 1 2")
	dir := t.TempDir()
	enter(t, s, "save "+dir+"/x.ft")
	f, err := os.Open(dir + "/x.ft")
	require.NoError(t, err)
	defer f.Close()
	_, err = script.Parse("x.ft", f, script.Options{
		LoadTrampoline: func(path string) (trampoline.Maker, error) { return layout.Open(filepath.Join(dir, path)) },
	})
	require.NoError(t, err)
	require.Equal(t, "guest builtin:bpf_fentry_test", must(s.moved("guest builtin:bpf_fentry_test", dir)))
}

func must(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}

func TestBadCommands(t *testing.T) {
	s, _ := newSession(t)
	defer s.Close()
	for text, want := range map[string]string{
		"undo x":            `undo: found "x", expected a number of lines from 1 on`,
		"undo 0":            `undo: found "0", expected a number of lines from 1 on`,
		"undo 1 2":          `undo takes "[N]", found "1 2"`,
		"list all":          `list takes "", found "all"`,
		"save!":             `save! takes "FILE", found ""`,
		"help frob":         `help: no verb "frob", expected one that help lists`,
		"frob":              `shell:1: unknown verb "frob", expected one that help lists`,
		"nwe a plain":       `shell:1: unknown verb "nwe", did you mean new?`,
		"help kidns":        `help: no verb "kidns", did you mean kinds?`,
		`str:"`:             `shell:1: a text in double quotes does not end`,
		"call f9":           `shell:1: unknown function "f9" in ftoracle.o`,
		"want rc 0":         `shell:1: want needs a line before it`,
		"begin a b":         `shell:1: found "b", expected sites=`,
		"guest a.o":         `shell:1: open ../a.o: no such file or directory`,
		"direct_register a": `shell:1: direct_register takes "ID TRAMP", found "a"`,
	} {
		require.EqualError(t, s.Enter(text), want)
	}
	require.Equal(t, 1, s.Next())
	require.Empty(t, s.End())
}

func TestHelp(t *testing.T) {
	s, d := newSession(t)
	defer s.Close()
	enter(t, s, "help")
	all := strings.Join(d.said, "\n")
	for _, v := range script.Verbs() {
		require.Contains(t, all, "\n  "+v.Name)
		require.NoError(t, s.Enter("help "+v.Name))
		require.Contains(t, strings.Join(d.said, "\n"), strings.Split(v.Example, "\n")[0])
	}
	for _, c := range commands() {
		require.Contains(t, all, "\n  "+c.name)
		_, verb := verbNamed(c.name)
		require.False(t, verb, "%s is a verb, too", c.name)
		require.NoError(t, s.Enter("help "+c.name))
		require.Contains(t, strings.Join(d.said, "\n"), c.help)
	}
	enter(t, s, "help tracer")
	require.Equal(t, []string{
		"usage    tracer function|function_graph FUNCTION[+OFF],...|all",
		"         tracer off",
		"meaning  let one of ftrace's own tracers note functions; its ops gets its name as ID",
		"example  tracer function_graph f0", "         call f0 1 2", "         tracer off",
	}, d.said)
}
