package shell

import (
	"slices"
	"strings"
)

// A usage says what arguments a verb takes, as script.Verb.Usage describes. It is
// read into forms, so that completion knows what can stand where.

// A form is one way to use a verb: elements one after the other, those that must
// stand first.
type form []element

// An element stands once, or may be left out, or may stand several times. It is
// one slot, or several that go together.
type element struct {
	optional, repeat bool
	slots            []slot
}

// A slot is the place of one argument: what may stand there.
type slot []alternative

// An alternative is a word that stands for itself (no placeholder), or a text and
// behind it what a placeholder stands for, perhaps several times with commas.
type alternative struct {
	text        string
	placeholder string
	list        bool
}

// literal tells whether word is the alternative, which stands for itself.
func (a alternative) literal(word string) bool { return a.placeholder == "" && a.text == word }

// splitForms separates the forms of a usage.
func splitForms(usage string) []string {
	forms := splitTop(usage, ", ")
	for i, f := range forms {
		forms[i] = strings.TrimPrefix(f, "or ")
	}
	return forms
}

// splitTop splits at a separator that is in no brackets.
func splitTop(s, sep string) []string {
	var out []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '[':
			depth++
		case s[i] == ']':
			depth--
		case depth == 0 && strings.HasPrefix(s[i:], sep):
			out = append(out, s[from:i])
			from = i + len(sep)
		}
	}
	return append(out, s[from:])
}

func parseUsage(usage string) []form {
	var forms []form
	for _, text := range splitForms(usage) {
		var f form
		for _, word := range splitTop(text, " ") {
			if word != "" {
				f = append(f, parseElement(word))
			}
		}
		forms = append(forms, f)
	}
	return forms
}

func parseElement(word string) element {
	e := element{repeat: strings.HasSuffix(word, "...")}
	inner := strings.TrimSuffix(word, "...")
	if strings.HasPrefix(inner, "[") && strings.HasSuffix(inner, "]") {
		inner, e.optional = inner[1:len(inner)-1], true
		e.repeat = e.repeat || strings.HasSuffix(inner, "...")
	}
	for _, w := range strings.Fields(inner) {
		var s slot
		for _, alt := range splitTop(w, "|") {
			s = append(s, parseAlternative(alt))
		}
		e.slots = append(e.slots, s)
	}
	return e
}

func parseAlternative(alt string) alternative {
	capital := func(r rune) bool { return r >= 'A' && r <= 'Z' }
	from := strings.IndexFunc(alt, capital)
	if from < 0 {
		return alternative{text: alt}
	}
	rest := strings.TrimLeftFunc(alt[from:], capital)
	return alternative{
		text: alt[:from], placeholder: alt[from : len(alt)-len(rest)], list: strings.Contains(rest, ","),
	}
}

// next is what may stand behind the arguments.
func (f form) next(args []string) []alternative {
	var out []alternative
	n := 0 // how many arguments must stand
	for _, e := range f {
		if e.optional {
			break
		}
		s := e.slots[0]
		if n == len(args) {
			return s
		}
		if !slices.ContainsFunc(s, func(a alternative) bool { return a.placeholder != "" || a.literal(args[n]) }) {
			return nil // another form
		}
		if n++; e.repeat {
			out = append(out, s...)
		}
	}
	rest := args[n:]
	for _, e := range f[n:] {
		for k := 1; k < len(e.slots) && k <= len(rest); k++ {
			if e.slots[0][0].literal(rest[len(rest)-k]) {
				return e.slots[k]
			}
		}
	}
	for _, e := range f[n:] {
		once := !e.repeat && slices.ContainsFunc(rest, func(w string) bool { return e.slots[0].takes(w) })
		if !once {
			out = append(out, e.slots[0]...)
		}
	}
	return out
}

// takes tells whether a word can stand in the slot.
func (s slot) takes(word string) bool {
	return slices.ContainsFunc(s, func(a alternative) bool {
		return a.literal(word) || a.placeholder != "" && strings.HasPrefix(word, a.text)
	})
}

// next is what may stand behind the arguments of a verb.
func next(usage string, args []string) []alternative {
	var out []alternative
	for _, f := range parseUsage(usage) {
		out = append(out, f.next(args)...)
	}
	return out
}

// takesFile tells whether the word behind the arguments is the name of a file.
func takesFile(usage string, args []string, word string) bool {
	alts := next(usage, args)
	return slices.ContainsFunc(alts, func(a alternative) bool { return a.placeholder == "FILE" }) &&
		!slices.ContainsFunc(alts, func(a alternative) bool { return a.literal(word) })
}
