package emu_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
)

const page = emu.PageSize

func mapped(t *testing.T, opt emu.MemoryOptions) *emu.Memory {
	t.Helper()
	m := emu.NewMemory(opt)
	require.NoError(t, m.Map(0x1000, 2*page, emu.PermRW, "a"))
	require.NoError(t, m.Map(0x3000, page, emu.PermRX, "b"))
	require.NoError(t, m.Map(0x10000, page, emu.PermR, "c"))
	return m
}

func TestMapErrors(t *testing.T) {
	const top = math.MaxUint64 - page + 1
	for _, c := range []struct {
		name       string
		addr, size uint64
		err        string
	}{
		{"no page", 0x8010, page, "map x: range 0x8010+0x1000 is not one of whole pages"},
		{"no pages", 0x8000, 100, "map x: range 0x8000+0x64 is not one of whole pages"},
		{"empty", 0x8000, 0, "map x: range 0x8000+0x0 is not one of whole pages"},
		{"wraps", top, 2 * page, "map x: range 0xfffffffffffff000+0x2000 leaves the address space"},
		{"last page", top, page, ""},
		{"same", 0x1000, page, "map x: 0x1000+0x1000 overlaps a at 0x1000"},
		{"end of one", 0x2000, page, "map x: 0x2000+0x1000 overlaps a at 0x1000"},
		{"around one", 0xf000, 3 * page, "map x: 0xf000+0x3000 overlaps c at 0x10000"},
		{"begin of one", 0x0, 2 * page, "map x: 0x0+0x2000 overlaps a at 0x1000"},
		{"between", 0x4000, 12 * page, ""},
		{"page zero", 0, page, ""},
		{"too much", 0x100000, 29 * page, "map x: 118784 bytes more than the 16384 in use exceed the memory limit of 131072"},
		{"much too much", 0x100000, 1 << 62, "map x: 4611686018427387904 bytes more than the 16384 in use exceed the memory limit of 131072"},
		{"just enough", 0x100000, 28 * page, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mapped(t, emu.MemoryOptions{Limit: 32 * page})
			used, gen, regions := m.Used(), m.Generation(), m.Regions()
			err := m.Map(c.addr, c.size, emu.PermRW, "x")
			if c.err != "" {
				require.EqualError(t, err, c.err)
				require.Equal(t, used, m.Used())
				require.Equal(t, gen, m.Generation())
				require.Equal(t, regions, m.Regions())
				return
			}
			require.NoError(t, err)
			require.Equal(t, used+c.size, m.Used())
			require.NotEqual(t, gen, m.Generation())
			r, ok := m.RegionAt(c.addr + c.size - 1)
			require.True(t, ok)
			require.Equal(t, c.addr, r.Addr)
			require.Equal(t, "x", r.Name)
			require.NoError(t, m.Write(c.addr+c.size-1, []byte{1}))
			require.Equal(t, byte(1), r.Data[c.size-1])
		})
	}
}

func TestAllocFails(t *testing.T) {
	oops := errors.New("oops")
	m := emu.NewMemory(emu.MemoryOptions{Alloc: func(uint64) ([]byte, error) { return nil, oops }})
	require.ErrorIs(t, m.Map(0, page, emu.PermR, "x"), oops)
	require.Zero(t, m.Used())
	require.Empty(t, m.Regions())
}

func TestUnmap(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	require.EqualError(t, m.Unmap(0x2000), "unmap: no region begins at 0x2000")
	require.EqualError(t, m.Unmap(0x4000), "unmap: no region begins at 0x4000")
	require.NoError(t, m.Unmap(0x1000))
	require.EqualError(t, m.Unmap(0x1000), "unmap: no region begins at 0x1000")
	require.Nil(t, m.Page(0x2000))
	require.NotNil(t, m.Page(0x3000))
	require.Equal(t, uint64(2*page), m.Used())
	_, ok := m.RegionAt(0x1000)
	require.False(t, ok)
}

func TestHostAccess(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	// Across pages and regions, whatever the permissions.
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	require.NoError(t, m.Write(0x2ffc, b))
	got := make([]byte, 8)
	require.NoError(t, m.Read(0x2ffc, got))
	require.Equal(t, b, got)
	v, err := m.ReadU64(0x2ffc)
	require.NoError(t, err)
	require.Equal(t, uint64(0x0807060504030201), v)

	require.EqualError(t, m.Write(0x3ffc, b), "write of 8 bytes at 0x3ffc: nothing is mapped at 0x4000")
	require.EqualError(t, m.Read(0x3ffc, got), "read of 8 bytes at 0x3ffc: nothing is mapped at 0x4000")
	v, err = m.ReadU64(0x3ff8)
	require.NoError(t, err)
	require.Zero(t, v, "all or nothing")
	require.Error(t, m.WriteU64(math.MaxUint64-3, 1), "around the end of the address space")
	require.NoError(t, m.Write(0x123456, nil))
}

func TestGuestAccess(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	b := make([]byte, 4)
	for _, c := range []struct {
		name   string
		access func(uint64, []byte) *emu.Fault
		addr   uint64
		want   *emu.Fault
	}{
		{"load", m.Load, 0x1ffe, nil},
		{"load across regions", m.Load, 0x2ffe, nil},
		{"load past the end", m.Load, 0x3ffd, &emu.Fault{Addr: 0x4000, Size: 4}},
		{"load from nowhere", m.Load, 0x8000, &emu.Fault{Addr: 0x8000, Size: 4}},
		{"store", m.Store, 0x1ffe, nil},
		{"store into code", m.Store, 0x3000, &emu.Fault{Addr: 0x3000, Size: 4, Mapped: true}},
		{"store across into code", m.Store, 0x2ffe, &emu.Fault{Addr: 0x3000, Size: 4, Mapped: true}},
		{"store past the end", m.Store, 0x3ffd, &emu.Fault{Addr: 0x3ffd, Size: 4, Mapped: true}},
		{"fetch", m.Fetch, 0x3000, nil},
		{"fetch of data", m.Fetch, 0x1000, &emu.Fault{Addr: 0x1000, Size: 4, Mapped: true}},
		{"fetch past the end", m.Fetch, 0x3ffe, &emu.Fault{Addr: 0x4000, Size: 4}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, c.access(c.addr, b)) })
	}
	// A store that fails in its second page leaves the first alone.
	require.NotNil(t, m.Store(0x2ffe, []byte{1, 2, 3, 4}))
	require.NoError(t, m.Read(0x2ffe, b))
	require.Equal(t, make([]byte, 4), b)
}

func TestProtect(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	require.EqualError(t, m.Protect(0x3000, 2*page, emu.PermR), "protect: nothing is mapped at 0x4000")
	require.Equal(t, emu.PermRX, m.Page(0x3000).Perm, "all or nothing")
	require.EqualError(t, m.Protect(0x3001, page, emu.PermR), "protect: range 0x3001+0x1000 is not one of whole pages")
	gen := m.Generation()
	require.NoError(t, m.Protect(0x2000, 2*page, emu.PermR)) // across regions
	require.NotEqual(t, gen, m.Generation())
	require.Equal(t, emu.PermRW, m.Page(0x1000).Perm)
	require.Equal(t, emu.PermR, m.Page(0x2000).Perm)
	require.Equal(t, emu.PermR, m.Page(0x3fff).Perm)
	require.Equal(t, "r--", emu.PermR.String())
	require.Equal(t, "rwx", (emu.PermRW | emu.PermX).String())
}

func TestVersions(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	a, b := m.Page(0x2000), m.Page(0x3000)
	va, vb := a.Version, b.Version
	require.NoError(t, m.Write(0x2ffe, make([]byte, 4)))
	require.NotEqual(t, va, a.Version)
	require.NotEqual(t, vb, b.Version)
	vb = b.Version
	require.NoError(t, m.Write(0x2000, []byte{1}))
	require.Equal(t, vb, b.Version)

	s := m.Snapshot()
	require.NoError(t, m.Write(0x3000, []byte{1}))
	vb = b.Version
	require.NoError(t, m.Restore(s))
	require.NotEqual(t, vb, b.Version, "restored bytes are changed bytes")
}

func TestStaleSnapshots(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	other := mapped(t, emu.MemoryOptions{})
	s1 := m.Snapshot()
	s2 := m.Snapshot()
	s3 := m.Snapshot()
	require.ErrorIs(t, other.Restore(s1), emu.ErrStaleSnapshot)
	require.NoError(t, m.Restore(s2))
	require.NoError(t, m.Restore(s2))
	require.ErrorIs(t, m.Restore(s3), emu.ErrStaleSnapshot)
	require.NoError(t, m.Restore(s1))
	require.ErrorIs(t, m.Restore(s2), emu.ErrStaleSnapshot)
	m.Discard()
	require.ErrorIs(t, m.Restore(s1), emu.ErrStaleSnapshot)
}

// Trim goes by what is kept, too; the newest snapshot stays in any case.
func TestTrim(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{})
	var snaps []*emu.Snapshot
	for i := range 4 {
		snaps = append(snaps, m.Snapshot())
		require.NoError(t, m.Write(0x3000, []byte{byte(i + 1)}))
	}
	m.Trim(4, 4*page)
	require.NoError(t, m.Restore(snaps[3]))
	require.NoError(t, m.Write(0x3000, []byte{9}))
	m.Trim(4, 2*page)
	require.ErrorIs(t, m.Restore(snaps[0]), emu.ErrStaleSnapshot)
	require.ErrorIs(t, m.Restore(snaps[1]), emu.ErrStaleSnapshot)
	m.Trim(4, 0)
	require.ErrorIs(t, m.Restore(snaps[2]), emu.ErrStaleSnapshot)
	require.NoError(t, m.Restore(snaps[3]))
	require.Equal(t, byte(3), m.Page(0x3000).Data[0])
	m.Trim(0, 4*page)
	require.ErrorIs(t, m.Restore(snaps[3]), emu.ErrStaleSnapshot)
}

// A heap counts what was allocated and given back.
type heap struct {
	t     *testing.T
	alive map[*byte]bool
}

func (h *heap) options() emu.MemoryOptions {
	h.alive = make(map[*byte]bool)
	return emu.MemoryOptions{
		Alloc: func(n uint64) ([]byte, error) {
			b := make([]byte, n)
			h.alive[&b[0]] = true
			return b, nil
		},
		Free: func(b []byte) {
			require.True(h.t, h.alive[&b[0]], "given back twice")
			delete(h.alive, &b[0])
		},
	}
}

func TestFree(t *testing.T) {
	h := heap{t: t}
	m := mapped(t, h.options())
	require.Len(t, h.alive, 3)
	require.NoError(t, m.Unmap(0x10000))
	require.Len(t, h.alive, 2)

	s := m.Snapshot()
	require.NoError(t, m.Unmap(0x3000))
	require.Len(t, h.alive, 2, "the snapshot may want it back")
	require.NoError(t, m.Map(0x3000, page, emu.PermRW, "new"))
	require.Len(t, h.alive, 3)
	require.NoError(t, m.Restore(s))
	require.Len(t, h.alive, 2)
	r, ok := m.RegionAt(0x3000)
	require.True(t, ok)
	require.Equal(t, "b", r.Name)

	require.NoError(t, m.Unmap(0x3000))
	m.Discard()
	require.Len(t, h.alive, 1, "nobody wants it any more")
	m.Snapshot()
	require.NoError(t, m.Unmap(0x1000))
	m.Close()
	require.Empty(t, h.alive)
	require.Zero(t, m.Used())
}

// An engine that stores by itself into memory of the Direct kind is undone too.
func TestDirect(t *testing.T) {
	m := mapped(t, emu.MemoryOptions{Direct: true})
	require.True(t, m.Direct())
	p := m.Page(0x1000)
	p.Data[0] = 1
	s1 := m.Snapshot()
	p.Data[0] = 2
	s2 := m.Snapshot()
	p.Data[0] = 3
	require.NoError(t, m.Restore(s2))
	require.Equal(t, byte(2), p.Data[0])
	p.Data[0] = 4
	require.NoError(t, m.Restore(s2))
	require.Equal(t, byte(2), p.Data[0])

	// A page that becomes writable after the snapshot.
	require.NoError(t, m.Protect(0x3000, page, emu.PermRW))
	m.Page(0x3000).Data[5] = 9
	require.NoError(t, m.Restore(s1))
	require.Equal(t, byte(1), p.Data[0])
	require.Zero(t, m.Page(0x3000).Data[5])
	require.Equal(t, emu.PermRX, m.Page(0x3000).Perm)
}

func TestWatchEnds(t *testing.T) {
	m := emu.NewMemory(emu.MemoryOptions{})
	a, b := newMirror(m), newMirror(m)
	stop := m.Watch(a)
	m.Watch(b)
	require.NoError(t, m.Map(0x1000, page, emu.PermRX, "x"))
	stop()
	require.NoError(t, m.Unmap(0x1000))
	require.Len(t, a.pages, 1)
	require.Empty(t, b.pages)
}

func TestGates(t *testing.T) {
	var none *emu.Gates
	require.Nil(t, none.At(1))
	require.Zero(t, none.Version())
	require.Empty(t, none.Addrs())

	var g emu.Gates
	f := func(emu.CPU) error { return nil }
	require.Nil(t, g.At(1))
	require.NoError(t, g.Add(emu.Gate{Addr: 0x20, Name: "f", Func: f}))
	v := g.Version()
	require.EqualError(t, g.Add(emu.Gate{Addr: 0x20, Name: "g", Func: f}), "gate g at 0x20: the address belongs to gate f")
	require.Equal(t, v, g.Version())
	require.NoError(t, g.Add(emu.Gate{Addr: 0x10, Name: "g", Func: f}))
	require.NotEqual(t, v, g.Version())
	require.Equal(t, "f", g.At(0x20).Name)
	require.Equal(t, []uint64{0x10, 0x20}, g.Addrs())
	v = g.Version()
	g.Remove(0x30)
	require.Equal(t, v, g.Version())
	g.Remove(0x20)
	require.NotEqual(t, v, g.Version())
	require.Nil(t, g.At(0x20))
	require.NoError(t, g.Add(emu.Gate{Addr: 0x20, Name: "g", Func: f}))
}

func TestPoison(t *testing.T) {
	seen := make(map[uint64]bool)
	for _, i := range emu.Clobbered {
		p := emu.Poison(i)
		require.False(t, seen[p])
		seen[p] = true
		require.NotEqual(t, p, uint64(int64(p<<16)>>16), "canonical")
	}
}

func TestStopText(t *testing.T) {
	oops := errors.New("oops")
	for want, s := range map[string]emu.Stop{
		"reached its end at 0x10":                                {Reason: emu.StopUntil, RIP: 0x10},
		"instruction limit reached at 0x10 after 7 instructions": {Reason: emu.StopInsns, RIP: 0x10, Insns: 7},
		"bad read of 8 bytes at 0x20 by the instruction at 0x10": {Reason: emu.StopRead, RIP: 0x10, Addr: 0x20, Size: 8},
		"unknown instruction at 0x10: 0f 0b":                     {Reason: emu.StopUnknown, RIP: 0x10, Bytes: []byte{0x0f, 0x0b}},
		"int3 that nobody claimed at 0x10":                       {Reason: emu.StopInt3, RIP: 0x11},
		"gate failed at 0x10: oops":                              {Reason: emu.StopGate, RIP: 0x10, Err: oops},
		"engine failure at 0x10: oops":                           {Reason: emu.StopEngine, RIP: 0x10, Err: oops},
		"StopReason(99) at 0x10":                                 {Reason: 99, RIP: 0x10},
	} {
		require.EqualError(t, s, want)
	}
	for r := emu.StopUntil; r <= emu.StopEngine; r++ {
		require.NotContains(t, r.String(), "StopReason")
		fault := r > emu.StopGate && r != emu.StopHalt
		require.Equal(t, fault, emu.Stop{Reason: r}.Fault(), r.String())
	}
}
