package ftracecore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// An Errno is a positive Linux error number.
type Errno int

// The error numbers that ftrace returns.
const (
	EPERM   Errno = 1
	ENOENT  Errno = 2
	E2BIG   Errno = 7
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
	EBUSY: "EBUSY", ENODEV: "ENODEV", EINVAL: "EINVAL", ENOTSUP: "ENOTSUPP", 39: "ENOTEMPTY", E2BIG: "E2BIG",
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
	// API and Ops are the call that failed: the kernel function, and the name of
	// the ops it was made for.
	API, Ops string
	// Because is the reason for the rule, in whole sentences; "" where the rule
	// says it all.
	Because string
	// Left are sentences that tell what the failed call left behind.
	Left []string
	// Decision tells how it came to that, step by step; its steps are there only
	// with Config.Explain.
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
	e.writeRule(&b)
	return b.String()
}

func (e *Error) writeRule(b *strings.Builder) {
	b.WriteString(e.Rule)
	sep := ", owned by "
	for _, o := range e.Owners {
		if quoted := strconv.Quote(o); !strings.Contains(e.Rule, quoted) {
			b.WriteString(sep + quoted)
			sep = " and "
		}
	}
}

// Explain tells in one paragraph what was called, which function, owner and rule
// stood in the way, why the rule is there, and what the failed call left behind.
func (e *Error) Explain() string {
	var b strings.Builder
	if e.API != "" {
		b.WriteString(e.API)
		if e.Ops != "" {
			fmt.Fprintf(&b, " of %q", e.Ops)
		}
		fmt.Fprintf(&b, " returned %s", RetName(e.Ret))
	} else {
		b.WriteString(RetName(e.Ret))
	}
	if e.Site != "" {
		fmt.Fprintf(&b, " because of function %s", e.Site)
	}
	b.WriteString(": ")
	e.writeRule(&b)
	b.WriteString(".")
	if e.Because != "" {
		b.WriteString(" " + e.Because)
	}
	for _, s := range e.Left {
		b.WriteString(" " + s)
	}
	return b.String()
}

// because adds the reason for the rule.
func (e *Error) because(sentences string) *Error {
	e.Because = sentences
	return e
}

// leaves notes in err, where it is an *Error, what the failed call left behind.
func leaves(err error, format string, args ...any) {
	if e, ok := err.(*Error); ok {
		e.Left = append(e.Left, fmt.Sprintf(format, args...))
	}
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

// ErrnoNames lists the names that ErrnoByName knows, in the order of their numbers.
func ErrnoNames() []string {
	var out []string
	for _, e := range slices.Sorted(maps.Keys(errnoNames)) {
		out = append(out, errnoNames[e])
	}
	return out
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
