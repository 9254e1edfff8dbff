package why

import (
	"fmt"

	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/patcher"
	"ftemu/x86"
)

// Where things lie in the kernel that questions are tried on. Only that they
// differ matters.
const (
	funcAddr  = 0xffffffff81200000 // the function asked about
	otherAddr = 0xffffffff81201000 // another one, for ops that are live elsewhere
	funcSize  = 0x100
	directIP  = 0xffffffffc0100000 // the direct function that the listing shows
	newIP     = 0xffffffffc0100100 // the one to be registered
	callback  = 0xffffffff81100000
	firstTr   = 0xffffffffc0200000 // trampolines and images, a page each
	pageSize  = 0x1000
)

var addresses = ftracecore.Addresses{
	FtraceStub: 0xffffffff81000000, FtraceCaller: 0xffffffff81000100, FtraceRegsCaller: 0xffffffff81000200,
	ListFunc: 0xffffffff81000300, AssistFunc: 0xffffffff81000400, CallDirectFuncs: 0xffffffff81000500,
	DirectOps: 0xffffffff82000000, TmpOps: 0xffffffff82000100, StubOps: 0xffffffff82000200, ListEnd: 0xffffffff82000300,
}

// A kernel is ftrace with two functions, whose code and trampolines are only
// noted: enough to decide, nothing runs.
type kernel struct {
	core    *ftracecore.Core
	bpf     *bpf.Table
	symbols []ftracecore.Symbol
	text    map[uint64]x86.Bytes5
	tramps  map[*ftracecore.Ops]*ftracecore.Func
	nextPage,
	nextOps uint64
	alike   int // how many tracers there are that were not built
	emitted map[*bpf.Image]int
	retried bool // a BPF trampoline was told -EAGAIN and made another image
}

func newKernel(fn string, v version) *kernel {
	k := &kernel{
		text:     map[uint64]x86.Bytes5{funcAddr: x86.Nop5, otherAddr: x86.Nop5},
		tramps:   make(map[*ftracecore.Ops]*ftracecore.Func),
		nextPage: firstTr, nextOps: 0xffff888000000000, emitted: make(map[*bpf.Image]int),
		symbols: []ftracecore.Symbol{
			{Name: fn, Addr: funcAddr, Size: funcSize},
			{Name: "another_function", Addr: otherAddr, Size: funcSize},
			{Name: "ftrace_stub", Addr: addresses.FtraceStub, Size: 16},
			{Name: "ftrace_caller", Addr: addresses.FtraceCaller, Size: 16},
			{Name: "ftrace_regs_caller", Addr: addresses.FtraceRegsCaller, Size: 16},
			{Name: "arch_ftrace_ops_list_func", Addr: addresses.ListFunc, Size: 16},
			{Name: "ftrace_ops_assist_func", Addr: addresses.AssistFunc, Size: 16},
			{Name: "call_direct_funcs", Addr: addresses.CallDirectFuncs, Size: 16},
			{Name: "the_new_direct_function", Addr: newIP, Size: 16},
		},
	}
	k.core = ftracecore.New(ftracecore.Config{
		Text: k, Trampolines: k, Kallsyms: k.kallsyms, Addresses: addresses,
		Profile: v.profile, Design: ftracecore.OpsFuncDesign(), Mistakes: v.mistakes, Explain: true,
	})
	k.core.AddSites([]uint64{funcAddr, otherAddr})
	k.bpf = bpf.NewTable(k.core, images{k})
	return k
}

func (k *kernel) kallsyms(addr uint64) (ftracecore.Symbol, bool) {
	for _, s := range k.symbols {
		if s.Addr <= addr && addr < s.Addr+s.Size {
			return s, true
		}
	}
	return ftracecore.Symbol{}, false
}

func (k *kernel) page() uint64 {
	k.nextPage += pageSize
	return k.nextPage
}

// Verify implements ftracecore.Text.
func (k *kernel) Verify(changes []patcher.Change) error {
	for _, c := range changes {
		if b := k.text[c.IP]; b != c.Old {
			return &patcher.Bug{Reason: patcher.Mismatch, IP: c.IP, Actual: b, Expected: c.Old}
		}
	}
	return nil
}

// Apply implements ftracecore.Text.
func (k *kernel) Apply(changes []patcher.Change) error {
	for _, c := range changes {
		k.text[c.IP] = c.New
	}
	return nil
}

// Create implements ftracecore.Trampolines.
func (k *kernel) Create(ops *ftracecore.Ops, target *ftracecore.Func, _ bool) (uint64, error) {
	k.tramps[ops] = target
	return k.page(), nil
}

// Retarget implements ftracecore.Trampolines.
func (k *kernel) Retarget(ops *ftracecore.Ops, target *ftracecore.Func) error {
	k.tramps[ops] = target
	return nil
}

// Free implements ftracecore.Trampolines.
func (k *kernel) Free(ops *ftracecore.Ops) { delete(k.tramps, ops) }

// CallTarget implements ftracecore.Trampolines.
func (k *kernel) CallTarget(ops *ftracecore.Ops) uint64 {
	if fn := k.tramps[ops]; fn != nil {
		return fn.Addr
	}
	return 0
}

// SetTraceFunction implements ftracecore.Trampolines.
func (k *kernel) SetTraceFunction(*ftracecore.Func) error { return nil }

// SetTraceOp implements ftracecore.Trampolines.
func (k *kernel) SetTraceOp(*ftracecore.Ops) {}

// ops makes an ops whose filter is the function at ip.
func (k *kernel) ops(name string, flags ftracecore.OpsFlags, ip uint64) *ftracecore.Ops {
	o := &ftracecore.Ops{Name: name, Flags: flags, Func: &ftracecore.Func{
		Addr: callback, Call: func(uint64, uint64, *ftracecore.Ops, ftracecore.Regs) {},
	}}
	// The function has a site and ftrace is alive, so that this cannot fail.
	_ = k.core.SetFilterIP(o, ip, false, true)
	return o
}

// directOps makes an ops for a direct function without an ops_func.
func (k *kernel) directOps(name string) *ftracecore.Ops {
	o := &ftracecore.Ops{Name: name}
	_ = k.core.SetFilterIP(o, funcAddr, false, true)
	return o
}

// attach attaches a BPF program to the function.
func (k *kernel) attach(kind bpf.Kind, name, module string) error {
	k.nextOps += pageSize
	p := &bpf.Prog{Name: "a " + kind.String() + " program", Kind: kind, Addr: k.nextOps, Func: callback}
	if err := k.bpf.Load(p); err != nil {
		return err
	}
	_, err := k.bpf.Attach(p, bpf.Target{Name: name, Addr: funcAddr, Module: module, Params: []int{8}}, 0)
	return err
}

// call lets the list function run as it would for a call of the function, and
// tells whether ftrace is still alive after that.
func (k *kernel) call() (alive bool) {
	if k.core.RecordAt(funcAddr).Count > 1 {
		k.core.ListFunc(funcAddr, 0, &regs{})
	}
	return !k.core.Disabled()
}

// regs are registers that were all saved.
type regs struct{ ip uint64 }

func (r *regs) Full() bool       { return true }
func (r *regs) IP() uint64       { return r.ip }
func (r *regs) SetIP(ip uint64)  { r.ip = ip }
func (r *regs) SetDirect(uint64) {}

// images implements bpf.Kernel.
type images struct{ k *kernel }

func (im images) NewImage(name string) (*bpf.Image, error) {
	addr := im.k.page()
	im.k.symbols = append(im.k.symbols, ftracecore.Symbol{Name: name, Addr: addr, Size: pageSize})
	return &bpf.Image{Addr: addr, Object: addr}, nil
}

func (im images) Emit(i *bpf.Image, _ *bpf.Description) error {
	i.Size = 1
	im.k.emitted[i]++
	im.k.retried = im.k.retried || im.k.emitted[i] > 1
	return nil
}

func (im images) Discard(*bpf.Image) {}
func (im images) Retire(*bpf.Image)  {}

func (im images) NewOps(name string, fn ftracecore.OpsFunc) *ftracecore.Ops {
	return &ftracecore.Ops{Name: name, OpsFunc: fn}
}

func (im images) FreeOps(*ftracecore.Ops) {}

// says tells what the function's site holds.
func (k *kernel) says() string {
	rec := k.core.RecordAt(funcAddr)
	_, target := x86.ParseSite(k.text[funcAddr], funcAddr)
	to := "a trampoline of its own"
	if s, ok := k.kallsyms(target); ok {
		to = s.Name
	}
	if rec.Count == 1 {
		return fmt.Sprintf("It is then alone on the function, whose site calls %s.", to)
	}
	return fmt.Sprintf("The function then has %d ops, and its site calls %s.", rec.Count+k.alike, to)
}
