package explore

import (
	"fmt"
	"slices"
	"strings"

	"ftemu/ftracecore"
	"ftemu/script"
)

// A Property is something that must hold in every execution.
type Property string

// The properties.
const (
	Torn        Property = "torn"
	LostCall    Property = "lost-call"
	Livepatch   Property = "livepatch"
	Direct      Property = "direct"
	OneIPModify Property = "one-ipmodify"
	Leftovers   Property = "leftovers"
	Alive       Property = "alive"
	Deadlock    Property = "deadlock"
	LockOrder   Property = "lock-order"
	Retries     Property = "retries"
	Freed       Property = "freed"
	CleanEnd    Property = "clean-end"
	Wants       Property = "wants"
	Ends        Property = "ends"
)

var properties = []struct {
	name Property
	says string
}{
	{Torn, "no torn or foreign instruction executes, no int3 goes unclaimed"},
	{LostCall, "a site leads where its old or its new instruction leads"},
	{Livepatch, "a call made while a redirect is in force ends in its target, and only then"},
	{Direct, "a call made while a direct function is in force enters it"},
	{OneIPModify, "at most one IPMODIFY ops covers a site"},
	{Leftovers, "a failed registration leaves nothing but what the profile says"},
	{Alive, "ftrace does not warn, oops or kill itself"},
	{Deadlock, "some thread can always go on"},
	{LockOrder, "locks are taken in the documented order"},
	{Retries, "every retry ends"},
	{Freed, "nothing that was freed is used"},
	{CleanEnd, "unregistering everything restores the nops"},
	{Wants, "the scenario's own expectations hold"},
	{Ends, "every call into the guest returns"},
}

// Properties lists all properties in the order of reports.
func Properties() []Property {
	out := make([]Property, len(properties))
	for i, p := range properties {
		out[i] = p.name
	}
	return out
}

// Describe says what must hold.
func Describe(p Property) string {
	for _, x := range properties {
		if x.name == p {
			return x.says
		}
	}
	return ""
}

// ParseProperties reads a comma-separated list of property names; "" and "all"
// are all of them.
func ParseProperties(s string) ([]Property, error) {
	if s == "" || s == "all" {
		return Properties(), nil
	}
	var out []Property
	for _, name := range strings.Split(s, ",") {
		if !slices.Contains(Properties(), Property(name)) {
			var known []string
			for _, p := range Properties() {
				known = append(known, string(p))
			}
			return nil, fmt.Errorf("unknown property %q, expected one of %s", name, strings.Join(known, ", "))
		}
		out = append(out, Property(name))
	}
	return out, nil
}

// A Violation is a property that did not hold.
type Violation struct {
	Property Property `json:"property"`
	Text     string   `json:"text"`
}

// String is the property, and how it is broken.
func (v *Violation) String() string { return fmt.Sprintf("%s: %s", v.Property, v.Text) }

// A force is whether something that a line switches on or off is on.
type force uint8

const (
	off      force = iota
	changing       // a line that switches it is under way
	on
)

// A judgement is what was in force when a call executed its first site, and
// what must come of it.
type judgement struct {
	made       bool
	firstEvent int    // of the call, in the line's events
	want       string // the body that must run; "" where either may
	direct     force
	entered    bool // a direct function
	// begun is how many lines that switch something had begun: a call during
	// which another one begins may end either way.
	begun int
}

// A user is an ops or a program that a line has brought in, by its ID.
type user struct {
	id     string
	flag   ftracecore.OpsFlags // what it is: IPMODIFY or DIRECT
	covers func(ip uint64) bool
}

// forces tells whether a user of a kind is in force at a site: brought in by a
// line that has ended, and not being taken out.
func (w *world) forces(ip uint64, flag ftracecore.OpsFlags) (state force, ids []string) {
	for _, t := range w.threads {
		if !t.isCPU && !t.finished && t.at.kind != evStart && t.line < len(t.steps) && switches(t.steps[t.line], flag) {
			return changing, nil
		}
	}
	for _, u := range w.users {
		if u.flag == flag && u.covers(ip) {
			ids = append(ids, u.id)
		}
	}
	if len(ids) > 0 {
		return on, ids
	}
	return off, nil
}

// follow keeps track of who is in force, when a line has ended.
func (w *world) follow(st script.Step, rc int) {
	f := strings.Fields(st.Text)
	switch f[0] {
	case "unregister", "direct_unregister", "detach":
		w.users = slices.DeleteFunc(slices.Clone(w.users), func(u user) bool { return u.id == f[1] })
	case "register":
		if ops := w.run.Ops(f[1]); rc >= 0 && ops.Has(ftracecore.OpsIPModify) {
			w.users = append(slices.Clone(w.users), user{f[1], ftracecore.OpsIPModify, ops.Covers})
		}
	case "direct_register", "direct_register_retry":
		if ops := w.run.Ops(f[1]); rc >= 0 {
			w.users = append(slices.Clone(w.users), user{f[1], ftracecore.OpsDirect, ops.Covers})
		}
	case "attach":
		if site, ok := w.run.SiteOf(f[2]); rc >= 0 && ok {
			w.users = append(slices.Clone(w.users), user{f[1], ftracecore.OpsDirect, func(ip uint64) bool { return ip == site }})
		}
	}
}

// switches tells whether a line may bring ops with the flag in or out.
func switches(s script.Step, flag ftracecore.OpsFlags) bool {
	verb, _, _ := strings.Cut(s.Text, " ")
	switch verb {
	case "filter", "filtername":
		return true
	case "register", "unregister", "ipmod":
		return flag == ftracecore.OpsIPModify
	case "direct_register", "direct_register_retry", "direct_unregister", "sdirect_register", "sdirect_unregister", "attach", "detach":
		return flag == ftracecore.OpsDirect
	}
	return false
}

// atSite notes what is in force when a call executes its first site.
func (w *world) atSite(t *thread, ip uint64) {
	if t.judged.made || !w.sites[ip] {
		return
	}
	t.judged.made, t.judged.begun = true, w.begun
	t.judged.direct, _ = w.forces(ip, ftracecore.OpsDirect)
	state, ids := w.forces(ip, ftracecore.OpsIPModify)
	switch state {
	case off:
		t.judged.want = w.run.SiteName(ip)
	case on:
		if to, ok := w.run.Redirect(ids[0], ip); ok {
			t.judged.want = w.run.Place(to)
		}
	}
}

// judge checks a call of fn that has returned.
func (w *world) judge(t *thread, fn uint64) {
	j := t.judged
	t.judged = judgement{}
	if !j.made || j.begun != w.begun {
		return
	}
	var bodies []string
	for _, e := range t.res.EV[min(j.firstEvent, len(t.res.EV)):] {
		if e.Body != "" {
			bodies = append(bodies, e.Body)
		}
	}
	if j.want != "" && len(bodies) > 0 && !slices.Equal(bodies, []string{j.want}) {
		w.violate(Livepatch, w.returns(fn), "a call that executed its site when %s was in force ran %s", j.want, strings.Join(bodies, ", "))
	}
	if j.direct == on && !j.entered {
		w.violate(Direct, w.returns(fn), "a call that executed its site when a direct function was in force did not enter one")
	}
}

// returns is the step that ends a call of fn.
func (w *world) returns(fn uint64) string { return "return from " + w.lab().Name(fn) }

// ended checks a line of a thread when it is over.
func (w *world) ended(t *thread, st script.Step) {
	res := t.res
	w.warned(t)
	w.follow(st, res.RC)
	back := "return " + script.RetText(res.RC)
	if res.Failed != "" {
		w.violate(Wants, st.Text, "line %d: %s: %s", st.Line, st.Text, res.Failed)
	}
	if res.Oops != "" {
		w.violate(Alive, "oops", "line %d: %s: %s", st.Line, st.Text, res.Oops)
	}
	verb, _, _ := strings.Cut(st.Text, " ")
	if verb == "direct_register_retry" && res.RC == -int(ftracecore.EAGAIN) {
		w.violate(Retries, back, "line %d: %s: still -EAGAIN after %d tries", st.Line, st.Text, len(res.API))
	}
	if res.RC < 0 && switches(st, ftracecore.OpsDirect) {
		w.leftovers(t, st, back)
	}
}

// leftovers checks what a failed registration left behind.
func (w *world) leftovers(t *thread, st script.Step, back string) {
	core := w.lab().Core
	if core.DirectMutex.Held() {
		return
	}
	core.Records(func(r *ftracecore.Record) bool {
		if _, ok := core.DirectFunction(r.IP); ok && !slices.ContainsFunc(core.Ops(), func(o *ftracecore.Ops) bool {
			return o.Has(ftracecore.OpsDirect) && o.Covers(r.IP)
		}) {
			w.violate(Leftovers, back, "line %d: %s: returned %s and left a direct function of %s in the table",
				st.Line, st.Text, ftracecore.RetName(t.res.RC), w.run.SiteName(r.IP))
		}
		return true
	})
}

// check looks at the state after a step.
func (w *world) check(t *thread) {
	w.warned(t)
	core := w.lab().Core
	if core.FtraceLock.Held() || w.found != nil {
		return
	}
	core.Records(func(r *ftracecore.Record) bool {
		if r.Count == 0 {
			return true
		}
		var ids []string
		for _, o := range core.Ops() {
			if o.Has(ftracecore.OpsIPModify) && !o.Has(ftracecore.OpsAdding) && o.Covers(r.IP) {
				ids = append(ids, o.Name)
			}
		}
		if len(ids) > 1 {
			w.violate(OneIPModify, w.run.SiteName(r.IP)+" has two IPMODIFY ops", "%s is covered by the IPMODIFY ops %s", w.run.SiteName(r.IP), strings.Join(ids, " and "))
		}
		return true
	})
}

// warned reports what the kernel warned of while the thread ran.
func (w *world) warned(t *thread) {
	if warns := w.lab().Core.Warnings(); len(warns) > 0 {
		w.violate(Alive, "WARN in "+warns[0].Func, "%s: WARN in %s: %s", t.where(), warns[0].Func, warns[0].Text)
	}
}

// finish runs what stands behind the threads and checks the end.
func (w *world) finish() {
	w.cur, w.last = nil, nil
	w.lab().Core.SetTask(&ftracecore.Task{})
	for _, st := range w.after {
		res := w.run.Run(st)
		what := "after the threads: " + st.Text
		switch {
		case res.Failed != "":
			w.violate(Wants, what, "line %d: %s: %s", st.Line, st.Text, res.Failed)
		case res.Oops != "":
			w.violate(Alive, what, "%s: %s", st.Text, res.Oops)
		case len(res.Warn) > 0:
			w.violate(Alive, what, "%s: WARN in %s", st.Text, res.Warn[0])
		case res.Unclean != nil && *res.Unclean != 0:
			w.violate(CleanEnd, what, "%d sites are not nops after everything was unregistered", *res.Unclean)
		}
	}
}
