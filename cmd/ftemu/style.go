package main

import (
	"fmt"
	"io"
	"strings"
)

// What is printed for people keeps to the width in this way: text is broken at
// spaces, and what stands left of it goes on a line of its own where there would
// be too little room. Kept whole are tables, code with its bytes, events, lines of
// scenarios and files (man, completion): broken, they could be neither compared
// nor pasted. JSON has no width.

// A style paints text for a terminal; the zero value leaves it plain.
type style struct{ on bool }

func (s style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) plain(text string) string  { return text }
func (s style) strong(text string) string { return s.paint("1", text) }
func (s style) faint(text string) string  { return s.paint("2", text) }
func (s style) good(text string) string   { return s.paint("32", text) }
func (s style) bad(text string) string    { return s.paint("31", text) }
func (s style) warn(text string) string   { return s.paint("33", text) }
func (s style) fresh(text string) string  { return s.paint("36", text) }

// minWrap is the narrowest column that text is broken into.
const minWrap = 16

// wrap breaks text at spaces into lines of at most width columns; 0 is no
// limit. A word that is longer keeps a line of its own.
func wrap(text string, width int) []string {
	if width <= 0 {
		return []string{text}
	}
	width = max(width, minWrap)
	var lines []string
	for len([]rune(text)) > width {
		runes := []rune(text)
		cut := strings.LastIndexByte(string(runes[:width+1]), ' ')
		if cut <= 0 {
			if cut = strings.IndexByte(text, ' '); cut < 0 {
				break
			}
		}
		lines = append(lines, strings.TrimRight(text[:cut], " "))
		text = strings.TrimLeft(text[cut:], " ")
	}
	return append(lines, text)
}

// hang prints text to the right of what stands first, which has cols columns;
// the lines that follow stand below the text, or below the words of an item of a
// list. width is that of the output, 0 is no limit.
func hang(w io.Writer, width int, first string, cols int, text string, paint func(string) string) {
	lead, text := item(text)
	mark := strings.TrimLeft(lead, " ")
	if width > 0 && width-cols-len(mark) < minWrap {
		const indent = 2
		if label := strings.TrimSpace(first); label != "" {
			if first[0] == ' ' {
				label = " " + label // its text is still to the right of it
			}
			fmt.Fprintln(w, label)
		}
		first, cols, lead = strings.Repeat(" ", indent), indent, mark
	}
	avail := 0
	if width > 0 {
		most := max(width-cols-minWrap, len(mark))
		lead = lead[max(len(lead)-most, 0):]
		avail = width - cols - len(lead)
	}
	for _, l := range wrap(text, avail) {
		fmt.Fprintln(w, first+paint(lead+l))
		first, lead = strings.Repeat(" ", cols), strings.Repeat(" ", len(lead))
	}
}

// item parts a text from what stands before its words: spaces, and the dash of an
// item of a list.
func item(text string) (lead, words string) {
	words = strings.TrimPrefix(strings.TrimLeft(text, " "), "- ")
	return text[:len(text)-len(words)], words
}

// say prints a paragraph.
func (a *app) say(text string, paint func(string) string) {
	hang(a.stdout, a.width, "", 0, text, paint)
}
