package report

import (
	"slices"
	"strconv"

	"ftemu/ftracecore"
	"ftemu/script"
)

// An opsState is an ops as far as tables show it.
type opsState struct {
	name, tramp string
	flags       ftracecore.OpsFlags
	place       int  // on the list, from 1; 0: not on it
	direct      bool // the script has made it to be direct
}

// opsNow lists the ops: those on the list in its order, then those of the
// scenario that are not on it.
func (r *Recorder) opsNow(res *script.Result) []opsState {
	var out []opsState
	for i, o := range r.run.Lab().Core.Ops() {
		out = append(out, r.opsState(o, i+1))
	}
	for _, s := range res.Ops {
		if o := r.run.Ops(s.ID); o != nil && !slices.ContainsFunc(out, func(x opsState) bool { return x.name == o.Name }) {
			out = append(out, r.opsState(o, 0))
		}
	}
	for _, s := range res.Ops {
		i := slices.IndexFunc(out, func(x opsState) bool { return x.name == s.ID })
		out[i].direct = s.Func != nil
	}
	return out
}

func (r *Recorder) opsState(o *ftracecore.Ops, place int) opsState {
	s := opsState{name: o.Name, flags: o.Flags, place: place}
	if o.Trampoline != 0 {
		s.tramp, _, _ = r.codeAt(o.Trampoline)
	}
	return s
}

// ops adds the table of ops where the line changed it.
func (r *Recorder) ops(s *Step, res *script.Result) {
	now := r.opsNow(res)
	was := r.was
	r.was = now
	switch {
	case s == nil || s.Brief:
		return
	case slices.Equal(now, was):
		s.AsWas = len(res.API) > 0
		return
	}
	t := &Ops{}
	for _, o := range now {
		i := slices.IndexFunc(was, func(x opsState) bool { return x.name == o.name })
		before := opsState{}
		if i >= 0 {
			before = was[i]
		}
		state := ""
		switch {
		case i < 0:
			state = "new"
		case before.place == 0 && o.place != 0:
			state = "listed"
		case o.place == 0 && before.place != 0:
			state = "off the list"
		}
		r.opsRow(t, o, before.flags, state)
	}
	for _, o := range was {
		if !slices.ContainsFunc(now, func(x opsState) bool { return x.name == o.name }) {
			r.opsRow(t, opsState{name: o.name}, o.flags, "gone")
		}
	}
	s.Ops = t
}

func (r *Recorder) opsRow(t *Ops, o opsState, was ftracecore.OpsFlags, state string) {
	if len(t.Rows) >= maxOps || !r.budgets.ops.take(1) {
		t.LeftOut++
		return
	}
	kind := opsKind(o.flags | was)
	if o.direct {
		kind = kindDirect
	}
	row := OpsRow{Name: cutTo(o.name, 60), Tramp: o.tramp, State: state, Kind: kind, flags: o.flags, was: was}
	if o.place > 0 {
		row.Place = strconv.Itoa(o.place)
	}
	t.Rows = append(t.Rows, row)
}

// columns gives every table of ops the same columns, so that they can be compared
// down the page: the flags that any row has or had.
func (p *Page) columns() {
	var tables []*Ops
	var all ftracecore.OpsFlags
	for _, s := range p.Steps {
		if s.Ops == nil {
			continue
		}
		tables = append(tables, s.Ops)
		for _, row := range s.Ops.Rows {
			all |= row.flags | row.was
		}
	}
	for f := ftracecore.OpsFlags(1); f != 0; f <<= 1 {
		if all&f == 0 {
			continue
		}
		for _, t := range tables {
			t.Flags = append(t.Flags, f.String())
			for i := range t.Rows {
				row := &t.Rows[i]
				row.Cells = append(row.Cells, opsCell(row.flags&f != 0, row.was&f != 0))
			}
		}
	}
}

// opsCell marks whether an ops has a flag, and had it before.
func opsCell(has, had bool) OpsCell {
	switch {
	case has && had:
		return OpsCell{"●", ""}
	case has:
		return OpsCell{"+", "new"}
	case had:
		return OpsCell{"−", "gone"}
	}
	return OpsCell{}
}

// Kinds of users, as classes.
const (
	kindTracer = "tracer"
	kindKlp    = "klp"
	kindDirect = "direct"
	kindShared = "shared" // the kernel's own, which serves all
)

func opsKind(f ftracecore.OpsFlags) string {
	switch {
	case f&ftracecore.OpsIPModify != 0:
		return kindKlp
	case f&ftracecore.OpsDirect != 0:
		return kindDirect
	}
	return kindTracer
}
