package guest

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ftemu/emu"
)

// Addresses that Linux uses on x86-64.
const (
	// ModuleBase is where images go unless told otherwise, in the area for
	// modules.
	ModuleBase = 0xffffffffc0400000
	// FentryAddr is where calls to __fentry__, mcount and _mcount lead unless
	// Extern binds them: __fentry__ of the recorded kernel. A kernel has one
	// of the three, in one role.
	FentryAddr = 0xffffffff81076650
)

// maxImage bounds what the sections of one object may need in memory, in bytes.
const maxImage = 64 << 20

// LoadOptions say how to load an object. The zero value is usable.
type LoadOptions struct {
	// Name is the file's name in messages; "object" if empty.
	Name string
	// Base is the address of the first section of code; 0 means ModuleBase. It need
	// not be at a page's start: what comes before it in its page is filled up.
	Base uint64
	// Module is the module's name; if empty it is taken from .modinfo, or else
	// from Name.
	Module string
	// Extern gives the addresses of symbols that the object does not define. It is
	// asked once for each, in the order of the symbol table. Nil knows none.
	Extern func(name string) (addr uint64, ok bool)
	// Progress, if not nil, is told of each step of loading a kernel when it is
	// done: "unpack" of a bzImage, "segments", "symbols", "sites".
	Progress func(step string)
}

// Placeholders returns an Extern that knows every name (__fentry__ and mcount
// apart, see [FentryAddr]) and gives each an address of its own, 16 bytes apart,
// from base on: for looking at an object without running it.
func Placeholders(base uint64) func(string) (uint64, bool) {
	next := base
	return func(name string) (uint64, bool) {
		if isMCount(name) {
			return 0, false
		}
		next += 16
		return next - 16, true
	}
}

// Load reads an x86-64 relocatable object (.o, .ko) or a kernel. Of an object it
// places the sections, relocates them as the kernel's module loader does
// (apply_relocate_add) and turns the ftrace sites into nops (ftrace_module_init).
//
// Sections that occupy memory are grouped by permission, the .init ones apart,
// each group on pages of its own. Per-CPU data is placed as ordinary data.
//
// A linked kernel (vmlinux) or a bzImage that holds one is loaded at its own
// addresses, whatever opt.Base says: its symbols are those of the symbol table
// or, where it is stripped, of kallsyms; its sites are listed by __mcount_loc or
// between the symbols __start_mcount_loc and __stop_mcount_loc. What the kernel
// does to its code when it boots is left out, sites apart: alternatives are not
// applied, retpolines and return thunks stay.
//
// A file that cannot be loaded gives a [*LoadError]; missing symbols give an
// [*UndefinedError].
func Load(r io.ReaderAt, opt LoadOptions) (*Image, error) {
	if opt.Name == "" {
		opt.Name = "object"
	}
	if opt.Base == 0 {
		opt.Base = ModuleBase
	}
	l := &loader{opt: opt}
	var head [bzMagic + 4]byte
	if n, _ := r.ReadAt(head[:], 0); isBZImage(head[:n]) {
		return loadBZImage(r, opt)
	}
	switch t, err := l.checkHeader(r); {
	case err != nil:
		return nil, err
	case t == elf.ET_EXEC:
		return l.loadKernel(r, nil)
	case t == elf.ET_DYN:
		return nil, l.errorf("", "linked already (%v), expected a relocatable object (ET_REL) or a kernel (ET_EXEC)", t)
	case t != elf.ET_REL:
		return nil, l.errorf("", "%s, expected a relocatable object (ET_REL)", constName(t, "ELF type", uint64(t)))
	}
	if err := l.open(r); err != nil {
		return nil, err
	}
	l.module = opt.Module
	if l.module == "" {
		l.module = l.moduleName()
	}
	l.img = &Image{Name: opt.Name, Module: l.module, Symbols: &Symbols{}}
	for _, step := range []func() error{l.layOut, l.readRelocs, l.resolve, l.relocate, l.findSites} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l.img, nil
}

// LoadFile loads the object in the file at path. An empty opt.Name becomes path.
func LoadFile(path string, opt LoadOptions) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if opt.Name == "" {
		opt.Name = path
	}
	return Load(f, opt)
}

func (o *LoadOptions) done(step string) {
	if o.Progress != nil {
		o.Progress(step)
	}
}

// A loader is the state of one Load.
type loader struct {
	opt    LoadOptions
	module string
	file   *elf.File
	syms   []elf.Symbol // the symbol table; syms[0] is ELF's null symbol
	symtab int          // its section's index, -1 without one
	placed []placed     // by section index
	common []uint64     // address of each SHN_COMMON symbol, by symbol index
	values []uint64     // final value of each symbol, by symbol index
	relocs []reloc
	img    *Image
}

// placed is where a section went; ok is false for sections that take no memory.
type placed struct {
	ok   bool
	addr uint64
	data []byte
	perm emu.Perm
}

func (p placed) holds(addr uint64) bool { return p.ok && addr-p.addr < uint64(len(p.data)) }

// errorf makes a LoadError; at is the place or "".
func (l *loader) errorf(at, format string, args ...any) error {
	return &LoadError{File: l.opt.Name, Where: at, What: fmt.Sprintf(format, args...)}
}

// open checks that r is the kind of file we load and reads its tables.
func (l *loader) open(r io.ReaderAt) (err error) {
	// debug/elf is not hardened against every damaged file.
	defer func() {
		if p := recover(); p != nil {
			err = l.errorf("", "damaged ELF file: %v", p)
		}
	}()
	if l.file, err = elf.NewFile(r); err != nil {
		return l.errorf("", "damaged ELF file: %v", err)
	}
	l.symtab = -1
	for i, s := range l.file.Sections {
		if s.Type == elf.SHT_SYMTAB {
			l.symtab = i
			break
		}
	}
	if len(l.file.Sections) == 0 {
		return l.errorf("", "no sections")
	}
	syms, err := l.file.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return l.errorf("", "damaged symbol table: %v", err)
	}
	l.syms = append(make([]elf.Symbol, 1, len(syms)+1), syms...)
	return nil
}

// checkHeader looks at the ELF header's kind, class, order and machine, and returns
// the file's type.
func (l *loader) checkHeader(r io.ReaderAt) (elf.Type, error) {
	var h [20]byte
	n, err := r.ReadAt(h[:], 0)
	switch {
	case err != nil && err != io.EOF:
		return 0, fmt.Errorf("%s: %w", l.opt.Name, err)
	case n == 0:
		return 0, l.errorf("", "empty file")
	case n < 4 || string(h[:4]) != elf.ELFMAG:
		return 0, l.errorf("", "not an ELF file: begins with % x, expected 7f 45 4c 46", h[:min(n, 4)])
	case n < len(h):
		return 0, l.errorf("", "truncated: %d bytes, an ELF header has 64", n)
	}
	if c := elf.Class(h[elf.EI_CLASS]); c != elf.ELFCLASS64 {
		return 0, l.errorf("", "%s file, expected ELFCLASS64", constName(c, "ELF class", uint64(c)))
	}
	if d := elf.Data(h[elf.EI_DATA]); d != elf.ELFDATA2LSB {
		return 0, l.errorf("", "%s file, expected ELFDATA2LSB", constName(d, "ELF byte order", uint64(d)))
	}
	if m := elf.Machine(binary.LittleEndian.Uint16(h[18:])); m != elf.EM_X86_64 {
		return 0, l.errorf("", "code for %s, expected EM_X86_64", constName(m, "machine", uint64(m)))
	}
	return elf.Type(binary.LittleEndian.Uint16(h[16:])), nil
}

// constName is the name of an ELF constant, or its kind and number where
// debug/elf knows no name (it says "nearest name + distance" then).
func constName(c fmt.Stringer, kind string, v uint64) string {
	if s := c.String(); !strings.Contains(s, "+") {
		return s
	}
	return fmt.Sprintf("%s %d", kind, v)
}

// moduleName takes the name from .modinfo, or else from the file's name as the
// kernel's build does.
func (l *loader) moduleName() string {
	if s := l.file.Section(".modinfo"); s != nil && s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_COMPRESSED == 0 {
		info, _ := s.Data()
		for _, field := range strings.Split(string(info), "\x00") {
			if name, ok := strings.CutPrefix(field, "name="); ok && name != "" {
				return name
			}
		}
	}
	name := filepath.Base(l.opt.Name)
	name = strings.TrimSuffix(name, filepath.Ext(name))
	return strings.ReplaceAll(name, "-", "_")
}

// sectionName names a section for messages.
func (l *loader) sectionName(i int) string {
	if i >= 0 && i < len(l.file.Sections) {
		if n := l.file.Sections[i].Name; n != "" {
			return n
		}
	}
	return fmt.Sprintf("section %d", i)
}
