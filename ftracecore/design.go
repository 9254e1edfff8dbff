package ftracecore

import (
	"fmt"
	"strings"

	"ftemu/trace"
)

// A Design is one way to let a livepatch and a direct caller share a function.
// The rest of the core does not know which one is in force.
type Design struct {
	name string
	// prepare is called before an ops is registered, with direct_mutex held
	// (prepare_direct_functions_for_ipmodify). An error from which Ret gives a
	// negative value fails the registration.
	prepare func(c *Core, ops *Ops) error
	// cleanup is called after an ops was unregistered, with no lock held
	// (cleanup_direct_functions_after_ipmodify). It can only oops.
	cleanup func(c *Core, ops *Ops) error
	// directMeetsIPModify is called when the direct ops is about to cover rec,
	// which an IPMODIFY ops has, with ftrace_lock held but for the check of a
	// modified target.
	directMeetsIPModify func(c *Core, ops *Ops, rec *Record) error
}

// Name is the design's name as flags spell it.
func (d Design) Name() string { return d.name }

// Designs lists the designs there are, the default first.
func Designs() []Design { return []Design{OpsFuncDesign()} }

// ParseDesign finds a design by name.
func ParseDesign(name string) (Design, error) {
	var known []string
	for _, d := range Designs() {
		if d.name == name {
			return d, nil
		}
		known = append(known, d.name)
	}
	return Design{}, fmt.Errorf("unknown design %q, expected %s", name, strings.Join(known, ", "))
}

// OpsFuncDesign is the design merged in v6.0: ops_func answers 0 or a negative
// errno, ftrace passes that on and adds no meaning, and an owner that answered
// -EAGAIN makes a trampoline that can share and registers it again.
func OpsFuncDesign() Design {
	return Design{
		name: "ops-func",
		prepare: func(c *Core, ops *Ops) error {
			if !ops.Has(OpsIPModify) {
				return nil
			}
			filter := ops.Filter()
			if filter == nil {
				return c.oops("register_ftrace_function", "ops %q is IPMODIFY and never had a filter: its hash is NULL", ops.Name)
			}
			var err error
			c.eachDirectPeer(filter, func(ip uint64, peer *Ops) bool {
				if peer.OpsFunc == nil {
					err = c.refuseOwned(EBUSY, c.siteName(ip), []string{peer.Name}, "it has a direct function whose owner has no ops_func")
					return false
				}
				if ret := c.ask(peer, EnablePeer); ret != 0 {
					// As the kernel: peers asked before stay in shared mode; a
					// positive answer ends the asking and lets the registration go on.
					err = c.answered(ret, ip, peer, EnablePeer)
					return false
				}
				return true
			})
			if Ret(err) < 0 {
				return err
			}
			return nil
		},
		cleanup: func(c *Core, ops *Ops) error {
			if !ops.Has(OpsIPModify) {
				return nil
			}
			filter := ops.Filter()
			if filter == nil {
				return c.oops("unregister_ftrace_function", "ops %q is IPMODIFY and never had a filter: its hash is NULL", ops.Name)
			}
			c.Acquire(&c.DirectMutex)
			defer c.Release(&c.DirectMutex)
			c.eachDirectPeer(filter, func(_ uint64, peer *Ops) bool {
				if peer.OpsFunc != nil {
					c.ask(peer, DisablePeer)
				}
				return true
			})
			return nil
		},
		directMeetsIPModify: func(c *Core, ops *Ops, rec *Record) error {
			if ops.OpsFunc == nil {
				return c.refuseOwned(EBUSY, c.siteName(rec.IP), c.ipmodifyOwners(rec.IP, ops),
					"it has IPMODIFY and direct ops %q has no ops_func to share it", ops.Name)
			}
			if ret := c.ask(ops, EnableSelf); ret != 0 {
				return c.answered(ret, rec.IP, ops, EnableSelf)
			}
			return nil
		},
	}
}

// eachDirectPeer calls fn for every site of the filter, in the order of the
// hash, with the direct ops that is registered there, until fn returns false.
func (c *Core) eachDirectPeer(filter *Hash, fn func(ip uint64, peer *Ops) bool) {
	filter.each(func(e hashEntry) bool {
		c.Acquire(&c.FtraceLock)
		var peer *Ops
		for _, op := range c.list {
			if op.Has(OpsDirect|OpsEnabled) && op.Covers(e.ip) {
				peer = op
				break
			}
		}
		c.Release(&c.FtraceLock)
		return peer == nil || fn(e.ip, peer)
	})
}

// ask calls the ops_func of ops.
func (c *Core) ask(ops *Ops, cmd Command) int {
	c.point("ops_func " + cmd.String() + " of " + ops.Name)
	ret := ops.OpsFunc(ops, cmd)
	c.step("ops_func of %q, asked %s, answers %s", ops.Name, cmd, RetName(ret))
	if c.mask.Has(trace.OpsFunc) {
		c.tracer.Trace(&trace.Event{Kind: trace.OpsFunc, Name: ops.Name, Text: cmd.String(), Ret: ret})
	}
	return ret
}

// answered is the error for an ops_func that did not answer 0.
func (c *Core) answered(ret int, ip uint64, ops *Ops, cmd Command) error {
	return &Error{
		Ret: ret, Site: c.siteName(ip), Owners: []string{ops.Name},
		Rule: fmt.Sprintf("ops_func answered %s to %s", RetName(ret), cmd),
	}
}

func (c *Core) oops(fn, format string, args ...any) error {
	o := &Oops{Func: fn, Why: fmt.Sprintf(format, args...)}
	c.step("%s", o.Error())
	return o
}
