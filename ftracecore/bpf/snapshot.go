package bpf

import (
	"encoding/binary"
	"io"
	"maps"
	"slices"
)

// Snapshot remembers the state of all trampolines, programs and images, and
// returns a function that brings it back, any number of times. Snapshots nest:
// bringing one back ends those taken after it. The state of their ops is the
// core's.
func (t *Table) Snapshot() (restore func()) {
	tramps, progs, images, runCtx := maps.Clone(t.tramps), maps.Clone(t.progs), maps.Clone(t.images), maps.Clone(t.runCtx)
	states := make(map[*Trampoline]Trampoline)
	attached := make(map[*Link]*Trampoline)
	for _, tr := range tramps {
		states[tr] = tr.clone()
		for _, l := range tr.order {
			attached[l] = l.tr
		}
	}
	runs := make(map[*Prog]Prog)
	for _, p := range progs {
		saved := *p
		saved.active = maps.Clone(p.active)
		runs[p] = saved
	}
	held := make(map[*Image]Image)
	for _, im := range images {
		held[im] = *im
	}
	return func() {
		t.tramps, t.progs, t.images, t.runCtx = maps.Clone(tramps), maps.Clone(progs), maps.Clone(images), maps.Clone(runCtx)
		for tr, s := range states {
			*tr = s.clone()
		}
		for l, tr := range attached {
			l.tr = tr
		}
		for p, s := range runs {
			*p = s
			p.active = maps.Clone(s.active)
		}
		for im, s := range held {
			*im = s
		}
	}
}

// clone copies the trampoline with its lists of links.
func (tr *Trampoline) clone() Trampoline {
	c := *tr
	for k := range c.links {
		c.links[k] = slices.Clone(c.links[k])
	}
	c.order = slices.Clone(c.order)
	return c
}

// DigestTrampolines writes what the behaviour of the trampolines from here on
// depends on, in a fixed form.
func (t *Table) DigestTrampolines(w io.Writer) {
	var b []byte
	put := func(vs ...uint64) {
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	for _, tr := range t.Trampolines() {
		put(tr.target.Addr, uint64(tr.flags), uint64(len(tr.order)), addrOf(tr.cur), addrOf(tr.next))
		if tr.mutex.Held() {
			put(1)
		}
		for _, l := range tr.order {
			put(l.Prog.Addr, l.Cookie)
		}
	}
	// Hashes do not fail.
	_, _ = w.Write(b)
}

// Digest writes what the table's behaviour from here on depends on, the CPUs
// that run programs included.
func (t *Table) Digest(w io.Writer) {
	t.DigestTrampolines(w)
	var b []byte
	put := func(vs ...uint64) {
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(t.progs)) {
		for _, cpu := range slices.Sorted(maps.Keys(t.progs[addr].active)) {
			put(addr, uint64(cpu), uint64(t.progs[addr].active[cpu]))
		}
	}
	for _, object := range slices.Sorted(maps.Keys(t.images)) {
		put(object, uint64(t.images[object].refs))
	}
	for _, cpu := range slices.Sorted(maps.Keys(t.runCtx)) {
		put(uint64(cpu), t.runCtx[cpu])
	}
	// Hashes do not fail.
	_, _ = w.Write(b)
}

func addrOf(im *Image) uint64 {
	if im == nil {
		return 0
	}
	return im.Addr
}
