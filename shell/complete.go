package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ftemu/script"
)

// maxWords bounds how many words completion offers.
const maxWords = 100

// Complete lists the words that the one to the left of pos, in runes, may become.
// The line is then head, a word of these, and tail.
func (s *Session) Complete(text string, pos int) (head string, words []string, tail string) {
	runes := []rune(text)
	left := string(runes[:pos])
	tail = string(runes[pos:])
	from := strings.LastIndexAny(left, " \t") + 1
	head, partial := left[:from], left[from:]
	if strings.Contains(head, "#") {
		return head, nil, tail
	}
	before := strings.Fields(head)
	if len(before) == 0 {
		words = firstWords(partial)
	} else {
		words = s.arguments(before[0], before[1:], partial)
	}
	if len(words) == 1 && tail == "" && !strings.ContainsAny(words[0][len(words[0])-1:], "=:/,+-\"") {
		words[0] += " "
	}
	return head, words, tail
}

// firstWords lists the verbs and commands that begin with prefix.
func firstWords(prefix string) []string {
	var words []string
	for _, v := range script.Verbs() {
		words = append(words, v.Name)
	}
	for _, c := range commands() {
		words = append(words, c.name)
	}
	return sorted(words, prefix)
}

func sorted(words []string, prefix string) []string {
	words = slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, prefix) })
	slices.Sort(words)
	words = slices.Compact(words)
	return words[:min(len(words), maxWords)]
}

// arguments lists what an argument that begins with partial may become.
func (s *Session) arguments(verb string, args []string, partial string) []string {
	usage, dir := "", s.opt.Dir
	if v, ok := verbNamed(verb); ok {
		usage = v.Usage
	} else if c, ok := commandNamed(verb); ok {
		usage, dir = c.usage, "."
	}
	var words []string
	for _, a := range next(usage, args) {
		words = append(words, s.candidates(a, partial, dir)...)
	}
	return sorted(words, partial)
}

// candidates lists what an alternative can be, where it begins with partial; dir is
// where files are looked for.
func (s *Session) candidates(a alternative, partial, dir string) []string {
	if a.placeholder == "" {
		return []string{a.text}
	}
	rest, ok := strings.CutPrefix(partial, a.text)
	if !ok {
		return []string{a.text} // what it can be comes behind that
	}
	list := ""
	if a.list {
		i := strings.LastIndexByte(rest, ',') + 1
		list, rest = rest[:i], rest[i:]
	}
	words := s.words(a.placeholder, rest, dir)
	for i := range words {
		words[i] = a.text + list + words[i]
	}
	return words
}

// words lists what a placeholder can stand for.
func (s *Session) words(placeholder, prefix, dir string) []string {
	switch placeholder {
	case "FILE":
		return files(dir, prefix)
	case "VERB":
		return sorted(helpWords(), prefix)
	}
	words, _ := s.parser.Words(placeholder, prefix, maxWords)
	return words
}

// files lists files below dir whose path begins with prefix, folders with a slash
// behind. Hidden ones are for who asks for them.
func files(dir, prefix string) []string {
	folder, name := filepath.Split(prefix)
	at := folder
	if !filepath.IsAbs(folder) {
		at = filepath.Join(dir, folder)
	}
	// Where there is no folder there is nothing to offer.
	entries, _ := os.ReadDir(at)
	var words []string
	for _, e := range entries {
		switch {
		case !strings.HasPrefix(e.Name(), name) || strings.HasPrefix(e.Name(), ".") && name == "":
		case e.IsDir():
			words = append(words, folder+e.Name()+"/")
		default:
			words = append(words, folder+e.Name())
		}
	}
	return words
}
