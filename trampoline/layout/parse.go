package layout

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"ftemu/trampoline"
)

// maxArgs is the number of arguments that registers carry: what a call can
// pass, and what trampolines of Linux 6.1 can take.
const maxArgs = 6

// maxLine is the longest line of a layout, maxSteps the largest number of steps.
const (
	maxLine  = 4 << 10
	maxSteps = 4096
)

// reserved are the words that have a meaning of their own where a slot or
// function could be named.
var reserved = map[string]valueKind{"return": isReturn, "site": isSite, "parent": isParent, "result": isResult, "id": isID}

// Parse reads a layout. The error is a *Error, or one of reading. A layout
// that parses may still call with a misaligned stack: see [Layout.CheckAlignment].
func Parse(file string, r io.Reader) (*Layout, error) {
	p := &parser{l: &Layout{file: file, args: -1, size: -1}}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 0
	for sc.Scan() {
		n++
		if err := p.line(n, sc.Text()); err != nil {
			return nil, &Error{file, n, err}
		}
	}
	if err := sc.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, &Error{file, n + 1, fmt.Errorf("a line of more than %d bytes", maxLine)}
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := p.finish(); err != nil {
		return nil, &Error{file, max(n, 1), err}
	}
	return p.l, nil
}

type parser struct {
	l       *Layout
	n       int    // the present line
	text    string // and its words
	sized   int64  // what frame gave, if hasSize
	hasSize bool
	framed  bool // there was a frame statement
	ready   bool // the declarations are complete
	filled  []bool
}

// statements are the vocabulary. A declaration must precede the steps.
var statements = map[string]struct {
	usage   string
	declare bool
	parse   func(p *parser, args []string) error
}{
	"layout":    {"layout NAME", true, (*parser).layout},
	"args":      {"args N", true, (*parser).args},
	"exclusive": {"exclusive", true, (*parser).exclusive},
	"frame":     {"frame [SIZE] [rbp]", true, (*parser).frame},
	"slot":      {"slot NAME SIZE [at OFFSET]", true, (*parser).slot},
	"save":      {"save REG... or save REG in SLOT", false, (*parser).save},
	"restore":   {"restore REG... or restore REG from SLOT", false, (*parser).restore},
	"set":       {"set SLOT|return|result VALUE", false, (*parser).set},
	"call":      {"call NAME(VALUE, ...), call original or call body", false, (*parser).call},
	"leave":     {"leave to return|parent|body|NAME", false, (*parser).leave},
}

// errUsage asks for the statement's usage in the message.
var errUsage = errors.New("usage")

func (p *parser) line(n int, text string) error {
	p.n = n
	text, _, _ = strings.Cut(text, "#")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil
	}
	s, ok := statements[fields[0]]
	if !ok {
		return fmt.Errorf("found %q, expected layout, args, exclusive, frame, slot, save, restore, set, call or leave", fields[0])
	}
	switch {
	case s.declare && p.ready:
		return fmt.Errorf("%s after the first step, expected it before", fields[0])
	case p.left():
		return fmt.Errorf("%s after leave, expected nothing behind it", fields[0])
	case !s.declare && !p.ready:
		if err := p.layOut(); err != nil {
			return err
		}
	}
	p.text = strings.Join(fields, " ")
	err := s.parse(p, fields[1:])
	if err == errUsage {
		return fmt.Errorf("found %q, expected %s", p.text, s.usage)
	}
	if len(p.l.steps) > maxSteps {
		return fmt.Errorf("more than %d steps", maxSteps)
	}
	return err
}

func (p *parser) left() bool {
	n := len(p.l.steps)
	return n > 0 && p.l.steps[n-1].op.leaves()
}

func (p *parser) layout(args []string) error {
	switch {
	case len(args) != 1:
		return errUsage
	case p.l.name != "":
		return fmt.Errorf("a second name %q, it is %q already", args[0], p.l.name)
	case !isName(args[0]):
		return fmt.Errorf("%q is no name, expected letters, digits, _ and -", args[0])
	}
	p.l.name = args[0]
	return nil
}

func (p *parser) args(args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	n, err := number(args[0])
	if err != nil {
		return err
	}
	if n < 0 || n > maxArgs {
		return fmt.Errorf("args %s, expected 0 to %d: trampolines of Linux 6.1 take no more", args[0], maxArgs)
	}
	p.l.args = int(n)
	return nil
}

func (p *parser) exclusive(args []string) error {
	if len(args) != 0 {
		return errUsage
	}
	p.l.exclusive = true
	return nil
}

func (p *parser) frame(args []string) error {
	if p.framed {
		return fmt.Errorf("a second frame, expected one")
	}
	p.framed = true
	if len(args) > 0 && args[len(args)-1] == "rbp" {
		p.l.pointer = true
		args = args[:len(args)-1]
	}
	switch len(args) {
	case 0:
		return nil
	case 1:
	default:
		return errUsage
	}
	n, err := number(args[0])
	if err != nil {
		return err
	}
	p.sized, p.hasSize = n, true
	return checkSize("frame", n)
}

// checkSize checks the size of a frame, or of what is in it.
func checkSize(what string, n int64) error {
	switch {
	case n < 0:
		return fmt.Errorf("%s of %d bytes, expected 0 to %d", what, n, MaxFrame)
	case n > MaxFrame:
		return fmt.Errorf("%s of %#x bytes, expected at most a page (%#x)", what, n, MaxFrame)
	case n%8 != 0:
		return fmt.Errorf("%s of %#x bytes, expected a multiple of 8", what, n)
	}
	return nil
}

func (p *parser) slot(args []string) error {
	if len(args) != 2 && (len(args) != 4 || args[2] != "at") {
		return errUsage
	}
	s := slot{name: args[0], line: p.n}
	if _, bad := reserved[s.name]; bad || s.name == "frame" {
		return fmt.Errorf("a slot cannot be named %s, which has a meaning of its own", s.name)
	}
	if !isName(s.name) {
		return fmt.Errorf("%q is no name, expected letters, digits, _ and -", s.name)
	}
	if i := p.find(s.name); i >= 0 {
		return fmt.Errorf("a second slot %s, the first is in line %d", s.name, p.l.slots[i].line)
	}
	var err error
	if s.size, err = number(args[1]); err != nil {
		return err
	}
	if s.size < 1 || s.size > MaxFrame {
		return fmt.Errorf("slot %s of %d bytes, expected 1 to %d", s.name, s.size, MaxFrame)
	}
	if n := len(p.l.slots); n > 0 {
		last := p.l.slots[n-1]
		s.off = (last.off + last.size + 7) &^ 7
	}
	if len(args) == 4 {
		if s.off, err = number(args[3]); err != nil {
			return err
		}
	}
	if s.off < 0 || s.off > MaxFrame-s.size {
		return fmt.Errorf("slot %s of %#x bytes at %#x, expected a frame of at most a page (%#x)", s.name, s.size, s.off, MaxFrame)
	}
	for _, o := range p.l.slots {
		if s.off < o.off+o.size && o.off < s.off+s.size {
			return fmt.Errorf("slot %s at %#x to %#x overlaps slot %s at %#x to %#x (line %d)",
				s.name, s.off, s.off+s.size-1, o.name, o.off, o.off+o.size-1, o.line)
		}
	}
	p.l.slots = append(p.l.slots, s)
	return nil
}

// find returns the index of a slot, -1 if there is none.
func (p *parser) find(name string) int {
	return slices.IndexFunc(p.l.slots, func(s slot) bool { return s.name == name })
}

// slotNamed finds a slot that must exist.
func (p *parser) slotNamed(name string) (int, error) {
	i := p.find(name)
	if i < 0 {
		var names []string
		for _, s := range p.l.slots {
			names = append(names, s.name)
		}
		if names == nil {
			return 0, fmt.Errorf("unknown slot %q, there are none", name)
		}
		return 0, fmt.Errorf("unknown slot %q, expected %s", name, strings.Join(names, ", "))
	}
	return i, nil
}

// layOut ends the declarations: the slots must be inside the frame.
func (p *parser) layOut() error {
	p.ready = true
	p.filled = make([]bool, len(p.l.slots))
	end, last := int64(0), ""
	for _, s := range p.l.slots {
		if s.off+s.size > end {
			end, last = s.off+s.size, s.name
		}
	}
	if !p.hasSize {
		p.l.size = (end + 7) &^ 7
		return nil
	}
	if end > p.sized {
		return fmt.Errorf("slot %s ends at %#x, the frame has %#x bytes", last, end, p.sized)
	}
	p.l.size = p.sized
	return nil
}

// finish checks what can be seen only at the end.
func (p *parser) finish() error {
	switch {
	case p.l.name == "":
		return fmt.Errorf("no name, expected layout NAME")
	case !p.left():
		return fmt.Errorf("the last step does not leave, expected leave to return, parent, body or a name")
	}
	if !p.hasSize && p.l.callsAny() && p.l.depth()%callAlign != 0 {
		p.l.size += 8
		return checkSize("frame", p.l.size)
	}
	return nil
}

// number reads a number: decimal or 0x.
func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("found %q, expected a number", s)
	}
	return n, nil
}

// isName tells whether s can name a layout, slot or function.
func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// registers are the registers by name; rsp is the frame's own.
var registers = map[string]register{
	"rax": {reg: trampoline.RAX}, "rcx": {reg: trampoline.RCX}, "rdx": {reg: trampoline.RDX}, "rbx": {reg: trampoline.RBX},
	"rbp": {reg: trampoline.RBP}, "rsi": {reg: trampoline.RSI}, "rdi": {reg: trampoline.RDI}, "r8": {reg: trampoline.R8},
	"r9": {reg: trampoline.R9}, "r10": {reg: trampoline.R10}, "r11": {reg: trampoline.R11}, "r12": {reg: trampoline.R12},
	"r13": {reg: trampoline.R13}, "r14": {reg: trampoline.R14}, "r15": {reg: trampoline.R15}, "flags": {flags: true},
	"result": {reg: trampoline.RAX},
}
