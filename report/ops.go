package report

import (
	"slices"
	"strconv"
	"strings"

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
	var flags ftracecore.OpsFlags
	for _, o := range append(slices.Clone(now), was...) {
		flags |= o.flags
	}
	t := &Ops{}
	if flags != 0 {
		t.Flags = strings.Split(flags.String(), "|")
	}
	for _, o := range now {
		i := slices.IndexFunc(was, func(x opsState) bool { return x.name == o.name })
		before := opsState{}
		if i >= 0 {
			before = was[i]
		}
		state := ""
		if i < 0 || before.place == 0 && o.place != 0 {
			state = "new"
		} else if o.place == 0 && before.place != 0 {
			state = "gone"
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
	row := OpsRow{Name: cutTo(o.name, 60), Tramp: o.tramp, State: state, Kind: kind}
	if o.place > 0 {
		row.Place = strconv.Itoa(o.place)
	}
	has := func(f ftracecore.OpsFlags, name string) bool {
		return f != 0 && slices.Contains(strings.Split(f.String(), "|"), name)
	}
	for _, name := range t.Flags {
		c := OpsCell{Flag: name}
		switch on, before := has(o.flags, name), has(was, name); {
		case on && before:
			c.Mark = "●"
		case on:
			c.Mark, c.Class = "+", "new"
		case before:
			c.Mark, c.Class = "−", "gone"
		}
		row.Cells = append(row.Cells, c)
	}
	t.Rows = append(t.Rows, row)
}

// Kinds of users, as classes.
const (
	kindTracer = "tracer"
	kindKlp    = "klp"
	kindDirect = "direct"
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
