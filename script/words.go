package script

import (
	"maps"
	"slices"
	"strings"

	"ftemu/ftracecore"
	"ftemu/guest"
)

// A source lists the words that may stand for a placeholder of a usage and begin
// with prefix; nil where any number, name or text may.
type source func(p *Parser, prefix string) []string

// placeholders are those of the usages.
var placeholders = map[string]source{
	"ID": (*Parser).idWords, "PROG": (*Parser).progWords,
	"FUNCTION": (*Parser).functionWords, "TARGET": (*Parser).functionWords,
	"TRAMP": (*Parser).trampWords, "OLDTRAMP": (*Parser).trampWords, "NEWTRAMP": (*Parser).trampWords, "SHARETRAMP": (*Parser).trampWords,
	"KIND":     func(*Parser, string) []string { return kindNames() },
	"MODE":     func(*Parser, string) []string { return termNames(modes[:]) },
	"ERRNO":    func(*Parser, string) []string { return ftracecore.ErrnoNames() },
	"PROPERTY": func(p *Parser, _ string) []string { return p.opt.Properties },
	"FILE":     nil, "PATTERN": nil, "FUNC": nil,
	"NAME": nil, "NUMBER": nil, "N": nil, "K": nil, "SIZE": nil, "OFF": nil, "ARG": nil, "TEXT": nil,
}

// Words lists, in order and at most max, the words that can stand for a
// placeholder of a usage after the lines read so far and begin with prefix.
// known is false if no usage has such a placeholder.
func (p *Parser) Words(placeholder, prefix string, max int) (words []string, known bool) {
	from, known := placeholders[placeholder]
	if from == nil {
		return nil, known
	}
	for _, w := range from(p, prefix) {
		if strings.HasPrefix(w, prefix) {
			words = append(words, w)
		}
	}
	slices.Sort(words)
	words = slices.Compact(words)
	return words[:min(len(words), max)], true
}

func (p *Parser) idWords(string) []string { return slices.Collect(maps.Keys(p.ids)) }

func (p *Parser) progWords(string) []string { return slices.Collect(maps.Keys(p.progs)) }

// functionWords lists functions by the script's names for them. In a guest that is
// not begun yet there are those of the built-in one.
func (p *Parser) functionWords(prefix string) []string {
	n := p.script.names
	if p.script.Guest == nil {
		img, err := guest.Oracle()
		if err != nil {
			return nil
		}
		n = newNames(img)
	}
	var words []string
	for _, s := range n.img.Symbols.WithPrefix(n.prefix + prefix) {
		if s.Func {
			words = append(words, strings.TrimPrefix(s.Name, n.prefix))
		}
	}
	return words
}

// trampWords lists the direct trampolines: those that there are always, those
// that tramp has named, origN in the built-in guest, and orig:FUNCTION.
func (p *Parser) trampWords(prefix string) []string {
	words := slices.Concat(slices.Collect(maps.Keys(trampKinds)), slices.Collect(maps.Keys(p.script.tramps)))
	if p.script.Guest == nil || p.script.names.prefix != "" {
		for _, f := range p.functionWords("f") {
			words = append(words, "orig"+f[1:])
		}
	}
	if fn, ok := strings.CutPrefix(prefix, "orig:"); ok {
		for _, f := range p.functionWords(fn) {
			words = append(words, "orig:"+f)
		}
		return words
	}
	return append(words, "orig:")
}
