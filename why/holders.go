package why

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/ftracecore/listing"
)

// Who may have IPMODIFY on a function.
type modifier uint8

const (
	noModifier modifier = iota
	livepatch
	kprobePost
	otherModifier
)

// Names of callbacks by which the kernel's own users of IPMODIFY are known.
const (
	klpHandler    = "klp_ftrace_handler"
	kprobeHandler = "kprobe_ftrace_handler"
	bpfPrefix     = "bpf_trampoline_"
)

// A state is one reading of an entry: who has the function. Where the listing
// leaves open who that is, there are several.
type state struct {
	modifier modifier
	callback string // of otherModifier
	tracers  int    // plain ops
	regs     bool   // one of them wants registers
	direct   bool
	bpf      bool   // the direct function is a BPF trampoline
	directTo string // its name

	// What a listing never shows.
	fexit       bool // the BPF trampoline calls the function's body
	bpfFirst    bool // it was there before the IPMODIFY ops
	kprobesLive bool // the ops of kprobes with a post handler is registered, elsewhere
}

// readings lists what an entry can mean; nil is a function that nobody traces.
func readings(l *listing.Listing, e *listing.Entry) []state {
	if e == nil {
		return withKprobes(l, []state{{}})
	}
	s := state{direct: e.Direct, tracers: e.Count}
	if e.Direct {
		s.tracers--
		s.directTo = "a direct function"
		if e.DirectTo != nil {
			s.directTo = e.DirectTo.String()
			s.bpf = strings.HasPrefix(s.directTo, bpfPrefix)
		}
	}
	if e.IPModify {
		s.tracers--
	}
	s.tracers = max(s.tracers, 0)
	s.regs = e.Regs && !e.Direct
	var out []state
	for _, m := range modifiers(e) {
		s := s
		s.modifier = m
		if m == otherModifier {
			s.callback = e.Tramps[0].Func.String()
		}
		if s.regs && m == kprobePost && s.tracers == 0 {
			s.regs = false // it is the kprobe that wants them
		}
		if !s.bpf {
			out = append(out, s)
			continue
		}
		s.fexit, s.bpfFirst = true, true
		out = append(out, s)
		s.fexit = false
		out = append(out, s)
		if m != noModifier {
			s.bpfFirst = false
			out = append(out, s)
		}
	}
	return withKprobes(l, out)
}

// modifiers tells who can be the IPMODIFY ops of an entry. Its callback shows only
// where the ops is alone; registers tell too, as livepatch wants none.
func modifiers(e *listing.Entry) []modifier {
	switch {
	case !e.IPModify:
		return []modifier{noModifier}
	case len(e.Tramps) > 0 && !e.Direct:
		switch e.Tramps[0].Func.Name {
		case klpHandler:
			return []modifier{livepatch}
		case kprobeHandler:
			return []modifier{kprobePost}
		}
		return []modifier{otherModifier}
	case !e.Regs:
		return []modifier{livepatch}
	}
	return []modifier{livepatch, kprobePost}
}

// withKprobes adds whether the shared ops of kprobes with a post handler is live,
// where the rest of the listing leaves that open.
func withKprobes(l *listing.Listing, states []state) (out []state) {
	live, open := false, false
	for i := range l.Entries {
		m := modifiers(&l.Entries[i])
		live = live || len(m) == 1 && m[0] == kprobePost
		open = open || len(m) > 1
	}
	for _, s := range states {
		s.kprobesLive = live
		out = append(out, s)
		if open && !live {
			s.kprobesLive = true
			out = append(out, s)
		}
	}
	return out
}

// name tells who has IPMODIFY.
func (s state) modifierName() string {
	switch s.modifier {
	case livepatch:
		return "a livepatch"
	case kprobePost:
		return "a kprobe with a post handler"
	}
	return s.callback
}

// build brings the kernel into the state.
func (k *kernel) build(s state, fn, module string) error {
	// From two on every further tracer is like the one before.
	k.alike = max(s.tracers-maxTracers, 0)
	for i := range min(s.tracers, maxTracers) {
		flags := ftracecore.OpsFlags(0)
		if s.regs && i == 0 {
			flags = ftracecore.OpsSaveRegs
		}
		if err := k.core.RegisterFtraceFunction(k.ops(fmt.Sprintf("tracer %d", i+1), flags, funcAddr)); err != nil {
			return err
		}
	}
	steps := []func() error{func() error { return k.patch(s) }, func() error { return k.direct(s, fn, module) }}
	if s.bpfFirst {
		steps[0], steps[1] = steps[1], steps[0]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	k.retried = false
	return nil
}

// maxTracers is how many plain ops a state is built with.
const maxTracers = 3

const livepatchFlags = ftracecore.OpsIPModify | ftracecore.OpsPermanent

func (k *kernel) patch(s state) error {
	switch s.modifier {
	case noModifier:
		return nil
	case kprobePost:
		return k.core.RegisterFtraceFunction(k.ops(s.modifierName(), kprobeFlags|ftracecore.OpsIPModify, funcAddr))
	}
	return k.core.RegisterFtraceFunction(k.ops(s.modifierName(), livepatchFlags, funcAddr))
}

func (k *kernel) direct(s state, fn, module string) error {
	switch {
	case !s.direct:
		return nil
	case s.bpf && s.fexit:
		return k.attach(bpf.Fexit, fn, module)
	case s.bpf:
		return k.attach(bpf.Fentry, fn, module)
	}
	o := k.directOps(s.directTo)
	if s.modifier != noModifier {
		// It shares, so that its owner has agreed.
		o.OpsFunc = func(*ftracecore.Ops, ftracecore.Command) int { return 0 }
	}
	return k.core.RegisterDirectMulti(o, directIP)
}

// holders tells in words who the listing shows.
func holders(e *listing.Entry) string {
	var who []string
	tracers := e.Count
	if e.Direct {
		tracers--
		switch {
		case e.DirectTo == nil:
			who = append(who, "a direct function (D) that is not named")
		case strings.HasPrefix(e.DirectTo.Name, bpfPrefix):
			who = append(who, "a BPF trampoline (D, "+e.DirectTo.Name+")")
		default:
			who = append(who, "a direct function (D, "+e.DirectTo.String()+")")
		}
	}
	if e.IPModify {
		tracers--
		m := modifiers(e)
		switch {
		case len(m) > 1:
			who = append(who, "a livepatch or a kprobe with a post handler (I)")
		case m[0] == otherModifier:
			who = append(who, "an IPMODIFY ops with the callback "+e.Tramps[0].Func.String()+" (I)")
		case len(e.Tramps) > 0 && !e.Direct:
			who = append(who, state{modifier: m[0]}.modifierName()+" (I, "+e.Tramps[0].Func.Name+")")
		default:
			who = append(who, state{modifier: m[0]}.modifierName()+" (I, without R)")
		}
	}
	switch {
	case tracers == 1 && e.Count == 1 && len(e.Tramps) > 0:
		who = append(who, "a tracer ("+e.Tramps[0].Func.String()+")")
	case tracers == 1:
		who = append(who, "1 tracer")
	case tracers > 1:
		who = append(who, fmt.Sprintf("%d tracers", tracers))
	}
	if len(who) == 0 {
		return "nobody"
	}
	return strings.Join(who, " and ")
}
