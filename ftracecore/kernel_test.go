package ftracecore

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/patcher"
	"ftemu/x86"
)

// Where things lie in the kernel of these tests. The functions f0 to f7 have the
// addresses of the recordings, because the order of a hash depends on them.
const (
	f0Addr    = 0xffffffffc0201540
	fPitch    = 0x80
	fSize     = 0x31
	callbacks = 0xffffffffc0201970
	directs   = 0xffffffffc0203000
	ownTramps = 0xffffffffc0210000
)

var testAddresses = Addresses{
	FtraceStub: 0xffffffff81076630, FtraceCaller: 0xffffffff81076660, FtraceRegsCaller: 0xffffffff81076730,
	ListFunc: 0xffffffff811af770, AssistFunc: 0xffffffff811ae600, CallDirectFuncs: 0xffffffff811b0db0,
	DirectOps: 0xffffffff82b3ba80, TmpOps: 0xffffffff82b3be80, StubOps: 0xffffffff82b3bc80, ListEnd: 0xffffffff82c3d4a0,
}

var testSymbols = []Symbol{
	{Name: "ftrace_stub", Addr: testAddresses.FtraceStub, Size: 0x10},
	{Name: "ftrace_caller", Addr: testAddresses.FtraceCaller, Size: 0x67},
	{Name: "ftrace_regs_caller", Addr: testAddresses.FtraceRegsCaller, Size: 0x58},
	{Name: "arch_ftrace_ops_list_func", Addr: testAddresses.ListFunc, Size: 0x1d0},
	{Name: "ftrace_ops_assist_func", Addr: testAddresses.AssistFunc, Size: 0xd0},
	{Name: "call_direct_funcs", Addr: testAddresses.CallDirectFuncs, Size: 0x30},
	{Name: "cb", Module: "mod", Addr: callbacks, Size: 0x10},
}

// A kernel is a core on text and trampolines that are plain Go values, with eight
// functions f0 to f7. It is its own Text, Trampolines and Sched: it checks the
// order of locks as lockdep would, and runs calls of a function.
type kernel struct {
	*Core
	t       *testing.T
	symbols []Symbol

	bytes    map[uint64]x86.Bytes5
	batches  [][]patcher.Change
	nextPage uint64
	noTramp  bool              // creating trampolines fails
	targets  map[*Ops]*Func    // what each own trampoline calls
	regsOf   map[*Ops]bool     // and whether it saves all registers
	static   *Func             // what the static trampolines call
	traceOp  *Ops              // function_trace_op
	onText   func()            // called when text is about to change
	held     []*Lock           // in the order of taking
	locked   []string          // every lock taken, by name
	points   []string          // what Point was told
	asked    []string          // every question to an ops_func
	log      []string          // what the running call did
	redirect map[string]uint64 // by ops: where its callback takes the function to
	nest     int               // how often callbacks call the function again
}

func newKernel(t *testing.T) *kernel { return newKernelOf(t, Config{}) }

func newKernelOf(t *testing.T, cfg Config) *kernel {
	k := &kernel{
		t: t, bytes: map[uint64]x86.Bytes5{}, nextPage: ownTramps, targets: map[*Ops]*Func{}, regsOf: map[*Ops]bool{},
		redirect: map[string]uint64{}, symbols: slices.Clone(testSymbols),
	}
	var ips []uint64
	for i := range 8 {
		ip := f(i)
		ips = append(ips, ip)
		k.bytes[ip] = x86.Nop5
		k.symbols = append(k.symbols, Symbol{Name: fmt.Sprintf("f%d", i), Module: "mod", Addr: ip, Size: fSize})
	}
	for i := 1; i <= 3; i++ {
		k.symbols = append(k.symbols, Symbol{Name: fmt.Sprintf("T%d", i), Module: "mod", Addr: tramp(i), Size: 0x10})
	}
	cfg.Text, cfg.Trampolines, cfg.Kallsyms, cfg.Addresses = k, k, k.kallsyms, testAddresses
	if cfg.Profile.Name == "" {
		cfg.Profile = V6_1()
	}
	if cfg.Design.Name() == "" {
		cfg.Design = OpsFuncDesign()
	}
	cfg.Sched, cfg.Explain = k, true
	k.Core = New(cfg)
	k.static = k.stubFunc
	k.AddSites(ips)
	t.Cleanup(func() {
		if c := k.Core; c.hung == nil {
			require.Empty(t, k.held, "locks that an API call left taken")
			for _, l := range []*Lock{&c.DirectMutex, &c.FtraceLock, &c.TextMutex} {
				require.False(t, l.Held(), l.Name)
			}
		}
	})
	return k
}

// f is the site of function fN, tramp the direct function TN.
func f(n int) uint64     { return f0Addr + uint64(n)*fPitch }
func tramp(n int) uint64 { return directs + uint64(n)*0x10 }

func (k *kernel) kallsyms(addr uint64) (Symbol, bool) {
	for _, s := range k.symbols {
		if s.Addr <= addr && addr < s.Addr+s.Size {
			return s, true
		}
	}
	return Symbol{}, false
}

// Text.

func (k *kernel) Verify(changes []patcher.Change) error {
	for _, c := range changes {
		if b := k.bytes[c.IP]; b != c.Old {
			return &patcher.Bug{Reason: patcher.Mismatch, IP: c.IP, Actual: b, Expected: c.Old}
		}
	}
	return nil
}

func (k *kernel) Apply(changes []patcher.Change) error {
	require.True(k.t, k.TextMutex.Held(), "text is written without text_mutex")
	if k.onText != nil {
		k.onText()
	}
	for _, c := range changes {
		require.Equal(k.t, c.Old, k.bytes[c.IP], "site %#x is written and not as verified", c.IP)
		k.bytes[c.IP] = c.New
	}
	k.batches = append(k.batches, slices.Clone(changes))
	return nil
}

// Trampolines.

func (k *kernel) Create(ops *Ops, target *Func, regs bool) (uint64, error) {
	if k.noTramp {
		return 0, fmt.Errorf("no memory")
	}
	k.targets[ops], k.regsOf[ops] = target, regs
	k.nextPage += 0x1000
	return k.nextPage, nil
}

func (k *kernel) Retarget(ops *Ops, target *Func) error { k.targets[ops] = target; return nil }
func (k *kernel) Free(ops *Ops)                         { delete(k.targets, ops) }

func (k *kernel) CallTarget(ops *Ops) uint64 {
	if fn := k.targets[ops]; fn != nil {
		return fn.Addr
	}
	return 0
}

func (k *kernel) SetTraceFunction(fn *Func) error { k.static = fn; return nil }
func (k *kernel) SetTraceOp(ops *Ops)             { k.traceOp = ops }

// Sched: one thread, and the order of locks.

var lockRank = map[string]int{"direct_mutex": 1, "regex_lock": 2, "ftrace_lock": 3, "text_mutex": 4}

func rankOf(l *Lock) int {
	class, _, _ := strings.Cut(l.Name, " of ")
	return lockRank[class]
}

func (k *kernel) Lock(l *Lock) {
	rank := rankOf(l)
	require.NotZero(k.t, rank, "lock %q is not in the documented order", l.Name)
	for _, h := range k.held {
		if h == l {
			panic(deadlocked{l})
		}
		require.Less(k.t, rankOf(h), rank, "%s is taken while %s is held", l.Name, h.Name)
	}
	k.held = append(k.held, l)
	k.locked = append(k.locked, "+"+l.Name)
}

func (k *kernel) TryLock(l *Lock) bool {
	if slices.Contains(k.held, l) {
		return false
	}
	k.held = append(k.held, l)
	return true
}

func (k *kernel) Unlock(l *Lock) {
	i := slices.Index(k.held, l)
	require.GreaterOrEqual(k.t, i, 0, "%s is given back and was not taken", l.Name)
	k.held = slices.Delete(k.held, i, i+1)
	k.locked = append(k.locked, "-"+l.Name)
}

func (k *kernel) Point(what string) { k.points = append(k.points, what) }
func (k *kernel) Grace(what string) { k.points = append(k.points, "grace "+what) }

// Clients.

// ops makes an ops with the flags whose filter is the given sites.
func (k *kernel) ops(name string, flags OpsFlags, sites ...uint64) *Ops {
	o := &Ops{Name: name, Flags: flags, Func: &Func{Addr: callbacks}}
	o.Func.Call = func(ip, parent uint64, ops *Ops, regs Regs) {
		entry := name
		if regs.Full() {
			entry += "(regs)"
		}
		k.log = append(k.log, entry)
		if to, ok := k.redirect[name]; ok {
			regs.SetIP(to)
		}
		if k.nest > 0 {
			k.nest--
			k.enter(ip)
		}
	}
	k.setFilter(o, sites)
	return o
}

// direct makes an ops for a direct function, with an ops_func that gives the
// answers in turn, the last one for ever; none means that there is no ops_func.
func (k *kernel) direct(name string, answers []int, sites ...uint64) *Ops {
	o := &Ops{Name: name}
	if answers != nil {
		o.OpsFunc = func(ops *Ops, cmd Command) int {
			require.Same(k.t, o, ops)
			k.asked = append(k.asked, name+" "+cmd.String())
			ret := answers[0]
			if len(answers) > 1 {
				answers = answers[1:]
			}
			return ret
		}
	}
	k.setFilter(o, sites)
	return o
}

func (k *kernel) setFilter(o *Ops, sites []uint64) {
	if len(sites) > 0 {
		require.NoError(k.t, k.SetFilterIPs(o, sites, false, true))
	}
}

func (k *kernel) register(ops ...*Ops) {
	for _, o := range ops {
		require.NoError(k.t, k.RegisterFtraceFunction(o))
	}
}

func (k *kernel) unregister(ops ...*Ops) {
	for _, o := range ops {
		require.NoError(k.t, k.UnregisterFtraceFunction(o))
	}
}

// site tells what a site holds: "nop", or "call" and what it calls.
func (k *kernel) site(ip uint64) string {
	form, target := x86.ParseSite(k.bytes[ip], ip)
	if form != x86.FormCall {
		return form.String()
	}
	for o := range k.targets {
		if o.Trampoline == target {
			return "call tramp(" + o.Name + ")"
		}
	}
	return "call " + k.symbolic(target, false)
}

// record tells the count and the flags of a record.
func (k *kernel) flags(ip uint64) string {
	rec := k.RecordAt(ip)
	return strings.TrimSpace(fmt.Sprintf("%d %s", rec.Count, rec.Flags))
}

// line is the entry of a function in enabled_functions, its lines joined.
func (k *kernel) line(ip uint64) string {
	lines := k.EnabledFunctions()
	for i, l := range lines {
		if s, _ := k.kallsyms(ip); !strings.HasPrefix(l, s.Name+" ") {
			continue
		}
		for i++; i < len(lines) && strings.HasPrefix(lines[i], "\t"); i++ {
			l += "\n" + lines[i]
		}
		return l
	}
	return ""
}

// regs is what a callback sees of the registers.
type regs struct {
	full   bool
	ip     uint64
	direct uint64
}

func (r *regs) Full() bool            { return r.full }
func (r *regs) IP() uint64            { return r.ip }
func (r *regs) SetIP(ip uint64)       { r.ip = ip }
func (r *regs) SetDirect(addr uint64) { r.direct = addr }

// call calls the function with its site at ip and lists what ran: callbacks,
// direct functions, and the function that was gone on to.
func (k *kernel) call(ip uint64) string {
	k.log = nil
	k.enter(ip)
	return strings.Join(k.log, " ")
}

func (k *kernel) enter(ip uint64) {
	form, target := x86.ParseSite(k.bytes[ip], ip)
	r := &regs{ip: ip + x86.SiteLen}
	if form == x86.FormCall {
		k.through(ip, target, r)
	}
	if r.direct != 0 {
		k.log = append(k.log, k.symbolic(r.direct, false))
	}
	k.log = append(k.log, "body:"+strings.TrimSuffix(k.symbolic(r.ip, false), "+0x5"))
}

// through runs what a site calls.
func (k *kernel) through(ip, target uint64, r *regs) {
	switch target {
	case k.addr.FtraceRegsCaller:
		r.full = true
		fallthrough
	case k.addr.FtraceCaller:
		k.static.Call(ip, 0, k.traceOp, r)
		return
	}
	for o, fn := range k.targets {
		if o.Trampoline == target {
			r.full = k.regsOf[o]
			fn.Call(ip, 0, o, r)
			return
		}
	}
	r.direct = target
}

func TestKernelOfTheTests(t *testing.T) {
	k := newKernel(t)
	require.Equal(t, "nop", k.site(f(0)))
	require.Equal(t, "body:f0", k.call(f(0)))
	require.Equal(t, "0", k.flags(f(0)))
}
