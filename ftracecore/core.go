package ftracecore

import (
	"fmt"

	"ftemu/patcher"
	"ftemu/trace"
)

// Text is the code that holds the sites.
type Text interface {
	// Verify tells whether every site holds its change's Old; otherwise the
	// error is a *patcher.Bug for the first that does not.
	Verify(changes []patcher.Change) error
	// Apply rewrites the sites as one batch queue. Nothing is written if one
	// of them cannot be.
	Apply(changes []patcher.Change) error
}

// Trampolines makes and changes the code that sites call.
type Trampolines interface {
	// Create makes a trampoline for ops that calls target and returns where it
	// is (create_trampoline). regs asks for one that saves all registers.
	Create(ops *Ops, target *Func, regs bool) (uint64, error)
	// Retarget makes the trampoline of ops call target.
	Retarget(ops *Ops, target *Func) error
	// Free ends the trampoline of ops; calls that are still inside may finish.
	Free(ops *Ops)
	// CallTarget returns what the trampoline of ops calls; 0 if that cannot be told.
	CallTarget(ops *Ops) uint64
	// SetTraceFunction makes the two static trampolines call target
	// (ftrace_update_ftrace_func).
	SetTraceFunction(target *Func) error
	// SetTraceOp stores the ops that the static trampolines pass on
	// (function_trace_op).
	SetTraceOp(ops *Ops)
}

// Addresses are where code of the core kernel lies in the guest.
type Addresses struct {
	FtraceStub       uint64
	FtraceCaller     uint64
	FtraceRegsCaller uint64
	ListFunc         uint64 // arch_ftrace_ops_list_func
	AssistFunc       uint64 // ftrace_ops_assist_func
	CallDirectFuncs  uint64
	DirectOps        uint64 // objects of the core kernel: direct_ops,
	TmpOps           uint64 // tmp_ops of modify_ftrace_direct_multi,
	StubOps          uint64 // stub_ops of modify_ftrace_direct,
	ListEnd          uint64 // ftrace_list_end
}

// Config says what a core stands on. Tracer, Sched and Explain may be zero.
type Config struct {
	Text        Text
	Trampolines Trampolines
	Kallsyms    Kallsyms
	Addresses   Addresses
	Profile     Profile
	Design      Design
	Mistakes    Mistakes
	Tracer      trace.Tracer // nil: nobody watches
	Sched       Sched        // nil: calls run straight through
	Explain     bool         // keep the steps of each Decision
}

// Core is the state of ftrace in one kernel. It belongs to one thread at a
// time; a Sched may switch threads at the points it is told of.
type Core struct {
	text     Text
	tramps   Trampolines
	kallsyms Kallsyms
	addr     Addresses
	profile  Profile
	design   Design
	mistakes Mistakes
	tracer   trace.Tracer
	mask     trace.Mask
	sched    Sched
	explain  bool

	// DirectMutex, FtraceLock and TextMutex are the kernel's locks of those names.
	DirectMutex, FtraceLock, TextMutex Lock

	pages    [][]Record
	updated  int    // how many sites the last update changed
	list     []*Ops // ftrace_ops_list, the newest first; ftrace_list_end not included
	direct   *Hash  // direct_functions
	startUp  int    // ftrace_start_up: number of started ops
	enabled  bool   // sysctl kernel.ftrace_enabled
	lastEn   bool   // last_ftrace_enabled
	disabled bool   // ftrace_disabled: ftrace has killed itself
	removed  *Ops   // removed_ops: being shut down, while code is updated

	traceFunc *Func // ftrace_trace_function: what the static trampolines should call
	savedFunc *Func // saved_ftrace_func: what they were last made to call
	textFunc  *Func // what their code calls now

	stubFunc, listFunc, assistFunc, directFunc, nullFunc *Func

	directOps, tmpOps, stubOps, listEnd *Ops
	directFuncs                         []*directFunc

	warned   map[string]bool // WARN_ON_ONCE that have fired
	warnings []Warning
	last     *Decision // made last
	hung     *Deadlock // a thread waits for ever, with locks held
	agreed   []*Ops    // direct ops that made way for the IPMODIFY ops being registered; under direct_mutex
	task     *Task
	kept     [][]Record // pages of the last snapshot
}

// A Warning is a WARN of the kernel.
type Warning struct {
	Func string // the kernel function that warned
	Text string // what was wrong, in our words
}

// New returns the ftrace of a kernel that has just booted: no sites yet, nothing
// registered, ftrace_enabled set.
func New(cfg Config) *Core {
	c := &Core{
		text: cfg.Text, tramps: cfg.Trampolines, kallsyms: cfg.Kallsyms, addr: cfg.Addresses,
		profile: cfg.Profile, design: cfg.Design, mistakes: cfg.Mistakes, tracer: cfg.Tracer, sched: cfg.Sched, explain: cfg.Explain,
		DirectMutex: Lock{Name: "direct_mutex"}, FtraceLock: Lock{Name: "ftrace_lock"}, TextMutex: Lock{Name: "text_mutex"},
		direct: emptyHash(), task: &Task{}, enabled: true, lastEn: true, warned: make(map[string]bool),
	}
	if c.tracer != nil {
		c.mask = c.tracer.Mask()
	}
	c.stubFunc = &Func{Addr: c.addr.FtraceStub, Call: func(uint64, uint64, *Ops, Regs) {}}
	c.nullFunc = &Func{Call: c.stubFunc.Call}
	c.listFunc = &Func{Addr: c.addr.ListFunc, Call: func(ip, parent uint64, _ *Ops, r Regs) { c.ListFunc(ip, parent, r) }}
	c.assistFunc = &Func{Addr: c.addr.AssistFunc, Call: c.AssistFunc}
	c.directFunc = &Func{Addr: c.addr.CallDirectFuncs, Call: c.CallDirectFuncs}
	c.traceFunc, c.savedFunc, c.textFunc = c.stubFunc, c.stubFunc, c.stubFunc
	c.listEnd = &Ops{Name: "ftrace_list_end", Addr: c.addr.ListEnd, Func: c.stubFunc, Flags: OpsStub | OpsInit, Static: true}
	c.directOps = &Ops{
		Name: "direct_ops", Addr: c.addr.DirectOps, Func: c.directFunc, Static: true,
		Flags: multiFlags | OpsPermanent, Trampoline: c.addr.FtraceRegsCaller,
	}
	c.tmpOps = &Ops{Name: "tmp_ops", Addr: c.addr.TmpOps, Func: c.stubFunc, Flags: OpsStub, Static: true}
	c.stubOps = &Ops{Name: "stub_ops", Addr: c.addr.StubOps, Func: c.stubFunc, Flags: OpsStub, Static: true}
	return c
}

// Ops lists what is registered, the newest first, which is the order in which
// callbacks run.
func (c *Core) Ops() []*Ops { return append([]*Ops(nil), c.list...) }

// Disabled tells whether ftrace has killed itself (ftrace_disabled).
func (c *Core) Disabled() bool { return c.disabled }

// Enabled is the sysctl kernel.ftrace_enabled.
func (c *Core) Enabled() bool { return c.enabled }

// DirectFunction returns the entry of direct_functions for the site at ip.
func (c *Core) DirectFunction(ip uint64) (addr uint64, ok bool) {
	if e := c.direct.find(ip); e != nil {
		return e.direct, true
	}
	return 0, false
}

// Warnings returns what the kernel warned of since the last call.
func (c *Core) Warnings() []Warning {
	w := c.warnings
	c.warnings = nil
	return w
}

// warn is WARN: it reports and goes on.
func (c *Core) warn(fn, format string, args ...any) {
	w := Warning{Func: fn, Text: fmt.Sprintf(format, args...)}
	c.warnings = append(c.warnings, w)
	c.step("WARN by %s: %s", w.Func, w.Text)
	if c.mask.Has(trace.Warn) {
		c.tracer.Trace(&trace.Event{Kind: trace.Warn, Name: w.Func, Text: w.Text})
	}
}

// warnOnce is WARN_ON_ONCE at a place with the given name.
func (c *Core) warnOnce(fn, place, format string, args ...any) {
	if !c.warned[place] {
		c.warned[place] = true
		c.warn(fn, format, args...)
	}
}

// kill makes ftrace end itself (ftrace_kill): no call of the API works any
// more, no text is changed, what sites call keeps running.
func (c *Core) kill() {
	c.step("ftrace_kill: ftrace is disabled for good, sites keep their bytes")
	c.disabled = true
	c.enabled = false
	c.traceFunc = c.stubFunc
}

// warnKill is FTRACE_WARN_ON: a WARN that kills ftrace.
func (c *Core) warnKill(fn, format string, args ...any) {
	c.warn(fn, format, args...)
	c.kill()
}

// run makes a call of the API: it collects the decision, reports it and turns
// a thread that waits for itself into an error of the outermost call, because
// none of the calls in between ever returns.
func (c *Core) run(api string, ops *Ops, fn func() error) (err error) {
	if c.hung != nil {
		return c.hung
	}
	outer := c.task.decision
	c.task.decision = &Decision{API: api}
	if ops != nil {
		c.task.decision.Ops = ops.Name
	}
	defer func() {
		if p := recover(); p != nil {
			d, ok := p.(deadlocked)
			if !ok || outer != nil {
				c.task.decision = outer
				panic(p)
			}
			c.hung = &Deadlock{Lock: d.lock.Name}
			c.step("%s", c.hung)
			err = c.hung
		}
		c.task.decision.Ret = Ret(err)
		if e, ok := err.(*Error); ok {
			e.API, e.Ops, e.Decision = c.task.decision.API, c.task.decision.Ops, c.task.decision
		}
		if outer != nil {
			outer.nest(c.task.decision)
		}
		if c.mask.Has(trace.Reg) {
			ev := &trace.Event{Kind: trace.Reg, Name: api, Ret: Ret(err)}
			if ops != nil {
				ev.Text = ops.Name
			}
			c.tracer.Trace(ev)
		}
		c.last, c.task.decision = c.task.decision, outer
	}()
	return fn()
}
