// Package guest holds guest images: code and data placed at addresses, with
// their symbols and their patchable sites. Images come from ELF objects
// ([Load]) or are built in ([Oracle]). The package knows nothing of
// registrations or tracing.
package guest

import (
	"bytes"
	"fmt"
	"slices"

	"ftemu/emu"
)

// An Image is a guest program placed at its addresses, relocated, its sites
// turned to nops as the kernel does when it boots or loads a module.
type Image struct {
	Name     string // what it was loaded from, for messages
	Module   string // module name as listings print it in brackets, "" for the core kernel
	Segments []Segment
	Sections []Section // what the segments are made of, in their order
	Symbols  *Symbols  // what the image defines
	Relocs   []Reloc   // what was relocated, ascending by address
	// Sites are the ftrace sites, ascending by address: what __mcount_loc
	// lists, in the state the kernel would leave them after its own
	// conversion to nops.
	Sites []Site
	// Padding are patchable places that are no ftrace sites: the compiler's
	// room for other uses, or nops that the kernel does not recognise.
	Padding []Site
	// Params are the sizes in bytes of the parameters of functions, by name, as
	// far as they are known. A built-in image knows those of its own.
	Params map[string][]int
	// Kernel is not nil where the image is a whole kernel.
	Kernel *Kernel
}

// A Segment is a piece of an image with one set of permissions.
type Segment struct {
	Name string
	Addr uint64
	Data []byte
	Size uint64 // in memory, in bytes, where that is more than Data: the rest is zero
	Perm emu.Perm
}

// A Section is a named part of a segment.
type Section struct {
	Name string
	Addr uint64
	Size uint64
	Perm emu.Perm
}

// A Reloc is a place that the loader changed to make it refer to a symbol.
type Reloc struct {
	Addr   uint64
	Type   string // as the ABI names it: R_X86_64_PLT32
	Width  int    // bytes changed
	Symbol string // for a section's symbol the section's name
	Addend int64
	Value  uint64 // the symbol's value
}

// A SiteKind says how the compiler made a site.
type SiteKind uint8

// The kinds of sites.
const (
	FentryCall SiteKind = iota + 1 // call __fentry__ before the prologue (-pg -mfentry)
	FentryNop                      // a five-byte nop in its place (-mnop-mcount)
	MCountCall                     // call mcount after the prologue (-pg -mno-fentry): the caller's address is at 8(%rbp), not at (%rsp)
	Patchable                      // five one-byte nops (-fpatchable-function-entry=N,M with N-M of 5)
	PadBefore                      // nops in front of the function: no ftrace site
	OtherNop                       // a nop that the kernel's check refuses: no ftrace site
)

// String returns the kind as listings print it.
func (k SiteKind) String() string {
	names := [...]string{FentryCall: "fentry-call", FentryNop: "fentry-nop", MCountCall: "mcount-call", Patchable: "patchable", PadBefore: "padding", OtherNop: "other-nop"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("SiteKind(%d)", uint8(k))
}

// A Site is a place that the compiler left to be patched.
type Site struct {
	IP     uint64 // address of its first byte
	Func   string // the function it belongs to
	Offset int64  // of IP from the function's symbol; negative for padding in front of it
	Kind   SiteKind
	Bytes  []byte // as in the file, relocated, before conversion to a nop
	// Invalid says that no function begins here: a kernel's ftrace leaves the
	// site alone (ftrace_check_for_weak_functions).
	Invalid bool
}

// Name is the site's name as available_filter_functions prints it: the function,
// or for an invalid site one made of its offset.
func (s Site) Name() string {
	if s.Invalid {
		return fmt.Sprintf("__ftrace_invalid_address___%d", s.Offset)
	}
	return s.Func
}

// Map puts the image into memory. If it fails memory is as it was.
func (img *Image) Map(mem *emu.Memory) error {
	for i, s := range img.Segments {
		if err := s.mapInto(mem); err != nil {
			for _, done := range img.Segments[:i] {
				mem.Unmap(done.Addr)
			}
			return err
		}
	}
	return nil
}

func (s Segment) mapInto(mem *emu.Memory) error {
	if err := mem.Map(s.Addr, s.pages(), s.Perm, s.Name); err != nil {
		return err
	}
	// What is mapped is zero: pages that stay so need no memory of their own.
	var zero [emu.PageSize]byte
	for off := 0; off < len(s.Data); {
		end := off
		for end < len(s.Data) && !bytes.HasPrefix(zero[:], s.Data[end:min(end+emu.PageSize, len(s.Data))]) {
			end += emu.PageSize
		}
		if end > off {
			if err := mem.Write(s.Addr+uint64(off), s.Data[off:min(end, len(s.Data))]); err != nil {
				return err
			}
		}
		off = end + emu.PageSize
	}
	return nil
}

// pages is the segment's size in memory, in whole pages.
func (s Segment) pages() uint64 {
	return (max(uint64(len(s.Data)), s.Size) + emu.PageSize - 1) &^ (emu.PageSize - 1)
}

// MemorySize is how many bytes Map takes.
func (img *Image) MemorySize() uint64 {
	total := uint64(0)
	for _, s := range img.Segments {
		total += s.pages()
	}
	return total
}

// Bytes returns a copy of n bytes of the image at addr, which must be in one segment.
func (img *Image) Bytes(addr, n uint64) ([]byte, error) {
	for _, s := range img.Segments {
		if off := addr - s.Addr; off < uint64(len(s.Data)) && n <= uint64(len(s.Data))-off {
			return slices.Clone(s.Data[off : off+n]), nil
		}
	}
	return nil, fmt.Errorf("%s: %d bytes at %#x are not in the image", img.Name, n, addr)
}
