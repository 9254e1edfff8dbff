package script

import (
	"fmt"

	"ftemu/guest"
)

// A Topic explains words that a scenario may have besides its verbs. Each is made
// from the table that the language itself goes by.
type Topic struct {
	Name  string
	About string
	Terms []Term
	Note  string // a paragraph behind the list
}

// A Term is a word, what stands behind it, and what it means.
type Term struct{ Name, Usage, About string }

// Topics are all of them in the order of documentation.
func Topics() []Topic {
	var kindTerms, wantTerms []Term
	for _, k := range kinds {
		kindTerms = append(kindTerms, Term{k.name, "", k.about})
	}
	for _, w := range wants() {
		wantTerms = append(wantTerms, Term{w.name, w.usage, w.about})
	}
	return []Topic{
		{"kinds", "what new makes (KIND), and whom it stands for; +KIND adds the flags of another", kindTerms,
			"What 'ftemu why' takes are the words of 'ftemu help users'."},
		{"modes", "what an ops_func answers when it is asked to share a function with a livepatch (of=MODE)", modes[:], ""},
		{"tramps", "direct trampolines, which sites or ftrace_regs_caller call (TRAMP)", tramps(), ""},
		{"want", "what may be expected of the line before (want)", wantTerms,
			"Names of what ran are listed in the order in which it ran: ID for the callback of an ops, direct:TRAMP, prog:PROG, which is noted when it returns, and body:FUNCTION. " +
				"A site's target is nop, tramp:ID for the trampoline that an ops has for itself, direct:TRAMP, or a symbol: ftrace_caller, ftrace_regs_caller, bpf_trampoline:ftor_f0."},
		{"guest", "the built-in guest, which runs where no guest line names another", builtinGuest(), ""},
	}
}

// builtinGuest describes guest.Oracle.
func builtinGuest() []Term {
	return []Term{
		{"f0 to f7", "", "have a site each: fN(a, b) is 3a + 5b + 1000(N+1)"},
		{"g0 to g7", "", "have no site; they stand for patched functions: gN(a, b) is 7a + 11b + 100000(N+1). " +
			"A klp or ipmod on fN takes calls to gN, unless redirect names another function or ipmod turns it off"},
		{"docall", "", "what call goes through: the caller that callbacks see"},
		{oraclePrefix, "", fmt.Sprintf("begins the names in the symbol table, of module %s: f0 is %sf0 there. Scenarios have the short names; filtername matches those of the symbol table, as %sf[01]",
			guest.OracleModule, oraclePrefix, oraclePrefix)},
	}
}

func termNames(terms []Term) []string {
	names := make([]string, len(terms))
	for i, t := range terms {
		names[i] = t.Name
	}
	return names
}
