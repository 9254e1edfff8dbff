package ftracecore

import "slices"

// RegisterFtraceFunction registers ops (register_ftrace_function): its
// callback runs for every function that its hashes select. An IPMODIFY ops
// first asks the owners of direct functions on these sites.
func (c *Core) RegisterFtraceFunction(ops *Ops) error {
	return c.run("register_ftrace_function", ops, func() error {
		if c.design.holdsDirect(ops) {
			c.Acquire(&c.DirectMutex)
			defer c.Release(&c.DirectMutex)
		}
		c.agreed = nil
		err := c.design.prepare(c, ops)
		if err == nil {
			err = c.registerNolock(ops)
		}
		if Ret(err) < 0 {
			for _, peer := range c.agreed {
				c.step("%q agreed to share and is not told that it need not", peer.Name)
				leaves(err, "%q had agreed to share before that and stays in shared mode: no DISABLE_PEER follows.", peer.Name)
			}
		}
		return err
	})
}

// killed is what it means that ftrace has killed itself.
const killed = "After a WARN of its own ftrace refuses all calls until the next boot and leaves every site as it is."

// registerNolock is register_ftrace_function_nolock: for callers that hold
// direct_mutex.
func (c *Core) registerNolock(ops *Ops) error {
	ops.init()
	c.Acquire(&c.FtraceLock)
	defer c.Release(&c.FtraceLock)
	return c.startup(ops)
}

// startup makes ops part of the machinery (ftrace_startup).
func (c *Core) startup(ops *Ops) error {
	if c.disabled {
		return c.refuse(ENODEV, "", "ftrace is disabled since it killed itself").because(killed)
	}
	if err := c.link(ops); err != nil {
		return err
	}
	c.startUp++
	ops.Flags |= OpsEnabled | OpsAdding
	if err := c.negotiateAndMark(ops); Ret(err) < 0 {
		c.unlink(ops)
		c.startUp--
		// As the kernel: ADDING and ALLOC_TRAMP stay set.
		ops.Flags &^= OpsEnabled
		c.freeTrampoline(ops)
		if c.explain {
			c.step("roll back: %q is off the list, no site was counted or patched; its flags keep %s", ops.Name, ops.Flags&(OpsAdding|OpsAllocTramp))
		}
		leaves(err, "%q is off the list again, no site was counted or patched; its flags keep %s.", ops.Name, ops.Flags&(OpsAdding|OpsAllocTramp))
		return err
	}
	var cmd command
	if c.hashRecUpdate(ops, false, true) {
		cmd |= updateCalls
	}
	c.startupEnable(cmd)
	if c.disabled {
		c.unlink(ops)
		return c.refuse(ENODEV, "", "ftrace killed itself while code was updated")
	}
	ops.Flags &^= OpsAdding
	return nil
}

// startupEnable runs a code update, if there is one to run (ftrace_startup_enable).
func (c *Core) startupEnable(cmd command) {
	if c.savedFunc != c.traceFunc {
		c.savedFunc = c.traceFunc
		cmd |= updateTraceFunc
	}
	if cmd != 0 && c.enabled {
		c.updateCode(cmd)
	}
}

// link puts ops at the head of the list (__register_ftrace_function).
func (c *Core) link(ops *Ops) error {
	const fn = "__register_ftrace_function"
	switch {
	case ops.Has(OpsDeleted):
		return c.refuse(EINVAL, "", "ops %q is marked DELETED", ops.Name)
	case ops.Has(OpsEnabled):
		c.warn(fn, "ops %q is registered already", ops.Name)
		return c.refuse(EBUSY, "", "ops %q is registered already", ops.Name)
	case !c.enabled && ops.Has(OpsPermanent):
		return c.refuse(EBUSY, "", "ops %q is PERMANENT and kernel.ftrace_enabled is 0", ops.Name).
			because("A PERMANENT ops, as a livepatch is, must not be switched off by that sysctl, so it cannot be registered while it is off.")
	}
	if !ops.Static {
		ops.Flags |= OpsDynamic
	}
	c.list = slices.Insert(c.list, 0, ops)
	ops.savedFunc = ops.Func
	c.updateTrampoline(ops)
	c.step("put %q at the head of the list of ops, %d now", ops.Name, len(c.list))
	if c.enabled {
		c.updateTraceFunction()
	}
	return nil
}

// unlink takes ops off the list (__unregister_ftrace_function).
func (c *Core) unlink(ops *Ops) error {
	if !ops.Has(OpsEnabled) {
		c.warn("__unregister_ftrace_function", "ops %q is not registered", ops.Name)
		return c.refuse(EBUSY, "", "ops %q is not registered", ops.Name)
	}
	i := slices.Index(c.list, ops)
	if i < 0 {
		return c.refuse(EPERM, "", "ops %q is not on the list", ops.Name)
	}
	c.list = slices.Delete(c.list, i, i+1)
	c.step("take %q off the list", ops.Name)
	if c.enabled {
		c.updateTraceFunction()
	}
	ops.Func = ops.savedFunc
	return nil
}

// updateTrampoline makes a trampoline for ops, or lets the one made for it call
// what it should (arch_ftrace_update_trampoline). A trampoline that was not made
// here, such as that of direct ops, is left alone.
func (c *Core) updateTrampoline(ops *Ops) {
	switch {
	case ops.Trampoline == 0:
		addr, err := c.tramps.Create(ops, c.CallTarget(ops), ops.Has(OpsSaveRegs))
		if err != nil {
			c.step("no trampoline for %q: %v", ops.Name, err)
			return
		}
		ops.Trampoline = addr
		ops.Flags |= OpsAllocTramp
		c.step("make a trampoline for %q alone", ops.Name)
	case ops.Has(OpsAllocTramp):
		if err := c.tramps.Retarget(ops, c.CallTarget(ops)); err != nil {
			c.warnKill("arch_ftrace_update_trampoline", "the trampoline of %q could not be changed: %v", ops.Name, err)
		}
	}
}

// freeTrampoline ends the trampoline made for a DYNAMIC ops; others keep theirs
// for the next registration (ftrace_trampoline_free).
//
// As the kernel: ALLOC_TRAMP stays set.
func (c *Core) freeTrampoline(ops *Ops) {
	if ops.Has(OpsDynamic|OpsAllocTramp) && ops.Trampoline != 0 {
		c.tramps.Free(ops)
		ops.Trampoline = 0
		c.step("free the trampoline of %q", ops.Name)
	}
}

// UnregisterFtraceFunction takes ops out (unregister_ftrace_function). Owners of
// direct functions that shared a site with an IPMODIFY ops are told afterwards.
func (c *Core) UnregisterFtraceFunction(ops *Ops) error {
	return c.run("unregister_ftrace_function", ops, func() error { return c.unregister(ops) })
}

func (c *Core) unregister(ops *Ops) error {
	c.Acquire(&c.FtraceLock)
	err := c.shutdown(ops)
	c.Release(&c.FtraceLock)
	// As the kernel: also when the ops was not registered.
	if oops := c.design.cleanup(c, ops); oops != nil {
		return oops
	}
	return err
}

// shutdown takes ops out of the machinery (ftrace_shutdown).
func (c *Core) shutdown(ops *Ops) error {
	if c.disabled {
		return c.refuse(ENODEV, "", "ftrace is disabled since it killed itself").because(killed)
	}
	if err := c.unlink(ops); err != nil {
		return err
	}
	c.startUp--
	c.ipmodifyDisable(ops)
	var cmd command
	if c.hashRecUpdate(ops, false, false) {
		cmd |= updateCalls
	}
	ops.Flags &^= OpsEnabled
	if c.savedFunc != c.traceFunc {
		c.savedFunc = c.traceFunc
		cmd |= updateTraceFunc
	}
	// As the kernel: with ftrace_enabled at 0 no record is looked at again, so
	// that flags may stay on a record whose count is 0.
	if cmd != 0 && c.enabled {
		ops.Flags |= OpsRemoving
		c.removed, ops.old = ops, *ops.hash
		c.updateCode(cmd)
		c.checkAllClean()
		ops.old, c.removed = hashes{}, nil
		ops.Flags &^= OpsRemoving
	}
	if ops.Has(OpsDynamic) {
		c.Grace("before the trampoline of " + ops.Name + " is freed")
	}
	c.freeTrampoline(ops)
	return nil
}

// checkAllClean kills ftrace if a record is not clean though nothing is
// registered.
//
// As the kernel: a flag that stayed on a record which was given up while
// ftrace_enabled was 0 is found here, when an ops that has nothing to do with
// it leaves.
func (c *Core) checkAllClean() {
	if len(c.list) > 0 {
		return
	}
	c.Records(func(rec *Record) bool {
		if rec.Count != 0 || rec.Flags&^RecDisabled != 0 {
			c.warnOnce("ftrace_shutdown", "not-clean", "nothing is registered and %s has count %d, flags %s", c.siteName(rec.IP), rec.Count, rec.Flags)
			c.kill()
		}
		return true
	})
}

// SetEnabled writes the sysctl kernel.ftrace_enabled (ftrace_enable_sysctl).
func (c *Core) SetEnabled(on bool) error {
	return c.run("ftrace_enable_sysctl", nil, func() error {
		c.Acquire(&c.FtraceLock)
		defer c.Release(&c.FtraceLock)
		if c.disabled {
			return c.refuse(ENODEV, "", "ftrace is disabled since it killed itself").because(killed)
		}
		c.enabled = on
		if c.lastEn == on {
			return nil
		}
		if on {
			if len(c.list) > 0 {
				c.updateTraceFunction()
			}
			c.savedFunc = nil // so that the static trampolines are written in any case
			if c.startUp > 0 {
				c.startupEnable(updateCalls)
			}
		} else {
			if owners := c.permanent(); owners != nil {
				c.enabled = true
				return c.refuseOwned(EBUSY, "", owners, "a PERMANENT ops is registered, so kernel.ftrace_enabled stays 1")
			}
			c.traceFunc = c.stubFunc
			if c.startUp > 0 {
				c.updateCode(disableCalls)
			}
		}
		c.lastEn = on
		return nil
	})
}

func (c *Core) permanent() (owners []string) {
	for _, op := range c.list {
		if op.Has(OpsPermanent) {
			owners = append(owners, op.Name)
		}
	}
	return owners
}
