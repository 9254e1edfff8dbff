// Package near finds the words that one may have meant.
package near

import (
	"slices"
	"strings"
)

// Expected ends a message about a word that is none of those known: it names the
// one or two that are like it, or else says what was expected; "" for all words.
func Expected(word string, known []string, expected string) string {
	if near := Words(word, known); len(near) == 1 || len(near) == 2 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	if expected == "" {
		expected = strings.Join(known, ", ")
	}
	return "expected " + expected
}

// Words returns, in order, the words that one may have meant: those that begin so,
// and those that differ in few letters.
func Words(word string, known []string) []string {
	most := 2
	if len(word) <= 5 {
		most = 1
	}
	var out []string
	for _, k := range known {
		if len(word) > 1 && strings.HasPrefix(k, word) || len(k)-len(word) <= most && len(word)-len(k) <= most && distance(word, k) <= most {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// distance is how many letters must be put in, taken out, replaced or swapped with
// the next one to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

// maxShort is how much of a word Short shows, in bytes.
const maxShort = 40

// Short is a word as a message quotes it: not more of it than one reads.
func Short(word string) string {
	if len(word) <= maxShort {
		return word
	}
	return strings.ToValidUTF8(word[:maxShort], "") + "..."
}
