package script

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/guest"
	"ftemu/trampoline"
	"ftemu/trampoline/layout"
)

// fromRoot loads what the examples of verbs name, which is beside the examples of
// the project.
func fromRoot() Options {
	return Options{
		LoadGuest: func(path string) (*guest.Image, error) {
			return guest.LoadFile("../"+path, guest.LoadOptions{})
		},
		LoadTrampoline: func(path string) (trampoline.Maker, error) { return layout.Open("../" + path) },
	}
}

// TestExamples runs the example of each verb: it has the verb in it, what it wants
// is so, and it does not crash.
func TestExamples(t *testing.T) {
	for _, v := range Verbs() {
		t.Run(v.Name, func(t *testing.T) {
			require.Contains(t, Groups(), v.Group)
			s, err := Parse("example.ft", strings.NewReader(v.Example), fromRoot())
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(strings.Split(v.Example, "\n"), func(l string) bool {
				return strings.Fields(l)[0] == v.Name
			}))
			r, err := NewRunner(s, ftemu.Options{})
			require.NoError(t, err)
			defer r.Close()
			for _, step := range s.Steps {
				res := r.Run(step)
				require.Empty(t, res.Failed, step.Text)
				require.Empty(t, res.Oops, step.Text)
			}
		})
	}
}

// TestParserGoesBack: a line that is refused changes nothing, and after what was
// read is brought back the parser goes on as if it had not read it.
func TestParserGoesBack(t *testing.T) {
	p := NewParser("test.ft", Options{})
	line := func(n int, text string) { t.Helper(); _, err := p.Line(n, text); require.NoError(t, err, text) }
	refused := func(n int, text, want string) {
		t.Helper()
		step, err := p.Line(n, text)
		require.Nil(t, step)
		require.ErrorContains(t, err, want)
	}
	empty := p.Snapshot()
	refused(1, "call f9", `test.ft:1: unknown function "f9"`)
	require.Nil(t, p.Script().Guest, "a line that is refused needs no guest")
	line(1, "new a plain")
	one := p.Snapshot()
	line(2, "prog p fentry")
	line(3, "thread x")
	two := p.Snapshot()
	refused(4, "cpu 0: call f9", `unknown function "f9"`)
	line(4, "register a")
	require.Equal(t, "x", p.Script().Steps[2].Thread)
	line(5, "join")
	line(6, "end")
	refused(7, "dump", "dump after end")
	two()
	line(4, "unregister a")
	require.Equal(t, "x", p.Script().Steps[2].Thread)
	one()
	refused(2, "attach p f0", `unknown ID "p"`)
	line(2, "prog p fexit")
	line(3, "thread x")
	one()
	line(2, "prog a2 fexit")
	empty()
	require.Nil(t, p.Script().Guest)
	line(1, "guest "+BPFTestsGuest)
	refused(2, "filter a bpf_fentry_test1", `unknown ID "a"`)
	refused(2, strings.Repeat("x", maxLine+1), "a line of more than 65536 bytes")
	require.Empty(t, p.Script().Steps)
}

func TestWords(t *testing.T) {
	p := NewParser("test.ft", Options{})
	words := func(placeholder, prefix string) []string {
		found, known := p.Words(placeholder, prefix, 4)
		require.True(t, known)
		return found
	}
	require.Empty(t, words("ID", ""))
	require.Equal(t, []string{"f0", "f1", "f2", "f3"}, words("FUNCTION", "f"), "of the built-in guest, for which no line has asked yet")
	for i, l := range []string{"new klp klp", "new a plain", "prog p fentry", "tracer function f0"} {
		_, err := p.Line(i+1, l)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"a", "function", "klp"}, words("ID", ""))
	require.Equal(t, []string{"klp"}, words("ID", "k"))
	require.Equal(t, []string{"p"}, words("PROG", ""))
	require.Empty(t, words("TARGET", "nosuch"))
	require.Equal(t, []string{"pass", "passB", "passC"}, words("TRAMP", "pa"))
	require.Equal(t, []string{"orig:f0", "orig:f1", "orig:f2", "orig:f3"}, words("TRAMP", "orig:f"))
	require.Equal(t, []string{"regs", "regsif"}, words("KIND", "reg"))
	require.Equal(t, []string{"ok"}, words("MODE", "o"))
	require.Equal(t, []string{"EBUSY"}, words("ERRNO", "EB"))
	require.Empty(t, words("NUMBER", ""))
	_, known := p.Words("NOSUCH", "", 4)
	require.False(t, known)
}

// TestTopics: what is explained is what can be written, and all of that.
func TestTopics(t *testing.T) {
	lines := map[string]string{
		"kinds": "new a %", "modes": "new a direct of=%", "tramps": "sdirect_register f0 %", "guest": "call %",
	}
	for _, topic := range Topics() {
		for _, e := range topic.Terms {
			require.NotEmpty(t, e.About, "%s %s", topic.Name, e.Name)
			word := strings.NewReplacer("origN", "orig7", "FUNCTION", "f0", " to f7", "", " to g7", "", "ftor_", "ftor_f0").Replace(e.Name)
			if topic.Name == "want" {
				_, err := Parse("test.ft", strings.NewReader("sysctl 1\nwant "+word), Options{})
				if err != nil {
					require.ErrorContains(t, err, "takes", "it is known, but takes arguments")
				}
				continue
			}
			for _, w := range strings.Split(word, ", ") {
				if w != "NAME" {
					parse(t, strings.ReplaceAll(lines[topic.Name], "%", w))
				}
			}
		}
	}
	p := NewParser("test.ft", Options{})
	for i, placeholder := range []string{"KIND", "MODE", "TRAMP"} {
		words, _ := p.Words(placeholder, "", 100)
		explained := strings.Join(termNames(Topics()[i].Terms), ", ")
		for _, w := range words {
			require.Contains(t, explained, strings.TrimRight(w, "01234567"), "%s %s", placeholder, w)
		}
	}
}
