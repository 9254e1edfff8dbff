package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// manDate is the date of the page: when its own words last changed.
const manDate = "2026-11-22"

type manCmd struct{}

// Help says what to do with it.
func (manCmd) Help() string {
	return "To read it: ftemu man | man -l -\nTo install it: ftemu man >/usr/local/share/man/man1/ftemu.1"
}

// examples are calls that show what the program is for.
func examples() []entry {
	return []entry{
		{"ftemu run --explain examples/livepatch-first.ft", "", "A BPF-like direct caller comes to a function that has a livepatch, and how ftrace decides."},
		{"ftemu why /sys/kernel/tracing/enabled_functions schedule livepatch", "", "Whether this machine would take a livepatch of schedule."},
		{"ftemu explore --designs examples/explore/*.ft", "", "Threads in every order under every design that was proposed."},
		{"ftemu trampoline compare ftrace_caller ftrace_regs_caller fentry", "", "What the kernel's trampolines cost."},
		{"ftemu run --trace-out run.json examples/livepatch-first.ft", "", "A run for ui.perfetto.dev."},
	}
}

// Run prints the manual page.
func (manCmd) Run(a *app, k *kong.Kong) error {
	r := &roff{a.stdout}
	fmt.Fprintf(r.w, ".TH FTEMU 1 %s ftemu Commands\n", manDate)
	r.section("Name")
	r.text("ftemu - a laboratory for Linux code patching")
	r.section("Synopsis")
	r.macro("B", "ftemu")
	r.text("VERB [FLAGS] [ARGUMENTS]")
	r.section("Description")
	r.text(k.Model.Help)
	r.section("Verbs")
	manVerbs(r, k.Model.Node)
	for _, name := range []string{"language", "designs", "profiles", "strategies", "mistakes", "properties", "events", "formats"} {
		t, _ := topicNamed(name)
		r.section(strings.ToUpper(name[:1]) + name[1:])
		r.text(strings.ToUpper(t.about[:1]) + t.about[1:] + ".")
		r.list(t.entries)
	}
	r.section("Environment")
	r.list(environment().entries)
	r.section("Files")
	r.list([]entry{
		{"*.ft", "", "A scenario, or standard input for -."},
		{"*.layout", "", "A trampoline of one's own."},
		{"*.jsonl, *.jsonl.gz", "", "Recordings of a real kernel."},
		{"/boot/vmlinuz-*", "", "Kernels; the last one is 'guest host:vmlinuz'."},
	})
	r.section("Exit status")
	r.list(statuses().entries)
	r.section("Examples")
	r.list(examples())
	r.section("See also")
	r.text("gdb(1), trace-cmd(1), dot(1)")
	return nil
}

// manVerbs writes the verbs below a node.
func manVerbs(r *roff, parent *kong.Node) {
	for _, n := range parent.Children {
		if n.Hidden {
			continue
		}
		r.macro("SS", synopsis(n))
		r.text(n.Help)
		r.list(slices.Concat(arguments(n), flags(n)))
		manVerbs(r, n)
	}
}

// A roff writes a page with the macros of man(7).
type roff struct{ w io.Writer }

// macro writes a line of a macro and its arguments.
func (r *roff) macro(name string, args ...string) {
	fmt.Fprintf(r.w, ".%s", name)
	for _, a := range args {
		fmt.Fprintf(r.w, ` "%s"`, strings.ReplaceAll(roffText(a), `"`, `\(dq`))
	}
	fmt.Fprintln(r.w)
}

func (r *roff) section(title string) { r.macro("SH", strings.ToUpper(title)) }

// text writes a paragraph for each line.
func (r *roff) text(text string) {
	for i, l := range strings.FieldsFunc(text, func(c rune) bool { return c == '\n' }) {
		if i > 0 {
			r.macro("PP")
		}
		fmt.Fprintln(r.w, roffText(l))
	}
}

func (r *roff) list(entries []entry) {
	for _, e := range entries {
		r.macro("TP")
		r.macro("B", strings.TrimSpace(e.name+" "+e.usage))
		r.text(e.text)
	}
}

// roffText writes what would mean something to roff so that it stands for itself.
func roffText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`, "`", `\(ga`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
