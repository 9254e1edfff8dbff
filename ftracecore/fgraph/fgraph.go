// Package fgraph is ftrace's function_graph tracer: it notes when the functions
// asked for are entered and when they return. To see the return it takes the
// return address off the guest's stack, keeps it on a stack of its own, the
// shadow stack, and leaves that of return_to_handler in its place.
// Source: kernel/trace/fgraph.c of Linux 6.1.
package fgraph

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"ftemu/ftracecore"
	"ftemu/trace"
)

// Flags are what the owner of its ops (graph_ops in the kernel) sets.
const Flags = ftracecore.OpsPID

// Depth is how many functions a shadow stack has room for
// (FTRACE_RETFUNC_DEPTH).
const Depth = 50

// A Slot is the word of the guest's stack that holds a function's return address.
type Slot interface {
	Get() uint64
	Set(addr uint64)
}

// A frame is a function whose return address was taken (struct ftrace_ret_stack).
type frame struct {
	ret uint64 // the address
	fn  uint64 // the function's site
}

// A stack is the shadow stack of a task.
type stack struct {
	frames  []frame
	overrun uint64 // functions that there was no room for
}

// A Tracer is the function_graph tracer of one kernel.
type Tracer struct {
	core    *ftracecore.Core
	ops     *ftracecore.Ops
	handler uint64 // address of return_to_handler
	sink    trace.Tracer
	mask    trace.Mask
	tasks   []stack
}

// New makes a tracer of an ops whose callback calls Enter, for as many tasks as
// given; handler is the address of return_to_handler. What it notes goes to sink
// as events of the kinds trace.Entry and trace.Exit; a nil sink takes none.
func New(core *ftracecore.Core, ops *ftracecore.Ops, handler uint64, tasks int, sink trace.Tracer) *Tracer {
	t := &Tracer{core: core, ops: ops, handler: handler, sink: sink, tasks: make([]stack, tasks)}
	if sink != nil {
		t.mask = sink.Mask()
	}
	return t
}

// Ops is the tracer's ops.
func (t *Tracer) Ops() *ftracecore.Ops { return t.ops }

// Running tells whether the tracer is registered.
func (t *Tracer) Running() bool { return t.ops.Has(ftracecore.OpsEnabled) }

// Start registers the tracer (register_ftrace_graph). There is one user at a
// time: -EBUSY for a second.
func (t *Tracer) Start() error {
	return t.core.Do("register_ftrace_graph", t.ops, func() error {
		if t.Running() {
			return t.core.Refuse(ftracecore.EBUSY, "", "There is one shadow stack for each task, and it belongs to one user.",
				"function_graph is running already")
		}
		return t.core.RegisterFtraceFunction(t.ops)
	})
}

// Stop unregisters it (unregister_ftrace_graph). Functions that have not
// returned yet still return by way of the shadow stack.
func (t *Tracer) Stop() error {
	return t.core.Do("unregister_ftrace_graph", t.ops, func() error {
		return t.core.UnregisterFtraceFunction(t.ops)
	})
}

// Enter is what the callback does (prepare_ftrace_return): the function with the
// site at ip was entered by a task.
func (t *Tracer) Enter(task int, ip uint64, slot Slot) {
	s := &t.tasks[task]
	if len(s.frames) == Depth {
		s.overrun++
		return
	}
	if t.mask.Has(trace.Entry) {
		t.sink.Trace(&trace.Event{Kind: trace.Entry, CPU: task, IP: ip, Addr: slot.Get(), Depth: len(s.frames), Name: t.ops.Name})
	}
	s.frames = append(s.frames, frame{slot.Get(), ip})
	slot.Set(t.handler)
}

// Return is ftrace_return_to_handler: a function of the task has come to
// return_to_handler. It answers the address to go on at.
func (t *Tracer) Return(task int) (uint64, error) {
	s := &t.tasks[task]
	top := len(s.frames) - 1
	if top < 0 {
		return 0, fmt.Errorf("return_to_handler was entered with an empty shadow stack")
	}
	f := s.frames[top]
	s.frames = s.frames[:top]
	if t.mask.Has(trace.Exit) {
		t.sink.Trace(&trace.Event{Kind: trace.Exit, CPU: task, IP: f.fn, Addr: f.ret, Depth: top, Value: s.overrun, Name: t.ops.Name})
	}
	return f.ret, nil
}

// Level is how many functions of a task have not returned.
func (t *Tracer) Level(task int) int { return len(t.tasks[task].frames) }

// Unwind forgets the functions of a task above a level: what called them was
// given up.
func (t *Tracer) Unwind(task, level int) {
	s := &t.tasks[task]
	s.frames = s.frames[:min(level, len(s.frames))]
}

// Returns lists the return addresses that are kept for a task, the last function
// entered first.
func (t *Tracer) Returns(task int) []uint64 {
	var out []uint64
	for _, f := range slices.Backward(t.tasks[task].frames) {
		out = append(out, f.ret)
	}
	return out
}

// Snapshot remembers the shadow stacks and returns a function that brings them
// back, any number of times, whatever snapshots were taken since.
func (t *Tracer) Snapshot() (restore func()) {
	saved := cloned(t.tasks)
	return func() { t.tasks = cloned(saved) }
}

func cloned(tasks []stack) []stack {
	out := slices.Clone(tasks)
	for i := range out {
		out[i].frames = slices.Clone(out[i].frames)
	}
	return out
}

// Digest writes what the tracer's behaviour depends on, in a fixed form.
func (t *Tracer) Digest(w io.Writer) {
	var buf []byte
	for _, s := range t.tasks {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(len(s.frames)))
		for _, f := range s.frames {
			buf = binary.LittleEndian.AppendUint64(buf, f.ret)
		}
	}
	// Hashes do not fail.
	_, _ = w.Write(buf)
}
