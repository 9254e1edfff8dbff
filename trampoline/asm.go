package trampoline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// What can be wrong with code; every error of this package wraps one of these.
var (
	ErrReach       = errors.New("out of reach")        // a displacement does not fit its field
	ErrTooLarge    = errors.New("too large")           // the code exceeds its room
	ErrLabel       = errors.New("bad label")           // a label is missing or defined twice
	ErrUnsupported = errors.New("not supported")       // the layout cannot express what was asked (-ENOTSUPP)
	ErrInvalid     = errors.New("invalid description") // the description contradicts itself (-EINVAL)
)

// DefaultLimit is the room that code gets unless another is set, in bytes: one page.
const DefaultLimit = 4096

// A RefKind says how code refers to an address.
type RefKind uint8

// The kinds of references.
const (
	RefCall   RefKind = iota + 1 // call rel32
	RefJmp                       // jmp rel32
	RefRIPRel                    // a RIP-relative memory operand
	RefImm64                     // a 64-bit immediate
	RefQuad                      // a 64-bit word of data
)

// String returns the kind as listings print it.
func (k RefKind) String() string {
	if k >= RefCall && k <= RefQuad {
		return [...]string{"call", "jmp", "riprel", "imm64", "quad"}[k-1]
	}
	return fmt.Sprintf("RefKind(%d)", uint8(k))
}

// A Ref is one reference from code to an address. Off is the offset of the
// instruction or word that makes it.
type Ref struct {
	Off    uint64
	Kind   RefKind
	Target uint64
}

// A Note is a comment for listings on the instruction at offset Off.
type Note struct {
	Off  uint64
	Text string
}

// A Span is a run of bytes that are not instructions: data, or filler that
// nothing executes.
type Span struct {
	Off, Len uint64
}

// Code is finished machine code for one address.
type Code struct {
	Name   string // what it is, for messages and listings
	Addr   uint64
	Bytes  []byte
	Labels map[string]uint64 // offsets from Addr
	Refs   []Ref             // ascending by offset
	Notes  []Note            // ascending by offset
	Data   []Span            // ascending by offset
	// Frame names the words of the stack frame, for BPF images: other layouts
	// have one frame each, which Builtin.Frame knows.
	Frame []Slot
}

// Label returns the address of a label.
func (c Code) Label(name string) (addr uint64, ok bool) {
	off, ok := c.Labels[name]
	return c.Addr + off, ok
}

// LabelNames lists the labels by ascending offset, by name where equal.
func (c Code) LabelNames() []string {
	return slices.SortedFunc(maps.Keys(c.Labels), func(a, b string) int {
		if c.Labels[a] != c.Labels[b] {
			if c.Labels[a] < c.Labels[b] {
				return -1
			}
			return 1
		}
		if a < b {
			return -1
		}
		return 1
	})
}

// A fixup is a displacement field to fill in when its label is known.
type fixup struct {
	insn  uint64 // offset of the instruction, for messages and references
	off   uint64 // offset of the field
	size  int    // of the field: 1 or 4 bytes
	label string
	kind  RefKind // 0: a branch inside the code, not recorded
}

// Asm emits code for one address. Its methods each append one instruction,
// named after it; where an instruction has several encodings, the name or the
// comment says which is taken. The first thing that goes wrong is kept and
// returned by [Asm.Code]; what follows it does not matter.
type Asm struct {
	// Limit is the largest size of the code in bytes; 0 is DefaultLimit.
	Limit int

	name   string
	addr   uint64
	code   []byte
	labels map[string]uint64
	fixups []fixup
	refs   []Ref
	notes  []Note
	data   []Span
	err    error
}

// NewAsm returns an emitter for code at addr. The name is for error messages
// and listings.
func NewAsm(name string, addr uint64) *Asm {
	return &Asm{name: name, addr: addr, labels: make(map[string]uint64)}
}

// fail keeps the first error.
func (a *Asm) fail(off uint64, sentinel error, format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf("%s at %#x: +%#x: %s: %w", a.name, a.addr, off, fmt.Sprintf(format, args...), sentinel)
	}
}

// Off is the offset of the next instruction.
func (a *Asm) Off() uint64 { return uint64(len(a.code)) }

// Addr is the address of the next instruction.
func (a *Asm) Addr() uint64 { return a.addr + a.Off() }

// Label names the offset of the next instruction.
func (a *Asm) Label(name string) {
	if _, dup := a.labels[name]; dup {
		a.fail(a.Off(), ErrLabel, "label %s is defined twice", name)
		return
	}
	a.labels[name] = a.Off()
}

// Note comments on the next instruction.
func (a *Asm) Note(format string, args ...any) {
	a.notes = append(a.notes, Note{a.Off(), fmt.Sprintf(format, args...)})
}

// Code fills in the displacements and returns what was emitted, or the first
// error.
func (a *Asm) Code() (Code, error) {
	for _, f := range a.fixups {
		a.fix(f)
	}
	limit := a.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if len(a.code) > limit {
		a.fail(uint64(limit), ErrTooLarge, "%d bytes, room for %d", len(a.code), limit)
	}
	if a.err != nil {
		return Code{}, a.err
	}
	slices.SortStableFunc(a.refs, func(x, y Ref) int { return int(x.Off) - int(y.Off) })
	return Code{Name: a.name, Addr: a.addr, Bytes: a.code, Labels: a.labels, Refs: a.refs, Notes: a.notes, Data: a.data}, nil
}

func (a *Asm) fix(f fixup) {
	target, ok := a.labels[f.label]
	if !ok {
		a.fail(f.insn, ErrLabel, "label %s is not defined", f.label)
		return
	}
	// Displacements count from the end of the instruction, which in all forms
	// here is the end of the field.
	d := int64(target) - int64(f.off) - int64(f.size)
	switch f.size {
	case 1:
		if d < math.MinInt8 || d > math.MaxInt8 {
			a.fail(f.insn, ErrReach, "short jump to %s is %d bytes, at most 127 fit", f.label, d)
			return
		}
		a.code[f.off] = byte(d)
	case 4:
		binary.LittleEndian.PutUint32(a.code[f.off:], uint32(int32(d)))
	}
	if f.kind != 0 {
		a.refs = append(a.refs, Ref{f.insn, f.kind, a.addr + target})
	}
}

// Filler emits n bytes b that nothing executes.
func (a *Asm) Filler(b byte, n int) {
	a.data = append(a.data, Span{a.Off(), uint64(n)})
	a.bytes(bytes.Repeat([]byte{b}, n)...)
}

// bytes appends raw bytes.
func (a *Asm) bytes(b ...byte) { a.code = append(a.code, b...) }

func (a *Asm) imm32(v uint32) { a.code = binary.LittleEndian.AppendUint32(a.code, v) }
func (a *Asm) imm64(v uint64) { a.code = binary.LittleEndian.AppendUint64(a.code, v) }

// rel32 appends the displacement from the end of the field to target, for the
// instruction that began at offset insn.
func (a *Asm) rel32(insn uint64, kind RefKind, target uint64) {
	d := int64(target - (a.Addr() + 4))
	if d != int64(int32(d)) {
		a.fail(insn, ErrReach, "%s to %#x: 32 bits do not reach", kind, target)
	}
	a.imm32(uint32(int32(d)))
	a.refs = append(a.refs, Ref{insn, kind, target})
}

// toLabel appends an empty displacement field that Code fills in.
func (a *Asm) toLabel(insn uint64, size int, label string, kind RefKind) {
	a.fixups = append(a.fixups, fixup{insn: insn, off: a.Off(), size: size, label: label, kind: kind})
	a.bytes(make([]byte, size)...)
}
