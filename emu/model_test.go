package emu_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu/emu"
)

// A mirror follows a memory by what watchers are told, as an engine does.
type mirror struct {
	mem   *emu.Memory
	pages map[uint64]mirrorPage
}

type mirrorPage struct {
	perm emu.Perm
	data []byte // the memory's own
	code []byte // what was last seen of an executable page
}

func newMirror(mem *emu.Memory) *mirror {
	return &mirror{mem, make(map[uint64]mirrorPage)}
}

func (m *mirror) Mapped(addr uint64, data []byte, perm emu.Perm) {
	for off := 0; off < len(data); off += page {
		d := data[off : off+page]
		m.pages[addr+uint64(off)] = mirrorPage{perm, d, bytes.Clone(d)}
	}
}

func (m *mirror) Unmapped(addr, size uint64) {
	for off := uint64(0); off < size; off += page {
		delete(m.pages, addr+off)
	}
}

func (m *mirror) Protected(addr, size uint64, perm emu.Perm) {
	for off := uint64(0); off < size; off += page {
		p := m.pages[addr+off]
		p.perm = perm
		p.code = bytes.Clone(p.data)
		m.pages[addr+off] = p
	}
}

func (m *mirror) CodeChanged(addr, size uint64) {
	p := m.pages[addr&^(page-1)]
	copy(p.code[addr%page:], p.data[addr%page:addr%page+size])
}

// A model is what memory should be, done the simple way.
type model struct {
	regions map[uint64]modelRegion
	pages   map[uint64]modelPage
}

type modelRegion struct {
	size uint64
	name string
}

type modelPage struct {
	perm emu.Perm
	data [page]byte
}

func (m *model) clone() *model {
	return &model{maps.Clone(m.regions), maps.Clone(m.pages)}
}

func (m *model) write(addr uint64, b []byte) {
	for i, x := range b {
		a := addr + uint64(i)
		p := m.pages[a&^(page-1)]
		p.data[a%page] = x
		m.pages[a&^(page-1)] = p
	}
}

// can tells whether every byte is mapped with permissions want.
func (m *model) can(addr uint64, n int, want emu.Perm) bool {
	for i := range uint64(n) {
		p, ok := m.pages[(addr+i)&^(page-1)]
		if !ok || p.perm&want != want {
			return false
		}
	}
	return true
}

const modelPages = 12 // the address space of the model, from 0

// Memory does what the model does, in any order of calls; watchers can follow;
// nothing leaks.
func TestModel(t *testing.T) {
	for name, direct := range map[string]bool{"heap": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { runModel(t, rt, direct) })
		})
	}
}

func runModel(t *testing.T, rt *rapid.T, direct bool) {
	h := heap{t: t}
	opt := h.options()
	opt.Limit, opt.Direct = 8*page, direct
	mem := emu.NewMemory(opt)
	watcher := newMirror(mem)
	mem.Watch(watcher)
	now := &model{make(map[uint64]modelRegion), make(map[uint64]modelPage)}
	var snaps []*emu.Snapshot
	var saved []*model
	var ended []*emu.Snapshot

	pageAddr := func() uint64 { return page * rapid.Uint64Range(0, modelPages-1).Draw(rt, "page") }
	perm := func() emu.Perm { return emu.Perm(rapid.Uint8Range(0, 7).Draw(rt, "perm")) }
	addr := func() uint64 {
		a := pageAddr()
		return a + rapid.SampledFrom([]uint64{0, 5, page / 2, page - 3}).Draw(rt, "offset")
	}
	data := func() []byte { return rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(rt, "data") }

	rt.Repeat(map[string]func(*rapid.T){
		"map": func(*rapid.T) {
			a, n, p := pageAddr(), rapid.Uint64Range(1, 3).Draw(rt, "pages"), perm()
			ok := mem.Used()+n*page <= opt.Limit
			for i := range n {
				_, taken := now.pages[a+i*page]
				ok = ok && !taken
			}
			err := mem.Map(a, n*page, p, "r")
			require.Equal(rt, ok, err == nil, "%v", err)
			if ok {
				now.regions[a] = modelRegion{n * page, "r"}
				for i := range n {
					now.pages[a+i*page] = modelPage{perm: p}
				}
			}
		},
		"unmap": func(*rapid.T) {
			a := pageAddr()
			r, ok := now.regions[a]
			require.Equal(rt, ok, mem.Unmap(a) == nil)
			delete(now.regions, a)
			for off := uint64(0); off < r.size; off += page {
				delete(now.pages, a+off)
			}
		},
		"protect": func(*rapid.T) {
			a, n, p := pageAddr(), rapid.IntRange(1, 2).Draw(rt, "pages"), perm()
			ok := now.can(a, n*page, 0)
			require.Equal(rt, ok, mem.Protect(a, uint64(n)*page, p) == nil)
			for i := range uint64(n) {
				if mp, there := now.pages[a+i*page]; ok && there {
					mp.perm = p
					now.pages[a+i*page] = mp
				}
			}
		},
		"write": func(*rapid.T) {
			a, b := addr(), data()
			ok := now.can(a, len(b), 0)
			require.Equal(rt, ok, mem.Write(a, b) == nil)
			if ok {
				now.write(a, b)
			}
		},
		"store": func(*rapid.T) {
			a, b := addr(), data()
			ok := now.can(a, len(b), emu.PermW)
			require.Equal(rt, ok, mem.Store(a, b) == nil)
			if ok {
				now.write(a, b)
			}
		},
		"load": func(*rapid.T) {
			a, b := addr(), data()
			require.Equal(rt, now.can(a, len(b), emu.PermR), mem.Load(a, b) == nil)
			require.Equal(rt, now.can(a, len(b), emu.PermX), mem.Fetch(a, b) == nil)
		},
		"engine stores": func(*rapid.T) {
			a, b := addr(), data()
			p := mem.Page(a)
			if p == nil || p.Perm&emu.PermW == 0 || p.Perm&emu.PermX != 0 {
				rt.Skip("not for engines to store into")
			}
			if !direct {
				mem.PrepareWrite(p)
			}
			b = b[:copy(p.Data[a%page:], b)]
			now.write(a, b)
		},
		"snapshot": func(*rapid.T) {
			snaps, saved = append(snaps, mem.Snapshot()), append(saved, now.clone())
		},
		"restore": func(*rapid.T) {
			if len(snaps) == 0 {
				rt.Skip("no snapshot")
			}
			i := rapid.IntRange(0, len(snaps)-1).Draw(rt, "which")
			require.NoError(rt, mem.Restore(snaps[i]))
			now = saved[i].clone()
			ended = append(ended, snaps[i+1:]...)
			snaps, saved = slices.Clone(snaps[:i+1]), saved[:i+1]
		},
		"restore what ended": func(*rapid.T) {
			for _, s := range ended {
				require.ErrorIs(rt, mem.Restore(s), emu.ErrStaleSnapshot)
			}
		},
		"discard": func(*rapid.T) {
			mem.Discard()
			ended, snaps, saved = append(ended, snaps...), nil, nil
		},
		"trim": func(*rapid.T) {
			n := rapid.IntRange(0, 3).Draw(rt, "left")
			mem.Trim(n, 1<<20)
			first := max(len(snaps)-n, 0)
			ended = append(ended, snaps[:first]...)
			snaps, saved = slices.Clone(snaps[first:]), slices.Clone(saved[first:])
		},
		"": func(rt *rapid.T) { now.check(rt, mem, watcher) },
	})
	mem.Close()
	require.Empty(rt, h.alive, "regions that were not given back")
	require.Empty(rt, watcher.pages)
}

// check compares everything there is to see.
func (m *model) check(rt *rapid.T, mem *emu.Memory, w *mirror) {
	require.Equal(rt, uint64(len(m.pages))*page, mem.Used())
	regions := mem.Regions()
	require.Len(rt, regions, len(m.regions))
	require.True(rt, slices.IsSortedFunc(regions, func(a, b emu.Region) int { return int(a.Addr) - int(b.Addr) }))
	for _, r := range regions {
		require.Equal(rt, modelRegion{r.Size, r.Name}, m.regions[r.Addr])
		require.Len(rt, r.Data, int(r.Size))
	}
	require.Len(rt, w.pages, len(m.pages), "pages that a watcher knows")
	for n := range uint64(modelPages + 3) {
		a := n * page
		p := mem.Page(a)
		want, ok := m.pages[a]
		_, inRegion := mem.RegionAt(a)
		require.Equal(rt, ok, p != nil)
		require.Equal(rt, ok, inRegion)
		if !ok {
			continue
		}
		require.Equal(rt, a, p.Addr)
		require.Equal(rt, want.perm, p.Perm)
		if !bytes.Equal(want.data[:], p.Data) {
			rt.Fatalf("page %#x is not what it should be", a)
		}
		seen := w.pages[a]
		require.Equal(rt, want.perm, seen.perm, "permissions that a watcher knows")
		require.Same(rt, &p.Data[0], &seen.data[0])
		if want.perm&emu.PermX != 0 && !bytes.Equal(want.data[:], seen.code) {
			rt.Fatalf("code at %#x changed and no watcher was told", a)
		}
	}
}
