package ftracecore

import (
	"encoding/binary"
	"io"
	"maps"
	"slices"
)

// Snapshot remembers the core's state, that of every ops in known included, and
// returns a function that brings it back, any number of times. Snapshots nest:
// bringing one back ends those taken after it. Ops that the core itself knows are
// always included.
func (c *Core) Snapshot(known []*Ops) (restore func()) {
	pages := c.keptPages()
	saved := *c
	list := slices.Clone(c.list)
	direct := c.direct.clone()
	funcs := make([]directFunc, len(c.directFuncs))
	for i, d := range c.directFuncs {
		funcs[i] = *d
	}
	funcPtrs := slices.Clone(c.directFuncs)
	warned := maps.Clone(c.warned)
	all := c.everyOps(known)
	ops := make([]Ops, len(all))
	for i, o := range all {
		ops[i] = *o
	}
	return func() {
		*c = saved
		c.pages = make([][]Record, len(pages))
		for i, p := range pages {
			c.pages[i] = slices.Clone(p)
		}
		c.list = slices.Clone(list)
		c.direct = direct.clone()
		c.directFuncs = slices.Clone(funcPtrs)
		for i, d := range funcPtrs {
			*d = funcs[i]
		}
		c.warned = maps.Clone(warned)
		c.warnings = nil
		for i, o := range all {
			*o = ops[i]
			if ops[i].hash == &o.local {
				o.hash = &o.local
			}
		}
	}
}

// keptPages is a copy of the records as they are, for reading only. Pages that are
// as they were in the last snapshot are that one's: a kernel's records are many.
func (c *Core) keptPages() [][]Record {
	pages := make([][]Record, len(c.pages))
	for i, p := range c.pages {
		if i < len(c.kept) && slices.Equal(c.kept[i], p) {
			pages[i] = c.kept[i]
		} else {
			pages[i] = slices.Clone(p)
		}
	}
	c.kept = pages
	return pages
}

// everyOps adds the core's own ops to known.
func (c *Core) everyOps(known []*Ops) []*Ops {
	all := slices.Clone(known)
	for _, o := range append([]*Ops{c.directOps, c.tmpOps, c.stubOps, c.listEnd}, c.list...) {
		if !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all
}

// clone copies a hash that may change in place, which only the table of direct
// functions does.
func (h *Hash) clone() *Hash {
	n := &Hash{bits: h.bits, entries: slices.Clone(h.entries)}
	if h.index != nil {
		n.reindex()
	}
	return n
}

// Digest writes what the core's behaviour from here on depends on, in a fixed
// form: two states of one run that write the same behave the same.
func (c *Core) Digest(w io.Writer, known []*Ops) {
	d := digester{w: w}
	c.Records(func(r *Record) bool {
		d.put(uint64(r.Flags), uint64(r.Count))
		return true
	})
	d.flag(c.enabled, c.lastEn, c.disabled, c.DirectMutex.held, c.FtraceLock.held, c.TextMutex.held)
	d.put(uint64(c.startUp), uint64(len(c.list)))
	for _, o := range c.list {
		d.put(o.Addr)
	}
	for _, f := range []*Func{c.traceFunc, c.savedFunc, c.textFunc} {
		d.fn(f)
	}
	d.hash(c.direct)
	for _, f := range c.directFuncs {
		d.put(f.addr, uint64(f.count))
	}
	if c.removed != nil {
		d.put(c.removed.Addr)
	}
	for _, o := range c.everyOps(known) {
		d.put(o.Addr, uint64(o.Flags), o.Trampoline)
		d.flag(o.regexLock.held)
		d.fn(o.Func)
		if o.hash != nil {
			d.hash(o.hash.filter)
			d.hash(o.hash.notrace)
		}
	}
}

type digester struct {
	w   io.Writer
	buf []byte
}

func (d *digester) put(vs ...uint64) {
	d.buf = d.buf[:0]
	for _, v := range vs {
		d.buf = binary.LittleEndian.AppendUint64(d.buf, v)
	}
	// Hashes do not fail.
	_, _ = d.w.Write(d.buf)
}

func (d *digester) flag(bs ...bool) {
	var v uint64
	for i, b := range bs {
		if b {
			v |= 1 << i
		}
	}
	d.put(v)
}

func (d *digester) fn(f *Func) {
	if f == nil {
		d.put(0)
		return
	}
	d.put(f.Addr)
}

func (d *digester) hash(h *Hash) {
	d.put(uint64(h.Count()))
	h.each(func(e hashEntry) bool { d.put(e.ip, e.direct); return true })
}
