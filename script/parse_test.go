package script

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/guest"
)

func loadGuest(path string) (*guest.Image, error) {
	return guest.LoadFile(filepath.Join("..", "examples", path), guest.LoadOptions{})
}

func parse(t *testing.T, text string) *Script {
	t.Helper()
	s, err := Parse("test.ft", strings.NewReader(text), Options{LoadGuest: loadGuest})
	require.NoError(t, err)
	return s
}

// run runs a script to its end and returns the results by line of text.
func run(t *testing.T, text string) map[string]*Result {
	t.Helper()
	s := parse(t, text)
	r, err := NewRunner(s, ftemu.Options{})
	require.NoError(t, err)
	defer r.Close()
	out := make(map[string]*Result)
	for _, step := range s.Steps {
		out[step.Text] = r.Run(step)
	}
	return out
}

func TestParseErrors(t *testing.T) {
	for script, want := range map[string]string{
		"":                                    "test.ft:1: no verb in the whole script",
		"# only\n\n":                          "test.ft:2: no verb",
		"frob":                                `test.ft:1: unknown verb "frob", expected one that 'ftemu help language' lists`,
		"nwe a plain":                         `test.ft:1: unknown verb "nwe", did you mean new?`,
		"new a kpl":                           `unknown kind "kpl", did you mean klp?`,
		"new a klp of=bfp":                    `unknown mode of=bfp, did you mean bpf?`,
		"new lp klp\nfilter pl f0":            `unknown ID "pl", did you mean lp?`,
		"prog p fexti":                        `unknown kind of program "fexti", did you mean fexit?`,
		"prog p1 fexit\nattach p f0":          `unknown ID "p", did you mean p1?`,
		"call docal":                          `unknown function "docal" in ftoracle.o, did you mean docall?`,
		"call docalll":                        `unknown function "docalll" in ftoracle.o, did you mean docall?`,
		"new d direct\ndirect_register d pas": `unknown trampoline "pas", expected pass, passB`,
		"dump\nwant oop":                      `unknown expectation "oop", did you mean oops?`,
		strings.Repeat("x", 1000):             `test.ft:1: unknown verb "` + strings.Repeat("x", 40) + `..."`,
		"call f0\ncall f42":                   `test.ft:2: unknown function "f42" in ftoracle.o`,
		"call F1":                             `, did you mean f1?`,
		"new a what":                          `unknown kind "what", expected one of plain, regs`,
		"new a direct of=x":                   `unknown mode of=x, expected one of none, ok`,
		"new a plain wrong":                   `found "wrong", expected of=MODE or +KIND`,
		"new a plain +what":                   `unknown kind "what"`,
		"filter a f0":                         `unknown ID "a"`,
		"new a plain\nfilter a f0,f9":         `test.ft:2: unknown function "f9"`,
		"new a plain\nfilter a 0xg":           `"0xg" is not a hexadecimal number of 64 bits`,
		"new a plain\nfilter a f0+x":          `"f0+x": the offset is not a number of 32 bits`,
		"new a plain\nfilter a f0 sideways":   `found "sideways", expected remove or reset`,
		"call f0 1 2 3 4 5 6 7":               "a call has at most 6 arguments, found 7",
		"new a plain\ncpu 0: call f0 1 2 3 4 5 6 7": "a call has at most 6 arguments, found 7",
		"property thorn":                `test.ft:1: unknown property "thorn", did you mean torn?`,
		"property torn,x":               `test.ft:1: unknown property "x", expected one of torn, alive`,
		"property torn":                 "test.ft:1: no line of the script does anything, expected one besides guest, tramp, thread and property",
		"call f0 0x1ffffffffffffffff":   "is not a number of 64 bits",
		"sysctl 99999999999":            `found "99999999999", expected a number of 32 bits`,
		"bytes g0":                      `function "g0" has no ftrace site`,
		"begin x sites=nosuch":          `unknown function "nosuch"`,
		"begin x f0":                    `found "f0", expected sites=`,
		"call f0\nbegin x sites=f0":     "begin must come first",
		"end\nend":                      "end after end",
		"guest own/nosuch.o":            "no such file or directory",
		"guest own/own.c":               "not an ELF file",
		"guest own/own.o\ncall f0":      `unknown function "f0" in ../examples/own/own.o`,
		"new a plain\nredirect a f0 g0": `"a" is of kind plain, expected one with IPMODIFY`,
		"call f0\nwant":                 "want takes ",
		"call f0\nwant luck":            `unknown expectation "luck"`,
		"call f0\nwant ret one":         `"one" is not a number of 64 bits`,
		"call f0\nwant ret 1 2":         "want ret takes one number",
		"call f0\nwant target f0":       "want target takes FUNCTION nop|NAME",
		"call f0\nwant callbacks":       "want callbacks takes what ran",
		"call f0\nwant oops now":        "want oops takes nothing",
		"want rc 0":                     "want needs a line before it",
		strings.Repeat("x", maxLine+1):  "test.ft:1: a line of more than 65536 bytes",
		"\x7fELF\x00\x01":               `test.ft:1: unknown verb "\x7fELF\x00\x01"`,
	} {
		_, err := Parse("test.ft", strings.NewReader(script), Options{LoadGuest: loadGuest, Properties: []string{"torn", "alive"}})
		require.Error(t, err, "%q", script)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), maxMessage+100)
		var syntax *SyntaxError
		require.True(t, errors.As(err, &syntax))
	}
}

func TestBeginAndEndAreImplied(t *testing.T) {
	s := parse(t, "call f1\ncall f0 # a comment\n")
	var lines []string
	for _, step := range s.Steps {
		lines = append(lines, step.Text)
	}
	require.Equal(t, []string{"begin test sites=f1,f0", "call f1", "call f0", "end"}, lines)
	require.Zero(t, s.Steps[0].Line)
	require.Equal(t, 2, s.Steps[2].Line)
}

func TestWant(t *testing.T) {
	res := run(t, `new k klp
filter k f0
register k
want rc 0
want rc -EBUSY
want target f0 tramp:k
want target f0 nop
want oops
call f0 1 2
want ret 100029
want ret 5
want callbacks k body:g0
want callbacks none
sysctl 0
want rc 3`)
	for line, failed := range map[string]string{
		"want rc 0":                "",
		"want rc -EBUSY":           "found 0, wanted -EBUSY",
		"want target f0 tramp:k":   "",
		"want target f0 nop":       "found tramp:k, wanted nop",
		"want oops":                "found a line that came back, wanted an oops",
		"want ret 100029":          "",
		"want ret 5":               "found 100029, wanted 5",
		"want callbacks k body:g0": "",
		"want callbacks none":      "found k body:g0, wanted none",
		"want rc 3":                "found -EBUSY, wanted 3",
	} {
		require.Equal(t, failed, res[line].Failed, line)
	}
}

func TestDecisionsOfALine(t *testing.T) {
	s := parse(t, "new d direct of=bpf\nfilter d f0\ndirect_register_retry d orig0\nnew k klp\nfilter k f0\nregister k")
	r, err := NewRunner(s, ftemu.Options{Explain: true})
	require.NoError(t, err)
	defer r.Close()
	for _, step := range s.Steps {
		res := r.Run(step)
		if step.Text != "register k" {
			continue
		}
		// modify_ftrace_direct_multi_nolock, called by the owner, is inside.
		require.Len(t, res.API, 2)
		require.Len(t, res.Decisions, 1)
		require.Equal(t, "register_ftrace_function", res.Decisions[0].API)
		require.Len(t, res.Calls, 3, "two of the API and one question")
	}
}

// FuzzParse checks that no text makes the parser panic, that what it refuses is
// said in one line, and that what it accepts runs, within bounds, without a panic.
func FuzzParse(f *testing.F) {
	examples, err := filepath.Glob("../examples/*.ft")
	require.NoError(f, err)
	require.NotEmpty(f, examples)
	for _, name := range examples {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(string(text))
	}
	for n, v := range language {
		f.Add("new a klp\nnew d direct of=bpf\n" + n + " " + v.usage)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz.ft", strings.NewReader(text), Options{LoadGuest: func(string) (*guest.Image, error) {
			return nil, errors.New("no objects here")
		}})
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		bounded(t, s)
	})
}

// bounded runs the beginning of a script.
func bounded(t *testing.T, s *Script) {
	r, err := NewRunner(s, ftemu.Options{Explain: true, Limits: emu.Limits{Insns: 100_000, Time: time.Second}, Memory: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, step := range s.Steps {
		if i == 200 {
			return
		}
		res := r.Run(step)
		require.Equal(t, step.Text, res.Op)
		if res.Oops != "" {
			return
		}
	}
}
