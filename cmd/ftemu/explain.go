package main

import (
	"errors"
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
	for _, p := range paragraphs(res) {
		t.row("in short", p, t.style.strong)
	}
}

// paragraphs tells for each refusal of a line which function, owner and rule it
// was about.
func paragraphs(res *script.Result) []string {
	var out []string
	for _, err := range res.Why {
		var e *ftracecore.Error
		if errors.As(err, &e) {
			out = append(out, e.Explain())
		}
	}
	return out
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
