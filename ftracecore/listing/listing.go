// Package listing reads the text of a real enabled_functions, the file of
// tracefs that says of every function being traced who traces it: as v6.1
// prints it, and with the columns and parts that later versions have added.
package listing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Listing is the entries of a file, in its order.
type Listing struct {
	Name    string // of the file
	Entries []Entry
}

// An Entry is one function.
type Entry struct {
	Line   int    // where it begins, from 1
	Func   string // its symbol
	Module string // "" for the core kernel
	Count  int    // how many ops cover it

	// The columns.
	Regs     bool // R: some ops wants all registers
	IPModify bool // I: an ops may change where the function continues
	Direct   bool // D: there is a direct function
	CallOps  bool // O: its ops is found without a lookup (v6.3, not on x86)
	Modified bool // M: it had IPMODIFY or a direct function at some time since boot (v6.6)

	// Tramps are the ops with a trampoline of their own, where the site calls one.
	Tramps []Tramp
	// Calls is what the site's trampoline calls, where it is not an ops' own.
	Calls *Symbol
	// DirectTo is the direct function.
	DirectTo *Symbol
}

// A Tramp is an ops by its trampoline.
type Tramp struct {
	Addr Symbol  // the trampoline
	Func Symbol  // the callback of the ops
	To   *Symbol // what the trampoline calls; nil where the file does not say
}

// A Symbol is an address as the kernel names it.
type Symbol struct {
	Name   string // without offset; "" where the address has no symbol
	Module string
	Addr   uint64 // of an address without a symbol
}

// String is the name, or the address.
func (s Symbol) String() string {
	if s.Name == "" {
		return fmt.Sprintf("%#x", s.Addr)
	}
	return s.Name
}

// Find lists the entries of the functions with that name; static functions of
// several files can share one.
func (l *Listing) Find(name string) (found []Entry) {
	for _, e := range l.Entries {
		if e.Func == name {
			found = append(found, e)
		}
	}
	return found
}

// An Error is a line that is not one of enabled_functions.
type Error struct {
	File            string
	Line            int
	Found, Expected string
}

// Error says where, what was found, and what was expected.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: found %s, expected %s", e.File, e.Line, e.Found, e.Expected)
}

// maxLine bounds a line, in bytes; a line of many ops is long.
const maxLine = 1 << 20

// Parse reads a listing; name is for messages. Blank lines are left out.
func Parse(name string, r io.Reader) (*Listing, error) {
	l := &Listing{Name: name}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	n := 0
	for sc.Scan() {
		n++
		text := strings.TrimRight(sc.Text(), " \t\r")
		if text == "" {
			continue
		}
		if err := l.add(text, n); err != nil {
			err.File, err.Line = name, n
			return nil, err
		}
	}
	if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s:%d: a line of more than %d bytes", name, n+1, maxLine)
	} else if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	return l, nil
}

func (l *Listing) add(text string, line int) *Error {
	p := &parser{rest: text}
	if text[0] != ' ' && text[0] != '\t' {
		e := Entry{Line: line}
		if err := p.entry(&e); err != nil {
			return err
		}
		l.Entries = append(l.Entries, e)
		return nil
	}
	// What goes on from the line before.
	if len(l.Entries) == 0 {
		return p.wrong("a function and its count, as in \"vfs_read (1)\"")
	}
	return p.parts(&l.Entries[len(l.Entries)-1])
}

// A parser goes through one line.
type parser struct{ rest string }

func (p *parser) wrong(expected string) *Error {
	const most = 40
	found := "the end of the line"
	if s := strings.TrimLeft(p.rest, " \t"); s != "" {
		if len(s) > most {
			s = s[:most] + "..."
		}
		found = strconv.Quote(s)
	}
	return &Error{Found: found, Expected: expected}
}

// skip goes past blanks.
func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \t") }

// take goes past prefix, if it is next.
func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

// word takes what comes up to one of the given characters or the end.
func (p *parser) word(stops string) string {
	i := strings.IndexAny(p.rest, stops)
	if i < 0 {
		i = len(p.rest)
	}
	w := p.rest[:i]
	p.rest = p.rest[i:]
	return w
}

// entry is NAME [MODULE] (COUNT) and the rest.
func (p *parser) entry(e *Entry) *Error {
	e.Func = p.word(" \t()[]")
	if e.Func == "" || strings.HasPrefix(e.Func, "#") {
		p.rest = e.Func + p.rest
		return p.wrong("the name of a function")
	}
	p.skip()
	if p.take("[") {
		if e.Module = p.word("[] \t()"); e.Module == "" || !p.take("]") {
			return p.wrong("the name of a module and ]")
		}
		p.skip()
	}
	if !p.take("(") {
		return p.wrong("how many ops trace " + e.Func + ", as in \"(1)\"")
	}
	before := p.rest
	n, err := strconv.ParseInt(p.word(")"), 10, 32)
	if err != nil || n < 0 || !p.take(")") {
		p.rest = before
		return p.wrong("a count and )")
	}
	e.Count = int(n)
	for {
		p.skip()
		flag := e.column(p.rest)
		if flag == nil {
			return p.parts(e)
		}
		*flag = true
		p.rest = p.rest[1:]
	}
}

// column is the column that s begins with: a letter that stands alone.
func (e *Entry) column(s string) *bool {
	if s == "" || len(s) > 1 && s[1] != ' ' && s[1] != '\t' {
		return nil
	}
	switch s[0] {
	case 'R':
		return &e.Regs
	case 'I':
		return &e.IPModify
	case 'D':
		return &e.Direct
	case 'O':
		return &e.CallOps
	case 'M':
		return &e.Modified
	}
	return nil
}

// parts are what stands behind the columns, and on the lines that go on.
func (p *parser) parts(e *Entry) *Error {
	for p.skip(); p.rest != ""; p.skip() {
		if err := p.part(e); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) part(e *Entry) *Error {
	switch {
	case p.take("tramp:"):
		return p.tramp(e)
	case p.take("->"):
		s, err := p.symbol()
		e.Calls = &s
		return err
	case strings.HasPrefix(p.rest, "direct") && !e.Direct:
		return p.wrong("it only where " + e.Func + " has the column D")
	case p.take("direct-->"), p.take("direct(jmp)-->"):
		s, err := p.symbol()
		e.DirectTo = &s
		return err
	case p.take("ops:"), p.take("subops:"):
		// Who is called beside or below an ops: no matter here.
		p.word("\t")
		return nil
	}
	return p.wrong("one of R I D O M, \"tramp:\", \"->\", \"direct-->\", \"ops:\" or \"subops:\"")
}

// tramp is SYMBOL (SYMBOL) ->SYMBOL, the last not always.
func (p *parser) tramp(e *Entry) *Error {
	p.skip()
	if p.take("ERROR!") {
		return nil
	}
	var t Tramp
	var err *Error
	if t.Addr, err = p.symbol(); err != nil {
		return err
	}
	p.skip()
	if !p.take("(") {
		return p.wrong("the callback of the ops, in parentheses")
	}
	if t.Func, err = p.symbol(); err != nil {
		return err
	}
	if !p.take(")") {
		return p.wrong(")")
	}
	p.skip()
	if p.take("->") {
		to, err := p.symbol()
		if err != nil {
			return err
		}
		t.To = &to
	}
	e.Tramps = append(e.Tramps, t)
	return nil
}

// symbol is NAME+0xOFFSET/0xSIZE [MODULE], or a bare address.
func (p *parser) symbol() (s Symbol, err *Error) {
	p.skip()
	before := p.rest
	bad := func() (Symbol, *Error) {
		p.rest = before
		return Symbol{}, p.wrong("a symbol with offset and size, or an address")
	}
	w := p.word(" \t()")
	name, offset, named := strings.Cut(w, "+")
	if !named {
		digits, hex := strings.CutPrefix(w, "0x")
		if !hex {
			return bad()
		}
		addr, e := strconv.ParseUint(digits, 16, 64)
		if e != nil {
			return bad()
		}
		return Symbol{Addr: addr}, nil
	}
	if name == "" || !strings.HasPrefix(offset, "0x") {
		return bad()
	}
	s.Name = name
	// The module stands behind one blank; a column or a part never begins so.
	if p.take(" [") {
		if s.Module = p.word("[] \t()"); s.Module == "" || !p.take("]") {
			return s, p.wrong("the name of a module and ]")
		}
	}
	return s, nil
}
