package ftracecore

import (
	"errors"
	"fmt"
	"strings"
)

// An Errno is a positive Linux error number.
type Errno int

// The error numbers that ftrace returns.
const (
	EPERM   Errno = 1
	ENOENT  Errno = 2
	EAGAIN  Errno = 11
	ENOMEM  Errno = 12
	EFAULT  Errno = 14
	EBUSY   Errno = 16
	ENODEV  Errno = 19
	EINVAL  Errno = 22
	ENOTSUP Errno = 524 // ENOTSUPP
)

var errnoNames = map[Errno]string{
	EPERM: "EPERM", ENOENT: "ENOENT", EAGAIN: "EAGAIN", ENOMEM: "ENOMEM", EFAULT: "EFAULT",
	EBUSY: "EBUSY", ENODEV: "ENODEV", EINVAL: "EINVAL", ENOTSUP: "ENOTSUPP", 39: "ENOTEMPTY", 7: "E2BIG",
}

// Error returns the name with the sign that the kernel gives it, as in "-EBUSY".
func (e Errno) Error() string { return RetName(-int(e)) }

// RetName names a C return value: "-EBUSY" for -16, "0", or the number.
func RetName(ret int) string {
	if n, ok := errnoNames[Errno(-ret)]; ok && ret < 0 {
		return "-" + n
	}
	return fmt.Sprint(ret)
}

// An Error is why a call did not return 0.
type Error struct {
	// Ret is the C return value: a negative errno, or a positive value that an
	// ops_func gave and the kernel passes on.
	Ret int
	// Rule says which rule fired, in one phrase.
	Rule string
	// Site names the function that the rule was about, "" where none was.
	Site string
	// Owners are the ops that stood in the way.
	Owners []string
	// Decision tells how it came to that, step by step.
	Decision *Decision
}

// Error gives the errno, the rule, the site and the owners in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(RetName(e.Ret))
	b.WriteString(": ")
	if e.Site != "" {
		fmt.Fprintf(&b, "site %s: ", e.Site)
	}
	b.WriteString(e.Rule)
	for i, o := range e.Owners {
		if i == 0 {
			b.WriteString(", owned by ")
		} else {
			b.WriteString(" and ")
		}
		fmt.Fprintf(&b, "%q", o)
	}
	return b.String()
}

// Is makes errors.Is(err, EBUSY) hold for an error with that number.
func (e *Error) Is(target error) bool {
	n, ok := target.(Errno)
	return ok && e.Ret == -int(n)
}

// An Oops is a call that would have crashed the kernel. Nothing was changed by
// the step that crashed; locks taken before it stay taken in a kernel, which
// here means that the core must not be used any more.
type Oops struct {
	Func string // the kernel function that would have crashed
	Why  string
}

// Error describes the crash in one line.
func (o *Oops) Error() string { return fmt.Sprintf("kernel oops in %s: %s", o.Func, o.Why) }

// Ret gives the C return value of a call that returned err: 0 for nil.
func Ret(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Ret
	}
	var n Errno
	if errors.As(err, &n) {
		return -int(n)
	}
	if err != nil {
		return -int(EFAULT)
	}
	return 0
}

// ErrnoByName finds an errno by its name, "EBUSY" for example.
func ErrnoByName(name string) (Errno, bool) {
	for e, n := range errnoNames {
		if n == name {
			return e, true
		}
	}
	return 0, false
}
