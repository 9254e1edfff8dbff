package script

import (
	"fmt"
	"slices"
	"strings"

	"ftemu/ftracecore"
)

// Tracers are started by tracer: their ops then has an ID as those that new makes
// have, the tracer's name, and the other verbs take it.
//
//	tracer function_graph f0,f1
//	call f0 1 2
//	tracer off

// A tracer is one of current_tracer.
type tracer interface {
	Ops() *ftracecore.Ops
	Running() bool
	Start() error
	Stop() error
}

// tracerNames are the tracers in the order of documentation.
var tracerNames = []string{"function", "function_graph"}

// tracer finds a tracer of the lab, with the names of the functions that start
// and stop it.
func (r *Runner) tracer(name string) (t tracer, start, stop string) {
	if name == "function" {
		return r.lab.Function, "register_ftrace_function", "unregister_ftrace_function"
	}
	return r.lab.Graph, "register_ftrace_graph", "unregister_ftrace_graph"
}

func parseTracer(p *Parser, args []string) (func(*Runner), error) {
	name := args[0]
	if name == "off" {
		if len(args) > 1 {
			return nil, fmt.Errorf("tracer off takes nothing else, found %q", args[1])
		}
		return (*Runner).tracerOff, nil
	}
	if !slices.Contains(tracerNames, name) {
		return nil, fmt.Errorf("unknown tracer %q, expected %s or off", name, strings.Join(tracerNames, ", "))
	}
	if len(args) != 2 {
		return nil, fmt.Errorf("tracer %s needs functions, or all", name)
	}
	var ips []uint64
	if args[1] != "all" {
		var err error
		if ips, err = p.addrs(args[1]); err != nil {
			return nil, err
		}
	}
	if d := p.ids[name]; (d != nil && !d.tracer) || p.progs[name] {
		return nil, fmt.Errorf("ID %q exists already: it is the tracer's", name)
	}
	p.ids[name] = &declared{kind: kind{name: "tracer"}, tracer: true}
	return func(r *Runner) { r.startTracer(name, ips) }, nil
}

// startTracer writes set_ftrace_filter and then current_tracer: what runs is
// stopped, unless it is the same.
func (r *Runner) startTracer(name string, ips []uint64) {
	t, start, _ := r.tracer(name)
	if !t.Running() {
		r.tracerOff()
		if r.res.RC != 0 {
			return
		}
	}
	if r.client(name) == nil {
		c := &client{id: name, ops: t.Ops(), owner: &owner{run: r, ops: t.Ops(), shared: defaultShared}}
		r.clients = append(r.clients, c)
	}
	core := r.lab.Core
	rc := 0
	if ips == nil {
		rc = r.api("set_filter", core.SetFilter(t.Ops(), "", true))
	} else {
		rc = r.api("set_filter_ips", core.SetFilterIPs(t.Ops(), ips, false, true))
	}
	if rc == 0 && !t.Running() {
		r.api(start, t.Start())
	}
}

// tracerOff stops the tracer that runs.
func (r *Runner) tracerOff() {
	for _, name := range tracerNames {
		if t, _, stop := r.tracer(name); t.Running() {
			r.api(stop, t.Stop())
		}
	}
}
