// Package layout reads trampolines of one's own: text files in a small
// vocabulary ([Parse]), and assembled objects ([ReadObject]). Both are
// trampoline.Makers, so that they can be listed, drawn, checked, compared and
// used by scenarios like the built-in ones.
//
// A layout has one statement a line; # begins a comment. The declarations come
// first, then the steps in the order in which they are executed, the last of
// which leaves:
//
//	layout NAME                   its name
//	args N                        N argument registers reach the traced function (default: all six, and rax)
//	exclusive                     it runs the body even if its return slot holds something else
//	frame [SIZE] [rbp]            bytes below the return slot (default: what the slots need); rbp: with a frame pointer
//	slot NAME SIZE [at OFFSET]    a part of the frame; OFFSET is from rsp, default: behind the slot before it
//
//	save REG...                   store registers in the slots that have their names
//	save REG in SLOT              store a register
//	restore REG...                load registers from the slots that have their names
//	restore REG from SLOT         load a register
//	set SLOT|return|result VALUE  store a value in a slot or in the return slot, or make it the result (rax)
//	call NAME(VALUE, ...)         call a function by name, with at most six arguments
//	call original                 call what the return slot holds
//	call body                     call what is behind the site, whatever the return slot holds
//	leave to return               return to what the return slot holds: into the body as a rule
//	leave to parent               drop the return slot and return to the traced function's caller
//	leave to body                 drop the return slot and jump behind the site
//	leave to NAME                 jump to a function, which finds the return slot as it was
//
// REG is one of the general registers but rsp, or flags. VALUE is a number, a
// SLOT's content, &SLOT, &frame or &return for an address, or one of
//
//	return    what the return slot holds: the address behind the site, or what a livepatch put there
//	site      the address of the site: return less 5
//	parent    the return address of the traced function
//	result    rax: what the function called last has returned
//	id        the trampoline's number, for functions that log
//
// A slot named ip whose address a function is given (by itself or with &frame)
// holds the address to go on at, which the function may change, as ftrace
// callbacks do. r11 is used for values on their way between slots.
package layout

import (
	"fmt"
	"slices"

	"ftemu/trampoline"
)

// MaxFrame is the largest size of a frame in bytes: a page, a quarter of a
// kernel stack.
const MaxFrame = 4096

// An Error says what is wrong with a layout, and where.
type Error struct {
	File string
	Line int
	Err  error
}

// Error gives the place, what was found there and what was expected.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the error without the place.
func (e *Error) Unwrap() error { return e.Err }

// A Layout is a parsed layout.
type Layout struct {
	file      string
	name      string
	args      int // -1: all six, and rax
	exclusive bool
	pointer   bool // rbp is the frame pointer
	size      int64
	slots     []slot
	steps     []step
}

// A slot is a part of the frame.
type slot struct {
	name string
	off  int64 // from rsp
	size int64
	line int
}

// A step is one statement that makes code.
type step struct {
	line   int
	text   string // as written
	op     stepOp
	reg    register
	slot   int // index, for save and restore
	place  place
	value  value
	target string // of a call or leave by name
	args   []value
}

type stepOp uint8

const (
	opSave stepOp = iota
	opRestore
	opSet
	opCall         // a function by name
	opCallOriginal // what the return slot holds
	opCallBody
	opToReturn
	opToParent
	opToBody
	opToName
)

// leaves tells whether the step ends the layout.
func (s stepOp) leaves() bool { return s >= opToReturn }

// calls tells whether the step calls something.
func (s stepOp) calls() bool { return s == opCall || s == opCallOriginal || s == opCallBody }

// A register is a general register, or the flags.
type register struct {
	reg   trampoline.Reg
	flags bool
}

// A value is what an argument or set may be.
type value struct {
	kind valueKind
	num  uint64 // of isNumber
	slot int    // of isSlot and isAddress; -1 there: the whole frame, see isFrame
}

type valueKind uint8

const (
	isNumber valueKind = iota
	isSlot
	isAddress
	isFrame     // address of the frame
	isReturnPtr // address of the return slot
	isReturn
	isSite
	isParent
	isResult
	isID
)

// A place is where set stores.
type place struct {
	kind placeKind
	slot int
}

type placeKind uint8

const (
	toSlot placeKind = iota
	toReturn
	toResult
)

// Name is the layout's name.
func (l *Layout) Name() string { return l.name }

// depth is the distance from rsp while a step executes up to the return slot.
func (l *Layout) depth() int64 {
	if l.pointer {
		return l.size + 8
	}
	return l.size
}

// Contract is what the layout promises: the ABI in full unless it says
// otherwise.
func (l *Layout) Contract() trampoline.Contract {
	c := trampoline.Contract{Args: l.args, Align: callAlign, Exclusive: l.exclusive}
	if l.args < 0 {
		c.Args, c.RAX = maxArgs, true
	}
	ip := slices.IndexFunc(l.slots, func(s slot) bool { return s.name == ipSlot })
	for _, s := range l.steps {
		if s.op == opSet && s.place.kind == toReturn {
			c.WritesReturn = true
		}
		for _, a := range s.args {
			switch {
			case a.kind == isReturnPtr:
				c.IP = trampoline.Word{Off: 0, Has: true}
			case ip >= 0 && (a.kind == isFrame || a.kind == isAddress && a.slot == ip):
				c.IP = trampoline.Word{Off: l.slots[ip].off - l.depth(), Has: true}
			}
		}
	}
	return c
}

// ipSlot is the slot that holds the address to go on at.
const ipSlot = "ip"

// Frame names the words of the frame.
func (l *Layout) Frame() []trampoline.Slot {
	var out []trampoline.Slot
	for _, s := range l.slots {
		out = append(out, trampoline.Slot{Name: s.name, Off: s.off - l.depth(), Size: s.size})
	}
	if l.pointer {
		out = append(out, trampoline.Slot{Name: "saved rbp", Off: -8, Size: 8})
	}
	return out
}
