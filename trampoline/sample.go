package trampoline

import (
	"fmt"
	"slices"

	"ftemu/x86"
)

// Addresses of a Sample.
const (
	SampleSite    = 0xffffffff81001000       // the site, at the entry of the traced function
	SampleBody    = SampleSite + x86.SiteLen // the address behind it
	SampleInstead = 0xffffffff81002000       // a function that a livepatch runs in the body's stead
	SampleDirect  = 0xffffffff81002800       // a direct trampoline to go on to
	SampleParent  = 0xffffffff81003000       // the traced function's return address
	SampleThunk   = 0xffffffff81003800       // a return thunk
	SampleAddr    = 0xffffffffc0200000       // the trampoline
	SampleSymbols = 0xffffffff81008000       // functions and variables by name, samplePitch apart
	SampleEnd     = SampleSymbols + 0x80*samplePitch
	samplePitch   = 0x40
)

// A Sample is surroundings for a trampoline that is looked at or tried out, not
// used: a traced function, and an address for each name that is asked for, in
// the order of asking. The zero value is ready for use.
type Sample struct {
	names []string
}

// Env is the environment for a trampoline that returns as ret says.
func (s *Sample) Env(ret Return) Env {
	return Env{Addr: SampleAddr, Body: SampleBody, ID: 7, Symbol: s.Symbol, Return: ret}
}

// Symbol gives a function or variable of that name an address.
func (s *Sample) Symbol(name string) (uint64, error) {
	i := slices.Index(s.names, name)
	if i < 0 {
		i = len(s.names)
		if SampleSymbols+uint64(i+1)*samplePitch > SampleEnd {
			return 0, fmt.Errorf("%s is one symbol more than the %d there is room for", name, i)
		}
		s.names = append(s.names, name)
	}
	return SampleSymbols + uint64(i)*samplePitch, nil
}

// Names lists the names that were asked for, in that order.
func (s *Sample) Names() []string { return slices.Clone(s.names) }

// Name names an address (it is an x86.SymLookup).
func (s *Sample) Name(addr uint64) (name string, off uint64, ok bool) {
	for _, f := range []struct {
		addr, size uint64
		name       string
	}{
		{SampleSite, x86.SiteLen, "site"}, {SampleBody, 1, "body"}, {SampleInstead, 1, "replacement"},
		{SampleDirect, 1, "direct"}, {SampleParent, 1, "parent"}, {SampleThunk, 1, "return_thunk"},
	} {
		if addr-f.addr < f.size {
			return f.name, addr - f.addr, true
		}
	}
	if i := (addr - SampleSymbols) / samplePitch; addr >= SampleSymbols && i < uint64(len(s.names)) {
		return s.names[i], (addr - SampleSymbols) % samplePitch, true
	}
	return "", 0, false
}
