package ftracecore

import (
	"fmt"
	"strings"

	"ftemu/trace"
)

// A Design is one way to let a livepatch and a direct caller share a function.
// The rest of the core does not know which one is in force.
type Design struct {
	name  string
	about string
	// Protocol is what the design expects of the owner of a direct ops.
	Protocol Protocol
	// locksDirect tells whether direct_mutex is held while ops is registered by
	// register_ftrace_function. Nil: always.
	locksDirect func(ops *Ops) bool
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
	// negotiate is called with ftrace_lock held when ops is on the list and
	// before its sites are marked; it may give the lock up meanwhile. Nil: nothing
	// to negotiate there.
	negotiate func(c *Core, ops *Ops) error
	// swapWhileAdding says that modify only changes the table of direct
	// functions while the registration of the ops has not returned yet.
	swapWhileAdding bool
}

// A Protocol is what the owner of a direct ops does when a livepatch shares its
// function.
type Protocol uint8

// The protocols.
const (
	// RetryOnAgain: ops_func answers -EAGAIN to ENABLE_SELF, which fails the
	// registration; the owner makes a trampoline that can share and registers
	// again.
	RetryOnAgain Protocol = iota
	// FlagOnAgain: the registration fails with -EAGAIN by itself; the owner makes
	// a trampoline that can share, sets SHARE_IPMODIFY on the ops, and registers
	// again.
	FlagOnAgain
	// UpdateInPlace: ops_func makes the trampoline that can share and modifies
	// the ops, also while its registration is under way.
	UpdateInPlace
)

// Design is the design in force.
func (c *Core) Design() Design { return c.design }

func (d Design) holdsDirect(ops *Ops) bool { return d.locksDirect == nil || d.locksDirect(ops) }

// Name is the design's name as flags spell it.
func (d Design) Name() string { return d.name }

// About says in a line what the design does.
func (d Design) About() string { return d.about }

// Designs lists the designs there are, the default first.
func Designs() []Design {
	return []Design{
		OpsFuncDesign(), EagainFlagDesign(), RinseRepeatDesign(),
		RinseRepeatNoDirectMutexDesign(), RinseRepeatGuardedDesign(),
	}
}

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
		name:  "ops-func",
		about: "a direct caller's ops_func is asked and may answer -EAGAIN, after which its owner tries again (merged in v6.0)",
		prepare: func(c *Core, ops *Ops) error {
			if !ops.Has(OpsIPModify) {
				return nil
			}
			filter := ops.Filter()
			if filter == nil {
				return c.oops("register_ftrace_function", "ops %q is IPMODIFY and never had a filter: its hash is NULL", ops.Name)
			}
			if c.explain {
				c.step("%q is IPMODIFY: look for direct ops on its %s, in the order of its hash: %s",
					ops.Name, plural(filter.Count(), "site"), c.siteNames(filter))
			}
			var err error
			c.eachDirectPeer(filter, func(ip uint64, peer *Ops) bool {
				if peer.OpsFunc == nil {
					err = c.refuseOwned(EBUSY, c.siteName(ip), []string{peer.Name}, "it has a direct function without an ops_func").
						because("An IPMODIFY ops may join a direct function only if the owner of that agrees, which it does through its ops_func.")
					return false
				}
				if ret := c.ask(peer, EnablePeer, ip); ret != 0 {
					// As the kernel: peers asked before stay in shared mode; a
					// positive answer ends the asking and lets the registration go on.
					err = c.answered(ret, ip, []string{peer.Name}, peer, EnablePeer)
					return false
				}
				c.agreed = append(c.agreed, peer)
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
			c.eachDirectPeer(filter, func(ip uint64, peer *Ops) bool {
				if peer.OpsFunc != nil {
					c.ask(peer, DisablePeer, ip)
				}
				return true
			})
			return nil
		},
		directMeetsIPModify: func(c *Core, ops *Ops, rec *Record) error {
			owners := c.ipmodifyOwners(rec.IP, ops)
			if ops.OpsFunc == nil {
				return c.refuseOwned(EBUSY, c.siteName(rec.IP), owners, "it already has IPMODIFY").
					because(fmt.Sprintf("A direct ops may join only if its owner says that its trampoline respects the changed instruction pointer, which it does through an ops_func; %q has none.", ops.Name))
			}
			if ret := c.ask(ops, EnableSelf, rec.IP); ret != 0 {
				return c.answered(ret, rec.IP, owners, ops, EnableSelf)
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

// ask calls the ops_func of ops, because of the site at ip. The kernel does not
// tell the ops_func which site it is.
func (c *Core) ask(ops *Ops, cmd Command, ip uint64) int {
	c.point("ops_func " + cmd.String() + " of " + ops.Name)
	if c.explain {
		c.step("ask the ops_func of %q, because of %s: %s", ops.Name, c.siteName(ip), cmd)
	}
	ret := ops.OpsFunc(ops, cmd)
	switch {
	case cmd == DisablePeer && ret != 0:
		c.step("%q answers %s, which nobody looks at", ops.Name, RetName(ret))
	case ret > 0:
		c.step("%q answers %s: it ends the asking and counts as success", ops.Name, RetName(ret))
	default:
		c.step("%q answers %s", ops.Name, RetName(ret))
	}
	if c.mask.Has(trace.OpsFunc) {
		c.tracer.Trace(&trace.Event{Kind: trace.OpsFunc, Name: ops.Name, Text: cmd.String(), Ret: ret})
	}
	return ret
}

// answered is the error for an ops_func that did not answer 0 when asked because
// of the site at ip, which the owners have.
func (c *Core) answered(ret int, ip uint64, owners []string, ops *Ops, cmd Command) error {
	e := &Error{Ret: ret, Site: c.siteName(ip), Owners: owners}
	if cmd == EnableSelf {
		e.Rule = fmt.Sprintf("the ops_func of %q answered %s to %s, asked as the site has IPMODIFY", ops.Name, RetName(ret), cmd)
	} else {
		e.Rule = fmt.Sprintf("the ops_func of %q, which has a direct function there, answered %s to %s", ops.Name, RetName(ret), cmd)
	}
	switch {
	case ret == -int(EAGAIN) && cmd == EnableSelf:
		e.Because = "ftrace passes the answer on as it is. By -EAGAIN an owner means that its trampoline cannot share yet: it makes one that can, and tries again."
	case ret == -int(EAGAIN):
		e.Because = "ftrace passes the answer on as it is. By -EAGAIN an owner means that it is busy, so that whoever enables the patch should try again."
	default:
		e.Because = "ftrace passes the answer on as it is and adds no meaning to it."
	}
	return e
}

func (c *Core) oops(fn, format string, args ...any) error {
	o := &Oops{Func: fn, Why: fmt.Sprintf(format, args...)}
	c.step("%s", o.Error())
	return o
}
