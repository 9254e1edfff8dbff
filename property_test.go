package ftemu_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu/ftracecore"
	"ftemu/x86"
)

// sequences is how many random sequences of calls one test run tries.
const sequences = 10_000

// TestAnySequence makes calls of the API at random, the right ones and the wrong
// ones, and holds the lab after each to what the model in property_model_test.go
// expects:
//
//   - the count of a record is the number of registered ops that cover the site;
//   - the bytes of a site are what the installed (_EN) flags of its record say;
//   - a record has IPMODIFY iff a registered IPMODIFY ops covers the site, of
//     which there is never more than one;
//   - the table of direct functions, the list of ops and every filter are as the
//     calls that succeeded have made them, so that a call that failed has
//     changed nothing but flags of its ops;
//   - a call of a function gives the value that its ops ask for;
//   - when all are unregistered the nops are back.
//
// Where the kernel does otherwise the code below says so, beginning with "As the
// kernel:". Seed: -rapid.seed, or FTEMU_SEED.
func TestAnySequence(t *testing.T) {
	checks := sequences
	if testing.Short() {
		checks = sequences / 20
	}
	setFlag(t, "rapid.checks", fmt.Sprint(checks))
	setFlag(t, "rapid.nofailfile", "true") // the seed is printed
	if seed := os.Getenv("FTEMU_SEED"); seed != "" {
		setFlag(t, "rapid.seed", seed)
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		defer w.lab.Close()
		t.Repeat(map[string]func(*rapid.T){
			"new":         w.new,
			"filter":      w.changeFilter,
			"filter bad":  w.badFilter,
			"notrace":     w.changeNotrace,
			"register":    w.register,
			"register 2":  w.register,
			"unregister":  w.unregister,
			"direct":      w.directRegister,
			"direct 2":    w.directRegister,
			"modify":      w.directModify,
			"undirect":    w.directUnregister,
			"forget":      w.forget,
			"single":      w.singleRegister,
			"single mod":  w.singleModify,
			"unsingle":    w.singleUnregister,
			"sysctl":      w.sysctl,
			"call":        w.call,
			"call 2":      w.call,
			"redirection": w.toggle,
			"":            w.check,
		})
		w.finish(t)
	})
}

// setFlag sets a flag for the time of the test, unless the user has set it.
func setFlag(t *testing.T, name, value string) {
	f := flag.Lookup(name)
	old := f.Value.String()
	if old != f.DefValue {
		return
	}
	require.NoError(t, flag.Set(name, value))
	t.Cleanup(func() { require.NoError(t, flag.Set(name, old)) })
}

var kinds = map[string]ftracecore.OpsFlags{
	"plain": 0, "regs": ftracecore.OpsSaveRegs, "ipmod": ftracecore.OpsSaveRegs | ftracecore.OpsIPModify,
	"klp": ftracecore.OpsIPModify | ftracecore.OpsPermanent, "recur": ftracecore.OpsRecursion, "rcu": ftracecore.OpsRCU,
	"perm": ftracecore.OpsPermanent, "stub": ftracecore.OpsStub,
}

func (w *world) new(t *rapid.T) {
	if len(w.tracers) == 7 {
		t.Skip("enough")
	}
	kind := rapid.SampledFrom([]string{"plain", "regs", "ipmod", "klp", "klp", "recur", "rcu", "perm", "stub", "direct", "direct", "direct"}).Draw(t, "kind")
	o := &tracer{name: fmt.Sprintf("%s%d", kind, len(w.tracers)), filter: siteSet{}, notrace: siteSet{}, cur: -1, redirecting: true}
	if kind == "direct" {
		mode := rapid.SampledFrom([]string{"none", "random", "random", "bpf"}).Draw(t, "mode")
		var fn ftracecore.OpsFunc
		if mode != "none" {
			fn = func(_ *ftracecore.Ops, cmd ftracecore.Command) int { return w.ask(o, mode, cmd) }
		}
		o.ops = w.lab.NewDirectOps(o.name, fn)
	} else {
		o.ops = w.lab.NewOps(o.name, kinds[kind], func(ip, _ uint64, _ *ftracecore.Ops, regs ftracecore.Regs) {
			if i := w.index(ip); i >= 0 && o.redirecting && o.has(ftracecore.OpsIPModify) {
				regs.SetIP(w.g[i])
			}
		})
	}
	w.tracers = append(w.tracers, o)
	// Most ops are given a filter at once; without one they trace everything.
	if rapid.IntRange(0, 5).Draw(t, "unfiltered") > 0 {
		w.filterOf(t, o, false, true)
	}
}

// ask answers for the owner of a direct ops: at random, or as one that switches to
// a trampoline which can share.
func (w *world) ask(o *tracer, mode string, cmd ftracecore.Command) int {
	w.asked++
	if mode == "bpf" && cmd != ftracecore.EnableSelf {
		next := 0
		if cmd == ftracecore.EnablePeer {
			next = 2
		}
		err := w.lab.Core.ModifyDirectMultiNolock(o.ops, w.tramps[next].addr)
		if err == nil {
			w.swap(o, next)
		}
		return ftracecore.Ret(err)
	}
	answers := []int{0, 0, 0, -int(ftracecore.EBUSY), -int(ftracecore.EAGAIN), 1}
	return rapid.SampledFrom(answers).Draw(w.t, "answer")
}

// pick draws one of the ops.
func (w *world) pick(t *rapid.T) *tracer {
	if len(w.tracers) == 0 {
		t.Skip("no ops")
	}
	return rapid.SampledFrom(w.tracers).Draw(t, "ops")
}

func (w *world) changeFilter(t *rapid.T) {
	w.filterOf(t, w.pick(t), rapid.Bool().Draw(t, "remove"), rapid.IntRange(0, 2).Draw(t, "reset") == 0)
}

func drawSites(t *rapid.T, least int) []int {
	return rapid.SliceOfNDistinct(rapid.IntRange(0, numSites-1), least, 3, rapid.ID[int]).Draw(t, "sites")
}

func (w *world) filterOf(t *rapid.T, o *tracer, remove, reset bool) {
	sites := drawSites(t, 1)
	next := o.filter.clone()
	if reset {
		next = siteSet{}
	}
	var ips []uint64
	for _, i := range sites {
		ips = append(ips, w.f[i]+rapid.Uint64Range(0, 4).Draw(t, "offset"))
		if remove {
			delete(next, i)
		} else {
			next[i] = true
		}
	}
	w.do(t, o, func() error { return w.lab.Core.SetFilterIPs(o.ops, ips, remove, reset) }, func() {
		w.filterChanged(o, next)
		o.filtered = true
	})
}

// filterChanged notes a new filter and what a live change leaves.
func (w *world) filterChanged(o *tracer, next siteSet) {
	if o.enabled {
		w.flagsLeft = w.flagsLeft || !w.enabled
		if isDirect(o) {
			// As the kernel: a live change leaves the table of direct functions
			// alone, so that sites lack entries and entries are stale.
			w.misused = true
		}
		if o.has(ftracecore.OpsSaveRegs) {
			// As the kernel: REGS sticks to a site that a live ops leaves.
			for i := -1; i < numSites; i++ {
				w.regsLeft[i] = w.regsLeft[i] || o.covers(i)
			}
		}
	}
	o.filter = next
}

func (w *world) badFilter(t *rapid.T) {
	o := w.pick(t)
	if w.over {
		return
	}
	good := w.f[rapid.IntRange(0, numSites-1).Draw(t, "site")]
	bad := rapid.SampledFrom([]uint64{0, 0x1000, w.f[0] + 5, w.g[0], ^uint64(0)}).Draw(t, "bad")
	err := w.lab.Core.SetFilterIPs(o.ops, []uint64{good, bad}, false, false)
	require.Error(t, err)
	if !w.dead {
		require.ErrorIs(t, err, ftracecore.EINVAL)
	}
	require.Error(t, w.lab.Core.SetFilter(o.ops, "nosuch*", true))
}

func (w *world) changeNotrace(t *rapid.T) {
	o := w.pick(t)
	i := rapid.IntRange(0, numSites-1).Draw(t, "site")
	remove := rapid.Bool().Draw(t, "remove")
	word := fmt.Sprintf("ftor_f%d", i)
	next := o.notrace.clone()
	if remove {
		word = "!" + word
		delete(next, i)
	} else {
		next[i] = true
	}
	w.do(t, o, func() error { return w.lab.Core.SetNotrace(o.ops, word, false) }, func() {
		w.filterChanged(o, o.filter)
		if o.enabled && o.has(ftracecore.OpsSaveRegs) {
			// As the kernel: a site in both the old and the new hash is counted in
			// and out again, which leaves REGS on a record whose count is 0.
			w.flagsLeft = true
		}
		o.notrace = next
		require.False(t, o.has(ftracecore.OpsIPModify) && !w.dead, "an IPMODIFY ops was given a notrace hash")
	})
}

func (w *world) register(t *rapid.T) {
	o := w.pick(t)
	if o.ops.Func == nil {
		t.Skip("NULL func: a call would jump to NULL")
	}
	if o.has(ftracecore.OpsDirect) {
		w.misused = true // not by the API for direct ops: no entries in the table
	}
	w.do(t, o, func() error { return w.lab.Core.RegisterFtraceFunction(o.ops) }, func() {
		o.enabled = true
		w.order = append([]*tracer{o}, w.order...)
	})
}

func (w *world) unregister(t *rapid.T) {
	o := w.pick(t)
	if o.enabled && isDirect(o) {
		w.misused = true // its entries become stale
	}
	w.do(t, o, func() error { return w.lab.Core.UnregisterFtraceFunction(o.ops) }, func() { w.gone(o) })
}

// gone notes that an ops, nil for direct_ops, is no longer registered.
func (w *world) gone(o *tracer) {
	// As the kernel: while ftrace_enabled is 0 flags are not cleaned up.
	w.flagsLeft = w.flagsLeft || !w.enabled
	if o != nil {
		o.enabled = false
	}
	w.order = slices.DeleteFunc(w.order, func(x *tracer) bool { return x == o })
}

func (w *world) drawTramp(t *rapid.T, label string) int {
	return rapid.IntRange(0, len(w.tramps)-1).Draw(t, label)
}

func (w *world) directRegister(t *rapid.T) {
	o := w.pick(t)
	tramp := w.drawTramp(t, "tramp")
	taken := slices.ContainsFunc(w.tableSites(), func(i int) bool { return o.filter[i] })
	w.do(t, o, func() error { return w.lab.Core.RegisterDirectMulti(o.ops, w.tramps[tramp].addr) }, func() {
		require.False(t, taken, "a site has two direct functions")
		require.NotEmpty(t, o.filter)
		o.enabled, o.cur = true, tramp
		w.order = append([]*tracer{o}, w.order...)
		for i := range o.filter {
			w.table[i] = tramp
			// As the kernel: a site that the notrace hash leaves to another direct ops,
			// which had no direct function there, is not patched for it.
			w.torn[i] = w.torn[i] || !o.covers(i) && slices.ContainsFunc(w.covering(i), isDirect)
		}
	})
}

func (w *world) tableSites() (sites []int) {
	for i := range numSites {
		if _, ok := w.table[i]; ok {
			sites = append(sites, i)
		}
	}
	return sites
}

// swap notes that the direct function of an ops was changed.
func (w *world) swap(o *tracer, tramp int) {
	o.cur = tramp
	for i := range o.filter {
		if _, ok := w.table[i]; ok {
			w.table[i] = tramp
			// As the kernel: also where the notrace hash leaves the site to another
			// direct ops, whose site goes on calling the old one.
			w.torn[i] = w.torn[i] || !o.covers(i) && slices.ContainsFunc(w.covering(i), isDirect)
		}
	}
}

func (w *world) directModify(t *rapid.T) {
	o := w.pick(t)
	tramp := w.drawTramp(t, "tramp")
	w.do(t, o, func() error { return w.lab.Core.ModifyDirectMulti(o.ops, w.tramps[tramp].addr) }, func() { w.swap(o, tramp) })
}

func (w *world) directUnregister(t *rapid.T) {
	o := w.pick(t)
	tramp := o.cur
	if tramp < 0 || rapid.IntRange(0, 5).Draw(t, "wrong") == 0 {
		tramp = w.drawTramp(t, "tramp")
	}
	w.do(t, o, func() error { return w.lab.Core.UnregisterDirectMulti(o.ops, w.tramps[tramp].addr) }, func() { w.undirect(o, tramp) })
}

func (w *world) undirect(o *tracer, tramp int) {
	w.gone(o)
	for i := range o.filter {
		if at, ok := w.table[i]; ok && at == tramp {
			delete(w.table, i)
			// As the kernel: also that of another direct ops whose function is the
			// same one.
			w.torn[i] = w.torn[i] || slices.ContainsFunc(w.covering(i), isDirect)
		} else if ok {
			w.misused = true // a stale entry
		}
	}
}

// forget is the owner that makes a failed ops ready for another try.
func (w *world) forget(t *rapid.T) {
	if o := w.pick(t); !o.enabled && o.ops.OpsFunc != nil {
		o.ops.Func, o.ops.Trampoline = nil, 0
	}
}

func (w *world) singleRegister(t *rapid.T) {
	i, tramp := rapid.IntRange(0, numSites-1).Draw(t, "site"), w.drawTramp(t, "tramp")
	_, taken := w.table[i]
	w.do(t, nil, func() error { return w.lab.Core.RegisterDirect(w.f[i], w.tramps[tramp].addr) }, func() {
		require.False(t, taken, "a site has two direct functions")
		w.table[i], w.single[i] = tramp, true
		if !slices.Contains(w.order, nil) {
			w.order = append([]*tracer{nil}, w.order...)
		}
	})
}

func (w *world) singleModify(t *rapid.T) {
	i, tramp := rapid.IntRange(0, numSites-1).Draw(t, "site"), w.drawTramp(t, "tramp")
	old, ok := w.table[i]
	if !ok || rapid.IntRange(0, 5).Draw(t, "wrong") == 0 {
		old = w.drawTramp(t, "old")
	}
	if !w.single[i] {
		w.misused = true // the owner of a multi ops does not know
	}
	w.modifying = true
	defer func() { w.modifying = false }()
	w.do(t, nil, func() error { return w.lab.Core.ModifyDirect(w.f[i], w.tramps[old].addr, w.tramps[tramp].addr) }, func() { w.table[i] = tramp })
}

func (w *world) singleUnregister(t *rapid.T) {
	i, tramp := rapid.IntRange(0, numSites-1).Draw(t, "site"), w.drawTramp(t, "tramp")
	if at, ok := w.table[i]; ok {
		if rapid.IntRange(0, 5).Draw(t, "wrong") > 0 {
			tramp = at
		}
		if !w.single[i] {
			// As the kernel: a multi ops' site goes on calling a function that is
			// no longer in the table; the next change of the site kills ftrace.
			w.misused, w.torn[i] = true, true
		}
		// As the kernel: the entry goes whoever owns it, and with one function
		// in its filter direct_ops goes, even if that is another one.
		if len(w.single) == 1 {
			w.foreign = !w.single[i]
		}
	}
	w.do(t, nil, func() error {
		err := w.lab.Core.UnregisterDirect(w.f[i], w.tramps[tramp].addr)
		var oops *ftracecore.Oops
		if _, ok := w.table[i]; ok && !errors.As(err, &oops) {
			w.unsingle(i)
		}
		return err
	}, func() {})
}

// unsingle notes that a site has lost its direct function.
func (w *world) unsingle(i int) {
	if len(w.single) == 1 && slices.Contains(w.order, nil) {
		w.gone(nil)
	} else if w.single[i] {
		w.regsLeft[i] = true // direct_ops left it by a live change of its filter
	}
	delete(w.single, i)
	delete(w.table, i)
	// As the kernel: code is changed before the entry goes, so that a direct ops
	// whose live filter came onto the site leaves it calling the function.
	w.torn[i] = w.torn[i] || slices.ContainsFunc(w.covering(i), isDirect)
}

func (w *world) sysctl(t *rapid.T) {
	on := rapid.Bool().Draw(t, "on")
	permanent := anyHas(w.order, ftracecore.OpsPermanent)
	was := w.enabled
	w.do(t, nil, func() error { return w.lab.Core.SetEnabled(on) }, func() {
		w.enabled = on
		require.False(t, !on && was && permanent, "switched off with a PERMANENT ops")
	})
}

func (w *world) toggle(t *rapid.T) { o := w.pick(t); o.redirecting = !o.redirecting }

func (w *world) call(t *rapid.T) {
	i := rapid.IntRange(0, numSites-1).Draw(t, "site")
	a, b := rapid.Uint64Range(0, 100).Draw(t, "a"), rapid.Uint64Range(0, 100).Draw(t, "b")
	got, err := w.lab.Call(w.f[i], a, b)
	if w.dead || w.over || w.torn[i] {
		// What a dead ftrace has left in the sites may call what is gone.
		return
	}
	require.NoError(t, err)
	require.Equal(t, w.predict(i, a, b), got, "f%d(%d, %d), covered by %s", i, a, b, w.names(w.covering(i)))
}

func (w *world) names(ops []*tracer) (names []string) {
	for _, o := range ops {
		if o == nil {
			names = append(names, "direct_ops")
		} else {
			names = append(names, o.name)
		}
	}
	return names
}

// leftByFailure are the flags of an ops that a failed call may set.
const leftByFailure = ftracecore.OpsAdding | ftracecore.OpsAllocTramp | ftracecore.OpsDynamic | ftracecore.OpsInit

// do makes a call and tells the model of its success. A call that failed must
// not have changed the flags of any record, nor those of its ops but as the
// kernel leaves them.
func (w *world) do(t *rapid.T, o *tracer, call func() error, success func()) {
	if w.over {
		return
	}
	w.t = t
	var flagsBefore ftracecore.OpsFlags
	if o != nil {
		flagsBefore = o.ops.Flags
	}
	before, asked, foreign := w.recordFlags(), w.asked, w.foreign
	err := call()
	var oops *ftracecore.Oops
	switch {
	case errors.As(err, &oops):
		require.True(t, w.mayOops(o), "%v", oops)
		w.over = true
		return
	case err == nil:
		success()
		// As the kernel: modify_ftrace_direct does not look whether ftrace is dead.
		require.False(t, w.dead && !w.modifying, "a call succeeded and ftrace is dead")
		return
	}
	var e *ftracecore.Error
	require.ErrorAs(t, err, &e)
	require.NotZero(t, e.Ret)
	require.NotEmpty(t, e.Explain())
	if w.lab.Core.Disabled() || w.asked != asked || w.foreign || foreign {
		// An owner that was asked may have changed its direct function, and tmp_ops,
		// which comes and goes for that, takes flags along that had stuck.
		return
	}
	require.Equal(t, before, w.recordFlags(), "a failed call has changed records: %v", err)
	if o != nil {
		after := o.ops.Flags
		if after&^flagsBefore&ftracecore.OpsDirect != 0 {
			// As the kernel: register_ftrace_direct_multi replaces all flags.
			flagsBefore = ftracecore.OpsDirect | ftracecore.OpsSaveRegs
		}
		require.Equal(t, flagsBefore&^leftByFailure, after&^leftByFailure, "%v", err)
	}
}

// mayOops tells whether the call just made is one of those that crash a kernel.
func (w *world) mayOops(o *tracer) bool {
	if o == nil {
		return len(w.single) == 0 // direct_ops never had a filter
	}
	return !o.filtered
}

func (w *world) recordFlags() (flags []string) {
	w.lab.Core.Records(func(r *ftracecore.Record) bool {
		flags = append(flags, fmt.Sprint(r.Count, r.Flags))
		return true
	})
	return flags
}

func (w *world) bytes() (all []x86.Bytes5) {
	w.lab.Core.Records(func(r *ftracecore.Record) bool {
		var b x86.Bytes5
		if err := w.lab.Mem.Read(r.IP, b[:]); err != nil {
			panic(err)
		}
		all = append(all, b)
		return true
	})
	return all
}

// check holds the lab to the model.
func (w *world) check(t *rapid.T) {
	core := w.lab.Core
	require.False(t, core.DirectMutex.Held() || core.FtraceLock.Held() || core.TextMutex.Held(), "a lock is left taken")
	if w.over {
		return
	}
	core.Warnings()
	if core.Disabled() {
		if !w.dead {
			// As the kernel: flags that were left are found when the last ops goes.
			require.True(t, w.misused || w.flagsLeft, "ftrace killed itself though everybody kept to the rules")
			w.dead, w.deadBytes = true, w.bytes()
		}
		require.Equal(t, w.deadBytes, w.bytes(), "a dead ftrace has changed code")
		return
	}
	require.Equal(t, w.enabled, core.Enabled())
	var listed []string
	for _, o := range core.Ops() {
		listed = append(listed, o.Name)
	}
	require.Equal(t, w.names(w.order), listed)
	for _, o := range w.tracers {
		require.Equal(t, o.enabled, o.has(ftracecore.OpsEnabled), o.name)
		require.Equal(t, len(o.filter), o.ops.Filter().Count(), o.name)
		for i := range o.filter {
			require.True(t, o.ops.Filter().Has(w.f[i]), o.name)
		}
	}
	core.Records(func(r *ftracecore.Record) bool {
		if err := w.checkRecord(r); err != nil {
			t.Fatal(err)
		}
		return true
	})
}

// checkRecord compares a record and its site with the model. The records are
// many and the checks run after each step, so that it speaks through an error.
func (w *world) checkRecord(r *ftracecore.Record) error {
	i := w.index(r.IP)
	ops := w.covering(i) // with -1 those that select everything
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("site %d, record %d %s, ops %v: %s", i, r.Count, r.Flags, w.names(ops), fmt.Sprintf(format, args...))
	}
	modifiers := 0
	for _, o := range ops {
		if o.flags()&ftracecore.OpsIPModify != 0 {
			modifiers++
		}
	}
	wantsRegs, wantsDirect := anyHas(ops, ftracecore.OpsSaveRegs), anyHas(ops, ftracecore.OpsDirect)
	addr, listed := w.lab.Core.DirectFunction(r.IP)
	tramp, inTable := w.table[i]
	switch {
	case r.Count != len(ops):
		return wrong("the count is wrong")
	case modifiers > 1:
		return wrong("IPMODIFY twice")
	case r.Has(ftracecore.RecIPModify) != (modifiers == 1) && (r.Count > 0 || !w.flagsLeft):
		return wrong("IPMODIFY is wrong")
	case wantsRegs && !r.Has(ftracecore.RecRegs):
		return wrong("REGS is missing")
	case !wantsRegs && r.Has(ftracecore.RecRegs) && !w.regsLeft[i] && !w.flagsLeft:
		return wrong("REGS is left")
	case r.Has(ftracecore.RecDirect) != wantsDirect && !w.misused:
		return wrong("DIRECT is wrong")
	case listed != inTable, listed && addr != w.tramps[tramp].addr:
		return wrong("direct_functions holds %#x (%v), the model %v", addr, listed, inTable)
	case r.Has(ftracecore.RecEnabled) != (w.enabled && len(ops) > 0):
		return wrong("EN is wrong")
	}
	if found, want := w.siteCalls(r), w.flagsSay(r, i, ops); found != want && !w.torn[i] {
		return wrong("it holds %s, the installed flags say %s", found, want)
	}
	return nil
}

// siteCalls tells what the bytes of a site are.
func (w *world) siteCalls(r *ftracecore.Record) string {
	var b x86.Bytes5
	if err := w.lab.Mem.Read(r.IP, b[:]); err != nil {
		return err.Error()
	}
	form, target := x86.ParseSite(b, r.IP)
	if form != x86.FormCall {
		return form.String()
	}
	return w.lab.Name(target)
}

// flagsSay tells what they should be by the installed flags of the record.
func (w *world) flagsSay(r *ftracecore.Record, i int, ops []*tracer) string {
	tramp, inTable := w.table[i]
	switch {
	case !r.Has(ftracecore.RecEnabled):
		return x86.FormNop.String()
	case r.Has(ftracecore.RecDirectEn) && inTable:
		return "ftor_t_" + w.tramps[tramp].name
	case r.Has(ftracecore.RecTrampEn) && len(ops) == 1 && !isDirect(ops[0]):
		return w.lab.Name(ops[0].ops.Trampoline)
	case r.Has(ftracecore.RecTrampEn), r.Has(ftracecore.RecRegsEn):
		return "ftrace_regs_caller" // which is also what direct ops have as their trampoline
	}
	return "ftrace_caller"
}

// finish unregisters everything, the newest first, and expects the nops back.
func (w *world) finish(t *rapid.T) {
	if w.over || w.dead {
		return
	}
	w.t = t
	core := w.lab.Core
	require.NoError(t, core.SetEnabled(true))
	w.enabled = true
	for _, o := range slices.Clone(w.order) {
		w.last(t, o)
		if w.check(t); w.dead {
			return
		}
	}
	if len(w.order) > 0 {
		return // a site of direct_ops whose entry somebody else has removed cannot be unregistered
	}
	for _, b := range w.bytes() {
		require.Equal(t, x86.Nop5, b)
	}
	core.Records(func(r *ftracecore.Record) bool {
		require.Zero(t, r.Count)
		if !w.flagsLeft {
			require.Zero(t, r.Flags, "flags are left: %s", r.Flags)
		}
		return true
	})
}

// last unregisters one ops, nil for direct_ops, as its owner would.
func (w *world) last(t *rapid.T, o *tracer) {
	core := w.lab.Core
	ok := func(err error) { require.True(t, err == nil || core.Disabled(), "%v", err) }
	switch {
	case o == nil:
		for i := range numSites {
			if _, has := w.table[i]; has && w.single[i] {
				ok(core.UnregisterDirect(w.f[i], w.tramps[w.table[i]].addr))
				w.unsingle(i)
			}
		}
	case isDirect(o) && o.cur >= 0:
		ok(core.UnregisterDirectMulti(o.ops, w.tramps[o.cur].addr))
		w.undirect(o, o.cur)
	default:
		ok(core.UnregisterFtraceFunction(o.ops))
		w.gone(o)
	}
}
