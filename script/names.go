package script

import (
	"fmt"
	"strings"

	"ftemu/guest"
	"ftemu/near"
	"ftemu/x86"
)

// oraclePrefix is what the symbols of the built-in guest have in front of the
// names that scripts use.
const oraclePrefix = "ftor_"

// names translates between the names of a script and the guest's addresses.
type names struct {
	img    *guest.Image
	prefix string
	sites  map[uint64]guest.Site
}

func newNames(img *guest.Image) names {
	n := names{img: img, sites: make(map[uint64]guest.Site, len(img.Sites))}
	if img.Module == guest.OracleModule {
		n.prefix = oraclePrefix
	}
	for _, s := range img.Sites {
		n.sites[s.IP] = s
	}
	return n
}

// addr finds a function by the script's name for it.
func (n names) addr(name string) (uint64, bool) {
	if n.prefix != "" {
		if a, ok := n.img.Symbols.Lookup(n.prefix + name); ok {
			return a, true
		}
	}
	return n.img.Symbols.Lookup(name)
}

// similar suggests a function for a name that is unknown.
func (n names) similar(name string) string {
	var known []string
	for _, s := range n.img.Symbols.All() {
		short := strings.TrimPrefix(s.Name, n.prefix)
		if !s.Func {
			continue
		}
		if name != "" && (strings.Contains(short, name) || strings.EqualFold(short, name)) {
			return fmt.Sprintf(", did you mean %s?", short)
		}
		known = append(known, short)
	}
	if words := near.Words(name, known); len(words) == 1 {
		return fmt.Sprintf(", did you mean %s?", words[0])
	}
	return ""
}

// isSite tells whether the function at addr has a site at its start, or behind
// the endbr64 that it starts with.
func (n names) isSite(addr uint64) bool {
	_, ok := n.site(addr)
	return ok
}

// site finds the site of the function that begins at addr.
func (n names) site(addr uint64) (guest.Site, bool) {
	sym, ok := n.img.Symbols.At(addr)
	if !ok {
		return guest.Site{}, false
	}
	for off := uint64(0); off <= sym.Size || off == 0; off++ {
		if s, ok := n.sites[addr+off]; ok {
			return s, true
		}
	}
	return guest.Site{}, false
}

// siteName is the script's name of a site: its function.
func (n names) siteName(ip uint64) string {
	if s, ok := n.sites[ip]; ok {
		return strings.TrimPrefix(s.Name(), n.prefix)
	}
	return fmt.Sprintf("%#x", ip)
}

// place names an address inside a function as the recordings do: f0+5, g0.
func (n names) place(addr uint64) string {
	s, ok := n.img.Symbols.At(addr)
	if !ok {
		return fmt.Sprintf("%#x", addr)
	}
	name := strings.TrimPrefix(s.Name, n.prefix)
	if addr == s.Addr {
		return name
	}
	return fmt.Sprintf("%s+%d", name, addr-s.Addr)
}

// body is the address behind a site.
func body(s guest.Site) uint64 { return s.IP + x86.SiteLen }
