package guest

import (
	"debug/elf"
	"io"
	"strings"

	"ftemu/emu"
)

// shfLivepatch marks relocation sections of livepatches
// (SHF_RELA_LIVEPATCH), which the kernel applies when their object is there.
const shfLivepatch = 0x00100000

// maxAlign is the largest alignment of a section, in bytes: a huge page.
const maxAlign = 2 << 20

// int3 fills the gaps between pieces of code, as linkers of kernels do.
const int3 = 0xcc

// A group is the sections that share a segment.
type group struct {
	name string
	init bool
	perm emu.Perm

	sections []int // indexes, ascending
}

// groups are the segments of an image in the order of their addresses.
func groups() []group {
	return []group{
		{name: ".text", perm: emu.PermRX},
		{name: ".rodata", perm: emu.PermR},
		{name: ".data", perm: emu.PermRW},
		{name: ".init.text", init: true, perm: emu.PermRX},
		{name: ".init.rodata", init: true, perm: emu.PermR},
		{name: ".init.data", init: true, perm: emu.PermRW},
	}
}

// layOut gives every section that occupies memory its address, and reads it.
func (l *loader) layOut() error {
	l.placed = make([]placed, len(l.file.Sections))
	l.common = make([]uint64, len(l.syms))
	gs := groups()
	for i, s := range l.file.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		if err := l.checkSection(i, s); err != nil {
			return err
		}
		perm := emu.PermR
		switch {
		case s.Flags&elf.SHF_EXECINSTR != 0:
			perm = emu.PermRX
		case s.Flags&elf.SHF_WRITE != 0:
			perm = emu.PermRW
		}
		init := strings.HasPrefix(s.Name, ".init")
		for j := range gs {
			if gs[j].perm == perm && gs[j].init == init {
				gs[j].sections = append(gs[j].sections, i)
			}
		}
	}
	cursor := l.opt.Base
	for _, g := range gs {
		var err error
		if cursor, err = l.place(g, cursor); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) checkSection(i int, s *elf.Section) error {
	at := l.sectionName(i)
	switch {
	case s.Flags&elf.SHF_COMPRESSED != 0:
		return l.errorf(at, "compressed, but it occupies memory")
	case s.Flags&elf.SHF_TLS != 0:
		return l.errorf(at, "thread-local data, which the kernel does not have")
	case s.Flags&elf.SHF_WRITE != 0 && s.Flags&elf.SHF_EXECINSTR != 0:
		return l.errorf(at, "writable and executable (WRITE|EXEC flags)")
	case s.Addralign&(s.Addralign-1) != 0 || s.Addralign > maxAlign:
		return l.errorf(at, "alignment %#x, expected a power of two up to %#x", s.Addralign, maxAlign)
	case s.Size > maxImage:
		return l.errorf(at, "%d bytes, expected at most %d", s.Size, maxImage)
	}
	return nil
}

// place lays out one group from cursor on and returns where the next begins.
func (l *loader) place(g group, cursor uint64) (uint64, error) {
	common := g.name == ".data" && l.hasCommon()
	if len(g.sections) == 0 && !common {
		return cursor, nil
	}
	start := cursor &^ (emu.PageSize - 1)
	end := cursor
	take := func(at string, size, align uint64) (uint64, error) {
		addr := alignUp(end, align)
		end = addr + size
		// The last page stays free, so that no rounding up wraps.
		if size > maxImage || end-l.opt.Base > maxImage || end < l.opt.Base || end > ^uint64(emu.PageSize-1) {
			return 0, l.errorf(at, "%d bytes more at %#x: an image is at most %d bytes from %#x, below the last page", size, addr, maxImage, l.opt.Base)
		}
		return addr, nil
	}
	for _, i := range g.sections {
		s := l.file.Sections[i]
		addr, err := take(l.sectionName(i), s.Size, s.Addralign)
		if err != nil {
			return 0, err
		}
		l.placed[i] = placed{ok: true, addr: addr, perm: g.perm}
	}
	if common {
		for i, s := range l.syms {
			if s.Section != elf.SHN_COMMON {
				continue
			}
			// A common symbol's value is its alignment.
			if s.Value&(s.Value-1) != 0 || s.Value > maxAlign {
				return 0, l.errorf("", "common symbol %s: alignment %#x, expected a power of two up to %#x", s.Name, s.Value, maxAlign)
			}
			addr, err := take("common symbol "+s.Name, s.Size, s.Value)
			if err != nil {
				return 0, err
			}
			l.common[i] = addr
		}
	}
	if end == cursor {
		return cursor, nil // nothing but empty sections
	}
	data := make([]byte, end-start)
	if g.perm&emu.PermX != 0 {
		for i := range data {
			data[i] = int3
		}
	}
	for _, i := range g.sections {
		s, p := l.file.Sections[i], &l.placed[i]
		off := p.addr - start
		p.data = data[off : off+s.Size : off+s.Size]
		if err := l.fill(i, s, p.data); err != nil {
			return 0, err
		}
		if s.Size > 0 {
			l.img.Sections = append(l.img.Sections, Section{Name: s.Name, Addr: p.addr, Size: s.Size, Perm: p.perm})
		}
	}
	l.img.Segments = append(l.img.Segments, Segment{Name: l.module + g.name, Addr: start, Data: data, Perm: g.perm})
	return alignUp(end, emu.PageSize), nil
}

func (l *loader) hasCommon() bool {
	for _, s := range l.syms {
		if s.Section == elf.SHN_COMMON {
			return true
		}
	}
	return false
}

// fill reads the bytes of a section.
func (l *loader) fill(i int, s *elf.Section, data []byte) error {
	if s.Type == elf.SHT_NOBITS {
		clear(data)
		return nil
	}
	if n, err := s.ReadAt(data, 0); n < len(data) {
		if err == io.EOF {
			return l.errorf(l.sectionName(i), "truncated: %d bytes in the file, expected %d", n, len(data))
		}
		return l.errorf(l.sectionName(i), "%v", err)
	}
	return nil
}

// alignUp rounds up to a power of two; 0 means no alignment.
func alignUp(v, align uint64) uint64 {
	if align <= 1 {
		return v
	}
	return (v + align - 1) &^ (align - 1)
}
