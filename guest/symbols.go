package guest

import (
	"maps"
	"slices"
	"strings"
)

// A Symbol is a name for an address.
type Symbol struct {
	Name   string
	Addr   uint64
	Size   uint64 // 0 where unknown
	Func   bool   // a function, not data
	Module string // "" for the core kernel
}

// Symbols is a table of symbols, as kallsyms is. Names need not be unique.
// The zero value is empty.
type Symbols struct {
	byAddr []Symbol // ascending by address, in order of addition where equal
	byName map[string][]uint64

	changes uint64
}

// Add enters a symbol.
func (t *Symbols) Add(s Symbol) {
	t.changes++
	i, _ := slices.BinarySearchFunc(t.byAddr, s.Addr, func(x Symbol, a uint64) int {
		if x.Addr <= a {
			return -1
		}
		return 1
	})
	t.byAddr = slices.Insert(t.byAddr, i, s)
	if t.byName == nil {
		t.byName = make(map[string][]uint64)
	}
	t.byName[s.Name] = append(slices.Clip(t.byName[s.Name]), s.Addr)
}

// AddAll enters many symbols at once.
func (t *Symbols) AddAll(syms []Symbol) {
	t.changes++
	t.byAddr = append(t.byAddr, syms...)
	slices.SortStableFunc(t.byAddr, func(a, b Symbol) int {
		switch {
		case a.Addr < b.Addr:
			return -1
		case a.Addr > b.Addr:
			return 1
		}
		return 0
	})
	if t.byName == nil {
		t.byName = make(map[string][]uint64, len(syms))
	}
	for _, s := range syms {
		t.byName[s.Name] = append(slices.Clip(t.byName[s.Name]), s.Addr)
	}
}

// Remove takes away the symbols of that name at addr.
func (t *Symbols) Remove(name string, addr uint64) {
	t.changes++
	t.byAddr = slices.DeleteFunc(t.byAddr, func(s Symbol) bool { return s.Name == name && s.Addr == addr })
	// The list may be shared with a clone, so it is not changed in place.
	var rest []uint64
	for _, a := range t.byName[name] {
		if a != addr {
			rest = append(rest, a)
		}
	}
	delete(t.byName, name)
	if len(rest) > 0 {
		t.byName[name] = rest
	}
}

// All lists the symbols, ascending by address.
func (t *Symbols) All() []Symbol { return slices.Clone(t.byAddr) }

// Lookup returns the address of the first symbol of that name to be added.
func (t *Symbols) Lookup(name string) (addr uint64, ok bool) {
	a := t.byName[name]
	if len(a) == 0 {
		return 0, false
	}
	return a[0], true
}

// At returns the symbol that covers addr. A symbol of unknown size reaches to
// the next one; of several at one address the first added is returned.
func (t *Symbols) At(addr uint64) (s Symbol, ok bool) {
	i, _ := slices.BinarySearchFunc(t.byAddr, addr, func(x Symbol, a uint64) int {
		if x.Addr <= a {
			return -1
		}
		return 1
	})
	if i == 0 {
		return Symbol{}, false
	}
	i--
	for i > 0 && t.byAddr[i-1].Addr == t.byAddr[i].Addr {
		i--
	}
	s = t.byAddr[i]
	if s.Size != 0 && addr-s.Addr >= s.Size {
		return Symbol{}, false
	}
	return s, true
}

// Name returns the name and offset of addr for listings (x86.SymLookup).
func (t *Symbols) Name(addr uint64) (name string, offset uint64, ok bool) {
	s, ok := t.At(addr)
	return s.Name, addr - s.Addr, ok
}

// Matching lists the names that satisfy match, in address order.
func (t *Symbols) Matching(match func(string) bool) []Symbol {
	var out []Symbol
	for _, s := range t.byAddr {
		if match(s.Name) {
			out = append(out, s)
		}
	}
	return out
}

// WithPrefix lists the symbols whose name begins with prefix.
func (t *Symbols) WithPrefix(prefix string) []Symbol {
	return t.Matching(func(n string) bool { return strings.HasPrefix(n, prefix) })
}

// Len is the number of symbols.
func (t *Symbols) Len() int { return len(t.byAddr) }

// Clone returns a table of its own with the same symbols.
func (t *Symbols) Clone() *Symbols {
	return &Symbols{byAddr: slices.Clone(t.byAddr), byName: maps.Clone(t.byName), changes: t.changes}
}

// Changes counts how often the table was changed. A clone starts with the count
// of its original.
func (t *Symbols) Changes() uint64 { return t.changes }
