// Package patcher takes the bytes of call sites from one state to the next:
// it verifies what is there, then writes in the way that an SMP kernel must
// (text_poke_bp), as explicit steps. It does not know why a site changes.
package patcher

import (
	"fmt"

	"ftemu/x86"
)

// A Change is one site to rewrite: Old must be there before, New is there after.
type Change struct {
	IP       uint64
	Old, New x86.Bytes5
}

// A Reason says why a site could not be changed, in the words of ftrace_bug.
type Reason uint8

// The reasons of ftrace_bug.
const (
	Mismatch   Reason = iota + 1 // the bytes there are not the expected ones (-EINVAL)
	Unreadable                   // the site could not be read (-EFAULT)
	Unwritable                   // the site could not be written (-EPERM)
)

// Bug is the error of a site that could not be changed. Nothing was written.
type Bug struct {
	Reason   Reason
	IP       uint64
	Actual   x86.Bytes5
	Expected x86.Bytes5
}

// Error says what was found and what was expected.
func (b *Bug) Error() string {
	switch b.Reason {
	case Unreadable:
		return fmt.Sprintf("site %#x: cannot be read", b.IP)
	case Unwritable:
		return fmt.Sprintf("site %#x: cannot be written", b.IP)
	}
	return fmt.Sprintf("site %#x: found % x, expected % x", b.IP, b.Actual, b.Expected)
}
