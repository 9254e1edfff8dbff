package guest

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ftemu/emu"
	"ftemu/x86"
)

// KernelBase is where the kernel's own mapping of physical memory begins, in which
// its image lies (__START_KERNEL_map).
const KernelBase = 0xffffffff80000000

// kernelEnd is the end of the room for the kernel's image, where modules begin.
const kernelEnd = 0xffffffffc0000000

// maxKernelSymbols bounds the symbols of a kernel.
const maxKernelSymbols = 4 << 20

// A Kernel is what an image that is a whole kernel says of itself.
type Kernel struct {
	// GSBase is where the boot CPU's per-CPU data lies, as the kernel's code
	// finds it: through the gs segment.
	GSBase uint64
	// Stripped says that the symbols are those of kallsyms.
	Stripped bool
}

// InstalledKernel finds the kernel that scenarios call host:vmlinuz: what the
// environment variable FTEMU_VMLINUZ names, or else the last of
// /boot/vmlinuz-* by name.
func InstalledKernel() (path string, err error) {
	if path := os.Getenv("FTEMU_VMLINUZ"); path != "" {
		return path, nil
	}
	found, _ := filepath.Glob("/boot/vmlinuz-*") // the pattern is well-formed
	if len(found) == 0 {
		return "", errors.New("no kernel is installed: FTEMU_VMLINUZ is not set and there is no /boot/vmlinuz-*")
	}
	return found[len(found)-1], nil
}

// A kernelLoader is the state of loading one vmlinux.
type kernelLoader struct {
	*loader
	r      io.ReaderAt
	raw    []byte // the whole file, where it is in memory and ours; else nil
	percpu uint64 // what to add to the addresses of zero-based per-CPU data
}

// loadBZImage loads the kernel in a bzImage.
func loadBZImage(r io.ReaderAt, opt LoadOptions) (*Image, error) {
	l := &loader{opt: opt}
	raw, err := unpackBZImage(r)
	if err != nil {
		return nil, l.errorf("", "%v", err)
	}
	l.opt.done("unpack")
	if t, err := l.checkHeader(bytes.NewReader(raw)); err != nil {
		return nil, err
	} else if t != elf.ET_EXEC {
		return nil, l.errorf("", "the payload is %s, expected a linked kernel (ET_EXEC)", constName(t, "ELF type", uint64(t)))
	}
	return l.loadKernel(bytes.NewReader(raw), raw)
}

// loadKernel loads a linked kernel. raw, if not nil, is the whole file, which the
// image takes over.
func (l *loader) loadKernel(r io.ReaderAt, raw []byte) (*Image, error) {
	k := &kernelLoader{loader: l, r: r, raw: raw}
	if err := l.open(r); err != nil {
		return nil, err
	}
	l.img = &Image{Name: l.opt.Name, Symbols: &Symbols{}, Kernel: &Kernel{}}
	for _, step := range []struct {
		name string
		do   func() error
	}{{"segments", k.layOutKernel}, {"symbols", k.readSymbols}, {"sites", k.findKernelSites}} {
		if err := step.do(); err != nil {
			return nil, err
		}
		l.opt.done(step.name)
	}
	return l.img, nil
}

// layOutKernel makes segments of the sections: runs of pages with the same
// permissions, filled from the program headers.
func (k *kernelLoader) layOutKernel() error {
	k.placed = make([]placed, len(k.file.Sections)) // none of them holds data
	var secs []Section
	for i, s := range k.file.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 || s.Size == 0 {
			continue
		}
		at := k.sectionName(i)
		addr := s.Addr
		if s.Name == ".data..percpu" && addr < KernelBase {
			var err error
			if addr, err = k.placePerCPU(at, s); err != nil {
				return err
			}
		}
		if addr < KernelBase || s.Size > maxKernel || addr > kernelEnd-s.Size {
			return k.errorf("", "linked already (ET_EXEC), expected a relocatable object (ET_REL), or a kernel with its sections at %#x to %#x: %s has %d bytes at %#x",
				uint64(KernelBase), uint64(kernelEnd), at, s.Size, addr)
		}
		secs = append(secs, Section{Name: at, Addr: addr, Size: s.Size, Perm: kernelPerm(s)})
	}
	slices.SortStableFunc(secs, func(a, b Section) int { return cmp.Compare(a.Addr, b.Addr) })
	k.img.Sections = secs
	for _, s := range secs {
		if err := k.addSection(s); err != nil {
			return err
		}
	}
	total := uint64(0)
	for i := range k.img.Segments {
		if total += k.img.Segments[i].Size; total > maxKernel {
			return k.errorf("", "more than %d bytes to load", maxKernel)
		}
		if err := k.fill(&k.img.Segments[i]); err != nil {
			return err
		}
	}
	return nil
}

// kernelPerm is what a running kernel may do with a section. Its read-only data is
// marked writable where relocations of the boot code change it.
func kernelPerm(s *elf.Section) emu.Perm {
	switch {
	case s.Flags&elf.SHF_EXECINSTR != 0:
		return emu.PermRX
	case s.Flags&elf.SHF_WRITE != 0 && !strings.HasPrefix(s.Name, ".rodata"):
		return emu.PermRW
	}
	return emu.PermR
}

// placePerCPU finds the place of per-CPU data that is linked at address 0: the boot
// CPU uses the copy in the image (__per_cpu_load).
func (k *kernelLoader) placePerCPU(at string, s *elf.Section) (uint64, error) {
	for _, p := range k.file.Progs {
		if p.Type == elf.PT_LOAD && s.Addr-p.Vaddr < p.Memsz {
			k.percpu = KernelBase + p.Paddr - p.Vaddr
			k.img.Kernel.GSBase = k.percpu
			return s.Addr + k.percpu, nil
		}
	}
	return 0, k.errorf(at, "in no segment of the program headers")
}

// addSection adds the pages of a section to the segments.
func (k *kernelLoader) addSection(s Section) error {
	first, end := s.Addr&^(emu.PageSize-1), alignUp(s.Addr+s.Size, emu.PageSize)
	segs := &k.img.Segments
	if n := len(*segs); n > 0 {
		last := &(*segs)[n-1]
		lastEnd := last.Addr + last.Size
		switch {
		case first == lastEnd && last.Perm == s.Perm:
			last.Size = end - last.Addr
			return nil
		case first < lastEnd && last.Perm == s.Perm:
			last.Size = max(lastEnd, end) - last.Addr
			return nil
		case first < lastEnd:
			// The page that both are on may do what either may.
			shared := Segment{Name: s.Name, Addr: lastEnd - emu.PageSize, Size: emu.PageSize, Perm: last.Perm | s.Perm}
			if first < shared.Addr {
				return k.errorf(s.Name, "overlaps %s", last.Name)
			}
			if last.Size -= emu.PageSize; last.Size == 0 {
				*segs = (*segs)[:n-1]
			}
			*segs = append(*segs, shared)
			if first = lastEnd; first >= end {
				return nil
			}
			if shared.Perm == s.Perm {
				(*segs)[len(*segs)-1].Size = end - shared.Addr
				return nil
			}
		}
	}
	*segs = append(*segs, Segment{Name: s.Name, Addr: first, Size: end - first, Perm: s.Perm})
	return nil
}

// fill reads a segment's bytes as the program headers say where they are.
func (k *kernelLoader) fill(seg *Segment) error {
	for _, p := range k.file.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		vaddr := p.Vaddr
		if vaddr < KernelBase {
			vaddr += k.percpu
		}
		// The part of the segment that this one fills.
		from, to := max(seg.Addr, vaddr), min(seg.Addr+seg.Size, vaddr+p.Filesz)
		if vaddr+p.Filesz < vaddr || from >= to {
			continue
		}
		off := p.Off + from - vaddr
		if k.raw != nil && from == seg.Addr && seg.Data == nil && off < uint64(len(k.raw)) && to-from <= uint64(len(k.raw))-off {
			seg.Data = k.raw[off : off+to-from : off+to-from]
			continue
		}
		if seg.Data == nil || uint64(len(seg.Data)) < to-seg.Addr {
			seg.Data = append(seg.Data, make([]byte, to-seg.Addr-uint64(len(seg.Data)))...)
		}
		if n, err := k.r.ReadAt(seg.Data[from-seg.Addr:to-seg.Addr], int64(off)); uint64(n) != to-from {
			return k.errorf(seg.Name, "truncated: %d bytes at %#x of the file, expected %d (%v)", n, off, to-from, err)
		}
	}
	return nil
}

// at returns the bytes from addr to the end of what its segment has in the file.
func (k *kernelLoader) at(addr uint64) ([]byte, *Segment) {
	for i := range k.img.Segments {
		if s := &k.img.Segments[i]; addr-s.Addr < uint64(len(s.Data)) {
			return s.Data[addr-s.Addr:], s
		}
	}
	return nil, nil
}

// readSymbols takes the symbols from the symbol table, or else from kallsyms.
func (k *kernelLoader) readSymbols() error {
	if len(k.syms) > maxKernelSymbols {
		return k.errorf("", "%d symbols, expected at most %d", len(k.syms), maxKernelSymbols)
	}
	var syms []Symbol
	if len(k.syms) > 1 {
		syms = k.tableSymbols()
	} else {
		k.img.Kernel.Stripped = true
		entries, err := k.kallsyms()
		if err != nil {
			return k.errorf("", "no symbol table, and %v", err)
		}
		syms = make([]Symbol, 0, len(entries))
		for _, e := range entries {
			if e.addr < KernelBase {
				continue // an offset in per-CPU data, no address
			}
			fn := e.typ == 't' || e.typ == 'T' || e.typ == 'w' || e.typ == 'W'
			syms = append(syms, Symbol{Name: e.name, Addr: e.addr, Func: fn})
		}
	}
	// Sizes are distances, as for kallsyms.
	for i, next := len(syms)-1, uint64(0); i >= 0; i-- {
		if i+1 < len(syms) && syms[i+1].Addr != syms[i].Addr {
			next = syms[i+1].Addr
		}
		if next != 0 {
			syms[i].Size = next - syms[i].Addr
		}
	}
	k.img.Symbols.AddAll(syms)
	return nil
}

// kallsyms decodes the table in the segment that has one.
func (k *kernelLoader) kallsyms() ([]ksym, error) {
	why := errNoKallsyms
	for _, s := range k.img.Segments {
		if s.Perm&emu.PermX != 0 {
			continue
		}
		entries, err := decodeKallsyms(s.Data)
		if err == nil {
			return entries, nil
		}
		if !errors.Is(err, errNoKallsyms) {
			why = err
		}
	}
	return nil, why
}

// tableSymbols lists the symbols of the symbol table in the order of kallsyms
// (compare_symbols of scripts/kallsyms.c): by address; of several at one address
// the ones that are not weak first, then those with fewer underscores in front.
func (k *kernelLoader) tableSymbols() []Symbol {
	type ranked struct {
		Symbol
		weak        bool
		underscores int
	}
	var all []ranked
	for _, s := range k.syms[1:] {
		typ := elf.ST_TYPE(s.Info)
		if s.Name == "" || s.Value < KernelBase || typ == elf.STT_SECTION || typ == elf.STT_FILE ||
			s.Section == elf.SHN_UNDEF || strings.HasPrefix(s.Name, ".L") {
			continue
		}
		fn := typ == elf.STT_FUNC
		if typ == elf.STT_NOTYPE {
			_, seg := k.at(s.Value)
			fn = seg != nil && seg.Perm&emu.PermX != 0
		}
		all = append(all, ranked{
			Symbol: Symbol{Name: s.Name, Addr: s.Value, Func: fn}, weak: elf.ST_BIND(s.Info) == elf.STB_WEAK,
			underscores: len(s.Name) - len(strings.TrimLeft(s.Name, "_")),
		})
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		if c := cmp.Compare(a.Addr, b.Addr); c != 0 {
			return c
		}
		if a.weak != b.weak {
			if a.weak {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.underscores, b.underscores)
	})
	syms := make([]Symbol, len(all))
	for i := range all {
		syms[i] = all[i].Symbol
	}
	return syms
}

// findKernelSites reads the table of sites, names them and turns them into nops.
func (k *kernelLoader) findKernelSites() error {
	table, at, err := k.mcountTable()
	if err != nil {
		return err
	}
	if len(table)%8 != 0 {
		return k.errorf(at, "%d bytes, expected a multiple of 8", len(table))
	}
	ips := make([]uint64, 0, len(table)/8)
	for off := 0; off < len(table); off += 8 {
		// The linker's padding is left out, as by the kernel.
		if ip := binary.LittleEndian.Uint64(table[off:]); ip != 0 {
			ips = append(ips, ip)
		}
	}
	if !slices.IsSorted(ips) {
		slices.Sort(ips)
	}
	fentry, _ := k.img.Symbols.Lookup("__fentry__")
	syms := k.img.Symbols.byAddr
	k.img.Sites = make([]Site, len(ips))
	bytesOf := make([]x86.Bytes5, len(ips))
	next := 0  // the first symbol behind the site
	first := 0 // the first of those at the last address before it
	for i, ip := range ips {
		code, seg := k.at(ip)
		if len(code) < x86.SiteLen || seg.Perm&emu.PermX == 0 {
			return k.errorf(at, "%#x is not in the kernel's code", ip)
		}
		if i > 0 && ip-ips[i-1] < x86.SiteLen {
			return k.errorf(at, "sites %#x and %#x overlap", ips[i-1], ip)
		}
		for next < len(syms) && syms[next].Addr <= ip {
			if syms[next].Addr != syms[first].Addr {
				first = next
			}
			next++
		}
		copy(bytesOf[i][:], code)
		kind, err := siteKind(bytesOf[i], ip, fentry)
		if err != nil {
			return k.errorf(at, "%v", err)
		}
		site := &k.img.Sites[i]
		*site = Site{IP: ip, Kind: kind, Bytes: bytesOf[i][:]}
		if next > 0 {
			site.Func, site.Offset = syms[first].Name, int64(ip-syms[first].Addr)
		}
		site.Invalid = site.Offset != 0 && !(site.Offset == int64(len(endbr64)) && k.behindEndbr(ip))
		copy(code, x86.Nop5[:])
	}
	return nil
}

// behindEndbr tells whether an endbr64 is in front of the site.
func (k *kernelLoader) behindEndbr(ip uint64) bool {
	code, _ := k.at(ip - uint64(len(endbr64)))
	return bytes.HasPrefix(code, endbr64[:])
}

// siteKind looks at a site's instruction: a call of __fentry__ (0: not known where
// that is), or a nop.
func siteKind(b x86.Bytes5, ip, fentry uint64) (SiteKind, error) {
	if b == x86.Nop5 {
		return FentryNop, nil
	}
	if b[0] != x86.OpCall {
		return 0, fmt.Errorf("found % x at %#x, expected a call to __fentry__ (e8) or a nop (% x)", b, ip, x86.Nop5)
	}
	if _, target := x86.ParseSite(b, ip); fentry != 0 && target != fentry {
		return 0, fmt.Errorf("found a call to %#x at %#x, expected one to __fentry__ (%#x)", target, ip, fentry)
	}
	return FentryCall, nil
}

// mcountTable finds the addresses of the sites: a section of their own, or what
// lies between __start_mcount_loc and __stop_mcount_loc.
func (k *kernelLoader) mcountTable() (table []byte, name string, err error) {
	for _, s := range k.img.Sections {
		if s.Name == "__mcount_loc" {
			data, _ := k.at(s.Addr)
			if uint64(len(data)) < s.Size {
				return nil, "", k.errorf(s.Name, "%d bytes, the file has %d", s.Size, len(data))
			}
			return data[:s.Size], s.Name, nil
		}
	}
	const startName, stopName = "__start_mcount_loc", "__stop_mcount_loc"
	start, ok1 := k.img.Symbols.Lookup(startName)
	stop, ok2 := k.img.Symbols.Lookup(stopName)
	if !ok1 || !ok2 {
		return nil, "", k.errorf("", "no ftrace sites: neither a section __mcount_loc nor the symbols %s and %s", startName, stopName)
	}
	data, _ := k.at(start)
	if stop < start || uint64(len(data)) < stop-start {
		return nil, "", k.errorf(startName, "%#x to %#x is no table in the image", start, stop)
	}
	return data[:stop-start], startName, nil
}
