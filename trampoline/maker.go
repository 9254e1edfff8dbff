package trampoline

import "ftemu/emu"

// A Maker makes one trampoline for the place where it is wanted: a built-in
// one ([Builtin]), a layout of one's own or an object ([ftemu/trampoline/layout]).
type Maker interface {
	// Name is what messages call it.
	Name() string
	// Make makes it. The same Env gives the same bytes.
	Make(e Env) (Placed, error)
	// Contract is what it promises to the functions it traces.
	Contract() Contract
	// Frame names the words of its stack frame, in any order; nil where
	// nobody has named them.
	Frame() []Slot
}

// An Env is the surroundings that a trampoline is made for.
type Env struct {
	Addr uint64 // where it goes
	Body uint64 // the address behind the site; 0 where it serves no particular one
	ID   uint64 // handed to functions that log, so that they know the trampoline
	// Symbol gives the address of a function or variable by name.
	Symbol func(name string) (uint64, error)
	Return Return
}

// Placed is a trampoline that has its address.
type Placed struct {
	Code Code // the code that is entered, from its first instruction on
	// Segments are all of its memory, Code included. Nil means that Code is
	// all there is.
	Segments []Segment
}

// A Segment is memory with its content.
type Segment struct {
	Name string
	Addr uint64
	Data []byte
	Perm emu.Perm
}

// A Contract is what a trampoline promises.
type Contract struct {
	// Args is the number of argument registers that reach the traced function
	// unchanged.
	Args int
	// RAX says that rax reaches it too, which counts for variadic functions.
	RAX bool
	// Align is what divides rsp at each call: 16 in the System V ABI, 8 in
	// the kernel, which is compiled with -mpreferred-stack-boundary=3.
	Align uint64
	// Exclusive says that it does not share: it runs the body of the function
	// whatever its return slot holds.
	Exclusive bool
	// WritesReturn says that it stores to the return slot.
	WritesReturn bool
	// IP is a word that holds the address to go on at, and that a function
	// which the trampoline calls may change.
	IP Word
	// Direct is a word in which a function that the trampoline calls may leave
	// the address of a direct trampoline to go to.
	Direct Word
}

// A Word is a word of the stack by its distance in bytes from the return slot,
// negative below it. Unless Has is set there is none.
type Word struct {
	Off int64
	Has bool
}

// A Slot is a named part of a stack frame.
type Slot struct {
	Name string
	Off  int64 // from the return slot, negative below it
	Size int64 // in bytes
}
