package main

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/ftracecore/listing"
	"ftemu/why"
)

type whyCmd struct {
	JSON     bool   `name:"json" help:"Print one JSON object for each entry of the listing that is meant."`
	Explain  bool   `help:"Tell each decision step by step."`
	Listing  string `arg:"" name:"enabled_functions" complete:"*" help:"Text of /sys/kernel/tracing/enabled_functions; - for standard input."`
	Function string `arg:"" help:"Name of the function, alone."`
	Kind     string `arg:"" complete:"users" help:"What would be registered: plain, livepatch, direct, fentry, fexit, kprobe or kprobe-post; see 'ftemu help users'."`
}

// Help is what the verb's --help says behind its first line.
func (*whyCmd) Help() string {
	return `The state that the listing shows is built and the call is made, as v6.1 does it; other versions are named where they differ. A function that is not listed is one that nobody traces.

Exit status: 0 whatever the answer is; 2 if the listing or the question is wrong.`
}

// whyIndent is where the text of an answer begins.
const whyIndent = 9

// Run answers.
func (c *whyCmd) Run(a *app) error {
	kind, err := why.ParseKind(c.Kind)
	if err != nil {
		return err
	}
	if err := why.CheckName(c.Function); err != nil {
		return err
	}
	l, err := c.read(a)
	if err != nil {
		return err
	}
	answers, err := why.Ask(l, c.Function, kind)
	if err != nil {
		return err
	}
	for _, ans := range answers {
		if c.JSON {
			if err := a.encode(c.forJSON(ans)); err != nil {
				return err
			}
			continue
		}
		c.write(a, ans)
	}
	return nil
}

func (c *whyCmd) read(a *app) (*listing.Listing, error) {
	if c.Listing == "-" {
		return listing.Parse("<stdin>", a.stdin)
	}
	return readListing(c.Listing)
}

func readListing(file string) (*listing.Listing, error) {
	f, err := open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return listing.Parse(file, f)
}

// forJSON leaves the decisions out unless they were asked for.
func (c *whyCmd) forJSON(ans why.Answer) why.Answer {
	if !c.Explain {
		for i := range ans.Outcomes {
			ans.Outcomes[i].Decided = nil
		}
	}
	return ans
}

func (c *whyCmd) write(a *app, ans why.Answer) {
	s := style{on: a.colour}
	row := func(label, text string, paint func(string) string) {
		hang(a.stdout, a.width, s.faint(label)+strings.Repeat(" ", whyIndent-len(label)), whyIndent, text, paint)
	}
	name := ans.Func
	if ans.Module != "" {
		name += " [" + ans.Module + "]"
	}
	hang(a.stdout, a.width, s.strong(name)+", ", len(name)+2, fmt.Sprintf("%s, %s", ans.Kind, ans.Profile), s.plain)
	row("listing", ans.Shows, s.plain)
	for _, o := range ans.Outcomes {
		paint := s.good
		if o.Ret < 0 {
			paint = s.bad
		}
		row("answer", o.Errno+condition(o.If), paint)
		row("", o.Why, s.plain)
		if c.Explain && o.Decided != nil {
			for _, line := range decisionLines(o.Decided) {
				row("", line, s.plain)
			}
		}
	}
	for _, v := range ans.Versions {
		row("but", v.Version+": "+v.Errno+condition(v.If)+". "+v.Why, s.plain)
	}
}

// condition is the condition of an outcome, behind its value.
func condition(text string) string {
	switch text {
	case "":
		return ""
	case why.Otherwise:
		return ", " + text
	}
	return ", if " + text
}

// decisionLines are the steps of a decision.
func decisionLines(d *ftracecore.Decision) []string {
	return strings.Split(strings.TrimRight(d.String(), "\n"), "\n")
}
