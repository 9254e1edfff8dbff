package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"ftemu/near"
	"ftemu/script"
	"ftemu/shell"
)

type helpCmd struct {
	Words []string `arg:"" optional:"" name:"verb" help:"A verb with the verbs below it, or a topic; an overview if left out."`
}

// Help lists the topics.
func (helpCmd) Help() string { return "Topics:\n\n" + topicIndex().list() }

// Run prints the help that is asked for.
func (c *helpCmd) Run(a *app, k *kong.Kong) error {
	h := newHelp(a)
	if len(c.Words) == 0 {
		h.overview(k.Model)
		return nil
	}
	if len(c.Words) == 1 && h.word(k.Model.Node, c.Words[0]) {
		return nil
	}
	node := k.Model.Node
	for i, word := range c.Words {
		child, ok := childNamed(node, word)
		if !ok {
			found := strings.Join(c.Words[:i+1], " ")
			if i > 0 {
				return unknownWord("verb or topic", found, word, verbNames(node))
			}
			known := append(verbNames(node), topicIndex().names()...)
			return fmt.Errorf("no verb or topic %q, %s", near.Short(found), near.Expected(word, append(languageVerbs(), known...), strings.Join(known, ", ")))
		}
		node = child
	}
	h.verb(node)
	return nil
}

// word explains a word by all that it is: a verb of the program, a verb of the
// language, a topic.
func (h *help) word(root *kong.Node, word string) bool {
	child, verb := childNamed(root, word)
	rows, line := shell.Explain(word)
	t, topic := topicNamed(word)
	if verb {
		h.verb(child)
		topic = false // the same words
	}
	if line {
		if verb {
			h.heading("in a scenario")
		}
		for _, row := range rows {
			hang(h.w, h.width, row[:explainCol], explainCol, row[explainCol:], h.style.plain)
		}
	}
	if topic {
		if line {
			fmt.Fprintln(h.w)
		}
		h.topic(t)
	}
	return verb || line || topic
}

// explainCol is how many columns the labels of shell.Explain have.
const explainCol = 9

// languageVerbs lists the verbs of scenarios.
func languageVerbs() (out []string) {
	for _, v := range script.Verbs() {
		out = append(out, v.Name)
	}
	return out
}

func childNamed(n *kong.Node, name string) (*kong.Node, bool) {
	for _, c := range n.Children {
		if c.Name == name {
			return c, true
		}
	}
	return nil, false
}

// verbNames lists the verbs below a node that are offered.
func verbNames(n *kong.Node) []string {
	var out []string
	for _, c := range n.Children {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}

// verbPath is the words that lead to a verb.
func verbPath(n *kong.Node) string {
	if n.Parent == nil {
		return n.Name
	}
	return verbPath(n.Parent) + " " + n.Name
}

// A help prints help.
type help struct {
	w     io.Writer
	style style
	width int // columns; 0: no limit
}

// maxHelp is the width that help has where there is more.
const maxHelp = 100

func newHelp(a *app) *help {
	width := maxHelp
	if a.width > 0 {
		width = min(a.width, maxHelp)
	}
	return &help{a.stdout, style{a.colour}, width}
}

// print implements kong.HelpPrinter.
func (h *help) print(_ kong.HelpOptions, ctx *kong.Context) error {
	if node := ctx.Selected(); node != nil {
		h.verb(node)
	} else {
		h.overview(ctx.Model)
	}
	return nil
}

// overview says what there is, by what one wants to do.
func (h *help) overview(app *kong.Application) {
	h.text(app.Help)
	column := 0
	var groups []*kong.Group
	members := make(map[string][]*kong.Node)
	for _, c := range app.Children {
		if c.Hidden {
			continue
		}
		column = max(column, len(c.Name))
		g := c.Group
		if g == nil {
			g = &kong.Group{Key: "more", Title: "more"}
		}
		if members[g.Key] == nil {
			groups = append(groups, g)
		}
		members[g.Key] = append(members[g.Key], c)
	}
	for _, g := range groups {
		h.heading(g.Title)
		for _, c := range members[g.Key] {
			h.line(fmt.Sprintf("  %-*s  %s", column, c.Name, c.Help))
		}
	}
	h.heading("more help")
	h.text("  ftemu help VERB   what a verb takes, and its flags\n  ftemu help TOPIC  " + strings.Join(topicIndex().names(), ", "))
	h.heading("exit status")
	h.text(statuses().list())
}

func (h *help) topic(t topic) {
	h.text(strings.ToUpper(t.about[:1]) + t.about[1:] + ":\n\n" + t.list())
	if t.outro != "" {
		h.text("\n" + t.outro)
	}
}

// verb says what a verb takes.
func (h *help) verb(n *kong.Node) {
	hang(h.w, h.width, "", 0, synopsis(n), h.style.strong)
	h.text("\n" + n.Help)
	h.list("verbs", subverbs(n))
	h.list("arguments", arguments(n))
	h.list("flags", flags(n))
	if n.Detail != "" {
		h.text("\n" + n.Detail)
	}
}

// synopsis is how a verb is called.
func synopsis(n *kong.Node) string {
	s := verbPath(n)
	if len(n.Flags) > 0 {
		s += " [FLAGS]"
	}
	if len(verbNames(n)) > 0 {
		s += " VERB"
	}
	for _, p := range n.Positional {
		s += " " + argument(p)
	}
	return s
}

// argument is the name of an argument as help writes it.
func argument(p *kong.Positional) string {
	name := strings.ToUpper(p.Name)
	if p.IsCumulative() {
		name += "..."
	}
	if !p.Required {
		name = "[" + name + "]"
	}
	return name
}

func subverbs(n *kong.Node) []entry {
	var out []entry
	for _, c := range n.Children {
		if !c.Hidden {
			out = append(out, entry{name: c.Name, text: c.Help})
		}
	}
	return out
}

func arguments(n *kong.Node) []entry {
	var out []entry
	for _, p := range n.Positional {
		out = append(out, entry{name: argument(p), text: p.Help})
	}
	return out
}

// flags lists a verb's flags as they are written.
func flags(n *kong.Node) []entry {
	var out []entry
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		name := "--" + f.Name
		if f.Short != 0 {
			name = fmt.Sprintf("-%c, %s", f.Short, name)
		}
		if !f.IsBool() {
			name += " " + f.FormatPlaceHolder()
		}
		out = append(out, entry{name: name, text: f.Help})
	}
	return out
}

func (h *help) heading(title string) {
	fmt.Fprintln(h.w)
	hang(h.w, h.width, "", 0, title, h.style.strong)
}

func (h *help) list(title string, entries []entry) {
	if len(entries) > 0 {
		h.heading(title)
		h.text(topic{entries: entries}.list())
	}
}

func (h *help) text(text string) {
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		h.line(l)
	}
}

// line prints a line, broken where it must be: what does not fit goes on below
// the text, or, where that would leave less than is readable, a little to the
// right of the line's beginning.
func (h *help) line(l string) {
	body := strings.TrimLeft(l, " ")
	indent := len(l) - len(body)
	word, text, ok := strings.Cut(body, "  ")
	indent = min(indent, max(h.width-minWrap-2, 0))
	if indent == 0 || !ok {
		rest := indent
		if indent > 0 {
			rest += 2
		}
		for i, l := range wrap(body, max(h.width-rest, minWrap)) {
			if i == 1 {
				indent = rest
			}
			fmt.Fprintf(h.w, "%*s%s\n", indent, "", l)
		}
		return
	}
	text = strings.TrimLeft(text, " ")
	cols := len(l) - len(text)
	if h.width-cols < 2*minWrap { // the list is read better with all words on lines of their own
		hang(h.w, h.width, strings.Repeat(" ", indent), indent, word, h.style.fresh)
		hang(h.w, h.width, strings.Repeat(" ", indent+2), indent+2, text, h.style.plain)
		return
	}
	hang(h.w, h.width, fmt.Sprintf("%*s%s%*s", indent, "", h.style.fresh(word), cols-indent-len(word), ""), cols, text, h.style.plain)
}
