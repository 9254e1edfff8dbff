package ftracecore

import (
	"fmt"
	"io"
	"strings"
)

// A Decision tells how one call of the API came to its result.
type Decision struct {
	API   string // the kernel function called
	Ops   string // the ops it was called for, "" where none
	Ret   int    // what it returned
	Steps []Step
}

// A Step is one thing that was looked at, asked, changed or taken back.
type Step struct {
	Text   string
	Nested *Decision // the call of the API that this step was, made from inside an ops_func
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

// LastDecision returns how the last call of the API came to its result.
func (c *Core) LastDecision() *Decision { return c.last }

// step notes one step of the decision being made.
func (c *Core) step(format string, args ...any) {
	if c.decision != nil {
		c.decision.Steps = append(c.decision.Steps, Step{Text: fmt.Sprintf(format, args...)})
	}
}

// refuse notes and returns an error without owners.
func (c *Core) refuse(e Errno, site, format string, args ...any) error {
	return c.refuseOwned(e, site, nil, format, args...)
}

// refuseOwned notes and returns an error that names who stands in the way.
func (c *Core) refuseOwned(e Errno, site string, owners []string, format string, args ...any) error {
	err := &Error{Ret: -int(e), Rule: fmt.Sprintf(format, args...), Site: site, Owners: owners}
	c.step("%s", err.Error())
	return err
}
