package guest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"ftemu/emu"
	"ftemu/x86"
)

// endbr64 begins functions that indirect jumps may reach (-fcf-protection=branch).
var endbr64 = [4]byte{0xf3, 0x0f, 0x1e, 0xfa}

// maxPadding is how far in front of a function its padding may begin, in bytes.
// Kernels use 16; compilers accept any number up to 65535.
const maxPadding = 4096

// findSites finds the sites and padding, and turns the sites into nops.
//
// Who lists them, in this order: __mcount_loc; or else, as recordmcount has it,
// the relocations of calls to __fentry__ or mcount in text sections. Places of
// __patchable_function_entries come on top.
func (l *loader) findSites() error {
	s := &siteFinder{loader: l, seen: make(map[uint64]bool), calls: make(map[uint64]string)}
	for _, sym := range l.img.Symbols.byAddr {
		if sym.Func && !isPrefix(sym.Name) {
			s.funcs = append(s.funcs, sym)
		}
	}
	for _, r := range l.img.Relocs {
		if isMCount(r.Symbol) && r.Width == 4 {
			s.calls[r.Addr-1] = r.Symbol
		}
	}
	listed, err := s.fromTable("__mcount_loc", s.addMCount)
	if err != nil {
		return err
	}
	if !listed {
		s.fromCalls()
	}
	if _, err := s.fromTable("__patchable_function_entries", s.addPatchable); err != nil {
		return err
	}
	byIP := func(a, b Site) int { return cmp.Compare(a.IP, b.IP) }
	slices.SortFunc(l.img.Sites, byIP)
	slices.SortFunc(l.img.Padding, byIP)
	for i, site := range l.img.Sites {
		if i > 0 && site.IP-l.img.Sites[i-1].IP < x86.SiteLen {
			return l.errorf("", "sites %s and %s overlap: %#x and %#x", l.img.Sites[i-1], site, l.img.Sites[i-1].IP, site.IP)
		}
		copy(s.code(site.IP), x86.Nop5[:])
	}
	return nil
}

// isPrefix tells whether a symbol names the padding in front of a function
// (later kernels have such symbols), not a function.
func isPrefix(name string) bool {
	return strings.HasPrefix(name, "__pfx_") || strings.HasPrefix(name, "__cfi_")
}

type siteFinder struct {
	*loader
	funcs []Symbol          // ascending by address
	calls map[uint64]string // calls of __fentry__ and its like, by the opcode's address
	seen  map[uint64]bool   // addresses of sites found
}

// fromTable hands over every address in the tables of that name (clang makes
// one for each function). ok tells whether there was such a section.
func (s *siteFinder) fromTable(name string, add func(at string, ip uint64) error) (ok bool, err error) {
	for i, sec := range s.file.Sections {
		if sec.Name != name || !s.placed[i].ok {
			continue
		}
		ok = true
		table := s.placed[i].data
		if len(table)%8 != 0 {
			return ok, s.errorf(name, "%d bytes, expected a multiple of 8", len(table))
		}
		for off := 0; off < len(table); off += 8 {
			ip := binary.LittleEndian.Uint64(table[off:])
			if ip == 0 {
				continue // padding of the linker's, which the kernel skips too
			}
			if err := add(where(name, uint64(off)), ip); err != nil {
				return ok, err
			}
		}
	}
	return ok, nil
}

// fromCalls does what recordmcount does for objects without a table.
func (s *siteFinder) fromCalls() {
	for _, r := range s.img.Relocs {
		ip := r.Addr - 1
		if s.calls[ip] == "" {
			continue
		}
		i := slices.IndexFunc(s.placed, func(p placed) bool { return p.holds(ip) && p.holds(ip+x86.SiteLen-1) })
		if i < 0 || s.placed[i].perm&emu.PermX == 0 {
			continue
		}
		code := s.code(ip)
		if code[0] != x86.OpCall {
			continue // a jump or an address: recordmcount would take it for a call
		}
		site := s.site(ip, s.kindOfCall(ip), code[:x86.SiteLen])
		if isTraceable(s.sectionName(i)) {
			s.addSite(site)
			continue
		}
		// Code that runs where ftrace must not change it.
		site.Kind = OtherNop
		s.img.Padding = append(s.img.Padding, site)
		copy(code, x86.Nop5[:])
	}
}

// isTraceable tells whether recordmcount looks for sites in that section.
func isTraceable(section string) bool {
	switch section {
	case ".init.text", ".ref.text", ".sched.text", ".spinlock.text", ".irqentry.text",
		".softirqentry.text", ".kprobes.text", ".cpuidle.text":
		return true
	}
	return strings.HasPrefix(section, ".text")
}

// addMCount enters an address of __mcount_loc.
func (s *siteFinder) addMCount(at string, ip uint64) error {
	code := s.code(ip)
	if len(code) < x86.SiteLen {
		return s.errorf(at, "the %d bytes at %#x are not in the object's code", x86.SiteLen, ip)
	}
	code = code[:x86.SiteLen]
	switch {
	case code[0] == x86.OpCall && s.calls[ip] != "":
		s.addSite(s.site(ip, s.kindOfCall(ip), code))
	case bytes.Equal(code, x86.Nop5[:]):
		s.addSite(s.site(ip, FentryNop, code))
	case nopLen(code) > 0:
		s.img.Padding = append(s.img.Padding, s.site(ip, OtherNop, code))
	default:
		return s.errorf(at, "found % x at %s, expected a call to __fentry__ or mcount (e8) or a nop (% x)", code, s.site(ip, 0, nil), x86.Nop5)
	}
	return nil
}

func (s *siteFinder) kindOfCall(ip uint64) SiteKind {
	if s.calls[ip] == "__fentry__" {
		return FentryCall
	}
	return MCountCall
}

// addPatchable enters an address of __patchable_function_entries: that of the
// function's entry, or of the padding in front of it.
func (s *siteFinder) addPatchable(at string, ip uint64) error {
	if s.code(ip) == nil {
		return s.errorf(at, "%#x is not in the object's code", ip)
	}
	entry, padding := s.paddedEntry(ip)
	if padding {
		before := s.code(ip)[:entry.Addr-ip]
		s.img.Padding = append(s.img.Padding, Site{
			IP: ip, Func: entry.Name, Offset: -int64(len(before)), Kind: PadBefore, Bytes: bytes.Clone(before),
		})
		ip = entry.Addr
	}
	code := s.code(ip)
	if bytes.HasPrefix(code, endbr64[:]) {
		ip += uint64(len(endbr64))
		code = code[len(endbr64):]
	}
	ones := len(code) - len(bytes.TrimLeft(code, "\x90"))
	switch {
	case ones >= x86.SiteLen || bytes.HasPrefix(code, x86.Nop5[:]):
		if s.seen[ip] {
			return nil // listed as an ftrace site already
		}
		s.addSite(s.site(ip, Patchable, code[:x86.SiteLen]))
	case ones > 0 && !padding:
		s.img.Padding = append(s.img.Padding, s.site(ip, OtherNop, code[:ones]))
	case nopLen(code) > 0:
		s.img.Padding = append(s.img.Padding, s.site(ip, OtherNop, code[:nopLen(code)]))
	case !padding:
		return s.errorf(at, "found % x at %s, expected nops", code[:min(len(code), x86.SiteLen)], s.site(ip, 0, nil))
	}
	return nil
}

// paddedEntry decides whether ip is in front of a function, with nothing but
// nops up to it, and returns that function.
func (s *siteFinder) paddedEntry(ip uint64) (f Symbol, padding bool) {
	i, exact := slices.BinarySearchFunc(s.funcs, ip, func(f Symbol, a uint64) int { return cmp.Compare(f.Addr, a) })
	if exact || i == len(s.funcs) {
		return Symbol{}, false
	}
	if i > 0 && ip-s.funcs[i-1].Addr < s.funcs[i-1].Size {
		return Symbol{}, false // inside of a function, behind its endbr64
	}
	f = s.funcs[i]
	code := s.code(ip)
	if gap := f.Addr - ip; gap > maxPadding || gap >= uint64(len(code)) || !allNops(code[:gap]) {
		return Symbol{}, false
	}
	return f, true
}

// addSite enters a site once.
func (s *siteFinder) addSite(site Site) {
	if !s.seen[site.IP] {
		s.seen[site.IP] = true
		s.img.Sites = append(s.img.Sites, site)
	}
}

// site describes the place at ip.
func (s *siteFinder) site(ip uint64, kind SiteKind, code []byte) Site {
	site := Site{IP: ip, Kind: kind, Bytes: bytes.Clone(code)}
	if f, ok := s.funcBefore(ip); ok {
		site.Func, site.Offset = f.Name, int64(ip-f.Addr)
	}
	return site
}

// funcBefore finds the function a place belongs to, as kallsyms does: the last one
// that begins at or before it, even if it ends before. The body of a weak function
// that lost against another one shows up there, at a large offset.
func (s *siteFinder) funcBefore(ip uint64) (Symbol, bool) {
	i, _ := slices.BinarySearchFunc(s.funcs, ip, func(f Symbol, a uint64) int {
		if f.Addr <= a {
			return -1
		}
		return 1
	})
	if i == 0 {
		return Symbol{}, false
	}
	for i--; i > 0 && s.funcs[i-1].Addr == s.funcs[i].Addr; i-- {
	}
	return s.funcs[i], true
}

// code returns the bytes from ip to the end of its section, nil if that holds no code.
func (s *siteFinder) code(ip uint64) []byte {
	for i := range s.placed {
		if p := &s.placed[i]; p.perm&emu.PermX != 0 && p.holds(ip) {
			return p.data[ip-p.addr:]
		}
	}
	return nil
}

// nopLen returns the length of the nop that code begins with, 0 if there is none:
// the one-byte nop and the multi-byte one (0f 1f /0), with any of the prefixes that
// assemblers put in front.
func nopLen(code []byte) int {
	i := 0
	for i < len(code) && (code[i] == 0x66 || code[i] == 0x2e) {
		i++
	}
	if i < len(code) && code[i] == 0x90 {
		return i + 1
	}
	if len(code) < i+3 || code[i] != 0x0f || code[i+1] != 0x1f {
		return 0
	}
	mod, rm := code[i+2]>>6, code[i+2]&7
	if code[i+2]>>3&7 != 0 || mod == 3 {
		return 0
	}
	n := i + 3
	base := rm
	if rm == 4 {
		if len(code) <= n {
			return 0
		}
		base = code[n] & 7
		n++
	}
	switch {
	case mod == 1:
		n++
	case mod == 2 || base == 5:
		n += 4
	}
	if n > len(code) {
		return 0
	}
	return n
}

func allNops(code []byte) bool {
	for len(code) > 0 {
		n := nopLen(code)
		if n == 0 {
			return false
		}
		code = code[n:]
	}
	return true
}

// String names the site: the function and, unless 0, the offset.
func (s Site) String() string {
	switch {
	case s.Func == "":
		return fmt.Sprintf("%#x", s.IP)
	case s.Offset == 0:
		return s.Func
	case s.Offset < 0:
		return fmt.Sprintf("%s-%#x", s.Func, -s.Offset)
	}
	return fmt.Sprintf("%s+%#x", s.Func, s.Offset)
}

// RequireSites returns an error that wraps [ErrNoSites] if the image has none.
func (img *Image) RequireSites() error {
	if len(img.Sites) > 0 {
		return nil
	}
	what := "no __mcount_loc, no calls to __fentry__ or mcount"
	if n := len(img.Padding); n > 0 {
		what = fmt.Sprintf("%d other patchable places only", n)
	}
	return fmt.Errorf("%s: %w: %s", img.Name, ErrNoSites, what)
}
