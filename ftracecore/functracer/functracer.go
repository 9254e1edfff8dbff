// Package functracer is ftrace's function tracer: it notes each call of the
// functions asked for, and who made it.
// Source: kernel/trace/trace_functions.c of Linux 6.1.
package functracer

import (
	"ftemu/ftracecore"
	"ftemu/trace"
)

// Flags are what the owner of its ops (global_ops in the kernel) sets.
const Flags = ftracecore.OpsPID

// A Tracer is the function tracer of one kernel.
type Tracer struct {
	core *ftracecore.Core
	ops  *ftracecore.Ops
	sink trace.Tracer
	on   bool // the sink wants what the tracer notes
}

// New makes a tracer of an ops whose callback calls Call. What it notes goes to
// sink as events of kind trace.Func; a nil sink takes none.
func New(core *ftracecore.Core, ops *ftracecore.Ops, sink trace.Tracer) *Tracer {
	return &Tracer{core: core, ops: ops, sink: sink, on: sink != nil && sink.Mask().Has(trace.Func)}
}

// Ops is the tracer's ops.
func (t *Tracer) Ops() *ftracecore.Ops { return t.ops }

// Running tells whether the tracer is registered.
func (t *Tracer) Running() bool { return t.ops.Has(ftracecore.OpsEnabled) }

// Start registers the tracer, as writing its name to current_tracer does.
func (t *Tracer) Start() error { return t.core.RegisterFtraceFunction(t.ops) }

// Stop unregisters it.
func (t *Tracer) Stop() error { return t.core.UnregisterFtraceFunction(t.ops) }

// Call is what the callback does (function_trace_call): ip is the site, parent
// the return address of its function.
func (t *Tracer) Call(cpu int, ip, parent uint64) {
	if t.on {
		t.sink.Trace(&trace.Event{Kind: trace.Func, CPU: cpu, IP: ip, Addr: parent, Name: t.ops.Name})
	}
}
