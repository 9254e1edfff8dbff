package main

import (
	"fmt"
	"strings"

	"ftemu"
	"ftemu/bench"
	"ftemu/emu"
	"ftemu/explore"
	"ftemu/ftracecore"
	"ftemu/patcher"
	"ftemu/script"
	"ftemu/trace"
	"ftemu/trampoline"
	"ftemu/why"
)

// A topic is a list of words that help explains and that shells complete.
type topic struct {
	name    string
	about   string
	entries []entry
	outro   string // a paragraph behind the list
}

// An entry is a word, what may stand behind it, and what it means.
type entry struct{ name, usage, text string }

// topics are the lists that there are. Each is made from the table that the
// program itself goes by.
func topics() []topic {
	all := []topic{listOf("language", "what a scenario may say: one verb a line, # begins a comment, begin and end may be left out", script.Verbs(),
		func(v script.Verb) entry { return entry{v.Name, v.Usage, v.Help} })}
	var more []string
	for _, t := range script.Topics() {
		words := listOf(t.Name, t.About, t.Terms, func(w script.Term) entry { return entry{w.Name, w.Usage, w.About} })
		words.outro = t.Note
		all = append(all, words)
		more = append(more, "'ftemu help "+t.Name+"'")
	}
	all[0].outro = "'ftemu help VERB' gives an example of each. What the words in capitals may be is in " + strings.Join(more, ", ") + "."
	designs := listOf("designs", "how livepatches and direct callers share a function (--design), the default first", ftracecore.Designs(),
		func(d ftracecore.Design) entry { return entry{name: d.Name(), text: d.About()} })
	profiles := listOf("profiles", "kernel versions to behave as (--profile), the default first", ftracecore.Profiles(),
		func(p ftracecore.Profile) entry { return entry{name: p.Name, text: p.About} })
	strategies := listOf("strategies", "how code is patched (--strategy), the default first", patcher.Strategies(),
		func(s patcher.Strategy) entry { return entry{name: s.String(), text: s.About()} })
	mistakes := listOf("mistakes", "what to get wrong, to see what comes of it (--with)", ftemu.Mistakes(),
		func(m ftemu.Mistake) entry { return entry{name: m.Name, text: m.Help} })
	properties := listOf("properties", "what must hold in every order of a scenario's threads (explore --properties)", explore.Properties(),
		func(p explore.Property) entry { return entry{name: string(p), text: explore.Describe(p)} })
	events := listOf("events", "what can be watched (run --trace)", trace.Kinds(),
		func(k trace.Kind) entry { return entry{name: k.String(), text: k.About()} })
	events.entries = append(events.entries, entry{name: "all", text: "all of them"})
	formats := listOf("formats", "forms of a file that a run is written to (run --trace-out, --format)", traceFormats(),
		func(f traceFormat) entry { return entry{f.name, "(" + strings.Join(f.exts, ", ") + ")", f.about} })
	trampolines := listOf("trampolines", "the built-in ones, and the options that they take", trampoline.Builtins(),
		func(b trampoline.BuiltinInfo) entry { return entry{b.Name, b.Options, b.Help} })
	users := listOf("users", "what can want a function (why)", why.Kinds(),
		func(k why.Kind) entry { return entry{name: string(k), text: k.About()} })
	measurements := listOf("measurements", "what can be measured (bench)", bench.Works(),
		func(w bench.Work) entry { return entry{name: w.Name, text: w.Text} })
	measurements.entries = append(measurements.entries,
		entry{name: benchSites, text: "a tracer on and off on tens of thousands of sites, beside a plain loop that writes the same bytes"},
		entry{name: benchQuiet, text: "mixed code without a tracer and under one that asks for nothing"},
		entry{name: benchLoad, text: "loading a kernel, beside a copy of its bytes and a sort of its sites"})
	return append(all, designs, profiles, strategies, mistakes, properties, events, formats, trampolines, users, measurements,
		mitigations(), shells(), environment(), statuses())
}

// listOf makes a topic from a table.
func listOf[T any](name, about string, table []T, row func(T) entry) topic {
	t := topic{name: name, about: about}
	for _, x := range table {
		t.entries = append(t.entries, row(x))
	}
	return t
}

// topicIndex is the list of the topics themselves.
func topicIndex() topic {
	return listOf("", "", topics(), func(t topic) entry { return entry{name: t.name, text: t.about} })
}

// environment is the variables that the program looks at.
func environment() topic {
	return topic{name: "environment", about: "variables that the program looks at", entries: []entry{
		{"NO_COLOR", "", "no colours where it is not empty; nor are there any where TERM is dumb or the output is no terminal"},
		{"COLUMNS", "", "columns that output may have; the terminal's if unset, and without a terminal no limit"},
		{"FTEMU_VMLINUZ", "", "the kernel that 'guest host:vmlinuz' and bench load; the last /boot/vmlinuz-* if unset"},
		{"FTEMU_SEED", "", "seed of trampoline check where --seed is not given"},
	}}
}

// statuses is what the program's exit status says.
func statuses() topic {
	return topic{name: "status", about: "exit status", entries: []entry{
		{fmt.Sprint(statusOK), "", "as expected; a warning (WARN) of the kernel changes nothing by itself, but 'want warn none' expects that there is none"},
		{fmt.Sprint(statusDiff), "", "an expectation failed, a guest did not come back, a difference or a bug was found"},
		{fmt.Sprint(statusBad), "", "the input or the call is wrong, or a search was cut short; wins over 1"},
	}}
}

// engineNames is no topic of help: there is a verb of that name.
func engineNames() topic {
	return listOf("engines", "", engines(), func(e emu.Engine) entry { return entry{name: e.Name()} })
}

// topicNamed finds a topic.
func topicNamed(name string) (topic, bool) {
	for _, t := range append(topics(), engineNames()) {
		if t.name == name {
			return t, true
		}
	}
	return topic{}, false
}

// names lists the words of a topic.
func (t topic) names() []string {
	var out []string
	for _, e := range t.entries {
		out = append(out, e.name)
	}
	return out
}

// list is the entries as lines of help: the word, a gap, what it means. With
// usage they take two lines.
func (t topic) list() string {
	var b strings.Builder
	column := 0
	for _, e := range t.entries {
		column = max(column, len(e.name))
	}
	for _, e := range t.entries {
		switch {
		case t.usages():
			fmt.Fprintf(&b, "  %s\n      %s\n", strings.TrimRight(e.name+" "+e.usage, " "), e.text)
		case e.text == "":
			fmt.Fprintf(&b, "  %s\n", e.name)
		default:
			fmt.Fprintf(&b, "  %-*s  %s\n", column, e.name, e.text)
		}
	}
	return b.String()
}

// usages tells whether anything may stand behind a word.
func (t topic) usages() bool {
	for _, e := range t.entries {
		if e.usage != "" {
			return true
		}
	}
	return false
}
