package ftemu_test

import (
	"fmt"
	"slices"

	"ftemu"
	"ftemu/emu/interp"
	"ftemu/ftracecore"
	"ftemu/trampoline"
	"ftemu/x86"

	"pgregory.net/rapid"
)

// What the machine of property_test.go expects, kept in sets of small numbers
// beside the lab, by rules said once and not as the core computes them.

// numSites is how many functions the machine plays with: f0 and so on. The rest
// of the guest must never be touched but by an ops that selects all.
const numSites = 5

type siteSet map[int]bool

func (s siteSet) clone() siteSet {
	c := siteSet{}
	for i := range s {
		c[i] = true
	}
	return c
}

// A tracer is an ops as the model sees it.
type tracer struct {
	name            string
	ops             *ftracecore.Ops
	filter, notrace siteSet
	filtered        bool // some filter call succeeded: the hash pointer is not NULL
	enabled         bool
	redirecting     bool // its callback takes fN to gN
	cur             int  // the direct trampoline that the owner thinks is in use; -1: none
}

func (o *tracer) GoString() string { return o.name }

func (o *tracer) covers(i int) bool {
	return (len(o.filter) == 0 || o.filter[i]) && !o.notrace[i]
}

func (o *tracer) has(f ftracecore.OpsFlags) bool { return o.ops.Has(f) }

// A directTramp is a direct trampoline and what a call through it gives.
type directTramp struct {
	name string
	kind trampoline.DirectKind
	addr uint64
}

type world struct {
	lab     *ftemu.Lab
	f, g    [numSites]uint64
	tracers []*tracer
	single  siteSet // the filter of direct_ops
	tramps  []directTramp
	table   map[int]int // direct_functions: site to index of tramps
	order   []*tracer   // registered, the newest first; nil stands for direct_ops

	enabled   bool // the sysctl
	over      bool // an oops: the kernel is gone
	dead      bool // ftrace killed itself
	deadBytes []x86.Bytes5

	// What the kernel leaves behind.
	regsLeft  siteSet // sites to which REGS may stick
	flagsLeft bool    // flags may be left on records whose count is 0
	misused   bool    // somebody broke a rule that ftrace does not enforce
	torn      siteSet // sites that do not call what the table has
	foreign   bool    // direct_ops was unregistered because of somebody else's function

	modifying bool     // modify_ftrace_direct is under way
	asked     int      // questions to owners
	t         *rapid.T // of the step under way, for the answers
}

func newWorld(t *rapid.T) *world {
	lab, err := ftemu.New(ftemu.Options{Engine: interp.New(), Memory: 1 << 22})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{lab: lab, single: siteSet{}, table: map[int]int{}, enabled: true, regsLeft: siteSet{}, torn: siteSet{}}
	for i := range numSites {
		w.f[i], w.g[i] = w.function(t, fmt.Sprintf("ftor_f%d", i)), w.function(t, fmt.Sprintf("ftor_g%d", i))
	}
	for _, d := range []struct {
		name string
		kind trampoline.DirectKind
		body uint64
	}{{"pass", trampoline.Pass, 0}, {"passB", trampoline.Pass, 0}, {"share", trampoline.Share, 0},
		{"orig1", trampoline.Orig, w.f[1] + 5}, {"skip", trampoline.Skip, 0}} {
		addr, err := lab.AddDirect(d.name, d.kind, d.body)
		if err != nil {
			t.Fatal(err)
		}
		w.tramps = append(w.tramps, directTramp{d.name, d.kind, addr})
	}
	return w
}

func (w *world) function(t *rapid.T, name string) uint64 {
	a, ok := w.lab.Guest().Symbols.Lookup(name)
	if !ok {
		t.Fatalf("the guest has no %s", name)
	}
	return a
}

// index of the site at ip among the functions played with; -1: another.
func (w *world) index(ip uint64) int { return slices.Index(w.f[:], ip) }

// covering lists the registered ops that cover a site, the newest first.
func (w *world) covering(i int) (ops []*tracer) {
	for _, o := range w.order {
		if o == nil && w.single[i] || o != nil && o.covers(i) {
			ops = append(ops, o)
		}
	}
	return ops
}

func isDirect(o *tracer) bool { return o == nil || o.has(ftracecore.OpsDirect) }

func (o *tracer) flags() ftracecore.OpsFlags {
	if o == nil { // direct_ops
		return ftracecore.OpsDirect | ftracecore.OpsSaveRegs | ftracecore.OpsPermanent
	}
	return o.ops.Flags
}

func anyHas(ops []*tracer, f ftracecore.OpsFlags) bool {
	return slices.ContainsFunc(ops, func(o *tracer) bool { return o.flags()&f != 0 })
}

func value(i int, redirected bool, a, b uint64) uint64 {
	n := uint64(i + 1)
	if redirected {
		return 7*a + 11*b + 100000*n
	}
	return 3*a + 5*b + 1000*n
}

// predict is the value of a call of fN.
func (w *world) predict(i int, a, b uint64) uint64 {
	ops := w.covering(i)
	if !w.enabled || len(ops) == 0 {
		return value(i, false, a, b)
	}
	redirected := slices.ContainsFunc(ops, func(o *tracer) bool {
		return o != nil && o.redirecting && o.has(ftracecore.OpsIPModify) && !o.has(ftracecore.OpsStub)
	})
	ret := value(i, redirected, a, b)
	tramp, ok := w.table[i]
	if !ok || !slices.ContainsFunc(ops, isDirect) {
		// No entry, or a stale one that no direct ops would look up.
		return ret
	}
	switch w.tramps[tramp].kind {
	case trampoline.Skip:
		return 777
	case trampoline.Orig:
		return value(1, false, a, b)
	}
	return ret
}
