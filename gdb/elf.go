package gdb

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"

	"ftemu/emu"
)

// Sizes of the parts of a 64-bit ELF file.
const (
	elfHeader  = 64
	elfSection = 64
	elfSymbol  = 24
)

// ELF is a file that tells gdb what is in memory at some time of the run: sections
// without contents, symbols, and call frame information. To make it the
// scenario is run once.
func (r *Run) ELF() ([]byte, error) {
	if r.elf == nil {
		v, err := newSurvey(r.runner.Script(), r.opt)
		if err != nil {
			return nil, err
		}
		r.elf = v.elf()
	}
	return r.elf, nil
}

// A stringTable is the contents of a section of names.
type stringTable []byte

func (t *stringTable) add(s string) uint32 {
	off := len(*t)
	*t = append(append(*t, s...), 0)
	return uint32(off)
}

func (v *survey) elf() []byte {
	names, strs := stringTable{0}, stringTable{0}
	sections := []elf.Section64{{}}
	for _, reg := range v.regions {
		sections = append(sections, elf.Section64{
			Name: names.add(reg.Name), Type: uint32(elf.SHT_NOBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR),
			Addr: reg.Addr, Off: elfHeader, Size: reg.Size, Addralign: 1,
		})
	}
	slices.SortStableFunc(v.pieces, func(a, b *piece) int { return cmp.Compare(a.addr, b.addr) })
	symbols := v.symbols(&strs)
	frames := v.debugFrame()
	// The contents of the sections lie behind the header, in this order.
	at := uint64(elfHeader)
	section := func(name string, kind elf.SectionType, size int) *elf.Section64 {
		sections = append(sections, elf.Section64{Name: names.add(name), Type: uint32(kind), Off: at, Size: uint64(size), Addralign: 1})
		at += uint64(size)
		return &sections[len(sections)-1]
	}
	table := section(".symtab", elf.SHT_SYMTAB, len(symbols)*elfSymbol)
	table.Link, table.Entsize = uint32(len(sections)), elfSymbol
	table.Info = uint32(slices.IndexFunc(symbols[1:], func(s elf.Sym64) bool { return elf.ST_BIND(s.Info) != elf.STB_LOCAL }) + 1)
	section(".strtab", elf.SHT_STRTAB, len(strs))
	section(".debug_frame", elf.SHT_PROGBITS, len(frames))
	shstr := section(".shstrtab", elf.SHT_STRTAB, 0)
	shstr.Size = uint64(len(names))
	at += shstr.Size
	head := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: elfHeader,
		Shoff: at, Shentsize: elfSection, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	var b bytes.Buffer
	for _, part := range []any{head, symbols, []byte(strs), frames, []byte(names), sections} {
		// A buffer takes everything, and the parts have fixed sizes.
		_ = binary.Write(&b, binary.LittleEndian, part)
	}
	return b.Bytes()
}

// symbols makes the table of symbols, the local ones first.
//
// gdb takes a return address for one behind a call, and looks at the byte before
// it to learn whose it is. Return addresses that ftrace writes are those of the
// first byte of a function. So a function that is entered has a second symbol on
// the byte in front of it, unless that belongs to another.
func (v *survey) symbols(strs *stringTable) []elf.Sym64 {
	table := []elf.Sym64{{}}
	add := func(name string, bind elf.SymBind, kind elf.SymType, addr, size uint64) {
		i, ok := slices.BinarySearchFunc(v.regions, addr, func(r emu.Region, a uint64) int {
			switch {
			case r.Addr+r.Size <= a:
				return -1
			case r.Addr > a:
				return 1
			}
			return 0
		})
		sym := elf.Sym64{Name: strs.add(name), Info: elf.ST_INFO(bind, kind), Shndx: uint16(elf.SHN_ABS), Value: addr, Size: size}
		if ok && i < int(elf.SHN_LORESERVE)-1 {
			sym.Shndx = uint16(i + 1)
		}
		table = append(table, sym)
	}
	end := uint64(0)
	for _, p := range v.pieces {
		if (v.entered[p.addr] > 0 || p.addr == v.end) && end < p.addr {
			add(p.name(), elf.STB_LOCAL, elf.STT_FUNC, p.addr-pieceBefore, pieceBefore)
		}
		end = max(end, p.addr+p.size)
	}
	for _, p := range v.pieces {
		kind := elf.STT_FUNC
		if p.data {
			kind = elf.STT_OBJECT
		}
		shown := p.name()
		add(shown, elf.STB_GLOBAL, kind, p.addr, p.size)
		for _, name := range p.names {
			if name != shown {
				add(name, elf.STB_GLOBAL, kind, p.addr, 0)
			}
			// gdb completes no name with a colon to one that it can read.
			if plain := strings.ReplaceAll(name, ":", "_"); plain != name {
				add(plain, elf.STB_GLOBAL, kind, p.addr, 0)
			}
		}
	}
	return table
}

// name is what a piece is called where there is room for one name: gdb shows that
// of the symbol that has a size. It is the one whose code runs, or
// several.
func (p *piece) name() string {
	if len(p.ran) > 0 {
		return strings.Join(p.ran, "|")
	}
	return strings.Join(p.names, "|")
}
