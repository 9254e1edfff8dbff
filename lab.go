// Package ftemu is a laboratory for code patching. A [Lab] is one small kernel:
// guest functions in emulated memory, CPUs that execute them, ftrace as
// [ftemu/ftracecore] decides it, and the trampolines that patched sites call.
//
//	lab, err := ftemu.New(ftemu.Options{})          // the built-in guest, the Go interpreter
//	ops := lab.NewOps("a", 0, nil)                  // a tracer without a callback
//	err = lab.Core.SetFilterIP(ops, f0, false, false)
//	err = lab.Core.RegisterFtraceFunction(ops)
//	ret, err := lab.Call(f0, 1, 2)                  // runs through site, trampoline, callback, body
//
// A Lab belongs to one goroutine at a time. Different Labs share nothing.
package ftemu

import (
	"fmt"
	"time"

	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/ftracecore/fgraph"
	"ftemu/ftracecore/functracer"
	"ftemu/guest"
	"ftemu/patcher"
	"ftemu/trace"
)

// Limits of a call into the guest when Options.Limits sets none.
const (
	DefaultInsns = 50_000_000
	DefaultTime  = 30 * time.Second
)

// Options say what a lab is made of. The zero value is the built-in guest on
// the Go interpreter with one CPU, as Linux v6.1.
type Options struct {
	Engine  emu.Engine   // nil: the Go interpreter
	Guest   *guest.Image // nil: the guest of the recordings, guest.Oracle
	CPUs    int          // 0: 1
	Tracer  trace.Tracer // nil: nobody watches
	Profile *ftracecore.Profile
	Design  *ftracecore.Design
	// Limits bound every call into the guest; Insns and Time of 0 mean the
	// defaults above.
	Limits emu.Limits
	// Memory is how many bytes guests and trampolines may take; 0 means the
	// engine's default, or for a big guest its size and half of that default.
	Memory uint64
	// Observer, if not nil, is told what guest code logs.
	Observer Observer
	// Strategy is how code is patched; the zero value is the kernel's
	// breakpoint protocol.
	Strategy patcher.Strategy
	// Mistakes are things to get wrong, to see what comes of them; see Make.
	Mistakes ftracecore.Mistakes
	// SkipTraps is the mistake of the int3 handler.
	SkipTraps bool
	// Sched, if not nil, takes control where another thread could run.
	Sched ftracecore.Sched
	// Explain makes the core keep the steps of each decision; see
	// ftracecore.Decision.
	Explain bool
	// Seed determines the registers that a call into the guest leaves
	// undefined (rbx, rbp, r10 to r15): they hold random numbers, so that code
	// that relies on them shows. 0 means 1.
	Seed uint64
}

// An Observer is told what the guest's own code logs while it runs. All methods
// are called on the goroutine of the call.
type Observer interface {
	// Body tells that a function of the built-in guest ran its body.
	Body(name string, a, b int64)
	// Direct tells that a direct trampoline was entered; slot is what its
	// return slot held.
	Direct(name string, slot uint64, a, b int64)
	// DirectExit tells that the function a direct trampoline called has returned.
	DirectExit(name string, ret int64)
}

// A BPFObserver is an Observer that is told what BPF trampolines do too.
type BPFObserver interface {
	// OpsFunc tells what the ops_func of a trampoline was asked and answered.
	OpsFunc(ops string, cmd ftracecore.Command, ret int)
	// Rewritten tells that an image that nobody has entered was written again, to
	// share the function; it had before bytes.
	Rewritten(im *bpf.Image, fn uint64, before int)
}

// A Lab is one kernel with its guests.
type Lab struct {
	Core    *ftracecore.Core
	Mem     *emu.Memory
	Machine emu.Machine
	Symbols *guest.Symbols
	Poker   *patcher.Poker
	BPF     *bpf.Table // the BPF trampolines; see AttachProg
	// Function and Graph are the tracers of those names in current_tracer.
	Function *functracer.Tracer
	Graph    *fgraph.Tracer

	guest     *guest.Image
	addrs     kernelAddrs
	callback  uint64 // address of the gate that stands for callbacks
	caller    uint64 // the function that calls guest functions, their parent
	returnIP  uint64 // where a call into the guest ends
	gates     emu.Gates
	tramps    *trampolines
	ops       map[uint64]*ftracecore.Ops // by address of the object
	nextOps   uint64                     // address of the next object
	bpf       *bpfKernel
	progs     []uint64         // the gates of BPF programs, in the order of loading
	params    map[uint64][]int // of functions: what SetParams declared
	directs   []*direct        // by ID
	directMem uint64           // where the next direct trampoline goes
	directLog uint64           // what direct trampolines call on entry
	directEnd uint64           // and when the function that they called has returned
	limits    emu.Limits
	observer  Observer
	tracer    trace.Tracer
	seed      uint64
	running   int            // nesting of Call
	kept      *guest.Symbols // as of the snapshot that was taken or brought back last
}

// New makes a lab.
func New(opt Options) (*Lab, error) {
	if opt.Engine == nil {
		opt.Engine = interp.New()
	}
	if opt.Guest == nil {
		img, err := guest.Oracle()
		if err != nil {
			return nil, err
		}
		opt.Guest = img
	}
	profile, design := ftracecore.V6_1(), ftracecore.OpsFuncDesign()
	if opt.Profile != nil {
		profile = *opt.Profile
	}
	if opt.Design != nil {
		design = *opt.Design
	}
	if opt.Limits.Insns == 0 {
		opt.Limits.Insns = DefaultInsns
	}
	if opt.Limits.Time == 0 {
		opt.Limits.Time = DefaultTime
	}
	if opt.Seed == 0 {
		opt.Seed = 1
	}
	addrs := recordedAddrs()
	if opt.Guest.Kernel != nil {
		var err error
		if addrs, err = addrsOf(opt.Guest); err != nil {
			return nil, err
		}
	}
	if opt.Memory == 0 {
		opt.Memory = memoryFor(opt.Guest)
	}
	l := &Lab{
		Mem: opt.Engine.NewMemory(opt.Memory), Symbols: &guest.Symbols{}, guest: opt.Guest, addrs: addrs,
		ops: make(map[uint64]*ftracecore.Ops), nextOps: opsBase, params: make(map[uint64][]int), limits: opt.Limits, observer: opt.Observer, tracer: opt.Tracer,
		seed: opt.Seed,
	}
	if err := l.build(opt, profile, design); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) build(opt Options, profile ftracecore.Profile, design ftracecore.Design) error {
	l.Poker = patcher.NewPoker(l.Mem)
	l.Poker.Tracer, l.Poker.Strategy, l.Poker.SkipTraps = opt.Tracer, opt.Strategy, opt.SkipTraps
	l.tramps = newTrampolines(l)
	if err := l.mapKernel(); err != nil {
		return err
	}
	l.Core = ftracecore.New(ftracecore.Config{
		Text: l.Poker, Trampolines: l.tramps, Kallsyms: l.kallsyms, Addresses: l.addrs.Addresses,
		Profile: profile, Design: design, Tracer: opt.Tracer, Explain: opt.Explain,
		Mistakes: opt.Mistakes, Sched: opt.Sched,
	})
	l.bpf = newBPFKernel(l)
	l.BPF = bpf.NewTable(l.Core, l.bpf)
	if opt.Guest.Kernel == nil {
		if err := l.mapGuest(opt.Guest); err != nil {
			return err
		}
	}
	l.addSites(opt.Guest)
	if err := l.addGates(); err != nil {
		return err
	}
	if err := l.mapBPF(); err != nil {
		return err
	}
	if err := l.addTracers(opt); err != nil {
		return err
	}
	m, err := opt.Engine.NewMachine(emu.Config{
		Memory: l.Mem, CPUs: opt.CPUs, Gates: &l.gates, Tracer: opt.Tracer, Trap: l.Poker.Trap,
	})
	if err != nil {
		return err
	}
	l.Machine = m
	return l.mapStacks()
}

// mapGuest maps the image and enters its symbols.
func (l *Lab) mapGuest(img *guest.Image) error {
	if err := img.Map(l.Mem); err != nil {
		return fmt.Errorf("%s: %w", img.Name, err)
	}
	l.Symbols.AddAll(img.Symbols.All())
	return nil
}

// Guest is the image that the lab runs.
func (l *Lab) Guest() *guest.Image { return l.guest }

// Close gives back what the engine and the memory hold outside of Go.
func (l *Lab) Close() {
	if l.Machine != nil {
		l.Machine.Close()
	}
	l.Mem.Close()
}

// kallsyms finds the symbol of an address, with the distance to the next one as
// its size where it has none.
func (l *Lab) kallsyms(addr uint64) (ftracecore.Symbol, bool) {
	s, ok := l.Symbols.At(addr)
	if !ok {
		return ftracecore.Symbol{}, false
	}
	return ftracecore.Symbol{Name: s.Name, Module: s.Module, Addr: s.Addr, Size: s.Size}, true
}

// NewOps makes an ops whose callback is fn (nil: one that does nothing). It is
// given an address, so that trampolines can hand it on.
func (l *Lab) NewOps(name string, flags ftracecore.OpsFlags, fn ftracecore.Callback) *ftracecore.Ops {
	if fn == nil {
		fn = func(uint64, uint64, *ftracecore.Ops, ftracecore.Regs) {}
	}
	ops := l.newOps(name)
	ops.Flags = flags
	ops.Func = &ftracecore.Func{Addr: l.callback, Call: fn}
	return ops
}

// NewDirectOps makes an ops for direct callers: its function is the core's to set.
func (l *Lab) NewDirectOps(name string, fn ftracecore.OpsFunc) *ftracecore.Ops {
	ops := l.newOps(name)
	ops.OpsFunc = fn
	return ops
}

func (l *Lab) newOps(name string) *ftracecore.Ops {
	ops := &ftracecore.Ops{Name: name, Addr: l.nextOps}
	l.nextOps += opsSize
	l.ops[ops.Addr] = ops
	return ops
}
