package shell

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/script"
)

// TestPlaceholders: completion knows what each placeholder of a usage stands for.
func TestPlaceholders(t *testing.T) {
	usages := make(map[string]string)
	for _, v := range script.Verbs() {
		usages[v.Name] = v.Usage
	}
	for _, c := range commands() {
		usages[c.name] = c.usage
	}
	p := script.NewParser("", script.Options{})
	for name, usage := range usages {
		for _, f := range parseUsage(usage) {
			for _, e := range f {
				for _, s := range e.slots {
					for _, a := range s {
						if a.placeholder == "" || a.placeholder == "VERB" {
							continue
						}
						_, known := p.Words(a.placeholder, "", 1)
						require.True(t, known, "%s: %s", name, a.placeholder)
					}
				}
			}
		}
	}
}

// TestExamplesFitUsages: what completion takes a usage to mean lets examples be.
func TestExamplesFitUsages(t *testing.T) {
	for _, v := range script.Verbs() {
		for _, text := range strings.Split(v.Example, "\n") {
			words, err := script.Fields(text)
			require.NoError(t, err)
			verb, ok := verbNamed(words[0])
			require.True(t, ok, text)
			for i, w := range words[1:] {
				require.True(t, slot(next(verb.Usage, words[1:1+i])).takes(w), "%s: %s", text, w)
			}
		}
	}
}

func TestComplete(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"one.ft", "two.o", ".hidden", "sub/three.layout"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, f), nil, 0o666))
	}
	s, _ := newSession(t)
	defer s.Close()
	s.opt.Dir = dir
	enter(t, s, "new klp1 klp", "new d direct of=bpf", "prog p fexit")
	t.Chdir(dir)
	for text, want := range map[string]string{
		"":                                "",
		"reg":                             "register ",
		"un":                              "undo|unregister",
		"sa":                              "save|save!",
		"  reg":                           "register ",
		"register ":                       "d|klp1",
		"register k":                      "klp1 ",
		"register klp1 ":                  "force ",
		"register klp1 force ":            "",
		"filter k":                        "klp1 ",
		"filter klp1 f":                   "f0|f1|f2|f3|f4|f5|f6|f7",
		"filter klp1 f0,f7":               "f0,f7 ",
		"filter klp1 al":                  "all ",
		"filter klp1 f0 ":                 "remove|reset",
		"filter klp1 f0 remove ":          "reset ",
		"new x re":                        "recur|regs|regsif",
		"new ":                            "",
		"new x klp ":                      "+|of=",
		"new x klp o":                     "of=",
		"new x klp of=e":                  "of=eagain|of=ebusy",
		"new x klp of=bpf ":               "+",
		"new x klp +re":                   "+recur|+regs|+regsif",
		"begin x s":                       "sites=",
		"begin x sites=f0,f1":             "sites=f0,f1 ",
		"ipmod klp1 o":                    "off|on",
		"direct_register d p":             "pass|passB|passC",
		"direct_register d orig:f1":       "orig:f1 ",
		"direct_register d or":            "orig0|orig1|orig2|orig3|orig4|orig5|orig6|orig7|orig:",
		"sdirect_modify f0 pass sh":       "share|shareB",
		"tracer f":                        "function|function_graph",
		"tracer o":                        "off ",
		"tracer off ":                     "",
		"tracer function f3":              "f3 ",
		"call f2":                         "f2 ",
		"call f2 1 ":                      "",
		"cpu 1: c":                        "call ",
		"cpu 1: call f0 1 2 t":            "times ",
		"prog q f":                        "fentry|fexit|fmod_ret",
		"prog q fentry s":                 "sleepable ",
		"prog q fentry r":                 "ret=",
		"prog q fentry func=f2":           "func=f2 ",
		"attach p f3":                     "f3 ",
		"attach p f3 c":                   "cookie=",
		"detach ":                         "p ",
		"params f0 n":                     "none ",
		"redirect klp1 f0 g2":             "g2 ",
		"disasm p":                        "pass|passB|passC",
		"disasm k":                        "klp1 ",
		"want r":                          "ran|rc|ret",
		"want rc -EB":                     "-EBUSY ",
		"want target f0 n":                "nop ",
		"want ran p":                      "p ",
		"want ran p args=1 v":             "value=",
		"want image f1 n":                 "none ",
		"guest ":                          "builtin:bpf_fentry_test|host:vmlinuz|one.ft|sub/|two.o",
		"guest .h":                        ".hidden ",
		"guest sub/":                      "sub/three.layout ",
		"tramp t ":                        "one.ft|sub/|two.o",
		"tramp t x.layout f":              "for ",
		"tramp t x.layout for f1":         "f1 ",
		"tramp t x.layout redirect f0 g1": "g1 ",
		"save o":                          "one.ft ",
		"help wan":                        "want ",
		"help sav":                        "save|save!",
		"undo ":                           "",
		"frob ":                           "",
		"call f0 # f":                     "",
	} {
		if text == "" {
			continue
		}
		head, words, tail := s.Complete(text, len([]rune(text)))
		require.Equal(t, want, strings.Join(words, "|"), "%q", text)
		require.Empty(t, tail)
		require.True(t, strings.HasPrefix(text, head))
	}
	_, words, _ := s.Complete("", 0)
	require.Len(t, words, len(script.Verbs())+len(commands()))
	head, words, tail := s.Complete("call f0 1 # ü", 6)
	require.Equal(t, []string{"call ", "f0", "0 1 # ü"}, append([]string{head}, words[0], tail))
}

func FuzzComplete(f *testing.F) {
	for _, v := range script.Verbs() {
		f.Add(v.Example)
		f.Add(v.Name + " " + v.Usage)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, _ := newSession(t)
		defer s.Close()
		for pos := range len([]rune(text)) + 1 {
			head, words, tail := s.Complete(text, pos)
			require.LessOrEqual(t, len(words), maxWords)
			require.True(t, strings.HasPrefix(string([]rune(text)), head) && strings.HasSuffix(string([]rune(text)), tail))
		}
	})
}
