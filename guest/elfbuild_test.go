package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// An object is a relocatable file to be written by a test: as much of one as
// the loader looks at, with any part of it wrong where a test wants that.
type object struct {
	sections []objSection
	symbols  []elf.Sym64 // without the null symbol
	names    []string    // of the symbols
}

type objSection struct {
	name  string
	typ   elf.SectionType // 0: SHT_PROGBITS
	flags elf.SectionFlag
	align uint64
	data  []byte
	size  uint64 // if not 0, instead of len(data)
	link  uint32
	info  uint32
	relas []elf.Rela64
}

const (
	textFlags = elf.SHF_ALLOC | elf.SHF_EXECINSTR
	dataFlags = elf.SHF_ALLOC | elf.SHF_WRITE
)

// symbol adds a symbol and returns its index.
func (o *object) symbol(name string, bind elf.SymBind, typ elf.SymType, shndx elf.SectionIndex, value, size uint64) int {
	o.names = append(o.names, name)
	o.symbols = append(o.symbols, elf.Sym64{Info: elf.ST_INFO(bind, typ), Shndx: uint16(shndx), Value: value, Size: size})
	return len(o.symbols)
}

func (o *object) fn(name string, shndx int, value, size uint64) int {
	return o.symbol(name, elf.STB_GLOBAL, elf.STT_FUNC, elf.SectionIndex(shndx), value, size)
}

func (o *object) undefined(name string) int {
	return o.symbol(name, elf.STB_GLOBAL, elf.STT_NOTYPE, elf.SHN_UNDEF, 0, 0)
}

// add adds a section and returns its index.
func (o *object) add(s objSection) int {
	o.sections = append(o.sections, s)
	return len(o.sections)
}

// rela adds a relocation of the last section.
func (o *object) rela(off uint64, typ elf.R_X86_64, sym int, addend int64) {
	s := &o.sections[len(o.sections)-1]
	s.relas = append(s.relas, elf.Rela64{Off: off, Info: elf.R_INFO(uint32(sym), uint32(typ)), Addend: addend})
}

// build writes the file: header, contents, section headers. The sections that
// were added keep their indexes.
func (o *object) build(t testing.TB) []byte {
	le := binary.LittleEndian
	strtab := func(names []string) ([]byte, []uint32) {
		b, offs := []byte{0}, make([]uint32, len(names))
		for i, n := range names {
			offs[i] = uint32(len(b))
			b = append(append(b, n...), 0)
		}
		return b, offs
	}
	var symdata bytes.Buffer
	symnames, offs := strtab(o.names)
	require.NoError(t, binary.Write(&symdata, le, elf.Sym64{}))
	for i, s := range o.symbols {
		s.Name = offs[i]
		require.NoError(t, binary.Write(&symdata, le, s))
	}
	symtab := len(o.sections) + 1
	type part struct {
		name string
		hdr  elf.Section64
		data []byte
	}
	parts := []part{{}}
	for _, s := range o.sections {
		typ := s.typ
		if typ == 0 {
			typ = elf.SHT_PROGBITS
		}
		size := s.size
		if size == 0 {
			size = uint64(len(s.data))
		}
		parts = append(parts, part{s.name, elf.Section64{Type: uint32(typ), Flags: uint64(s.flags), Addralign: s.align, Size: size, Link: s.link, Info: s.info}, s.data})
	}
	parts = append(parts,
		part{".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: uint32(symtab + 1), Info: 1, Entsize: 24, Size: uint64(symdata.Len())}, symdata.Bytes()},
		part{".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Size: uint64(len(symnames))}, symnames},
	)
	for i, s := range o.sections {
		if s.relas == nil {
			continue
		}
		var b bytes.Buffer
		require.NoError(t, binary.Write(&b, le, s.relas))
		parts = append(parts, part{".rela" + s.name, elf.Section64{
			Type: uint32(elf.SHT_RELA), Link: uint32(symtab), Info: uint32(i + 1), Entsize: relaSize, Size: uint64(b.Len()),
		}, b.Bytes()})
	}
	names := make([]string, len(parts)+1)
	for i, p := range parts {
		names[i] = p.name
	}
	names[len(parts)] = ".shstrtab"
	shstr, nameOffs := strtab(names)
	parts = append(parts, part{".shstrtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Size: uint64(len(shstr))}, shstr})

	var body, headers bytes.Buffer
	for i := range parts {
		p := &parts[i]
		if i > 0 {
			p.hdr.Name = nameOffs[i]
			p.hdr.Off = uint64(64 + body.Len())
		}
		body.Write(p.data)
		require.NoError(t, binary.Write(&headers, le, p.hdr))
	}
	hdr := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64,
		Shoff: uint64(64 + body.Len()), Shnum: uint16(len(parts)), Shstrndx: uint16(len(parts) - 1),
	}
	copy(hdr.Ident[:], elf.ELFMAG)
	hdr.Ident[elf.EI_CLASS], hdr.Ident[elf.EI_DATA], hdr.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var out bytes.Buffer
	require.NoError(t, binary.Write(&out, le, hdr))
	out.Write(body.Bytes())
	out.Write(headers.Bytes())
	return out.Bytes()
}

// load builds and loads the object.
func (o *object) load(t testing.TB, opt LoadOptions) (*Image, error) {
	if opt.Name == "" {
		opt.Name = "test.o"
	}
	return Load(bytes.NewReader(o.build(t)), opt)
}
