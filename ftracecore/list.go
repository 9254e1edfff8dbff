package ftracecore

import "ftemu/trace"

// Recursion protection, per context in the kernel; a guest here is always in
// the normal context. A first nested entry is let through, because the kernel
// cannot tell it from an interrupt that came before preempt_count was updated;
// a second one is not (trace_test_and_set_recursion).
type recursion struct{ depth int }

func (r *recursion) enter() bool {
	if r.depth == 2 {
		return false
	}
	r.depth++
	return true
}

func (r *recursion) leave() { r.depth-- }

// A Task is what the core keeps for each thread that calls it: its recursion
// bits, and the decision it is in. The zero value is one that is in no call.
type Task struct {
	recur    recursion
	decision *Decision
}

// SetTask makes t the task that calls the core from here on. A Sched that
// switches threads must switch tasks with them.
func (c *Core) SetTask(t *Task) { c.task = t }

// updateTraceFunction recomputes what the static trampolines should call
// (update_ftrace_function).
func (c *Core) updateTraceFunction() {
	op := c.listEnd
	fn := c.stubFunc
	switch {
	case len(c.list) == 1 && c.list[0].Flags&(OpsDynamic|OpsRCU) == 0:
		op = c.list[0]
		if fn = c.CallTarget(op); fn == nil {
			// As the kernel: nobody looks; a call through the static
			// trampolines then jumps to NULL.
			fn = c.nullFunc
		}
	case len(c.list) >= 1:
		fn = c.listFunc
	}
	if c.traceFunc == fn {
		return
	}
	if fn != c.listFunc {
		// As the kernel: the list function takes no ops, so function_trace_op
		// is left alone when that is what will be called.
		c.tramps.SetTraceOp(op)
	}
	c.traceFunc = fn
}

// ListFunc calls the callbacks of all ops that cover ip, the newest registered
// first (__ftrace_ops_list_func).
func (c *Core) ListFunc(ip, parent uint64, regs Regs) {
	if !c.task.recur.enter() {
		return
	}
	defer c.task.recur.leave()
	for _, op := range c.Ops() {
		switch {
		case op.Has(OpsStub):
		case !regs.Full() && op.Has(OpsSaveRegs):
		case !op.Covers(ip):
		case op.Func == nil:
			// As the kernel: the remaining callbacks are skipped too.
			// __ftrace_ops_list_func is always inlined into this one.
			c.warnKill("arch_ftrace_ops_list_func", "ops %q covers %s and has no function", op.Name, c.siteName(ip))
			return
		default:
			c.callback(op, op.Func, ip, parent, regs)
		}
	}
}

// AssistFunc calls the callback of op for a trampoline that leaves recursion
// protection to the core (ftrace_ops_assist_func).
func (c *Core) AssistFunc(ip, parent uint64, op *Ops, regs Regs) {
	if !c.task.recur.enter() {
		return
	}
	defer c.task.recur.leave()
	if op.Func != nil {
		c.callback(op, op.Func, ip, parent, regs)
	}
}

func (c *Core) callback(op *Ops, fn *Func, ip, parent uint64, regs Regs) {
	if c.mask.Has(trace.Callback) {
		c.tracer.Trace(&trace.Event{Kind: trace.Callback, CPU: cpuOf(regs), IP: ip, Addr: parent, Name: op.Name})
	}
	c.point("callback " + op.Name)
	fn.Call(ip, parent, op, regs)
}

// CallDirectFuncs is the callback of every direct ops: it makes the trampoline
// go on to the site's direct function, if there is one (call_direct_funcs).
func (c *Core) CallDirectFuncs(ip, _ uint64, _ *Ops, regs Regs) {
	if addr, ok := c.DirectFunction(ip); ok {
		regs.SetDirect(addr)
	}
}

// Callback runs the callback of op for a trampoline of its own that calls it
// directly.
func (c *Core) Callback(ip, parent uint64, op *Ops, regs Regs) {
	if op.Func != nil {
		c.callback(op, op.Func, ip, parent, regs)
	}
}
