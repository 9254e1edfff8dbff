package main

import (
	"fmt"
	"strings"

	"ftemu"
	"ftemu/bench"
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
	language := topic{name: "language", about: "what a scenario may say: one verb a line, # begins a comment, begin and end may be left out"}
	for _, v := range script.Verbs() {
		language.entries = append(language.entries, entry{v.Name, v.Usage, v.Help})
	}
	all := []topic{language}
	var more []string
	for _, t := range script.Topics() {
		words := topic{name: t.Name, about: t.About, outro: t.Note}
		for _, e := range t.Terms {
			words.entries = append(words.entries, entry{e.Name, e.Usage, e.About})
		}
		all = append(all, words)
		more = append(more, "'ftemu help "+t.Name+"'")
	}
	all[0].outro = "'ftemu help VERB' gives an example of each. What the words in capitals may be is in " + strings.Join(more, ", ") + "."
	designs := topic{name: "designs", about: "how livepatches and direct callers share a function (--design), the default first"}
	for _, d := range ftracecore.Designs() {
		designs.entries = append(designs.entries, entry{name: d.Name(), text: d.About()})
	}
	profiles := topic{name: "profiles", about: "kernel versions to behave as (--profile), the default first"}
	for _, p := range ftracecore.Profiles() {
		profiles.entries = append(profiles.entries, entry{name: p.Name, text: p.About})
	}
	strategies := topic{name: "strategies", about: "how code is patched (--strategy), the default first"}
	for _, s := range patcher.Strategies() {
		strategies.entries = append(strategies.entries, entry{name: s.String(), text: s.About()})
	}
	mistakes := topic{name: "mistakes", about: "what to get wrong, to see what comes of it (--with)"}
	for _, m := range ftemu.Mistakes() {
		mistakes.entries = append(mistakes.entries, entry{name: m.Name, text: m.Help})
	}
	properties := topic{name: "properties", about: "what must hold in every order of a scenario's threads (explore --properties)"}
	for _, p := range explore.Properties() {
		properties.entries = append(properties.entries, entry{name: string(p), text: explore.Describe(p)})
	}
	events := topic{name: "events", about: "what can be watched (run --trace)"}
	for _, k := range trace.Kinds() {
		events.entries = append(events.entries, entry{name: k.String(), text: k.About()})
	}
	events.entries = append(events.entries, entry{name: "all", text: "all of them"})
	formats := topic{name: "formats", about: "forms of a file that a run is written to (run --trace-out, --format)"}
	for _, f := range traceFormats() {
		formats.entries = append(formats.entries, entry{f.name, "(" + strings.Join(f.exts, ", ") + ")", f.about})
	}
	trampolines := topic{name: "trampolines", about: "the built-in ones, and the options that they take"}
	for _, b := range trampoline.Builtins() {
		trampolines.entries = append(trampolines.entries, entry{b.Name, b.Options, b.Help})
	}
	users := topic{name: "users", about: "what can want a function (why)"}
	for _, k := range why.Kinds() {
		users.entries = append(users.entries, entry{name: string(k), text: k.About()})
	}
	measurements := topic{name: "measurements", about: "what can be measured (bench)"}
	for _, w := range bench.Works() {
		measurements.entries = append(measurements.entries, entry{name: w.Name, text: w.Text})
	}
	measurements.entries = append(measurements.entries,
		entry{name: benchSites, text: "a tracer on and off on tens of thousands of sites, beside a plain loop that writes the same bytes"},
		entry{name: benchQuiet, text: "mixed code without a tracer and under one that asks for nothing"},
		entry{name: benchLoad, text: "loading a kernel, beside a copy of its bytes and a sort of its sites"})
	return append(all, designs, profiles, strategies, mistakes, properties, events, formats, trampolines, users, measurements,
		mitigations(), shells(), environment(), statuses())
}

// topicIndex is the list of the topics themselves.
func topicIndex() topic {
	var index topic
	for _, t := range topics() {
		index.entries = append(index.entries, entry{name: t.name, text: t.about})
	}
	return index
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
		{fmt.Sprint(statusBad), "", "the input or the call is wrong; wins over 1"},
	}}
}

// engineNames is no topic of help: there is a verb of that name.
func engineNames() topic {
	t := topic{name: "engines"}
	for _, e := range engines() {
		t.entries = append(t.entries, entry{name: e.Name()})
	}
	return t
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
