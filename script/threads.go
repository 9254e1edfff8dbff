package script

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ftemu"
	"ftemu/ftracecore"
	"ftemu/near"
)

// Scenarios may have parts that run side by side: blocks of lines, one for each
// thread of the kernel, and CPUs that call guest functions.
//
//	thread klp
//	register a
//	thread bpf
//	direct_register_retry d orig0 share
//	cpu 1: call f0 1 2
//	join
//	want target f0 ftrace_regs_caller
//
// What stands before is done first, what stands behind join last. Run one after
// the other, in the order of the text, they make an ordinary scenario.

// A GuestCall is a call that a CPU makes beside the threads.
type GuestCall struct {
	CPU   int
	Fn    uint64
	Args  []uint64
	Times int
}

// maxCPU is the highest number that a CPU of a scenario may have.
const maxCPU = 7

// Threads lists the names of the parts that run side by side, in the order of
// the text; empty where there are none.
func (s *Script) Threads() []string {
	var names []string
	for _, st := range s.Steps {
		if st.Thread != "" && !slices.Contains(names, st.Thread) {
			names = append(names, st.Thread)
		}
	}
	return names
}

// CPUs is how many CPUs the scenario needs.
func (s *Script) CPUs() int {
	n := 1
	for _, st := range s.Steps {
		if st.Call != nil {
			n = max(n, st.Call.CPU+1)
		}
	}
	return n
}

func (p *Parser) openThread(name string) error {
	switch {
	case !p.begun:
		return fmt.Errorf("thread %s needs lines before it that make its ops", name)
	case p.joined:
		return fmt.Errorf("thread %s after join", name)
	case slices.Contains(p.script.Threads(), name):
		return fmt.Errorf("thread %q exists already", name)
	}
	p.thread = name
	return nil
}

func parseThread(p *Parser, args []string) (func(*Runner), error) {
	if strings.HasPrefix(args[0], "cpu") {
		return nil, fmt.Errorf("thread %q: names that begin with cpu are those of CPUs", args[0])
	}
	return nil, p.openThread(args[0])
}

// A PropertyLine names properties to check.
type PropertyLine struct {
	Line  int
	Names string // separated by commas
}

func parseProperty(p *Parser, args []string) (func(*Runner), error) {
	for _, name := range strings.Split(args[0], ",") {
		if known := p.opt.Properties; known != nil && !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown property %q, %s", near.Short(name), near.Expected(name, known, "one of "+strings.Join(known, ", ")))
		}
	}
	p.script.Properties = append(p.script.Properties, PropertyLine{p.next.Line, args[0]})
	return nil, nil
}

func parseJoin(p *Parser, _ []string) (func(*Runner), error) {
	if len(p.script.Threads()) == 0 {
		return nil, fmt.Errorf("join without a thread or a cpu before it")
	}
	p.thread, p.joined = "", true
	return nil, nil
}

func parseCPU(p *Parser, args []string) (func(*Runner), error) {
	num, ok := strings.CutSuffix(args[0], ":")
	cpu, err := strconv.Atoi(num)
	if !ok || err != nil || cpu < 0 || cpu > maxCPU {
		return nil, fmt.Errorf("found %q, expected a CPU's number from 0 to %d and a colon", args[0], maxCPU)
	}
	if args[1] != "call" {
		return nil, fmt.Errorf("a cpu can only call, found %q", args[1])
	}
	name := "cpu" + num
	if p.thread != name {
		if err := p.openThread(name); err != nil {
			return nil, err
		}
	}
	c := &GuestCall{CPU: cpu, Times: 1}
	rest := args[2:]
	if n := len(rest); n > 2 && rest[n-2] == "times" {
		if c.Times, err = strconv.Atoi(rest[n-1]); err != nil || c.Times < 1 || c.Times > 100 {
			return nil, fmt.Errorf("found times %q, expected 1 to 100", rest[n-1])
		}
		rest = rest[:n-2]
	}
	if c.Fn, err = p.function(rest[0]); err != nil {
		return nil, err
	}
	if err := checkArgs(rest[1:]); err != nil {
		return nil, err
	}
	for _, a := range rest[1:] {
		v, err := number(a)
		if err != nil {
			return nil, err
		}
		c.Args = append(c.Args, v)
	}
	p.next.Call = c
	return func(r *Runner) {
		for i := 0; i < c.Times && r.res.Oops == ""; i++ {
			r.callOn(c)
		}
	}, nil
}

// callOn makes the call on its own CPU.
func (r *Runner) callOn(c *GuestCall) {
	v, err := r.lab.CallOn(r.lab.Machine.CPU(c.CPU), c.Fn, c.Args...)
	r.returned(v, err)
}

// Start makes res the result that what runs from now on is noted in, so that
// several can be under way in turns.
func (r *Runner) Start(res *Result) { r.res = res }

// NewResult is the result of a step before it runs.
func (r *Runner) NewResult(s Step) *Result { return &Result{Op: s.Text, Line: s.Line} }

// RunStep runs a step without reporting the state after it; what happens is
// noted in the result that Start set.
func (r *Runner) RunStep(s Step) { s.run(r) }

// Returned notes the end of a call into the guest in the result that Start set.
func (r *Runner) Returned(v uint64) { r.returned(v, nil) }

// Snapshot remembers the state of the runner and its lab and returns a function
// that brings it back. Snapshots nest: see ftemu.Lab.Snapshot.
func (r *Runner) Snapshot() (restore func() error) {
	lab := r.lab.Snapshot()
	saved := *r
	sites, clients, singles := slices.Clone(r.sites), slices.Clone(r.clients), slices.Clone(r.singles)
	progs, attached := slices.Clone(r.progs), slices.Clone(r.attached)
	states := make([]client, len(clients))
	owners := make([]owner, len(clients))
	for i, c := range clients {
		states[i], owners[i] = *c, *c.owner
		states[i].redirect = maps.Clone(c.redirect)
	}
	return func() error {
		if err := lab(); err != nil {
			return err
		}
		*r = saved
		r.sites, r.clients, r.singles = slices.Clone(sites), slices.Clone(clients), slices.Clone(singles)
		r.progs, r.attached = slices.Clone(progs), slices.Clone(attached)
		for i, c := range clients {
			*c = states[i]
			c.redirect = maps.Clone(c.redirect)
			*c.owner = owners[i]
		}
		return nil
	}
}

// Digest writes what the run's behaviour from here on depends on.
func (r *Runner) Digest(w io.Writer) {
	for _, c := range r.clients {
		fmt.Fprintf(w, "%s %t %t %t %s %s %s;", c.id, c.redirecting, c.owner.share, c.owner.origStack, c.owner.alone, c.owner.shared, c.owner.cur)
	}
	for _, s := range r.singles {
		fmt.Fprintf(w, "%x %s;", s.ip, s.tramp)
	}
	for _, a := range r.attached {
		fmt.Fprintf(w, "%s %x;", a.id, a.fn)
	}
	r.lab.Digest(w)
}

// Script is what the runner runs.
func (r *Runner) Script() *Script { return r.script }

// Redirect tells where the callback of the IPMODIFY ops id takes calls of the
// function whose site is at ip.
func (r *Runner) Redirect(id string, ip uint64) (to uint64, ok bool) {
	c := r.client(id)
	if c == nil || !c.redirecting {
		return 0, false
	}
	if to, ok := c.redirect[ip]; ok {
		return to, true
	}
	return r.replacement(ip)
}

var _ ftemu.Observer = (*Runner)(nil)

var _ ftemu.BPFObserver = (*Runner)(nil)

// SiteName is the script's name of the site at ip.
func (r *Runner) SiteName(ip uint64) string { return r.script.names.siteName(ip) }

// Place is the script's name of an address inside a function, as events have it.
func (r *Runner) Place(addr uint64) string { return r.script.names.place(addr) }

// Ops is the ops that the script calls id; nil if there is none.
func (r *Runner) Ops(id string) *ftracecore.Ops {
	if c := r.client(id); c != nil {
		return c.ops
	}
	return nil
}

// SiteOf finds the site of a function by the script's name for it.
func (r *Runner) SiteOf(name string) (ip uint64, ok bool) {
	a, ok := r.script.names.addr(name)
	if !ok {
		return 0, false
	}
	s, ok := r.script.names.site(a)
	return s.IP, ok
}
