package main

import (
	"cmp"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"ftemu/script"
)

//go:embed completion
var completionScripts embed.FS

// shells are those that words can be completed in.
func shells() topic {
	return topic{name: "shells", about: "shells that words can be completed in (completion)", entries: []entry{
		{name: "bash", text: `eval "$(ftemu completion bash)" in ~/.bashrc`},
		{name: "zsh", text: `eval "$(ftemu completion zsh)" in ~/.zshrc, behind compinit`},
		{name: "fish", text: "ftemu completion fish >~/.config/fish/completions/ftemu.fish"},
	}}
}

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." complete:"shells"`
}

// Help says how to install it.
func (completionCmd) Help() string { return "To have it in every session:\n\n" + shells().list() }

// Run prints the script.
func (c *completionCmd) Run(a *app) error {
	if !slices.Contains(shells().names(), c.Shell) {
		return unknownWord("shell", c.Shell, c.Shell, shells().names())
	}
	script, err := completionScripts.ReadFile("completion/" + c.Shell)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(script)
	return err
}

// completeCmd answers the scripts.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:"" name:"word" help:"Words of the command line behind the program's name."`
}

// Run prints what the last word may become, with a tab and its meaning behind it.
func (c *completeCmd) Run(a *app, k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	for _, e := range complete(k.Model.Node, words) {
		fmt.Fprintf(a.stdout, "%s\t%s\n", e.name, e.text)
	}
	return nil
}

// complete returns what the last of words may become.
func complete(node *kong.Node, words []string) []entry {
	last, before := words[len(words)-1], words[:len(words)-1]
	position, first := 0, "" // of the arguments
	var open *kong.Flag      // waits for its value
	for i, w := range before {
		switch {
		case open != nil:
			open = nil
		case w == "--":
			position += len(before) - i - 1
			return values(node.Positional, position, last)
		case len(w) > 1 && w[0] == '-':
			if f := flagNamed(node, w); f != nil && !f.IsBool() {
				open = f
			}
		default:
			if child, ok := childNamed(node, w); ok && position == 0 {
				node = child
			} else {
				if position == 0 {
					first = w
				}
				position++
			}
		}
	}
	if open != nil {
		return offered(open.Value, last)
	}
	if name, value, ok := strings.Cut(last, "="); ok && strings.HasPrefix(last, "-") {
		if f := flagNamed(node, name); f != nil {
			return prefixed(name+"=", offered(f.Value, value))
		}
		return nil
	}
	if strings.HasPrefix(last, "-") {
		return starting(last, flagWords(node))
	}
	if verbPath(node) == "ftemu help" {
		return starting(last, helpWords(node.Parent, before[1:]))
	}
	if position == 1 {
		if words := functionsOf(node, first); words != nil {
			return starting(last, words)
		}
	}
	return append(starting(last, subverbs(node)), values(node.Positional, position, last)...)
}

// maxOffered is how long a file may be whose functions are offered, in bytes: one
// who presses Tab waits.
const maxOffered = 1 << 20

// functionsOf lists the functions in the file that a verb has as its first argument,
// nil where it has none or the file is too long or cannot be read.
func functionsOf(node *kong.Node, file string) (out []entry) {
	if fi, err := os.Stat(file); err != nil || !fi.Mode().IsRegular() || fi.Size() > maxOffered {
		return nil
	}
	add := func(name string) { out = append(out, entry{name: name}) }
	switch verbPath(node) {
	case "ftemu why":
		l, err := readListing(file)
		if err != nil {
			return nil
		}
		for _, e := range l.Entries {
			add(e.Func)
		}
	case "ftemu disasm":
		img, err := lookAt(file)
		if err != nil {
			return nil
		}
		for _, s := range img.Symbols.All() {
			if s.Func {
				add(s.Name)
			}
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return slices.Compact(out)
}

// flagWords lists the flags of a verb and those of the program.
func flagWords(node *kong.Node) (out []entry) {
	for _, level := range node.AllFlags(true) {
		for _, f := range level {
			out = append(out, entry{name: "--" + f.Name, text: f.Help})
		}
	}
	return out
}

// flagNamed finds a flag as it is written.
func flagNamed(node *kong.Node, word string) *kong.Flag {
	for _, level := range node.AllFlags(false) {
		for _, f := range level {
			if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}

// helpWords lists what help can explain behind words that it has.
func helpWords(root *kong.Node, words []string) []entry {
	node := root
	for _, w := range words {
		child, ok := childNamed(node, w)
		if !ok {
			return nil
		}
		node = child
	}
	out := subverbs(node)
	if node == root {
		out = append(out, topicIndex().entries...)
		for _, v := range script.Verbs() {
			if !slices.ContainsFunc(out, func(e entry) bool { return e.name == v.Name }) {
				out = append(out, entry{name: v.Name, text: v.Help})
			}
		}
	}
	return out
}

// values is what the argument at a position may be.
func values(positional []*kong.Positional, position int, last string) []entry {
	if n := len(positional); position >= n {
		if n == 0 || !positional[n-1].IsCumulative() {
			return nil
		}
		position = n - 1
	}
	return offered(positional[position], last)
}

// offered is what a flag or an argument may be. Its tag "complete" names topics
// or patterns of files, separated by spaces; where there is none the name says
// it: that of a topic but for its s, or file, which is a scenario.
func offered(v *kong.Value, last string) []entry {
	tag := v.Tag.Get("complete")
	switch _, known := topicNamed(v.Name + "s"); {
	case tag != "":
	case known:
		tag = v.Name + "s"
	case v.Name == "file":
		tag = "*.ft"
	case v.Flag != nil && v.Flag.PlaceHolder == "FILE":
		tag = "*"
	}
	list := v.Flag != nil && strings.HasSuffix(v.Flag.PlaceHolder, ",...")
	var out []entry
	var patterns []string
	for _, word := range strings.Fields(tag) {
		if t, ok := topicNamed(word); ok {
			out = append(out, t.entries...)
		} else {
			patterns = append(patterns, word)
		}
	}
	if list {
		given, _ := lastOf(last)
		return prefixed(given, starting(strings.TrimPrefix(last, given), slices.DeleteFunc(out, func(e entry) bool {
			return slices.Contains(strings.Split(given, ","), e.name)
		})))
	}
	return append(starting(last, out), filesLike(last, patterns)...)
}

// lastOf divides a list into what stands before its last word, comma included,
// and the word.
func lastOf(list string) (before, word string) {
	i := strings.LastIndexByte(list, ',') + 1
	return list[:i], list[i:]
}

func starting(prefix string, entries []entry) []entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return !strings.HasPrefix(e.name, prefix) })
}

func prefixed(prefix string, entries []entry) []entry {
	for i := range entries {
		entries[i].name = prefix + entries[i].name
	}
	return entries
}

// filesLike lists the files of which the beginning is known and whose names match a
// pattern, and the directories on the way to others.
func filesLike(begun string, patterns []string) (out []entry) {
	if len(patterns) == 0 {
		return nil
	}
	dir, base := filepath.Split(begun)
	list, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil // there is nothing to offer
	}
	for _, f := range list {
		name := f.Name()
		if !strings.HasPrefix(name, base) || name[0] == '.' && base == "" {
			continue
		}
		isDir := f.IsDir()
		if fi, err := os.Stat(filepath.Join(dir, name)); err == nil {
			isDir = fi.IsDir() // a link may lead to one
		}
		switch {
		case isDir:
			out = append(out, entry{name: dir + name + "/"})
		case slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok }):
			out = append(out, entry{name: dir + name})
		}
	}
	return out
}
