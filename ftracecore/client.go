package ftracecore

import "fmt"

// Do makes a call of a client's own API, fn, in which calls of this package's
// may be made: they become parts of one decision. ops may be nil.
func (c *Core) Do(api string, ops *Ops, fn func() error) error { return c.run(api, ops, fn) }

// Step notes one step of a client in the decision being made.
func (c *Core) Step(format string, args ...any) { c.step(format, args...) }

// Refuse notes and returns an error of a client's own: the errno, the function
// it is about, the rule, and the reason for the rule, which may be empty.
func (c *Core) Refuse(e Errno, site, because, format string, args ...any) *Error {
	return c.refuse(e, site, "%s", fmt.Sprintf(format, args...)).because(because)
}

// Profile is the profile in force.
func (c *Core) Profile() Profile { return c.profile }
