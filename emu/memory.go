package emu

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// PageSize is the unit of mapping and protection, in bytes.
const PageSize = 4096

// DefaultMemoryLimit is how much a memory may hold when nothing else is asked
// for, in bytes.
const DefaultMemoryLimit = 256 << 20

// A Perm says what the guest may do with a page.
type Perm uint8

// Permissions, to be or-ed.
const (
	PermR Perm = 1 << iota
	PermW
	PermX

	PermRW = PermR | PermW
	PermRX = PermR | PermX
)

// String returns the permissions as "rwx" with a dash for each that is missing.
func (p Perm) String() string {
	var b strings.Builder
	for i, c := range "rwx" {
		if p&(1<<i) == 0 {
			c = '-'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// A Region is a run of pages mapped by one call to Map.
type Region struct {
	Addr, Size uint64
	Name       string
	Data       []byte // all of its bytes, contiguous; write through Memory.Write
}

// A Page is one page of memory. Engines hold on to pages while they run; the
// fields are theirs to read. They are valid until Memory.Generation changes.
type Page struct {
	Addr    uint64
	Data    []byte // PageSize bytes, at a fixed place for as long as the page is mapped
	Perm    Perm
	Version uint64 // changes whenever bytes of the page change by Write, or by a guest store while it is executable

	saved uint64 // the epoch in which the content was last saved for a snapshot
}

// A Watcher is told of changes that an engine with translations or mappings of
// its own must follow.
type Watcher interface {
	Mapped(addr uint64, data []byte, perm Perm)
	Unmapped(addr, size uint64)
	Protected(addr, size uint64, perm Perm)
	CodeChanged(addr, size uint64)
}

// MemoryOptions say how a memory gets and keeps its bytes. The zero value is
// memory on the Go heap.
type MemoryOptions struct {
	// Limit is the largest number of bytes that may be mapped; 0 means DefaultMemoryLimit.
	Limit uint64
	// Alloc returns size zero bytes for a region, Free takes them back. Nil:
	// the Go heap.
	Alloc func(size uint64) ([]byte, error)
	Free  func([]byte)
	// Direct says that an engine stores into Data without calling
	// PrepareWrite, so that snapshots must copy every writable page.
	Direct bool
}

// Memory is a sparse 64-bit address space of pages with permissions. Host
// accesses (Read, Write) look at no permission; the guest's go through Load and
// Store, or through pages that an engine looked up.
type Memory struct {
	opt      MemoryOptions
	mappings []*mapping // by address
	recent   *mapping   // the one that was looked up last, or nil
	used     uint64
	gen      uint64
	code     uint64 // counts changes of executable pages
	epoch    uint64
	watchers []Watcher
	undo     []undo
	snaps    []*Snapshot
	spare    [][]byte // page buffers for reuse by undo
}

// A mapping is a region with its pages.
type mapping struct {
	Region
	pages []Page
}

// NewMemory returns empty memory.
func NewMemory(opt MemoryOptions) *Memory {
	if opt.Limit == 0 {
		opt.Limit = DefaultMemoryLimit
	}
	return &Memory{opt: opt, epoch: 1}
}

// Watch tells w of changes from now on; the function returned ends that.
func (m *Memory) Watch(w Watcher) (stop func()) {
	m.watchers = append(m.watchers, w)
	return func() {
		m.watchers = slices.DeleteFunc(m.watchers, func(x Watcher) bool { return x == w })
	}
}

// Generation changes whenever pages that were looked up may no longer be used
// as they were: by Map, Unmap, Protect, Snapshot and Restore.
func (m *Memory) Generation() uint64 { return m.gen }

// CodeVersion changes whenever the guest might execute something else than
// before: with Generation, and when bytes of an executable page change.
func (m *Memory) CodeVersion() uint64 { return m.gen + m.code }

// Direct tells whether engines may store into pages by themselves, without
// PrepareWrite (see MemoryOptions).
func (m *Memory) Direct() bool { return m.opt.Direct }

// Used is the number of bytes mapped.
func (m *Memory) Used() uint64 { return m.used }

// Regions lists what is mapped, by address.
func (m *Memory) Regions() []Region {
	all := make([]Region, len(m.mappings))
	for i, x := range m.mappings {
		all[i] = x.Region
	}
	return all
}

// RegionAt returns the region that holds addr.
func (m *Memory) RegionAt(addr uint64) (Region, bool) {
	if x := m.at(addr); x != nil {
		return x.Region, true
	}
	return Region{}, false
}

// at returns the mapping that holds addr, or nil.
func (m *Memory) at(addr uint64) *mapping {
	if x := m.recent; x != nil && addr-x.Addr < x.Size {
		return x
	}
	i := m.index(addr)
	if i < len(m.mappings) && m.mappings[i].Addr == addr {
		i++
	}
	if i == 0 || addr-m.mappings[i-1].Addr >= m.mappings[i-1].Size {
		return nil
	}
	m.recent = m.mappings[i-1]
	return m.recent
}

// index returns where in the list a mapping at addr is or would be.
func (m *Memory) index(addr uint64) int {
	i, _ := slices.BinarySearchFunc(m.mappings, addr, func(x *mapping, a uint64) int { return cmp.Compare(x.Addr, a) })
	return i
}

// checkRange tells whether addr and size are whole pages inside the address space.
func checkRange(addr, size uint64) error {
	switch {
	case addr%PageSize != 0 || size%PageSize != 0 || size == 0:
		return fmt.Errorf("range %#x+%#x is not one of whole pages", addr, size)
	case addr+size-1 < addr:
		return fmt.Errorf("range %#x+%#x leaves the address space", addr, size)
	}
	return nil
}

// Map maps zero bytes. The range must be whole pages of which none is mapped.
func (m *Memory) Map(addr, size uint64, perm Perm, name string) error {
	if err := checkRange(addr, size); err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	if size > m.opt.Limit || m.used > m.opt.Limit-size {
		return fmt.Errorf("map %s: %d bytes more than the %d in use exceed the memory limit of %d", name, size, m.used, m.opt.Limit)
	}
	i := m.index(addr)
	if i < len(m.mappings) && m.mappings[i].Addr-addr < size {
		return fmt.Errorf("map %s: %#x+%#x overlaps %s at %#x", name, addr, size, m.mappings[i].Name, m.mappings[i].Addr)
	}
	if i > 0 && addr-m.mappings[i-1].Addr < m.mappings[i-1].Size {
		return fmt.Errorf("map %s: %#x+%#x overlaps %s at %#x", name, addr, size, m.mappings[i-1].Name, m.mappings[i-1].Addr)
	}
	var data []byte
	if m.opt.Alloc == nil {
		data = make([]byte, size)
	} else {
		var err error
		if data, err = m.opt.Alloc(size); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	x := &mapping{Region: Region{Addr: addr, Size: size, Name: name, Data: data}, pages: make([]Page, size/PageSize)}
	for j := range x.pages {
		off := uint64(j) * PageSize
		x.pages[j] = Page{Addr: addr + off, Data: data[off : off+PageSize : off+PageSize], Perm: perm, saved: m.epoch}
	}
	m.attach(x)
	m.record(undo{kind: undoMap, addr: addr})
	return nil
}

// attach enters a mapping.
func (m *Memory) attach(x *mapping) {
	m.mappings = slices.Insert(m.mappings, m.index(x.Addr), x)
	m.used += x.Size
	m.gen++
	perm := x.pages[0].Perm
	for _, w := range m.watchers {
		w.Mapped(x.Addr, x.Data, perm)
		for i := range x.pages {
			if p := &x.pages[i]; p.Perm != perm {
				w.Protected(p.Addr, PageSize, p.Perm)
			}
		}
	}
}

// detach takes the mapping that begins at addr out and returns it.
func (m *Memory) detach(addr uint64) *mapping {
	i := m.index(addr)
	x := m.mappings[i]
	m.mappings = slices.Delete(m.mappings, i, i+1)
	m.recent = nil
	m.used -= x.Size
	m.gen++
	for _, w := range m.watchers {
		w.Unmapped(x.Addr, x.Size)
	}
	return x
}

// Unmap takes away the region that begins at addr.
func (m *Memory) Unmap(addr uint64) error {
	r, ok := m.RegionAt(addr)
	if !ok || r.Addr != addr {
		return fmt.Errorf("unmap: no region begins at %#x", addr)
	}
	x := m.detach(addr)
	if len(m.snaps) > 0 {
		m.record(undo{kind: undoUnmap, mapping: x})
	} else {
		m.free(x)
	}
	return nil
}

func (m *Memory) free(x *mapping) {
	if m.opt.Free != nil {
		m.opt.Free(x.Data)
	}
}

// Protect changes the permissions of whole pages, which must be mapped.
func (m *Memory) Protect(addr, size uint64, perm Perm) error {
	if err := checkRange(addr, size); err != nil {
		return fmt.Errorf("protect: %w", err)
	}
	for off := uint64(0); off < size; off += PageSize {
		if m.Page(addr+off) == nil {
			return fmt.Errorf("protect: nothing is mapped at %#x", addr+off)
		}
	}
	for off := uint64(0); off < size; off += PageSize {
		p := m.Page(addr + off)
		m.record(undo{kind: undoPerm, addr: p.Addr, perm: p.Perm})
		if m.opt.Direct && perm&PermW != 0 {
			m.save(p)
		}
		p.Perm = perm
	}
	m.gen++
	for _, w := range m.watchers {
		w.Protected(addr, size, perm)
	}
	return nil
}

// Page returns the page that holds addr, or nil.
func (m *Memory) Page(addr uint64) *Page {
	x := m.at(addr)
	if x == nil {
		return nil
	}
	return &x.pages[(addr-x.Addr)/PageSize]
}

// PrepareWrite must be called before an engine stores into p.Data by itself,
// once for every Generation. It must not store into executable pages that way.
func (m *Memory) PrepareWrite(p *Page) {
	if p.saved != m.epoch && len(m.snaps) > 0 {
		m.save(p)
	}
}

// A Fault says which access by the guest memory refused.
type Fault struct {
	Addr   uint64 // the first byte that could not be accessed
	Size   int    // the size of the whole access
	Mapped bool   // whether a page is there, with the wrong permissions
}

// allowed finds the first page in [addr, addr+n) that lacks a permission of want.
func (m *Memory) allowed(addr uint64, n int, want Perm) *Fault {
	for off := 0; off < n; {
		a := addr + uint64(off)
		p := m.Page(a)
		if p == nil || p.Perm&want != want {
			return &Fault{Addr: a, Size: n, Mapped: p != nil}
		}
		off += PageSize - int(a%PageSize)
	}
	return nil
}

// Load reads as the guest does.
func (m *Memory) Load(addr uint64, b []byte) *Fault { return m.access(addr, b, PermR) }

// Fetch reads as the guest's instruction fetch does.
func (m *Memory) Fetch(addr uint64, b []byte) *Fault { return m.access(addr, b, PermX) }

func (m *Memory) access(addr uint64, b []byte, want Perm) *Fault {
	if f := m.allowed(addr, len(b), want); f != nil {
		return f
	}
	m.get(addr, b)
	return nil
}

// get reads mapped pages.
func (m *Memory) get(addr uint64, b []byte) {
	for len(b) > 0 {
		n := copy(b, m.Page(addr).Data[addr%PageSize:])
		addr, b = addr+uint64(n), b[n:]
	}
}

// Store writes as the guest does: all of b or, with a fault, nothing.
func (m *Memory) Store(addr uint64, b []byte) *Fault {
	if f := m.allowed(addr, len(b), PermW); f != nil {
		return f
	}
	m.put(addr, b)
	return nil
}

// put writes over mapped pages.
func (m *Memory) put(addr uint64, b []byte) {
	for len(b) > 0 {
		n := min(len(b), PageSize-int(addr%PageSize))
		m.putIn(m.Page(addr), addr, b[:n])
		addr, b = addr+uint64(n), b[n:]
	}
}

// putIn writes into one page.
func (m *Memory) putIn(p *Page, addr uint64, b []byte) {
	m.PrepareWrite(p)
	copy(p.Data[addr%PageSize:], b)
	p.Version++
	if p.Perm&PermX != 0 {
		m.codeChanged(addr, uint64(len(b)))
	}
}

func (m *Memory) codeChanged(addr, size uint64) {
	m.code++
	for _, w := range m.watchers {
		w.CodeChanged(addr, size)
	}
}

// Read copies bytes out, whatever their permissions: all or, with an error, none.
func (m *Memory) Read(addr uint64, b []byte) error {
	if p := m.Page(addr); p != nil && len(b) <= PageSize-int(addr%PageSize) {
		copy(b, p.Data[addr%PageSize:])
		return nil
	}
	if f := m.allowed(addr, len(b), 0); f != nil {
		return fmt.Errorf("read of %d bytes at %#x: nothing is mapped at %#x", len(b), addr, f.Addr)
	}
	m.get(addr, b)
	return nil
}

// Gather is Read of n bytes at each of addrs, one after the other into b. It does
// so little for each that a processor can wait for many at once. It returns how
// many it read before one that is not mapped.
func (m *Memory) Gather(addrs []uint64, n int, b []byte) int {
	for i, a := range addrs {
		to := b[i*n : (i+1)*n]
		if x := m.recent; x != nil && a-x.Addr <= x.Size-uint64(n) {
			copy(to, x.Data[a-x.Addr:])
		} else if m.Read(a, to) != nil {
			return i
		}
	}
	return len(addrs)
}

// Write changes bytes, whatever their permissions: all or, with an error, none.
func (m *Memory) Write(addr uint64, b []byte) error {
	if p := m.Page(addr); p != nil && len(b) <= PageSize-int(addr%PageSize) {
		m.putIn(p, addr, b)
		return nil
	}
	if f := m.allowed(addr, len(b), 0); f != nil {
		return fmt.Errorf("write of %d bytes at %#x: nothing is mapped at %#x", len(b), addr, f.Addr)
	}
	m.put(addr, b)
	return nil
}

// ReadU64 reads a little-endian word, whatever the permissions.
func (m *Memory) ReadU64(addr uint64) (uint64, error) {
	var b [8]byte
	err := m.Read(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// WriteU64 writes a little-endian word, whatever the permissions.
func (m *Memory) WriteU64(addr, v uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return m.Write(addr, b[:])
}

// Close gives back what was allocated. The memory is empty afterwards.
func (m *Memory) Close() {
	m.Discard()
	for len(m.mappings) > 0 {
		m.free(m.detach(m.mappings[len(m.mappings)-1].Addr))
	}
}
