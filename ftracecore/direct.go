package ftracecore

// The API for direct callers: an ops with one direct function for all of its
// sites (*_ftrace_direct_multi of v5.16 to v6.3).

// directMinSize is the number of entries that direct_functions is sized for at
// least when it grows.
const directMinSize = 32

// addDirect enters a direct function (ftrace_add_rec_direct).
func (c *Core) addDirect(ip, addr uint64) {
	if c.direct.Count() == 0 || c.direct.Count() > 2<<c.direct.bits {
		size := directMinSize
		if c.direct.Count() >= size {
			size = c.direct.Count() + 1
		}
		bits := 0
		for n := size / 2; n > 0; n >>= 1 {
			bits++
		}
		c.direct = c.direct.resized(min(bits, hashMaxBits))
	}
	c.direct.add(ip, addr)
}

// removeDirect removes the entries of all sites in filter that hold addr
// (remove_direct_functions_hash).
//
// As the kernel: an entry with another address stays.
func (c *Core) removeDirect(filter *Hash, addr uint64) {
	gone, stale := c.newWalk(), c.newWalk()
	filter.each(func(e hashEntry) bool {
		if d := c.direct.find(e.ip); d != nil {
			w := gone
			if d.direct == addr {
				c.direct.remove(e.ip)
			} else {
				w = stale
			}
			if w != nil {
				w.note("%s", c.siteName(e.ip))
			}
		}
		return true
	})
	c.stepWalk(gone, "direct_functions: take %s out")
	c.stepWalk(stale, "direct_functions: leave %s in, as the entry holds another address")
}

// directTaken is the refusal of a second direct function for the site at ip.
func (c *Core) directTaken(ip uint64, not *Ops) error {
	owners := c.owners(ip, OpsDirect, not)
	e := c.refuseOwned(EBUSY, c.siteName(ip), owners, "it already has a direct function")
	if len(owners) == 0 {
		return e.because("The table direct_functions has an entry for it that no registered ops owns: one left behind by an unregistration that named another address, by a filter that was changed while registered or, from v6.6 to v6.17, by a registration that failed.")
	}
	return e.because("The table direct_functions holds one function for each site, so that a second direct caller, such as a BPF trampoline, must wait until the first is gone. No ops_func is asked.")
}

// checkDirect tells whether ops is one that register made direct
// (check_direct_multi).
func (c *Core) checkDirect(ops *Ops) error {
	switch {
	case !ops.Has(OpsInit):
		return c.refuse(EINVAL, "", "ops %q is not initialised: it never had a filter", ops.Name)
	case !ops.Has(multiFlags):
		return c.refuse(EINVAL, "", "ops %q is not a direct ops", ops.Name)
	case !ops.Has(OpsEnabled):
		return c.refuse(EINVAL, "", "direct ops %q is not registered", ops.Name)
	}
	return nil
}

// RegisterDirectMulti makes all sites in the filter of ops call addr
// (register_ftrace_direct_multi).
func (c *Core) RegisterDirectMulti(ops *Ops, addr uint64) error {
	return c.run("register_ftrace_direct_multi", ops, func() error {
		switch {
		case ops.Func != nil || ops.Trampoline != 0:
			return c.refuse(EINVAL, "", "ops %q has a function or a trampoline already", ops.Name).
				because("They are ftrace's to set. A registration that failed leaves them set, so that its owner must clear both before it tries again.")
		case !ops.Has(OpsInit):
			return c.refuse(EINVAL, "", "ops %q is not initialised: it never had a filter", ops.Name)
		case ops.Has(OpsEnabled):
			return c.refuse(EINVAL, "", "ops %q is registered already", ops.Name)
		case ops.Filter().Empty():
			return c.refuse(EINVAL, "", "the filter of ops %q is empty: DIRECT may not select all functions", ops.Name).
				because(allFunctions)
		}
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
		filter := ops.Filter()
		var busy error
		filter.each(func(e hashEntry) bool {
			if c.direct.Has(e.ip) {
				busy = c.directTaken(e.ip, ops)
			}
			return busy == nil
		})
		if busy != nil {
			return busy
		}
		filter.each(func(e hashEntry) bool { c.addDirect(e.ip, addr); return true })
		if c.explain {
			c.step("direct_functions: enter %s, to call %s: %s", plural(filter.Count(), "site"), c.symbolic(addr, false), c.siteNames(filter))
		}
		ops.Func = c.directFunc
		// As the kernel: the owner's own flags are lost.
		ops.Flags = multiFlags | ops.Flags&OpsShare
		ops.Trampoline = c.addr.FtraceRegsCaller
		err := c.registerNolock(ops)
		if err != nil {
			if !c.mistakes.KeepEntry {
				c.removeDirect(filter, addr)
			}
			if c.profile.ResetDirectOnFailure {
				ops.Func, ops.Trampoline = nil, 0
			} else {
				c.step("func and trampoline of %q stay set", ops.Name)
				leaves(err, "Function and trampoline of %q stay set: a retry is -EINVAL until its owner clears them.", ops.Name)
			}
		}
		return err
	})
}

// UnregisterDirectMulti takes the direct function away from all sites of ops
// (unregister_ftrace_direct_multi).
func (c *Core) UnregisterDirectMulti(ops *Ops, addr uint64) error {
	return c.run("unregister_ftrace_direct_multi", ops, func() error {
		if ops.hash == nil {
			return c.oops("unregister_ftrace_direct_multi", "ops %q never had a filter: its hash is NULL", ops.Name)
		}
		if err := c.checkDirect(ops); err != nil {
			return err
		}
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
		err := c.run("unregister_ftrace_function", ops, func() error { return c.unregister(ops) })
		c.removeDirect(ops.Filter(), addr)
		ops.Func, ops.Trampoline = nil, 0
		return err
	})
}

// ModifyDirectMulti makes all sites of ops call addr instead of what they call
// now, so that every call goes to one of the two (modify_ftrace_direct_multi).
func (c *Core) ModifyDirectMulti(ops *Ops, addr uint64) error {
	return c.run("modify_ftrace_direct_multi", ops, func() error {
		if err := c.checkDirect(ops); err != nil {
			return err
		}
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
		return c.modifyDirect(ops, addr)
	})
}

// ModifyDirectMultiNolock is ModifyDirectMulti for an ops_func, whose caller
// holds direct_mutex.
func (c *Core) ModifyDirectMultiNolock(ops *Ops, addr uint64) error {
	return c.run("modify_ftrace_direct_multi_nolock", ops, func() error {
		if err := c.checkDirect(ops); err != nil {
			return err
		}
		return c.modifyDirect(ops, addr)
	})
}

// modifyDirect changes the direct function under the cover of a second ops on
// the same sites: as long as that is there they call ftrace_regs_caller, which
// looks the direct function up.
func (c *Core) modifyDirect(ops *Ops, addr uint64) error {
	switch {
	case c.mistakes.RelockDirectMutex:
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
	case c.mistakes.DisableThenEnable:
		return c.disableThenEnable(ops, addr)
	case ops.Has(OpsAdding) && c.design.swapWhileAdding:
		c.swapDirect(ops, addr)
		return nil
	}
	c.step("register tmp_ops on the same sites, so that they call ftrace_regs_caller, which looks the direct function up")
	c.tmpOps.init()
	c.tmpOps.hash = ops.hash
	if err := c.registerNolock(c.tmpOps); err != nil {
		return err
	}
	var err error
	if c.profile.SelfOnModify && !c.mistakes.NoSelfOnModify {
		err = c.hashUpdateIPModify(ops, ops.Filter(), ops.Filter(), true)
	}
	if err == nil {
		c.swapDirect(ops, addr)
	}
	c.step("unregister tmp_ops")
	_ = c.unregister(c.tmpOps)
	return err
}

// swapDirect gives all sites of ops another direct function in the table.
func (c *Core) swapDirect(ops *Ops, addr uint64) {
	c.Acquire(&c.FtraceLock)
	defer c.Release(&c.FtraceLock)
	ops.Filter().each(func(e hashEntry) bool {
		if d := c.direct.find(e.ip); d != nil {
			d.direct = addr
		}
		return true
	})
	if c.explain {
		c.step("direct_functions: the entries now hold %s", c.symbolic(addr, false))
	}
}

// disableThenEnable is the mistake of that name: between the two steps calls go
// past the old direct function and the new one.
func (c *Core) disableThenEnable(ops *Ops, addr uint64) error {
	if err := c.unregister(ops); err != nil {
		return err
	}
	c.swapDirect(ops, addr)
	return c.registerNolock(ops)
}
