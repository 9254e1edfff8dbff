package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"ftemu/near"
)

// unknownWord is the error of a word that is none of those known.
func unknownWord(kind, found, word string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("no %s %q: there are none below", kind, near.Short(found))
	}
	return fmt.Errorf("no %s %q, %s", kind, near.Short(found), near.Expected(word, known, ""))
}

// usageError says which verb a complaint about the command line is about.
func usageError(err error) error {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil {
		return err
	}
	node := parse.Context.Selected()
	if node == nil {
		node = parse.Context.Model.Node
	}
	// What the parser says about a verb that is missing or unknown names five at most.
	if known := verbNames(node); len(known) > 0 && !strings.Contains(err.Error(), "flag") {
		found := ""
		words := strings.Count(verbPath(node), " ")
		if rest := parse.Context.Args; len(rest) > words {
			found = rest[words]
		}
		if found == "" {
			return fmt.Errorf("%s: expected a verb behind it: %s", strings.TrimPrefix(verbPath(node), "ftemu "), strings.Join(known, ", "))
		}
		return unknownWord("verb", strings.TrimPrefix(verbPath(node)+" "+found, "ftemu "), found, known)
	}
	if node.Parent == nil {
		return err
	}
	verb, text := strings.TrimPrefix(verbPath(node), "ftemu "), err.Error()
	switch {
	case strings.HasPrefix(text, "expected "):
		return fmt.Errorf("%s: an argument is missing, expected %s", verb, synopsis(node))
	case strings.HasPrefix(text, "unexpected argument "):
		return fmt.Errorf("%s: %s, expected %s", verb, text, synopsis(node))
	case strings.HasPrefix(text, "unknown flag ") && !strings.Contains(text, "did you mean"):
		return fmt.Errorf("%s: %s, expected one that 'ftemu help %s' lists", verb, text, verb)
	}
	return fmt.Errorf("%s: %s", verb, plainValue(text))
}

var (
	noValue  = regexp.MustCompile(`^(--[a-z-]+): expected \w+ value but got "EOL" .*`)
	likeFlag = regexp.MustCompile(`^(--[a-z-]+): expected \w+ value but got "(.*)" \(.*flag\).*`)
)

// plainValue puts what the parser says about a flag's value in plain words.
func plainValue(text string) string {
	text = noValue.ReplaceAllString(text, "$1: expected a value behind it")
	text = likeFlag.ReplaceAllString(text, "$1: found $2, which looks like a flag, expected a value: $1=$2 if it is one")
	return strings.NewReplacer("a valid 64 bit uint", "a number from 0 on", "a valid 64 bit int", "a whole number", " but got ", ", found ").Replace(text)
}
