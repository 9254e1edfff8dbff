package layout

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"

	"ftemu/emu"
	"ftemu/guest"
	"ftemu/trampoline"
)

// DefaultEntry is the symbol that an object is entered at unless another is
// named.
const DefaultEntry = "trampoline"

// Absolute symbols by which an object says what it promises; see
// [Object.Contract].
const (
	argsSymbol      = "ftemu_args"
	exclusiveSymbol = "ftemu_exclusive"
)

// bodySymbol is what an object calls the address behind the site.
const bodySymbol = "body"

// lookBase is where undefined symbols go while an object is only looked at.
const lookBase = 0xffffffff82000000

// An Object is a trampoline in an assembled object. What it calls is found by
// name; the undefined symbol "body" is the address behind the site.
type Object struct {
	name     string
	entry    string
	data     []byte
	contract trampoline.Contract
}

// ReadObject looks for the symbol entry ("": DefaultEntry) in an object; file is
// its name for messages.
func ReadObject(file string, data []byte, entry string) (*Object, error) {
	if entry == "" {
		entry = DefaultEntry
	}
	o := &Object{name: file, entry: entry, data: data}
	img, err := o.load(guest.ModuleBase, guest.Placeholders(lookBase))
	if err != nil {
		return nil, err
	}
	if _, _, err := o.find(img); err != nil {
		return nil, err
	}
	if err := o.promise(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Object) load(base uint64, extern func(string) (uint64, bool)) (*guest.Image, error) {
	return guest.Load(bytes.NewReader(o.data), guest.LoadOptions{Name: o.name, Base: base, Extern: extern})
}

// find returns the entry and its executable bytes: as many as its symbol has, or
// where that has no size all that follow in its section.
func (o *Object) find(img *guest.Image) (addr uint64, code []byte, err error) {
	addr, ok := img.Symbols.Lookup(o.entry)
	if !ok {
		var names []string
		for _, s := range img.Symbols.All() {
			if s.Func {
				names = append(names, s.Name)
			}
		}
		has := "no functions"
		if names != nil {
			has = strings.Join(names, ", ")
		}
		return 0, nil, fmt.Errorf("%s: no entry symbol %q, found %s", o.name, o.entry, has)
	}
	for _, s := range img.Sections {
		if s.Perm&emu.PermX != 0 && addr-s.Addr < s.Size {
			size := s.Addr + s.Size - addr
			if sym, ok := img.Symbols.At(addr); ok && sym.Addr == addr && sym.Size > 0 {
				size = sym.Size
			}
			code, err = img.Bytes(addr, size)
			return addr, code, err
		}
	}
	return 0, nil, fmt.Errorf("%s: entry symbol %q at %#x is not in executable code", o.name, o.entry, addr)
}

// promise reads the object's contract from its absolute symbols, which are no
// part of an image. The object has been loaded once, so that its tables can be
// read.
func (o *Object) promise() error {
	f, err := elf.NewFile(bytes.NewReader(o.data))
	if err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	syms, err := f.Symbols()
	if err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	o.contract = trampoline.Contract{Args: maxArgs, RAX: true, Align: callAlign, WritesReturn: true}
	for _, s := range syms {
		switch {
		case s.Section != elf.SHN_ABS:
		case s.Name == argsSymbol && s.Value > maxArgs:
			return fmt.Errorf("%s: %s is %d, expected 0 to %d: trampolines of Linux 6.1 take no more", o.name, argsSymbol, s.Value, maxArgs)
		case s.Name == argsSymbol:
			o.contract.Args, o.contract.RAX = int(s.Value), false
		case s.Name == exclusiveSymbol:
			o.contract.Exclusive = s.Value != 0
		}
	}
	return nil
}

// Name is the file's name, with the entry symbol where it is not the default.
func (o *Object) Name() string {
	if o.entry == DefaultEntry {
		return o.name
	}
	return o.name + ":" + o.entry
}

// Contract is the ABI in full unless the object defines absolute symbols:
// ftemu_args is the number of arguments of the functions that it is for, and
// ftemu_exclusive says, if not 0, that it runs the body even if its return slot
// holds something else.
func (o *Object) Contract() trampoline.Contract { return o.contract }

// Frame is nil: an object does not name the words of its frame.
func (o *Object) Frame() []trampoline.Slot { return nil }

// Make loads the object, with its code at e.Addr.
func (o *Object) Make(e trampoline.Env) (trampoline.Placed, error) {
	sym := symbols{env: e}
	img, err := o.load(e.Addr, sym.lookup)
	switch {
	case sym.err != nil:
		return trampoline.Placed{}, fmt.Errorf("%s: %w", o.name, sym.err)
	case err != nil:
		return trampoline.Placed{}, err
	}
	addr, code, err := o.find(img)
	if err != nil {
		return trampoline.Placed{}, err
	}
	p := trampoline.Placed{Code: trampoline.Code{Name: o.Name(), Addr: addr, Bytes: code, Labels: labels(img, addr, code)}}
	for _, s := range img.Segments {
		p.Segments = append(p.Segments, trampoline.Segment{Name: s.Name, Addr: s.Addr, Data: s.Data, Perm: s.Perm})
	}
	return p, nil
}

// labels are the symbols inside of code, by offset.
func labels(img *guest.Image, addr uint64, code []byte) map[string]uint64 {
	out := make(map[string]uint64)
	for _, s := range img.Symbols.All() {
		if off := s.Addr - addr; s.Name != "" && off < uint64(len(code)) {
			out[s.Name] = off
		}
	}
	return out
}

// symbols finds what an object does not define.
type symbols struct {
	env trampoline.Env
	err error // the first that the environment gave
}

func (s *symbols) lookup(name string) (uint64, bool) {
	if name == bodySymbol && s.env.Body != 0 {
		return s.env.Body, true
	}
	addr, err := s.env.Symbol(name)
	if err != nil && s.err == nil {
		s.err = err
	}
	return addr, err == nil
}
