package x86

import "errors"

// ErrTruncated is returned for bytes that end inside an instruction, and
// ErrUnknown for bytes that are no instruction this package knows.
var (
	ErrTruncated = errors.New("truncated instruction")
	ErrUnknown   = errors.New("unknown instruction")
)

// A SymLookup names an address: the symbol that covers it and the distance
// from the symbol's start. ok is false where there is none.
type SymLookup func(addr uint64) (name string, offset uint64, ok bool)
