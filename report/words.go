package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// counted is a number of things, in words.
func counted(n int, word string) string { return grouped(n) + " " + noun(n, word) }

// noun is what n things are called.
func noun(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return word
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func isAre(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

func isNot(n int) string {
	if n == 1 {
		return "is not"
	}
	return "are not"
}

// cut shortens what is too long for a page.
func cut(s string) string { return cutTo(s, maxText) }

func cutTo(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	r := []rune(s)
	return string(r[:most-1]) + "…"
}

// className makes a name fit for a class or an anchor.
func className(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
}

func hex(v uint64) string { return fmt.Sprintf("%#x", v) }
