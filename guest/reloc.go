package guest

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"

	"ftemu/emu"
)

// shnLivepatch is the section index of a livepatch's symbols, which the kernel
// resolves when it applies the patch (SHN_LIVEPATCH).
const shnLivepatch = 0xff20

// relaSize is the size of an Elf64_Rela in bytes.
const relaSize = 24

// A reloc is one relocation of a section that occupies memory.
type reloc struct {
	section int // index of the section to change
	off     uint64
	typ     elf.R_X86_64
	sym     int // index into the symbol table
	addend  int64
}

func (r reloc) typeName() string { return constName(r.typ, "relocation type", uint64(r.typ)) }

// readRelocs reads the relocations of all placed sections and checks that they
// are of a type that the kernel's loader knows.
func (l *loader) readRelocs() error {
	for i, s := range l.file.Sections {
		if s.Type != elf.SHT_RELA && s.Type != elf.SHT_REL {
			continue
		}
		at := l.sectionName(i)
		if s.Flags&shfLivepatch != 0 {
			return l.errorf(at, "relocations of a livepatch against another object, which are not supported")
		}
		if int64(s.Info) >= int64(len(l.placed)) {
			return l.errorf(at, "relocations of section %d of %d", s.Info, len(l.placed))
		}
		target := int(s.Info)
		if !l.placed[target].ok {
			continue // debug information and the like
		}
		switch {
		case s.Type == elf.SHT_REL:
			return l.errorf(at, "relocations without addends (SHT_REL), expected SHT_RELA")
		case int(s.Link) != l.symtab:
			return l.errorf(at, "relocations against section %d, expected the symbol table (%d)", s.Link, l.symtab)
		case s.Flags&elf.SHF_COMPRESSED != 0:
			return l.errorf(at, "compressed relocations")
		}
		data, err := s.Data()
		if err != nil {
			return l.errorf(at, "%v", err)
		}
		if len(data)%relaSize != 0 {
			return l.errorf(at, "%d bytes, expected a multiple of %d", len(data), relaSize)
		}
		for ; len(data) > 0; data = data[relaSize:] {
			if err := l.readReloc(target, data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loader) readReloc(target int, rela []byte) error {
	info := binary.LittleEndian.Uint64(rela[8:])
	r := reloc{
		section: target,
		off:     binary.LittleEndian.Uint64(rela),
		typ:     elf.R_X86_64(elf.R_TYPE64(info)),
		sym:     int(elf.R_SYM64(info)),
		addend:  int64(binary.LittleEndian.Uint64(rela[16:])),
	}
	if r.typ == elf.R_X86_64_NONE {
		return nil
	}
	at := where(l.sectionName(target), r.off)
	if r.sym >= len(l.syms) {
		return l.errorf(at, "%s against symbol %d of %d", r.typeName(), r.sym, len(l.syms))
	}
	width := relocWidth(r.typ)
	if width == 0 {
		return l.errorf(at, "%s against %s: unknown rela relocation: %d", r.typeName(), l.relocTarget(r), uint32(r.typ))
	}
	if size := uint64(len(l.placed[target].data)); r.off > size || size-r.off < width {
		return l.errorf(at, "%s against %s: %d bytes, the section has %d", r.typeName(), l.relocTarget(r), width, size)
	}
	l.relocs = append(l.relocs, r)
	return nil
}

// relocWidth is how many bytes a relocation changes; 0 for types that modules
// must not have.
func relocWidth(t elf.R_X86_64) uint64 {
	switch t {
	case elf.R_X86_64_64, elf.R_X86_64_PC64:
		return 8
	case elf.R_X86_64_32, elf.R_X86_64_32S, elf.R_X86_64_PC32, elf.R_X86_64_PLT32:
		return 4
	}
	return 0
}

// symName is the name of a symbol; those of sections have the section's.
func (l *loader) symName(i int) string {
	s := l.syms[i]
	if s.Name == "" && elf.ST_TYPE(s.Info) == elf.STT_SECTION {
		return l.sectionName(int(s.Section))
	}
	return s.Name
}

// relocTarget prints what a relocation refers to as readelf does.
func (l *loader) relocTarget(r reloc) string { return targetText(l.symName(r.sym), r.addend) }

func targetText(sym string, addend int64) string {
	switch {
	case addend > 0:
		return fmt.Sprintf("%s+%#x", sym, addend)
	case addend < 0:
		return fmt.Sprintf("%s-%#x", sym, -uint64(addend))
	}
	return sym
}

// resolve computes the value of every symbol (simplify_symbols) and fills the
// image's table.
func (l *loader) resolve() error {
	l.values = make([]uint64, len(l.syms))
	var undefined []string
	var funcs, others []Symbol
	for i := 1; i < len(l.syms); i++ {
		s := l.syms[i]
		switch {
		case s.Section == elf.SHN_ABS:
			l.values[i] = s.Value
			continue
		case s.Section == elf.SHN_COMMON:
			l.values[i] = l.common[i]
			others = append(others, Symbol{Name: s.Name, Addr: l.common[i], Size: s.Size, Module: l.module})
			continue
		case s.Section == elf.SHN_UNDEF || s.Section == shnLivepatch:
			v, ok := l.extern(s.Name)
			if !ok && elf.ST_BIND(s.Info) != elf.STB_WEAK {
				undefined = append(undefined, s.Name)
			}
			l.values[i] = v
			continue
		case int(s.Section) >= len(l.placed):
			return l.errorf("", "symbol %s in section %d of %d", s.Name, int(s.Section), len(l.placed))
		}
		p, typ := l.placed[s.Section], elf.ST_TYPE(s.Info)
		l.values[i] = p.addr + s.Value
		if !p.ok {
			continue
		}
		if s.Value > uint64(len(p.data)) || s.Size > uint64(len(p.data))-s.Value {
			return l.errorf(where(l.sectionName(int(s.Section)), s.Value), "symbol %s of %d bytes, the section has %d", s.Name, s.Size, len(p.data))
		}
		if typ == elf.STT_SECTION || typ == elf.STT_FILE || s.Name == "" {
			continue
		}
		sym := Symbol{Name: s.Name, Addr: l.values[i], Size: s.Size, Module: l.module}
		if typ == elf.STT_FUNC || typ == elf.STT_NOTYPE && p.perm&emu.PermX != 0 {
			sym.Func = true
		}
		if typ == elf.STT_FUNC {
			funcs = append(funcs, sym)
		} else {
			others = append(others, sym)
		}
	}
	if undefined != nil {
		return &UndefinedError{File: l.opt.Name, Names: undefined}
	}
	// Functions first: of several symbols at one address theirs is the name.
	l.img.Symbols.AddAll(append(funcs, others...))
	return nil
}

// extern binds an undefined symbol.
func (l *loader) extern(name string) (uint64, bool) {
	if l.opt.Extern != nil {
		if v, ok := l.opt.Extern(name); ok {
			return v, true
		}
	}
	if isMCount(name) {
		return FentryAddr, true
	}
	return 0, false
}

// isMCount tells whether name is one of the functions that -pg makes code call.
func isMCount(name string) bool {
	return name == "__fentry__" || name == "mcount" || name == "_mcount"
}

// relocate applies the relocations and keeps a record of each.
func (l *loader) relocate() error {
	l.img.Relocs = make([]Reloc, 0, len(l.relocs))
	for _, r := range l.relocs {
		if err := l.apply(r); err != nil {
			return err
		}
		l.img.Relocs = append(l.img.Relocs, Reloc{
			Addr: l.placed[r.section].addr + r.off, Type: r.typeName(), Width: int(relocWidth(r.typ)),
			Symbol: l.symName(r.sym), Addend: r.addend, Value: l.values[r.sym],
		})
	}
	slices.SortStableFunc(l.img.Relocs, func(a, b Reloc) int { return cmp.Compare(a.Addr, b.Addr) })
	return nil
}

// apply changes the bytes of one relocation.
func (l *loader) apply(r reloc) error {
	p := l.placed[r.section]
	width := relocWidth(r.typ)
	loc := p.data[r.off : r.off+width]
	fail := func(format string, args ...any) error {
		return l.errorf(where(l.sectionName(r.section), r.off), "%s against %s: %s", r.typeName(), l.relocTarget(r), fmt.Sprintf(format, args...))
	}
	if s := l.syms[r.sym]; s.Section > elf.SHN_UNDEF && int(s.Section) < len(l.placed) && !l.placed[s.Section].ok {
		return fail("the symbol is in %s, which is not loaded", l.sectionName(int(s.Section)))
	}
	for _, b := range loc {
		if b != 0 {
			return fail("invalid relocation target, existing value is nonzero: % x", loc)
		}
	}
	v := l.values[r.sym] + uint64(r.addend)
	switch r.typ {
	case elf.R_X86_64_PC32, elf.R_X86_64_PLT32, elf.R_X86_64_PC64:
		v -= p.addr + r.off
	}
	switch r.typ {
	case elf.R_X86_64_64, elf.R_X86_64_PC64:
		binary.LittleEndian.PutUint64(loc, v)
		return nil
	case elf.R_X86_64_32:
		if uint64(uint32(v)) != v {
			return fail("overflow: %#x does not fit in 32 bits zero-extended; code needs -mcmodel=kernel", v)
		}
	default:
		if uint64(int64(int32(v))) != v {
			what := "%#x does not fit in 32 bits sign-extended; code needs -mcmodel=kernel"
			if r.typ != elf.R_X86_64_32S {
				what = "a displacement of %#x does not fit in 32 bits signed"
			}
			return fail("overflow: "+what, v)
		}
	}
	binary.LittleEndian.PutUint32(loc, uint32(v))
	return nil
}
