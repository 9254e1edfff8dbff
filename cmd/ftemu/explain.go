package main

import (
	"strings"

	"ftemu/ftracecore"
	"ftemu/script"
)

// decisions prints how the calls of a line came to their results, step by step,
// and for each refusal one paragraph.
func (t *transcript) decisions(res *script.Result) {
	label := "decision"
	for _, d := range res.Decisions {
		for l := range strings.Lines(d.String()) {
			t.row(label, strings.TrimRight(l, "\n"), t.style.plain)
			label = ""
		}
		label = "decision"
	}
	for _, p := range res.Paragraphs() {
		t.row("in short", p, t.style.strong)
	}
}

// An explained is a line of --json with the decisions behind it.
type explained struct {
	*script.Result
	Explain explanation `json:"explain"`
}

type explanation struct {
	Decisions []*ftracecore.Decision `json:"decisions,omitempty"`
	Why       []string               `json:"why,omitempty"`
}
