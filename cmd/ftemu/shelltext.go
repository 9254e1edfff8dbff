package main

import (
	"bufio"
	"fmt"
	"strings"

	"ftemu/script"
	"ftemu/shell"
)

// display shows a session in the form that the flags ask for.
func (c *shellCmd) display(a *app, keys keyboard) shell.Display {
	if c.JSON {
		return jsonDisplay{newJSONPrinter(a, c.Explain, 0)}
	}
	p := newTextPrinter(a, nil, &c.runFlags, 0)
	p.lineCol, p.opCol = shellLineCol, shellOpCol
	if a.width > 0 {
		p.opCol = max(0, min(p.opCol, a.width-p.indent()-minAnswer))
	}
	return &textDisplay{p, a.stdout, keys}
}

// Columns of a session: what lines will come is not known.
const (
	shellLineCol = 2
	shellOpCol   = maxOpCol
)

// A textDisplay shows a session to people.
type textDisplay struct {
	*textPrinter
	out  *bufio.Writer
	keys keyboard
}

// retake goes back to the row where the line was typed, so that it stands there
// as the transcript has it.
func (d *textDisplay) retake() {
	if d.keys.typed() {
		fmt.Fprint(d.w, "\x1b[A\r\x1b[K")
	}
}

func (d *textDisplay) Start(r *script.Runner) {
	d.retake()
	d.start(r)
}

func (d *textDisplay) Asked(s script.Step) {
	d.retake()
	d.asked(s)
	// The line may run for a while. Who enters the next one sees an error.
	_ = d.out.Flush()
}

func (d *textDisplay) Answered(res *script.Result) { d.after(res) }

// Explain prints why a line was refused, and how that was decided.
func (d *textDisplay) Explain(res *script.Result) {
	d.row("line", fmt.Sprintf("%d  %s", res.Line, res.Op), d.style.strong)
	for _, err := range res.Why {
		d.row("why", script.Reason(res.RC, err), d.style.bad)
	}
	d.decisions(res)
}

func (d *textDisplay) Say(_ string, rows []string) {
	d.closeLine()
	for _, row := range rows {
		cols := labelled(row)
		hang(d.w, d.width, row[:cols], cols, row[cols:], d.style.plain)
	}
}

// labelled is how many columns of a row are a label and the gap behind it.
func labelled(row string) int {
	label := strings.TrimLeft(row, " ")
	_, text, ok := strings.Cut(label, "  ")
	if !ok {
		return 0
	}
	return len(row) - len(strings.TrimLeft(text, " "))
}

func (d *textDisplay) End(failures int) { d.end(failures) }

func (d *textDisplay) Snapshot() (restore func()) {
	shown, tally := *d.transcript, d.tally
	return func() { *d.transcript, d.tally = shown, tally }
}

// A jsonDisplay shows a session to programs. What the shell itself says has the
// key shell.
type jsonDisplay struct{ *jsonPrinter }

// said is an answer of the shell, or an explanation.
type said struct {
	Shell string   `json:"shell"` // the command
	Text  []string `json:"text,omitempty"`
	Op    string   `json:"op,omitempty"` // the line explained
	*explanation
}

func (d jsonDisplay) Start(r *script.Runner)         { d.start(r) }
func (d jsonDisplay) Asked(s script.Step)            { d.before(s) }
func (d jsonDisplay) Answered(res *script.Result)    { d.after(res) }
func (d jsonDisplay) End(failures int)               { d.end(failures) }
func (d jsonDisplay) Snapshot() (restore func())     { return func() {} }
func (d jsonDisplay) Say(command string, t []string) { _ = d.enc.Encode(said{Shell: command, Text: t}) }

func (d jsonDisplay) Explain(res *script.Result) {
	text := make([]string, len(res.Why))
	for i, err := range res.Why {
		text[i] = script.Reason(res.RC, err)
	}
	_ = d.enc.Encode(said{Shell: "why", Text: text, Op: res.Op, explanation: &explanation{res.Decisions, res.Paragraphs()}})
}
