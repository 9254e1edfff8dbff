package ftemu

import (
	"fmt"
	"slices"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/trampoline"
	"ftemu/x86"
)

// trampolines makes the code that sites call, for ftracecore.
type trampolines struct {
	lab         *Lab
	callIP      map[*ftracecore.Ops]uint64 // the call in each ops' trampoline
	plain, regs uint64                     // the calls in ftrace_caller and ftrace_regs_caller
	retired     []uint64                   // pages to free when no CPU is in guest code
}

func newTrampolines(l *Lab) *trampolines {
	return &trampolines{lab: l, callIP: make(map[*ftracecore.Ops]uint64)}
}

func (t *trampolines) setStatic(plain, regs trampoline.Code) {
	t.plain, _ = plain.Label(trampoline.LabelCall)
	t.regs, _ = regs.Label(trampoline.LabelRegsCall)
}

// Create makes the trampoline of ops on a page of its own.
func (t *trampolines) Create(ops *ftracecore.Ops, target *ftracecore.Func, regs bool) (uint64, error) {
	page, err := t.alloc("trampoline of " + ops.Name)
	if err != nil {
		return 0, err
	}
	code, err := trampoline.OpsTrampoline(trampoline.OpsSpec{
		Addr: page, Func: targetAddr(target), Ops: ops.Addr, SaveRegs: regs, Return: trampoline.Return{SLS: true},
	})
	if err := t.lab.install(code, err); err != nil {
		return 0, err
	}
	label := trampoline.LabelCall
	if regs {
		label = trampoline.LabelRegsCall
	}
	t.callIP[ops], _ = code.Label(label)
	return page, nil
}

// alloc maps the first free page for trampolines, under the given name.
func (t *trampolines) alloc(name string) (uint64, error) {
	for page := uint64(trampBase); page < trampLimit; page += emu.PageSize {
		if t.lab.Mem.Page(page) == nil {
			return page, t.lab.Mem.Map(page, emu.PageSize, emu.PermRX, name)
		}
	}
	return 0, fmt.Errorf("no page is free for %s", name)
}

func targetAddr(f *ftracecore.Func) uint64 {
	if f == nil {
		return 0
	}
	return f.Addr
}

func (t *trampolines) Retarget(ops *ftracecore.Ops, target *ftracecore.Func) error {
	return t.poke(t.callIP[ops], targetAddr(target))
}

// Free gives the page of ops' trampoline back: at once, or when the call into
// the guest that is under way has returned.
func (t *trampolines) Free(ops *ftracecore.Ops) {
	delete(t.callIP, ops)
	t.retired = append(t.retired, ops.Trampoline)
	t.reap()
}

func (t *trampolines) reap() {
	if t.lab.running > 0 {
		return
	}
	for _, page := range t.retired {
		// The pages are the ones that alloc mapped, so this cannot fail.
		_ = t.lab.Mem.Unmap(page)
	}
	t.retired = slices.Delete(t.retired, 0, len(t.retired))
	t.lab.bpf.reap()
}

// CallTarget reads the call in the trampoline of ops.
func (t *trampolines) CallTarget(ops *ftracecore.Ops) uint64 {
	ip := t.callIP[ops]
	var b x86.Bytes5
	if ip == 0 || t.lab.Mem.Read(ip, b[:]) != nil {
		return 0
	}
	_, target := x86.ParseSite(b, ip)
	return target
}

func (t *trampolines) SetTraceFunction(target *ftracecore.Func) error {
	for _, ip := range []uint64{t.plain, t.regs} {
		if err := t.poke(ip, target.Addr); err != nil {
			return err
		}
	}
	return nil
}

func (t *trampolines) poke(ip, target uint64) error { return t.lab.Poker.Retarget(ip, target) }

// SetTraceOp stores function_trace_op.
func (t *trampolines) SetTraceOp(ops *ftracecore.Ops) {
	t.lab.ops[ops.Addr] = ops
	// The page is the lab's own, so this cannot fail.
	_ = t.lab.Mem.WriteU64(t.lab.addrs.traceOp, ops.Addr)
}
