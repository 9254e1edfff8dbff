package ftracecore

import (
	"slices"

	"ftemu/x86"
)

// A Record is what ftrace knows of one site (struct dyn_ftrace).
type Record struct {
	IP    uint64
	Flags RecFlags
	Count int // reference count: how many enabled ops cover the site
}

// Has tells whether all of the given flags are set.
func (r *Record) Has(f RecFlags) bool { return r.Flags&f == f }

// A Symbol is what the kernel's symbol table says of an address.
type Symbol struct {
	Name   string
	Module string // "" for the core kernel
	Addr   uint64
	Size   uint64
}

// Kallsyms finds the symbol that covers an address.
type Kallsyms func(addr uint64) (Symbol, bool)

// AddSites adds records for the sites at ips, as for the core kernel at boot or
// for a module that was loaded: sorted among themselves, behind those that are
// there (ftrace_process_locs). Sites known already are left out.
func (c *Core) AddSites(ips []uint64) {
	ips = slices.Clone(ips)
	slices.Sort(ips)
	page := make([]Record, 0, len(ips))
	for i, ip := range slices.Compact(ips) {
		if i == 0 || c.record(ip) == nil {
			page = append(page, Record{IP: ip})
		}
	}
	if len(page) > 0 {
		c.pages = append(c.pages, page)
	}
}

// Records calls fn for every record in the kernel's order (groups as they were
// added, each by address) until it returns false.
func (c *Core) Records(fn func(*Record) bool) {
	for _, page := range c.pages {
		for i := range page {
			if !fn(&page[i]) {
				return
			}
		}
	}
}

// lookup finds the first record that overlaps [start, end] (lookup_rec).
func (c *Core) lookup(start, end uint64) *Record {
	for _, page := range c.pages {
		i, _ := slices.BinarySearchFunc(page, start, func(r Record, a uint64) int {
			if r.IP+x86.SiteLen <= a {
				return -1
			}
			return 1
		})
		if i < len(page) && page[i].IP <= end {
			return &page[i]
		}
	}
	return nil
}

// record returns the record of the site that begins at ip.
func (c *Core) record(ip uint64) *Record {
	if r := c.lookup(ip, ip); r != nil && r.IP == ip {
		return r
	}
	return nil
}

// RecordAt returns the record of the site at ip, or nil.
func (c *Core) RecordAt(ip uint64) *Record { return c.record(ip) }

// Location returns the site that an address stands for: the site whose five
// bytes hold it, or the first site of the function that begins exactly there;
// 0 if there is none (ftrace_location).
func (c *Core) Location(ip uint64) uint64 {
	if r := c.lookup(ip, ip); r != nil {
		return r.IP
	}
	if s, ok := c.kallsyms(ip); ok && s.Addr == ip && s.Size > 0 {
		if r := c.lookup(ip, ip+s.Size-1); r != nil {
			return r.IP
		}
	}
	return 0
}

// siteName names a site for messages: its function, with the offset if it is
// not at its start.
func (c *Core) siteName(ip uint64) string { return c.symbolic(ip, false) }

// siteNames names the sites of a hash in its order, for messages.
func (c *Core) siteNames(h *Hash) string {
	w := &walk{}
	h.each(func(e hashEntry) bool { w.note("%s", c.siteName(e.ip)); return true })
	return w.String()
}
