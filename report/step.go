package report

import (
	"fmt"
	"strconv"
	"strings"

	"ftemu/script"
)

// line puts a line on the page, the comments and declarations above it too. Nil
// is returned where the page is full; what went wrong is shown a little longer.
func (r *Recorder) line(st script.Step, wrong bool) *Step {
	switch {
	case st.Line > 0:
		r.rest(st.Line, false)
	case st.Text == "end": // an implied one stands behind the whole file
		r.rest(len(r.source)+1, false)
	}
	if !r.budgets.lines.take(1) {
		r.next = max(r.next, st.Line)
		return nil
	}
	s := &Step{Text: cut(st.Text)}
	if st.Line > 0 {
		s.Number = strconv.Itoa(st.Line)
		s.ID = r.id("line-" + s.Number)
		s.Comment = r.comments(st.Line)
		if text, note, ok := written(r.sourceLine(st.Line), st.Text); ok {
			s.Text, s.Note = cut(text), cut(note)
		}
		r.next = st.Line
	} else {
		if r.next == 0 { // an implied begin stands behind the head of the file
			s.Comment = r.comments(r.head() + 1)
			r.next = r.head()
		}
		s.ID = r.id("line-" + className(strings.Fields(st.Text + " x")[0]))
	}
	r.page.Steps = append(r.page.Steps, s)
	return s
}

// head is how many lines stand above the first that is not a comment.
func (r *Recorder) head() int {
	for n := 1; n <= len(r.source); n++ {
		if text := r.sourceLine(n); text != "" && text[0] != '#' {
			return n - 1
		}
	}
	return len(r.source)
}

// id makes an anchor that no other line has.
func (r *Recorder) id(name string) string {
	r.ids[name]++
	if n := r.ids[name]; n > 1 {
		return fmt.Sprintf("%s-%d", name, n)
	}
	return name
}

// sourceLine is a line of the source by its number.
func (r *Recorder) sourceLine(n int) string {
	if n < 1 || n > len(r.source) {
		return ""
	}
	return strings.TrimSpace(r.source[n-1])
}

// written splits a line as it is written from the comment behind it.
func written(line, text string) (code, note string, ok bool) {
	at := strings.LastIndex(line, text)
	if at < 0 {
		return "", "", false
	}
	rest := strings.TrimSpace(line[at+len(text):])
	if rest == "" {
		return line, "", true
	}
	note, ok = strings.CutPrefix(rest, "#")
	return line[:at+len(text)], strings.TrimSpace(note), ok
}

// rest shows the lines of the source from the last one shown up to a line that do
// nothing by themselves, such as thread and guest, and, at the end of the
// source, its last comment.
func (r *Recorder) rest(before int, last bool) {
	for n := r.next + 1; n < before; n++ {
		text := r.sourceLine(n)
		if text == "" || text[0] == '#' {
			continue
		}
		if !r.budgets.lines.take(1) {
			return
		}
		s := &Step{ID: r.id("line-" + strconv.Itoa(n)), Number: strconv.Itoa(n), Comment: r.comments(n), Text: cut(text)}
		r.next = n
		r.page.Steps = append(r.page.Steps, s)
	}
	if last && r.next < len(r.source) {
		if c := r.comments(len(r.source) + 1); len(c) > 0 && r.budgets.lines.take(1) {
			r.page.Steps = append(r.page.Steps, &Step{Comment: c})
		}
	}
}

// comments are the paragraphs between the last line shown and a line.
func (r *Recorder) comments(before int) []string {
	var out []string
	open := false
	for n := r.next + 1; n < before; n++ {
		text, comment := strings.CutPrefix(r.sourceLine(n), "#")
		text = strings.TrimSpace(text)
		switch {
		case !comment || text == "":
			open = false
		case open:
			out[len(out)-1] += " " + text
		default:
			out, open = append(out, text), true
		}
	}
	return out
}

// tones are the classes of a script.Tone.
var tones = [...]string{"", "good", "bad", "value"}

// fill adds what the line gave.
func (r *Recorder) fill(s *Step, res *script.Result) {
	answer, tone := res.Answer()
	s.Answer, s.Tone, s.Want = cut(answer), tones[tone], res.Want != ""
	if res.Oops != "" && tone == script.Silent {
		s.Answer, s.Tone = "oops", "bad"
	}
	rows := r.rows(res)
	if s.Want && len(rows) == 0 {
		return
	}
	if !r.budgets.detailed.take(1) {
		s.Brief = true
		return
	}
	if n := len(rows) - maxRows; n > 0 {
		rows = append(rows[:maxRows:maxRows], Row{"", "", counted(n, "more row") + isAre(n) + " left out", ""})
	}
	s.Rows = rows
	s.Why = r.why(res)
	if r.call.used() {
		s.Call = r.timeline(s, res)
	}
}

// rows are what the line did or said.
func (r *Recorder) rows(res *script.Result) []Row {
	var rows []Row
	add := func(label, name, text, tone string) { rows = append(rows, Row{label, cut(name), cut(text), tone}) }
	if len(res.Calls) > 1 {
		for _, c := range res.Calls {
			what, name, text, tone := c.Say()
			add(what, name, text, tones[tone])
		}
	} else {
		for _, err := range res.Why {
			if res.Oops == "" {
				add("why", "", script.Reason(res.RC, err), "bad")
			}
		}
	}
	for _, c := range res.Images() {
		add("image", c.Fn, c.String(), "")
	}
	for _, e := range res.EV {
		if what, name, text := e.Say(); what != "" {
			add(what, name, text, "")
		}
	}
	for _, w := range res.Warnings {
		add("warning", w.Func, w.Text, "bad")
	}
	if res.Dead != 0 && !r.page.wasDead {
		add("dead", "", "ftrace has killed itself: nothing can be registered any more, sites stay as they are", "bad")
		r.page.wasDead = true
	}
	if res.Oops != "" {
		add("oops", "", res.Oops, "bad")
	}
	for _, b := range res.Bufs {
		add("buffer", "", strconv.Quote(b), "")
	}
	if res.Left != nil {
		if len(*res.Left) == 0 {
			add("sites", "", "all clean", "good")
		}
		for _, l := range *res.Left {
			add("not clean", l.Site, l.String(), "bad")
		}
	}
	for _, t := range res.Text {
		add("text", "", strings.TrimRight(t, " "), "")
	}
	return rows
}

// why tells how the line came to its result.
func (r *Recorder) why(res *script.Result) *Why {
	w := &Why{Paragraphs: res.Paragraphs()}
	for _, d := range res.Decisions {
		for l := range strings.Lines(d.String()) {
			if len(w.Decisions) >= maxDecision || !r.budgets.steps.take(1) {
				w.LeftOut++
				continue
			}
			w.Decisions = append(w.Decisions, cut(strings.TrimRight(l, "\n")))
		}
	}
	if len(w.Paragraphs) == 0 && len(w.Decisions) == 0 {
		return nil
	}
	if len(w.Paragraphs) > 0 && !r.opened {
		w.Open, r.opened = true, true
	}
	return w
}
