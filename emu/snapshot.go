package emu

import (
	"bytes"
	"errors"
	"slices"
)

// A Snapshot is a state of a memory to come back to: contents, mappings and
// permissions. It costs nothing until pages change (each is copied before its
// first change), except for memory of the Direct kind, where taking it copies
// every writable page.
type Snapshot struct {
	mem  *Memory
	mark int // length of the undo log when it was taken
}

// ErrStaleSnapshot is returned for a snapshot of another memory, or one that
// ended when an older one was restored or when it was discarded or trimmed.
var ErrStaleSnapshot = errors.New("snapshot is no longer valid")

type undoKind uint8

const (
	undoData  undoKind = iota // put data back into the page at addr
	undoPerm                  // put perm back
	undoMap                   // take the region at addr away
	undoUnmap                 // bring the region back
)

// An undo takes back one change.
type undo struct {
	kind    undoKind
	perm    Perm
	addr    uint64
	data    []byte
	mapping *mapping
}

// record logs how to take a change back, if a snapshot may want that.
func (m *Memory) record(u undo) {
	if len(m.snaps) > 0 {
		m.undo = append(m.undo, u)
	}
}

// save logs the content of p before its first change in this epoch.
func (m *Memory) save(p *Page) {
	var b []byte
	if n := len(m.spare); n > 0 {
		b, m.spare = m.spare[n-1], m.spare[:n-1]
	} else {
		b = make([]byte, PageSize)
	}
	copy(b, p.Data)
	p.saved = m.epoch
	m.record(undo{kind: undoData, addr: p.Addr, data: b})
}

// arm begins a new epoch, in which each page is saved before it changes.
func (m *Memory) arm() {
	m.epoch++
	m.gen++
	if !m.opt.Direct {
		return
	}
	for _, x := range m.mappings {
		for i := range x.pages {
			if p := &x.pages[i]; p.Perm&PermW != 0 {
				m.save(p)
			}
		}
	}
}

// Snapshot remembers the present state. Snapshots nest: restoring one ends
// those taken after it.
func (m *Memory) Snapshot() *Snapshot {
	s := &Snapshot{mem: m, mark: len(m.undo)}
	m.snaps = append(m.snaps, s)
	m.arm()
	return s
}

// Restore brings the state of s back. It can be done any number of times.
func (m *Memory) Restore(s *Snapshot) error {
	i := slices.Index(m.snaps, s)
	if i < 0 {
		return ErrStaleSnapshot
	}
	m.snaps = m.snaps[:i+1]
	for len(m.undo) > s.mark {
		u := m.undo[len(m.undo)-1]
		m.undo[len(m.undo)-1] = undo{}
		m.undo = m.undo[:len(m.undo)-1]
		m.takeBack(u)
	}
	m.arm()
	return nil
}

func (m *Memory) takeBack(u undo) {
	switch u.kind {
	case undoData:
		p := m.Page(u.addr)
		if p.Perm&PermX != 0 && !bytes.Equal(p.Data, u.data) {
			copy(p.Data, u.data)
			m.codeChanged(p.Addr, PageSize)
		} else {
			copy(p.Data, u.data)
		}
		p.Version++
		m.spare = append(m.spare, u.data)
	case undoPerm:
		m.Page(u.addr).Perm = u.perm
		for _, w := range m.watchers {
			w.Protected(u.addr, PageSize, u.perm)
		}
	case undoMap:
		m.free(m.detach(u.addr))
	case undoUnmap:
		m.attach(u.mapping)
	}
}

// maxSpare is how many page buffers are kept when snapshots have ended.
const maxSpare = 64

// Discard ends all snapshots and keeps the present state.
func (m *Memory) Discard() {
	m.forget(len(m.undo))
	m.snaps = nil
}

// Trim ends the oldest snapshots, so that at most n are left, and fewer, but at
// least the newest, where what is kept for them would take more than size bytes.
func (m *Memory) Trim(n int, size uint64) {
	first := max(len(m.snaps)-n, 0)
	if first == len(m.snaps) {
		m.Discard()
		return
	}
	// From the newest to the oldest, for as long as what lies between fits.
	kept, end := uint64(0), len(m.undo)
	for i := len(m.snaps) - 1; i >= first; i-- {
		for _, u := range m.undo[m.snaps[i].mark:end] {
			kept += u.size()
		}
		if end = m.snaps[i].mark; kept > size {
			first = min(i+1, len(m.snaps)-1)
			break
		}
	}
	mark := m.snaps[first].mark
	m.forget(mark)
	m.snaps = slices.Delete(m.snaps, 0, first)
	for _, s := range m.snaps {
		s.mark -= mark
	}
}

// size is how much memory is held to take the change back, in bytes.
func (u *undo) size() uint64 {
	if u.kind == undoUnmap {
		return uint64(len(u.mapping.pages)) * PageSize
	}
	return uint64(len(u.data))
}

// forget drops the first n entries of the log.
func (m *Memory) forget(n int) {
	for i := range m.undo[:n] {
		switch u := &m.undo[i]; u.kind {
		case undoUnmap:
			m.free(u.mapping)
		case undoData:
			m.spare = append(m.spare, u.data)
		}
	}
	m.undo = slices.Delete(m.undo, 0, n)
	clear(m.spare[min(maxSpare, len(m.spare)):])
	m.spare = m.spare[:min(maxSpare, len(m.spare))]
}
