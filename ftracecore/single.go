package ftracecore

import "slices"

// The older API for direct callers, one site at a time through one global ops
// without ops_func (register_ftrace_direct of v5.5 to v6.3).

// A directFunc counts the sites that were given one direct function
// (struct ftrace_direct_func).
type directFunc struct {
	addr  uint64
	count int
}

func (c *Core) findDirectFunc(addr uint64) *directFunc {
	for _, d := range c.directFuncs {
		if d.addr == addr {
			return d
		}
	}
	return nil
}

func (c *Core) addDirectFunc(addr uint64) *directFunc {
	d := &directFunc{addr: addr}
	c.directFuncs = slices.Insert(c.directFuncs, 0, d)
	return d
}

func (c *Core) dropDirectFunc(d *directFunc) {
	c.directFuncs = slices.DeleteFunc(c.directFuncs, func(x *directFunc) bool { return x == d })
}

// RegisterDirect makes the site that ip stands for call addr
// (register_ftrace_direct).
func (c *Core) RegisterDirect(ip, addr uint64) error {
	const fn = "register_ftrace_direct"
	return c.run(fn, c.directOps, func() error {
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
		loc := c.Location(ip)
		if loc == 0 {
			return c.refuse(ENODEV, "", "%s is no ftrace site", c.symbolic(ip, false))
		}
		if c.direct.Has(loc) {
			return c.directTaken(loc, nil)
		}
		if c.record(loc).Has(RecDirect) {
			c.warn(fn, "%s is direct and has no direct function", c.siteName(loc))
			return c.refuse(ENODEV, c.siteName(loc), "its record says direct and the table has no entry")
		}
		d := c.findDirectFunc(addr)
		if d == nil {
			d = c.addDirectFunc(addr)
		}
		c.addDirect(loc, addr)
		err := c.setFilterIPs(c.directOps, []uint64{loc}, false, false)
		if err == nil && !c.directOps.Has(OpsEnabled) {
			if err = c.registerNolock(c.directOps); err != nil {
				_ = c.setFilterIPs(c.directOps, []uint64{loc}, true, false)
			}
		}
		if err != nil {
			c.direct.remove(loc)
			if d.count == 0 {
				c.dropDirectFunc(d)
			}
			return err
		}
		d.count++
		return nil
	})
}

// findDirectEntry finds the table's entry for a site (find_direct_entry).
func (c *Core) findDirectEntry(ip uint64) (*Record, *hashEntry) {
	const fn = "find_direct_entry"
	rec := c.lookup(ip, ip)
	if rec == nil {
		return nil, nil
	}
	e := c.direct.find(rec.IP)
	switch {
	case e == nil && rec.Has(RecDirect):
		c.warn(fn, "%s is direct and has no direct function", c.siteName(rec.IP))
	case e != nil && !rec.Has(RecDirect):
		c.warn(fn, "%s has a direct function and is not direct", c.siteName(rec.IP))
	}
	return rec, e
}

// UnregisterDirect takes the direct function of a site away
// (unregister_ftrace_direct).
//
// As the kernel: addr is not compared with the function that the site has, and
// a function that a multi ops registered is removed from the table as well.
func (c *Core) UnregisterDirect(ip, addr uint64) error {
	const fn = "unregister_ftrace_direct"
	return c.run(fn, c.directOps, func() error {
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
		loc := c.Location(ip)
		if loc == 0 {
			return c.refuse(ENODEV, "", "%s is no ftrace site", c.symbolic(ip, false))
		}
		rec, e := c.findDirectEntry(loc)
		if e == nil {
			return c.refuse(ENODEV, c.siteName(rec.IP), "it has no direct function")
		}
		if c.directOps.Filter() == nil {
			return c.oops(fn, "register_ftrace_direct was never called, so direct_ops has no hash, and %s is direct through another ops", c.siteName(loc))
		}
		if c.directOps.Filter().Count() == 1 {
			// As the kernel: whichever site that one is.
			_ = c.unregister(c.directOps)
		}
		err := c.setFilterIPs(c.directOps, []uint64{loc}, true, false)
		if err != nil {
			c.warn(fn, "%s is not in the filter of direct_ops", c.siteName(loc))
		}
		c.direct.remove(loc)
		d := c.findDirectFunc(addr)
		if d == nil {
			c.warn(fn, "no site was given a direct function at %#x", addr)
			return err
		}
		if d.count--; d.count == 0 {
			c.dropDirectFunc(d)
		}
		return err
	})
}

// ModifyDirect makes a site that calls old call addr (modify_ftrace_direct).
func (c *Core) ModifyDirect(ip, old, addr uint64) error {
	const fn = "modify_ftrace_direct"
	return c.run(fn, c.directOps, func() error {
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
		c.Acquire(&c.FtraceLock)
		defer c.Release(&c.FtraceLock)
		loc := c.Location(ip)
		if loc == 0 {
			return c.refuse(ENODEV, "", "%s is no ftrace site", c.symbolic(ip, false))
		}
		rec, e := c.findDirectEntry(loc)
		if e == nil {
			return c.refuse(ENODEV, c.siteName(rec.IP), "it has no direct function")
		}
		if e.direct != old {
			return c.refuse(EINVAL, c.siteName(loc), "its direct function is at %#x, not at %#x", e.direct, old)
		}
		from := c.findDirectFunc(old)
		if from == nil {
			c.warn(fn, "no site was given a direct function at %#x", old)
			return c.refuse(EINVAL, c.siteName(loc), "its direct function is not one of register_ftrace_direct")
		}
		var to *directFunc
		if from.count > 1 {
			to = c.addDirectFunc(addr)
			from.count--
			to.count++
		} else {
			from.addr = addr
		}
		if rec.Count != 1 {
			e.direct = addr
			return nil
		}
		err := c.modifyDirectCaller(loc, addr)
		if err != nil {
			if to != nil {
				c.dropDirectFunc(to)
				from.count++
			} else {
				from.addr = old
			}
		}
		return err
	})
}

// modifyDirectCaller changes the direct function of a site that nobody else
// has, under the cover of stub_ops (ftrace_modify_direct_caller). ftrace_lock is
// given up meanwhile.
func (c *Core) modifyDirectCaller(loc, addr uint64) error {
	c.Release(&c.FtraceLock)
	defer c.Acquire(&c.FtraceLock)
	if err := c.setFilterIPs(c.stubOps, []uint64{loc}, false, false); err != nil {
		return err
	}
	defer func() { _ = c.setFilterIPs(c.stubOps, []uint64{loc}, true, false) }()
	if err := c.registerNolock(c.stubOps); err != nil {
		return err
	}
	if e := c.direct.find(loc); e != nil {
		e.direct = addr
	}
	_ = c.unregister(c.stubOps)
	return nil
}
