// Package why answers the question that brings most people to this subject: a
// function of a real machine, who has it by that machine's enabled_functions,
// and what registering one more user on it would return, and why.
//
// The answer is tried, not looked up: the state that the listing shows is built
// in a [ftracecore.Core] and the call is made. Where the listing leaves open
// what the state is, every reading is tried.
package why

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/ftracecore/listing"
)

// A Kind is what would be registered.
type Kind string

// The kinds.
const (
	Plain      Kind = "plain"       // a tracer: function, fprobe, perf, ...
	Livepatch  Kind = "livepatch"   // klp_enable_patch
	Direct     Kind = "direct"      // register_ftrace_direct, of a module
	Fentry     Kind = "fentry"      // a BPF program
	Fexit      Kind = "fexit"       // a BPF program; fmod_ret is the same here
	Kprobe     Kind = "kprobe"      // at the function's entry
	KprobePost Kind = "kprobe-post" // with a post handler
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Plain, Livepatch, Direct, Fentry, Fexit, Kprobe, KprobePost} }

// About says in a line what the kind is.
func (k Kind) About() string {
	switch k {
	case Plain:
		return "a tracer: function, fprobe, perf"
	case Livepatch:
		return "a livepatch"
	case Direct:
		return "a direct caller, by register_ftrace_direct of a module"
	case Fentry:
		return "a BPF program that runs before the function"
	case Fexit:
		return "a BPF program that runs behind it; fmod_ret is the same here"
	case Kprobe:
		return "a kprobe at the function's entry"
	case KprobePost:
		return "a kprobe with a post handler"
	}
	return ""
}

// ParseKind finds a kind by name.
func ParseKind(s string) (Kind, error) {
	var names []string
	for _, k := range Kinds() {
		if string(k) == s {
			return k, nil
		}
		names = append(names, string(k))
	}
	return "", fmt.Errorf("unknown kind %q, expected %s", s, strings.Join(names, ", "))
}

// opsName names the ops that is to be registered.
func (k Kind) opsName() string {
	switch k {
	case Plain:
		return "the new tracer"
	case Direct:
		return "the new direct ops"
	case KprobePost:
		return "the new kprobe"
	}
	return "the new " + string(k)
}

// kprobeFlags are those of kprobe_ftrace_ops.
const kprobeFlags = ftracecore.OpsSaveRegs

// An Outcome is what the call would return.
type Outcome struct {
	If      string               `json:"if,omitempty"` // in which reading of the listing; "" in every one
	Ret     int                  `json:"rc"`
	Errno   string               `json:"errno"` // the same by name, "0" for success
	Why     string               `json:"why"`
	Decided *ftracecore.Decision `json:"decision,omitempty"` // nil where ftrace is not called

	rule string // what refused; outcomes of one rule are one, whatever called it
}

// A Version is how other versions differ.
type Version struct {
	Version string `json:"version"`
	Ret     int    `json:"rc"`
	Errno   string `json:"errno"`
	If      string `json:"if,omitempty"`
	Why     string `json:"why"`
}

// An Answer is for one entry of the listing, or for a function that is not in it.
type Answer struct {
	Func     string    `json:"function"`
	Module   string    `json:"module,omitempty"`
	Kind     Kind      `json:"kind"`
	Line     int       `json:"line,omitempty"` // of the listing; 0: not in it
	Shows    string    `json:"shows"`
	Profile  string    `json:"profile"`
	Outcomes []Outcome `json:"outcomes"`
	Versions []Version `json:"versions,omitempty"`
}

// CheckName refuses what is no plain name of a function.
func CheckName(fn string) error {
	switch {
	case strings.ContainsAny(fn, " \t[]"):
		return fmt.Errorf("found function %q, expected its name alone, without a module", fn)
	case strings.ContainsAny(fn, `*?\`):
		return fmt.Errorf("found %q, expected the name of one function, no pattern", fn)
	case fn == "" || strings.ContainsAny(fn, "()+:/"):
		return fmt.Errorf("found %q, expected the name of a function", fn)
	}
	return nil
}

// Ask answers for the function, once for each entry with its name.
func Ask(l *listing.Listing, fn string, kind Kind) ([]Answer, error) {
	if err := CheckName(fn); err != nil {
		return nil, err
	}
	entries := l.Find(fn)
	if len(entries) == 0 {
		a, err := ask(l, nil, fn, kind)
		return []Answer{a}, err
	}
	var answers []Answer
	for i := range entries {
		a, err := ask(l, &entries[i], fn, kind)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", l.Name, entries[i].Line, err)
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func ask(l *listing.Listing, e *listing.Entry, fn string, kind Kind) (Answer, error) {
	a := Answer{Func: fn, Kind: kind, Profile: versions[0].profile.Name, Shows: "the function is not in the listing: nobody traces it now (or it cannot be traced: see available_filter_functions)"}
	if e != nil {
		a.Line, a.Module = e.Line, e.Module
		a.Shows = fmt.Sprintf("line %d: count %d, %s", e.Line, e.Count, holders(e))
	}
	states := readings(l, e)
	for i, v := range versions {
		outcomes, err := try(states, fn, a.Module, kind, v)
		if err != nil {
			return a, err
		}
		if i == 0 {
			a.Outcomes = outcomes
			continue
		}
		for _, o := range outcomes {
			if !slices.ContainsFunc(a.Outcomes, func(x Outcome) bool { return x.Ret == o.Ret && x.consequence() == o.consequence() }) {
				a.Versions = append(a.Versions, Version{v.name, o.Ret, o.Errno, o.If, o.Why})
			}
		}
	}
	refused := func(o Outcome) bool { return o.Ret == -int(ftracecore.EBUSY) }
	if v, differs := beforeV60(e, kind); differs && !refused(a.Outcomes[0]) {
		a.Versions = append(a.Versions, v)
	}
	return a, nil
}

// A version is a kernel to try.
type version struct {
	name     string
	profile  ftracecore.Profile
	mistakes ftracecore.Mistakes
}

// versions are the kernels that are tried, the first for the answer and the
// others for what they do otherwise.
var versions = [...]version{
	{profile: ftracecore.V6_1()},
	{name: "v6.0 to v6.5 without the fix of November 2025", profile: ftracecore.Profile{Name: "v6.0"}, mistakes: ftracecore.Mistakes{NoSelfOnModify: true}},
	{name: "v6.6 to v6.17 without the fix of November 2025", profile: ftracecore.Profile{Name: "v6.6"}, mistakes: ftracecore.Mistakes{NoSelfOnModify: true, KeepEntry: true}},
	{name: "v6.18", profile: ftracecore.Profile{Name: "v6.18", SelfOnModify: true, ResetDirectOnFailure: true}},
}

// beforeV60 tells where v5.x differs: there IPMODIFY and direct functions kept
// each other out, in both orders.
func beforeV60(e *listing.Entry, kind Kind) (Version, bool) {
	v := Version{
		Version: "before v6.0", Ret: -int(ftracecore.EBUSY), Errno: ftracecore.EBUSY.Error(),
		Why: "Direct ops had IPMODIFY themselves, so that they and livepatches could not share a function.",
	}
	if e == nil {
		return v, false
	}
	patches := kind == Livepatch || kind == KprobePost
	direct := kind == Direct || kind == Fentry || kind == Fexit
	return v, patches && e.Direct && !e.IPModify || direct && e.IPModify && !e.Direct
}

// try makes the call in every reading and joins those that come out alike.
func try(states []state, fn, module string, kind Kind, v version) ([]Outcome, error) {
	var found []Outcome
	var ifs [][]state
	for _, s := range states {
		k := newKernel(fn, v)
		if err := k.build(s, fn, module); err != nil {
			if v.name != "" {
				continue // that version does not come into this state
			}
			return nil, fmt.Errorf("the state that it shows cannot be: %w", err)
		}
		o := k.ask(s, fn, module, kind)
		i := slices.IndexFunc(found, func(x Outcome) bool { return x.Ret == o.Ret && x.rule == o.rule })
		if i < 0 {
			found, ifs, i = append(found, o), append(ifs, nil), len(found)
		}
		ifs[i] = append(ifs[i], s)
	}
	if len(found) > 1 {
		for i := range found {
			found[i].If = condition(ifs[i], states)
		}
		slices.SortStableFunc(found, func(a, b Outcome) int {
			return cmp.Compare(strings.Index(a.If, Otherwise), strings.Index(b.If, Otherwise))
		})
	}
	return found, nil
}

// ask makes the call in the state that was built.
func (k *kernel) ask(s state, fn, module string, kind Kind) Outcome {
	newName := kind.opsName()
	switch {
	case kind == Livepatch && s.modifier == livepatch:
		return outcome(nil, "Livepatch does not call ftrace for a function that it has patched already: the new replacement goes on top of the stack of its ops, and is what runs from then on. Any other user of IPMODIFY would get -EBUSY.", nil)
	case kind == KprobePost && s.modifier == kprobePost:
		return outcome(nil, "Kprobes do not call ftrace for a function that has such a kprobe already: the new one joins it.", nil)
	}
	var err error
	switch kind {
	case Plain:
		err = k.core.RegisterFtraceFunction(k.ops(newName, 0, funcAddr))
	case Kprobe:
		err = k.core.RegisterFtraceFunction(k.ops(newName, kprobeFlags, funcAddr))
	case KprobePost:
		err = k.kprobePost(s, newName)
	case Livepatch:
		err = k.core.RegisterFtraceFunction(k.ops(newName, livepatchFlags, funcAddr))
	case Direct:
		err = k.core.RegisterDirectMulti(k.directOps(newName), newIP)
	case Fentry:
		err = k.attach(bpf.Fentry, fn, module)
	case Fexit:
		err = k.attach(bpf.Fexit, fn, module)
	}
	decided := k.core.LastDecision()
	var e *ftracecore.Error
	if errors.As(err, &e) {
		return outcome(err, e.Explain()+k.afterRefusal(kind), decided)
	}
	return outcome(err, k.success(s, kind), decided)
}

// kprobePost is a kprobe with a post handler: all such kprobes share one ops, which
// is registered for the first and whose filter is changed for the others.
func (k *kernel) kprobePost(s state, name string) error {
	const flags = kprobeFlags | ftracecore.OpsIPModify
	if !s.kprobesLive {
		return k.core.RegisterFtraceFunction(k.ops(name, flags, funcAddr))
	}
	o := k.ops(name, flags, otherAddr)
	if err := k.core.RegisterFtraceFunction(o); err != nil {
		return err
	}
	return k.core.SetFilterIP(o, funcAddr, false, false)
}

func outcome(err error, why string, d *ftracecore.Decision) Outcome {
	ret := ftracecore.Ret(err)
	o := Outcome{Ret: ret, Errno: ftracecore.RetName(ret), Why: why, Decided: d, rule: why}
	if err != nil {
		o.rule = err.Error()
	}
	return o
}

// afterRefusal adds what a refusal means to the one who asked.
func (k *kernel) afterRefusal(kind Kind) string {
	if k.retried && (kind == Fentry || kind == Fexit) {
		return " This is the second try: at the first the BPF trampoline answered -EAGAIN when asked to share, and made an image that can. The entry that it now meets is its own, of the first try."
	}
	return ""
}

// Consequences of a success that its return value does not show.
const (
	killsFtrace = "But the next call of the function kills ftrace, and no patch or program has any effect from then on"
	bypasses    = "But the patch is silently bypassed"
)

// consequence tells the consequence that an outcome warns of, if any.
func (o Outcome) consequence() string {
	for _, c := range []string{killsFtrace, bypasses} {
		if strings.Contains(o.Why, c) {
			return c
		}
	}
	return ""
}

// success tells what a call that returned 0 has done.
func (k *kernel) success(s state, kind Kind) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+" ", args...) }
	tr := k.bpf.Trampoline(funcAddr)
	switch {
	case kind == Plain || kind == Kprobe:
		say("Ops that change neither where the function continues nor what the site calls directly are never refused.")
	case (kind == Livepatch || kind == KprobePost) && !s.direct:
		say("No other ops has IPMODIFY on the function, and there is no direct function to make way.")
	case kind == KprobePost && s.kprobesLive:
		say("The ops that all kprobes with a post handler share is registered already, for another function. Its filter only grows, and in such a change nobody asks the owner of the direct function.")
	case kind == Livepatch || kind == KprobePost:
		say("There is a BPF trampoline on the function. It is asked ENABLE_SHARE_IPMODIFY_PEER and agrees; if it has programs that run behind the function (fexit, fmod_ret), it first remakes its image, which then calls what its return slot holds. If the trampoline is busy at that moment the answer is -EAGAIN: try again.")
	case kind == Direct:
		say("There is no direct function on it and nobody has IPMODIFY.")
	case s.bpf:
		say("The program joins the BPF trampoline that is there, whose image is remade and swapped in by modify_ftrace_direct.")
	case s.modifier == noModifier:
		say("There is no direct function on it and nobody has IPMODIFY.")
	default:
		say("%s has IPMODIFY, so that ftrace asks the BPF trampoline ENABLE_SHARE_IPMODIFY_SELF.", capital(s.modifierName()))
		if !k.retried {
			say("It has only fentry programs, which return into whatever the return slot holds, and agrees at once.")
		}
	}
	if k.retried {
		if s.bpf {
			say("As the function is patched, ftrace first asks it ENABLE_SHARE_IPMODIFY_SELF.")
		}
		say("It answers -EAGAIN, as its image calls the body of the function by address; it makes one that calls what its return slot holds, and tries again: then ftrace gets 0, and the caller never sees the -EAGAIN.")
	}
	b.WriteString(k.says())
	if !k.call() {
		fmt.Fprintf(&b, " %s: the retry has cleared func of an ops that is registered, and the list function does not bear that (a bug of v6.1.192; livepatch first, then fentry, then fexit). Attach the fexit program first, or both before the patch.", killsFtrace)
	} else if tr != nil && s.modifier != noModifier && tr.Flags().Has(bpf.CallOrig) && !tr.Flags().Has(bpf.OrigStack) {
		fmt.Fprintf(&b, " %s: nobody asks the trampoline when its image is swapped, and the new one calls the original body by address.", bypasses)
	}
	return b.String()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// Otherwise is the If of the outcome in all readings that the other outcomes do
// not name.
const Otherwise = "otherwise"

// condition tells in words what the states of one outcome have in common that
// the others have not.
func condition(these, all []state) string {
	var parts []string
	add := func(text string, in func(state) bool) {
		same := func(s state) bool { return in(s) == in(these[0]) }
		if !slices.ContainsFunc(these, func(s state) bool { return !same(s) }) && slices.ContainsFunc(all, func(s state) bool { return !same(s) }) && in(these[0]) {
			parts = append(parts, text)
		}
	}
	add("the IPMODIFY ops is a livepatch", func(s state) bool { return s.modifier == livepatch })
	add("the IPMODIFY ops is a kprobe with a post handler", func(s state) bool { return s.modifier == kprobePost })
	add("the BPF trampoline has fexit or fmod_ret programs", func(s state) bool { return s.fexit })
	add("the BPF trampoline has only fentry programs", func(s state) bool { return s.bpf && !s.fexit })
	add("it was there before the IPMODIFY ops", func(s state) bool { return s.bpf && !s.fexit && s.bpfFirst })
	add("it came after the IPMODIFY ops", func(s state) bool { return s.bpf && !s.fexit && !s.bpfFirst })
	add("a kprobe with a post handler is live elsewhere", func(s state) bool { return s.kprobesLive })
	add("no kprobe with a post handler is live elsewhere", func(s state) bool { return !s.kprobesLive })
	if len(parts) == 0 {
		return Otherwise
	}
	return strings.Join(parts, " and ")
}
