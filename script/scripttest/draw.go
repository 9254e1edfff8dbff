// Package scripttest makes scenarios for tests.
package scripttest

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"ftemu/script"
)

// lineTemplates are lines that parse. Behind each % stands a choice: i an ID,
// f a function, t a trampoline, k a kind, m a mode, n a new ID, o on or off, p a BPF
// program, q a new one, w the words behind a filter.
var lineTemplates = []string{
	"new %n %k", "new %n %k +%k", "new %n direct of=%m",
	"filter %i %f%w", "filter %i %f,%f%w", "filter %i %f+%d%w", "filter %i null", "filter %i all",
	"filtername %i ftor_%f%w", "filtername %i ftor_*%w", "notrace %i %f",
	"register %i", "unregister %i", "ipmod %i %o", "sysctl %d", "dump", "bytes %f", "disasm %f", "disasm %t", "disasm %i",
	"enabled_functions", "call %f %d -%d", "call %f",
	"direct_register %i %t", "direct_register_retry %i %t", "direct_register_retry %i %t %t", "direct_modify %i %t",
	"direct_unregister %i", "direct_unregister %i %t",
	"sdirect_register %f %t", "sdirect_modify %f %t %t", "sdirect_unregister %f %t",
	"tracer function %f", "tracer function_graph %f,%f", "tracer function_graph all", "tracer function all", "tracer off",
	"prog %q fentry", "prog %q fexit ip", "attach %p %f", "attach %p %f cookie=%d", "detach %p", "detach %p %f", "image %f", "params %f 8,%d8",
	"redirect l %f g%d",
	"want rc 0", "want warn none", "want ret %d", "want callbacks none", "want target %f nop", "want oops",
}

// Draw draws a scenario whose lines parse one after the other.
func Draw(t *rapid.T) []string {
	var lines, ids []string
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	vocabulary := script.NewParser("", script.Options{})
	kinds, _ := vocabulary.Words("KIND", "", 100)
	modes, _ := vocabulary.Words("MODE", "", 100)
	n := rapid.IntRange(1, 40).Draw(t, "lines")
	lines = append(lines, "new a "+pick("kind", kinds...), "new b direct of="+pick("mode", modes...), "new l klp", "tracer function_graph f2",
		"prog p fexit", "prog q fmod_ret ret=5")
	ids = append(ids, "a", "b", "l", "function_graph")
	for range n {
		parts := strings.Split(pick("template", lineTemplates...), "%")
		line := parts[0]
		for _, p := range parts[1:] {
			word := ""
			switch p[0] {
			case 'n':
				word = fmt.Sprintf("x%d", len(ids))
				ids = append(ids, word)
			case 'i':
				word = pick("id", ids...)
			case 'f':
				word = pick("function", "f0", "f1", "f2", "f3")
			case 'q':
				word = fmt.Sprintf("y%d", len(lines))
			case 'p':
				word = pick("program", "p", "q")
			case 't':
				word = pick("tramp", "pass", "passB", "share", "shareB", "skip", "orig0", "orig1")
			case 'k':
				word = pick("kind", kinds...)
			case 'm':
				word = pick("mode", modes...)
			case 'o':
				word = pick("switch", "on", "off")
			case 'd':
				word = fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "number"))
			case 'w':
				word = pick("words", "", " remove", " reset", " remove reset")
			}
			line += word + p[1:]
		}
		lines = append(lines, line)
	}
	return lines
}
