package ftracecore

// SetFilterIP adds the site that ip stands for to the filter of ops, or removes
// it (ftrace_set_filter_ip). reset begins with an empty filter. On a registered
// ops the change takes effect at once.
func (c *Core) SetFilterIP(ops *Ops, ip uint64, remove, reset bool) error {
	return c.setFilterAddrs("ftrace_set_filter_ip", ops, []uint64{ip}, remove, reset)
}

// SetFilterIPs is SetFilterIP for several sites: all or none (ftrace_set_filter_ips).
func (c *Core) SetFilterIPs(ops *Ops, ips []uint64, remove, reset bool) error {
	return c.setFilterAddrs("ftrace_set_filter_ips", ops, ips, remove, reset)
}

func (c *Core) setFilterAddrs(api string, ops *Ops, ips []uint64, remove, reset bool) error {
	return c.run(api, ops, func() error { return c.setFilterIPs(ops, ips, remove, reset) })
}

func (c *Core) setFilterIPs(ops *Ops, ips []uint64, remove, reset bool) error {
	ops.init()
	return c.setHash(ops, true, reset, func(h *Hash) error {
		for _, ip := range ips {
			if err := c.matchAddr(h, ip, remove); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetFilter adds the functions that pattern names to the filter of ops
// (ftrace_set_filter). The pattern is a word as set_ftrace_filter takes it,
// "!" in front to remove. The empty pattern adds none, so that with reset the
// filter becomes empty, which selects all functions.
func (c *Core) SetFilter(ops *Ops, pattern string, reset bool) error {
	return c.run("ftrace_set_filter", ops, func() error {
		ops.init()
		return c.setHash(ops, true, reset, func(h *Hash) error { return c.matchRecords(h, pattern) })
	})
}

// SetNotrace is SetFilter for the functions that ops leaves out
// (ftrace_set_notrace).
func (c *Core) SetNotrace(ops *Ops, pattern string, reset bool) error {
	return c.run("ftrace_set_notrace", ops, func() error {
		ops.init()
		return c.setHash(ops, false, reset, func(h *Hash) error { return c.matchRecords(h, pattern) })
	})
}

// matchAddr enters the site that ip stands for into h, or takes it out
// (__ftrace_match_addr).
func (c *Core) matchAddr(h *Hash, ip uint64, remove bool) error {
	loc := c.Location(ip)
	switch {
	case loc == 0:
		return c.refuse(EINVAL, "", "%s is no ftrace site", c.symbolic(ip, false))
	case remove && !h.Has(loc):
		return c.refuse(ENOENT, c.siteName(loc), "it is not in the filter")
	case remove:
		h.remove(loc)
	case !h.Has(loc):
		h.add(loc, 0)
	}
	return nil
}

// matchRecords enters the sites whose function the pattern names into h, or
// takes them out (ftrace_match_records).
func (c *Core) matchRecords(h *Hash, word string) error {
	if word == "" {
		return nil
	}
	pattern, not := word, false
	if word[0] == '!' {
		pattern, not = word[1:], true
	}
	match := compileGlob(pattern)
	found := false
	c.Records(func(rec *Record) bool {
		if rec.Has(RecDisabled) {
			return true
		}
		s, ok := c.kallsyms(rec.IP)
		if !ok || !match(s.Name) {
			return true
		}
		found = true
		switch {
		case not:
			h.remove(rec.IP)
		case !h.Has(rec.IP):
			h.add(rec.IP, 0)
		}
		return true
	})
	if !found {
		return c.refuse(EINVAL, "", "no traceable function matches %q", pattern)
	}
	return nil
}

// setHash changes the filter of ops, or with filter false its notrace hash
// (ftrace_set_hash). edit works on a copy.
func (c *Core) setHash(ops *Ops, filter, reset bool, edit func(*Hash) error) error {
	if c.disabled {
		return c.refuse(ENODEV, "", "ftrace is disabled since it killed itself").because(killed)
	}
	c.Acquire(&ops.regexLock)
	defer c.Release(&ops.regexLock)
	dst := &ops.hash.filter
	if !filter {
		dst = &ops.hash.notrace
	}
	working := newHash(hashDefaultBits)
	if !reset && *dst != nil {
		working = (*dst).resized(hashDefaultBits)
	}
	if err := edit(working); err != nil {
		return err
	}
	c.Acquire(&c.FtraceLock)
	defer c.Release(&c.FtraceLock)
	before := *ops.hash
	if err := c.hashMove(ops, filter, dst, working); err != nil {
		return err
	}
	if c.enabled && ops.Has(OpsEnabled) {
		ops.Flags |= OpsModifying
		ops.old = before
		c.updateCode(updateCalls)
		ops.old = hashes{}
		ops.Flags &^= OpsModifying
	}
	return nil
}

// hashMove puts working in force as the hash at dst and counts the records anew
// (ftrace_hash_move).
func (c *Core) hashMove(ops *Ops, filter bool, dst **Hash, working *Hash) error {
	if ops.Has(OpsIPModify) && !filter {
		return c.refuse(EINVAL, "", "ops %q is IPMODIFY, which may not have a notrace hash", ops.Name).
			because("Who takes a function over must name it, and may not name what to leave out.")
	}
	installed := working.installed()
	if filter {
		// As the kernel: the owners of direct functions are not asked here, so
		// that a live filter moves an IPMODIFY ops onto their sites unseen.
		if err := c.ipmodifyUpdate(ops, installed); Ret(err) < 0 {
			leaves(err, "%q keeps the filter that it had.", ops.Name)
			return err
		}
		if c.explain && !installed.Empty() {
			c.step("the filter of %q: %s", ops.Name, c.siteNames(installed))
		} else {
			c.step("the filter of %q is empty, which selects all functions", ops.Name)
		}
	}
	c.hashRecUpdate(ops, !filter, false)
	*dst = installed
	c.hashRecUpdate(ops, !filter, true)
	return nil
}
