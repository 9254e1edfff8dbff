package ftracecore

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Decision tells how one call of the API came to its result.
type Decision struct {
	API string `json:"api"`           // the kernel function called
	Ops string `json:"ops,omitempty"` // the ops it was called for, "" where none
	Ret int    `json:"ret"`           // what it returned
	// Steps are in the order in which things happened. They are kept only with
	// Config.Explain.
	Steps []Step `json:"steps,omitempty"`
}

// A Step is one thing that was looked at, asked, changed or taken back.
type Step struct {
	Text   string    `json:"text"`
	Nested *Decision `json:"nested,omitempty"` // the call of the API that this step was, made from inside another one
}

func (d *Decision) nest(inner *Decision) {
	d.Steps = append(d.Steps, Step{Text: inner.title(), Nested: inner})
}

func (d *Decision) title() string {
	if d.Ops == "" {
		return fmt.Sprintf("%s = %s", d.API, RetName(d.Ret))
	}
	return fmt.Sprintf("%s(%s) = %s", d.API, d.Ops, RetName(d.Ret))
}

// Write prints the decision, one step a line, indented by prefix.
func (d *Decision) Write(w io.Writer, prefix string) {
	fmt.Fprintf(w, "%s%s\n", prefix, d.title())
	d.writeSteps(w, prefix+"  ")
}

func (d *Decision) writeSteps(w io.Writer, prefix string) {
	for _, s := range d.Steps {
		fmt.Fprintf(w, "%s- %s\n", prefix, s.Text)
		if s.Nested != nil {
			s.Nested.writeSteps(w, prefix+"  ")
		}
	}
}

// String is the decision as Write prints it.
func (d *Decision) String() string {
	var b strings.Builder
	d.Write(&b, "")
	return b.String()
}

// LastDecision returns how the last call of the API came to its result; nil
// before the first.
func (c *Core) LastDecision() *Decision { return c.last }

// step notes one step of the decision being made. Where an argument takes work
// to compute, ask c.explain first.
func (c *Core) step(format string, args ...any) {
	if c.explain && c.task.decision != nil {
		c.task.decision.Steps = append(c.task.decision.Steps, Step{Text: fmt.Sprintf(format, args...)})
	}
}

// refuse notes and returns an error without owners.
func (c *Core) refuse(e Errno, site, format string, args ...any) *Error {
	return c.refuseOwned(e, site, nil, format, args...)
}

// refuseOwned notes and returns an error that names who stands in the way.
func (c *Core) refuseOwned(e Errno, site string, owners []string, format string, args ...any) *Error {
	err := &Error{Ret: -int(e), Rule: fmt.Sprintf(format, args...), Site: site, Owners: owners}
	c.step("refuse with %s", err)
	return err
}

// maxListed is how many sites a step names one by one.
const maxListed = 16

// A walk collects what a pass over records or hash entries did to each of them,
// for one step. Nil, which stands for a core that need not explain, collects nothing.
type walk struct {
	items []string
	more  int
}

func (c *Core) newWalk() *walk {
	if !c.explain || c.task.decision == nil {
		return nil
	}
	return &walk{}
}

// note adds one site. Callers whose arguments take work to compute test w for
// nil first.
func (w *walk) note(format string, args ...any) {
	switch {
	case w == nil:
	case len(w.items) == maxListed:
		w.more++
	default:
		w.items = append(w.items, fmt.Sprintf(format, args...))
	}
}

func (w *walk) len() int { return len(w.items) + w.more }

func (w *walk) String() string {
	s := strings.Join(w.items, ", ")
	if w.more > 0 {
		s += fmt.Sprintf(" and %d more", w.more)
	}
	return s
}

// stepWalk notes what w collected behind the text, if that is anything. In the
// text, %s stands for the number of sites.
func (c *Core) stepWalk(w *walk, text string) {
	if w != nil && w.len() > 0 {
		c.step("%s: %s", strings.Replace(text, "%s", plural(w.len(), "site"), 1), w)
	}
}

// flagChange names the flags by which a record changed, in front of each a
// sign: "+REGS -TRAMP"; "" for no change.
func flagChange(before, after RecFlags) string {
	var b strings.Builder
	for _, n := range recFlagNames {
		switch {
		case after&^before&n.flag != 0:
			b.WriteString(" +" + n.name)
		case before&^after&n.flag != 0:
			b.WriteString(" -" + n.name)
		}
	}
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// ownerNames lists names, each in quotes.
func ownerNames(owners []string) string {
	if len(owners) == 0 {
		return "an ops that is gone"
	}
	quoted := make([]string, len(owners))
	for i, o := range owners {
		quoted[i] = strconv.Quote(o)
	}
	return strings.Join(quoted, " and ")
}
