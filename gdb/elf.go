package gdb

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"

	"ftemu/guest"
)

// Sizes of the parts of a 64-bit ELF file.
const (
	elfHeader  = 64
	elfSection = 64
	elfSymbol  = 24
)

// ELF makes a file that tells gdb the names of what is in memory where the run
// stands: sections without contents, and symbols. Trampolines of ops that are
// registered later have no names in it.
func (r *Run) ELF() []byte {
	names, strs := []byte{0}, []byte{0}
	name := func(table *[]byte, s string) uint32 {
		off := len(*table)
		*table = append(append(*table, s...), 0)
		return uint32(off)
	}
	sections := []elf.Section64{{}}
	for _, reg := range r.lab().Mem.Regions() {
		sections = append(sections, elf.Section64{
			Name: name(&names, reg.Name), Type: uint32(elf.SHT_NOBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR),
			Addr: reg.Addr, Off: elfHeader, Size: reg.Size, Addralign: 1,
		})
	}
	regions := sections[1:]
	symbols := []elf.Sym64{{}}
	add := func(s guest.Symbol) {
		i := slices.IndexFunc(regions, func(x elf.Section64) bool { return s.Addr-x.Addr < x.Size })
		sym := elf.Sym64{Name: name(&strs, s.Name), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT), Shndx: uint16(elf.SHN_ABS), Value: s.Addr, Size: s.Size}
		if i >= 0 && i < int(elf.SHN_LORESERVE)-1 {
			sym.Shndx = uint16(i + 1)
		}
		if s.Func {
			sym.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC)
		}
		symbols = append(symbols, sym)
	}
	for _, s := range r.lab().Symbols.All() {
		add(s)
	}
	symOff := uint64(elfHeader)
	strOff := symOff + uint64(len(symbols))*elfSymbol
	sections = append(sections,
		elf.Section64{Name: name(&names, ".symtab"), Type: uint32(elf.SHT_SYMTAB), Off: symOff, Size: strOff - symOff, Link: uint32(len(sections) + 1), Info: 1, Addralign: 8, Entsize: elfSymbol},
		elf.Section64{Name: name(&names, ".strtab"), Type: uint32(elf.SHT_STRTAB), Off: strOff, Size: uint64(len(strs)), Addralign: 1})
	nameOff := strOff + uint64(len(strs))
	shstr := elf.Section64{Name: name(&names, ".shstrtab"), Type: uint32(elf.SHT_STRTAB), Off: nameOff, Addralign: 1}
	shstr.Size = uint64(len(names))
	sections = append(sections, shstr)
	head := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: elfHeader,
		Shoff: nameOff + uint64(len(names)), Shentsize: elfSection, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	var b bytes.Buffer
	for _, part := range []any{head, symbols, strs, names, sections} {
		// A buffer takes everything, and the parts have fixed sizes.
		_ = binary.Write(&b, binary.LittleEndian, part)
	}
	return b.Bytes()
}
