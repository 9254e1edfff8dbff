package ftracecore

import "strings"

// Glob returns the matcher of a pattern as set_ftrace_filter takes them: a name, a
// glob, or with "!" in front all other names.
func Glob(pattern string) func(name string) bool {
	pattern, not := strings.CutPrefix(pattern, "!")
	match := compileGlob(pattern)
	return func(name string) bool { return match(name) != not }
}

// compileGlob returns the matcher of one word of set_ftrace_filter
// (filter_parse_regex): "*" at the front, the end or both is a suffix, prefix
// or substring match; with "*" elsewhere, or with "?", "[" or "\", the word is
// a shell-like glob over the whole name; else it is the name.
func compileGlob(p string) func(string) bool {
	body := strings.TrimPrefix(p, "*")
	front := len(body) != len(p)
	switch i := strings.IndexAny(body, `*?[\`); {
	case i < 0 && front:
		return func(s string) bool { return strings.HasSuffix(s, body) }
	case i < 0:
		return func(s string) bool { return s == p }
	case i == len(body)-1 && body[i] == '*':
		part := body[:i]
		if front {
			return func(s string) bool { return strings.Contains(s, part) }
		}
		return func(s string) bool { return strings.HasPrefix(s, part) }
	}
	return func(s string) bool { return globMatch(p, s) }
}

// globMatch matches all of s against p, where "*" is any run of characters, "?"
// any one, "[a-z]" one of a class, "[!a-z]" one not of it, and "\x" is x. A
// class that is not closed stands for itself.
func globMatch(p, s string) bool {
	// On a mismatch, take one character more for the last star.
	starP, starS := -1, 0
	i, j := 0, 0
	for j < len(s) {
		if i < len(p) && p[i] == '*' {
			starP, starS = i, j
			i++
			continue
		}
		if n, ok := globOne(p[i:], s[j]); ok {
			i, j = i+n, j+1
			continue
		}
		if starP < 0 {
			return false
		}
		starS++
		i, j = starP+1, starS
	}
	return strings.Trim(p[i:], "*") == ""
}

// globOne matches one character against the element that p begins with, and
// returns the element's length.
func globOne(p string, c byte) (n int, ok bool) {
	if p == "" {
		return 0, false
	}
	switch p[0] {
	case '?':
		return 1, true
	case '\\':
		if len(p) > 1 {
			return 2, p[1] == c
		}
	case '[':
		if n, ok, closed := globClass(p, c); closed {
			return n, ok
		}
	}
	return 1, p[0] == c
}

func globClass(p string, c byte) (n int, ok, closed bool) {
	i, not := 1, false
	if i < len(p) && p[i] == '!' {
		not = true
		i++
	}
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return i + 1, ok != not, true
		}
		lo, hi := p[i], p[i]
		i++
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			hi = p[i+1]
			i += 2
		}
		if lo <= c && c <= hi {
			ok = true
		}
	}
	return 0, false, false
}
