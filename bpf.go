package ftemu

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/guest"
	"ftemu/patcher"
	"ftemu/trampoline"
)

// bpfFuncSize is how much room each of these functions is given in the table of
// symbols, in bytes.
const bpfFuncSize = 0x30

// Where the objects of BPF lie. Nothing reads the structures.
const (
	bpfCode      = 0xffffffffc0020000 // code of programs
	bpfCodeLimit = 0xffffffffc0200000
	bpfCodeRoom  = 0x20               // for each
	bpfProgs     = 0xffffc90010000000 // struct bpf_prog
	bpfProgSize  = 0x1000
	bpfImages    = 0xffff888006000000 // struct bpf_tramp_image
	bpfImageSize = 0x100
)

// Offsets in struct bpf_tramp_run_ctx.
const (
	runCtxCookie = 0
	runCtxSaved  = 8
)

// A ProgRun is one run of a BPF program.
type ProgRun struct {
	Prog *bpf.Prog
	CPU  int
	Args []uint64 // the function's argument registers, as the program found them
	// Value is the function's return value as it stood, for programs other than fentry.
	Value  *uint64
	Cookie uint64 // bpf_get_attach_cookie
	IP     uint64 // bpf_get_func_ip, for programs that want it
	// Return is what the program returns.
	Return uint64
}

// A ProgSpec describes a BPF program.
type ProgSpec struct {
	Name    string
	Kind    bpf.Kind
	Variant bpf.Variant
	WantsIP bool
	// Func is a guest function that is the program: it gets the address of the
	// arguments and returns the program's value. 0: there is none.
	Func uint64
	// Run runs in the program's place, or behind Func, whose return value it
	// finds in Return. Nil does nothing.
	Run func(*ProgRun)
}

// LoadProg loads a BPF program.
func (l *Lab) LoadProg(s ProgSpec) (*bpf.Prog, error) {
	n := uint64(len(l.progs))
	addr := uint64(bpfCode) + n*bpfCodeRoom
	if addr >= bpfCodeLimit {
		return nil, fmt.Errorf("program %q: no room is left for its code", s.Name)
	}
	if l.Mem.Page(addr) == nil {
		if err := l.Mem.Map(pageOf(addr), emu.PageSize, emu.PermRX, "BPF programs"); err != nil {
			return nil, err
		}
	}
	p := &bpf.Prog{
		Name: s.Name, Kind: s.Kind, Variant: s.Variant, WantsIP: s.WantsIP, Addr: bpfProgs + n*bpfProgSize, Func: addr,
	}
	if err := l.BPF.Load(p); err != nil {
		return nil, err
	}
	l.Symbols.Add(guest.Symbol{Name: "bpf_prog_" + s.Name, Addr: addr, Size: bpfCodeRoom, Func: true})
	gate := addr
	if s.Func != 0 {
		a := trampoline.NewAsm("bpf_prog_"+s.Name, addr)
		a.Limit = bpfCodeRoom / 2
		gate = addr + bpfCodeRoom/2
		a.Push(trampoline.RDI)
		a.Call(s.Func)
		a.Pop(trampoline.RDI)
		a.Jmp(gate)
		if err := l.install(a.Code()); err != nil {
			return nil, err
		}
	}
	l.progs = append(l.progs, gate)
	return p, l.addGate(gate, func(c emu.CPU) error { return l.runProg(c, p, s) })
}

// runProg is the gate of a program: func(ctx), where ctx points to the
// arguments. The return value stands behind them; their number, and below it
// the function's address, in front.
func (l *Lab) runProg(c emu.CPU, p *bpf.Prog, s ProgSpec) error {
	r := c.Regs()
	mem := words{mem: c.Memory()}
	ctx := r.GPR[emu.RDI]
	run := ProgRun{Prog: p, CPU: c.ID(), Cookie: mem.get(l.BPF.RunCtx(c.ID()) + runCtxCookie)}
	n := mem.get(ctx - 8)
	if n > uint64(trampoline.BPFMaxRegs) {
		return fmt.Errorf("program %q was called with %d arguments, at most %d are possible", p.Name, n, trampoline.BPFMaxRegs)
	}
	for i := range n {
		run.Args = append(run.Args, mem.get(ctx+8*i))
	}
	if p.Kind != bpf.Fentry {
		v := mem.get(ctx + 8*n)
		run.Value = &v
	}
	if p.WantsIP {
		run.IP = mem.get(ctx - 16)
	}
	if s.Func != 0 {
		run.Return = r.GPR[emu.RAX]
	}
	if s.Run != nil {
		s.Run(&run)
	}
	r.GPR[emu.RAX] = run.Return
	return mem.err
}

// words reads and writes 64-bit words and keeps the first error.
type words struct {
	mem *emu.Memory
	err error
}

func (w *words) get(addr uint64) uint64 {
	v, err := w.mem.ReadU64(addr)
	if err != nil && w.err == nil {
		w.err = err
	}
	return v
}

func (w *words) set(addr, v uint64) {
	if err := w.mem.WriteU64(addr, v); err != nil && w.err == nil {
		w.err = err
	}
}

// AttachProg attaches a program to the guest function that begins at fn.
func (l *Lab) AttachProg(p *bpf.Prog, fn, cookie uint64) (*bpf.Link, error) {
	sym, ok := l.Symbols.At(fn)
	if !ok || sym.Addr != fn {
		return nil, fmt.Errorf("program %q: no function begins at %#x", p.Name, fn)
	}
	if ip := l.Core.Location(fn); ip != 0 && ip != fn && !(ip == fn+endbrLen && l.hasEndbr(fn)) {
		return nil, l.Core.Refuse(ftracecore.EINVAL, sym.Name, "An image calls the body by the address behind a site at the start.",
			"its site is at +%d, not at its start, so that program %q cannot be attached", ip-fn, p.Name)
	}
	return l.BPF.Attach(p, bpf.Target{Name: sym.Name, Addr: fn, Module: sym.Module, Params: l.Params(fn)}, cookie)
}

// endbrLen is the length of an endbr64, in bytes.
const endbrLen = 4

// hasEndbr tells whether the function at fn begins with a landing pad.
func (l *Lab) hasEndbr(fn uint64) bool {
	var b [endbrLen]byte
	return l.Mem.Read(fn, b[:]) == nil && b == [endbrLen]byte{0xf3, 0x0f, 0x1e, 0xfa}
}

// Params are the sizes of the parameters of the function at fn in bytes: those
// of SetParams, or those of the image, or six words, which is all that
// registers can hold.
func (l *Lab) Params(fn uint64) []int {
	if p, ok := l.params[fn]; ok {
		return p
	}
	if s, ok := l.Symbols.At(fn); ok {
		if p, ok := l.guest.Params[s.Name]; ok {
			return p
		}
	}
	return slices.Repeat([]int{8}, len(emu.ArgRegs))
}

// SetParams declares the sizes of the parameters of the function at fn. It
// matters to trampolines that are made afterwards.
func (l *Lab) SetParams(fn uint64, sizes []int) { l.params[fn] = sizes }

// ProgImage is the code of the image in use for the function at fn.
func (l *Lab) ProgImage(fn uint64) (code trampoline.Code, ok bool) {
	tr := l.BPF.Trampoline(fn)
	if tr == nil || tr.Image() == nil {
		return trampoline.Code{}, false
	}
	return l.bpf.code[tr.Image()], true
}

// mapBPF maps what BPF trampolines call.
func (l *Lab) mapBPF() error {
	gates := []struct {
		name string
		addr uint64
		fn   emu.GateFunc
	}{
		{"__bpf_tramp_enter", l.addrs.bpfTrampEnter, func(c emu.CPU) error { return l.BPF.Hold(c.Regs().GPR[emu.RDI]) }},
		{"__bpf_tramp_exit", l.addrs.bpfTrampExit, func(c emu.CPU) error { return l.BPF.Release(c.Regs().GPR[emu.RDI]) }},
	}
	for v, g := range l.addrs.bpfGuards {
		variant := bpf.Variant(v)
		enter, exit := variant.Functions()
		add := func(name string, addr uint64, fn func(emu.CPU, bpf.Variant) error) {
			gates = append(gates, struct {
				name string
				addr uint64
				fn   emu.GateFunc
			}{name, addr, func(c emu.CPU) error { return fn(c, variant) }})
		}
		add(enter, g.enter, l.enterProg)
		add(exit, g.exit, l.exitProg)
	}
	for _, g := range gates {
		if l.Mem.Page(g.addr) == nil {
			if err := l.Mem.Map(pageOf(g.addr), emu.PageSize, emu.PermRX, "kernel text"); err != nil {
				return err
			}
		}
		l.addSymbol(guest.Symbol{Name: g.name, Addr: g.addr, Size: bpfFuncSize, Func: true})
		if err := l.addGate(g.addr, g.fn); err != nil {
			return err
		}
	}
	return nil
}

// enterProg is u64 __bpf_prog_enter(prog, run_ctx).
func (l *Lab) enterProg(c emu.CPU, v bpf.Variant) error {
	r := c.Regs()
	runCtx := r.GPR[emu.RSI]
	saved, start, err := l.BPF.Enter(c.ID(), r.GPR[emu.RDI], v, runCtx)
	if err != nil {
		return err
	}
	r.GPR[emu.RAX] = start
	return c.Memory().WriteU64(runCtx+runCtxSaved, saved)
}

// exitProg is void __bpf_prog_exit(prog, start, run_ctx).
func (l *Lab) exitProg(c emu.CPU, v bpf.Variant) error {
	r := c.Regs()
	saved, err := c.Memory().ReadU64(r.GPR[emu.RDX] + runCtxSaved)
	if err != nil {
		return err
	}
	return l.BPF.Exit(c.ID(), r.GPR[emu.RDI], v, saved)
}

// bpfKernel makes images for the table of BPF trampolines.
type bpfKernel struct {
	lab     *Lab
	made    uint64 // how many
	code    map[*bpf.Image]trampoline.Code
	retired []*bpf.Image
}

func newBPFKernel(l *Lab) *bpfKernel {
	return &bpfKernel{lab: l, code: make(map[*bpf.Image]trampoline.Code)}
}

func (k *bpfKernel) NewImage(name string) (*bpf.Image, error) {
	page, err := k.lab.tramps.alloc(name)
	if err != nil {
		return nil, &ftracecore.Error{Ret: -int(ftracecore.ENOMEM), Rule: err.Error()}
	}
	im := &bpf.Image{Addr: page, Object: bpfImages + k.made*bpfImageSize}
	k.made++
	k.code[im] = trampoline.Code{Name: name}
	k.lab.Symbols.Add(guest.Symbol{Name: name, Addr: page, Size: emu.PageSize, Func: true})
	return im, nil
}

// Emit generates the image.
func (k *bpfKernel) Emit(im *bpf.Image, d *bpf.Description) error {
	code, err := trampoline.BPF(k.lab.bpfSpec(im, d))
	if err == nil {
		err = k.lab.install(code, nil)
	}
	if err != nil {
		return &ftracecore.Error{Ret: emitErrno(err), Site: d.Target.Name, Rule: err.Error()}
	}
	code.Name = k.code[im].Name
	before := im.Size
	k.code[im], im.Size = code, len(code.Bytes)
	if o, ok := k.lab.observer.(BPFObserver); ok && before != 0 {
		o.Rewritten(im, d.Target.Addr, before)
	}
	return nil
}

// emitErrno is what arch_prepare_bpf_trampoline returns.
func emitErrno(err error) int {
	switch {
	case errors.Is(err, trampoline.ErrUnsupported):
		return -int(ftracecore.ENOTSUP)
	case errors.Is(err, trampoline.ErrTooLarge):
		return -int(ftracecore.EFAULT)
	}
	return -int(ftracecore.EINVAL)
}

// bpfFlags pairs the flags of a trampoline with those of the generator.
var bpfFlags = []struct {
	tr    bpf.Flags
	image trampoline.BPFFlag
}{
	{bpf.RestoreRegs, trampoline.RestoreRegs}, {bpf.CallOrig, trampoline.CallOrig}, {bpf.SkipFrame, trampoline.SkipFrame},
	{bpf.IPArg, trampoline.IPArg}, {bpf.RetFentryRet, trampoline.RetFentryRet}, {bpf.OrigStack, trampoline.OrigStack},
	{bpf.TailCallCtx, trampoline.TailCallCtx},
}

func (l *Lab) bpfSpec(im *bpf.Image, d *bpf.Description) trampoline.BPFSpec {
	s := trampoline.BPFSpec{
		Addr: im.Addr, Args: d.Target.Params, Func: d.Target.Addr, Image: im.Object,
		TrampEnter: l.addrs.bpfTrampEnter, TrampExit: l.addrs.bpfTrampExit, Return: trampoline.Return{SLS: true},
	}
	// A function with a landing pad is one of a kernel with IBT.
	s.Endbr = l.hasEndbr(d.Target.Addr)
	s.IBT = s.Endbr
	for _, f := range bpfFlags {
		if d.Flags.Has(f.tr) {
			s.Flags |= f.image
		}
	}
	progs := func(links []*bpf.Link) (out []trampoline.BPFProg) {
		for _, link := range links {
			g := l.addrs.bpfGuards[link.Prog.Variant]
			out = append(out, trampoline.BPFProg{
				Prog: link.Prog.Addr, Func: link.Prog.Func, Cookie: link.Cookie, Enter: g.enter, Exit: g.exit,
			})
		}
		return out
	}
	s.Fentry, s.FmodRet, s.Fexit = progs(d.Links[bpf.Fentry]), progs(d.Links[bpf.FmodRet]), progs(d.Links[bpf.Fexit])
	return s
}

func (k *bpfKernel) Discard(im *bpf.Image) { k.free(im) }

// Retire lets tasks that come back from the body skip the fexit programs. The
// page goes when the call into the guest that is under way has returned.
func (k *bpfKernel) Retire(im *bpf.Image) {
	if ip, old, jmp, ok := k.code[im].Retirement(); ok {
		// The image is ours and holds the nop, so this cannot fail.
		core := k.lab.Core
		core.Acquire(&core.TextMutex)
		_ = k.lab.Poker.Apply([]patcher.Change{{IP: ip, Old: old, New: jmp}})
		core.Release(&core.TextMutex)
	}
	k.retired = append(k.retired, im)
	k.lab.tramps.reap()
}

// reap frees the retired images, unless a CPU is still in guest code, or a task
// in the body that an image called.
func (k *bpfKernel) reap() {
	grace := !k.lab.Core.Mistakes().NoGrace
	if grace && !k.lab.idle() {
		return
	}
	k.retired = slices.DeleteFunc(k.retired, func(im *bpf.Image) bool {
		if grace && im.Busy() {
			return false
		}
		k.lab.BPF.Forget(im)
		k.free(im)
		return true
	})
}

func (k *bpfKernel) free(im *bpf.Image) {
	k.lab.Symbols.Remove(k.code[im].Name, im.Addr)
	delete(k.code, im)
	// The page is the one that NewImage mapped, so this cannot fail.
	_ = k.lab.Mem.Unmap(im.Addr)
}

func (k *bpfKernel) NewOps(name string, fn ftracecore.OpsFunc) *ftracecore.Ops {
	o, ok := k.lab.observer.(BPFObserver)
	if !ok {
		return k.lab.NewDirectOps(name, fn)
	}
	return k.lab.NewDirectOps(name, func(ops *ftracecore.Ops, cmd ftracecore.Command) int {
		ret := fn(ops, cmd)
		o.OpsFunc(ops.Name, cmd, ret)
		return ret
	})
}

func (k *bpfKernel) FreeOps(ops *ftracecore.Ops) { delete(k.lab.ops, ops.Addr) }

// snapshot remembers the state of BPF and returns what brings it back.
func (k *bpfKernel) snapshot() (restore func()) {
	l := k.lab
	table := l.BPF.Snapshot()
	made, code, retired := k.made, maps.Clone(k.code), slices.Clone(k.retired)
	progs, params := slices.Clone(l.progs), maps.Clone(l.params)
	return func() {
		table()
		k.made, k.code, k.retired = made, maps.Clone(code), slices.Clone(retired)
		for _, gate := range l.progs[min(len(progs), len(l.progs)):] {
			l.gates.Remove(gate)
		}
		l.progs, l.params = slices.Clone(progs), maps.Clone(params)
	}
}
