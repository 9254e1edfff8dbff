package guest

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoExec is in every error that means "this file is no module that could be
// loaded"; Linux answers -ENOEXEC to it. Its own text is the errno's name.
var ErrNoExec = errors.New("ENOEXEC")

// ErrNoSites is in the error of [Image.RequireSites].
var ErrNoSites = errors.New("no ftrace sites")

// A LoadError says what is wrong with a file, and where.
type LoadError struct {
	File  string
	Where string // section and offset, or "" where the whole file is meant
	What  string // what was found and what was expected
}

// Error is one line: errno, file, place, what is wrong.
func (e *LoadError) Error() string {
	s := "-" + ErrNoExec.Error() + ": " + e.File + ": "
	if e.Where != "" {
		s += e.Where + ": "
	}
	return s + e.What
}

// Is holds for ErrNoExec.
func (e *LoadError) Is(target error) bool { return target == ErrNoExec }

// An UndefinedError lists the symbols of a file that nobody defines.
type UndefinedError struct {
	File  string
	Names []string // in the order of the file's symbol table
}

// Error names all of them.
func (e *UndefinedError) Error() string {
	what := "undefined symbols: "
	if len(e.Names) == 1 {
		what = "undefined symbol: "
	}
	return "-ENOENT: " + e.File + ": " + what + strings.Join(e.Names, ", ")
}

// where names a place in a section as objdump does.
func where(section string, off uint64) string { return fmt.Sprintf("%s+%#x", section, off) }
