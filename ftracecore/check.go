package ftracecore

// What has to be done with a record's code (FTRACE_UPDATE_*).
type action uint8

const (
	ignore     action = iota
	makeCall          // nop to call
	modifyCall        // call to another call
	makeNop           // call to nop
)

// checkRecord tells what has to be done with the code of rec, all sites being
// switched on or, with enable false, off. With update it also marks it as done
// (ftrace_check_record).
func (c *Core) checkRecord(rec *Record, enable, update bool) action {
	if rec.Has(RecDisabled) && !rec.Has(RecEnabled) {
		return ignore
	}
	// The bits that must change, or ENABLED alone where nothing but the call
	// itself is wanted.
	var want RecFlags
	if enable && rec.Count > 0 {
		want = RecEnabled
		if rec.Has(RecRegs) != rec.Has(RecRegsEn) {
			want |= RecRegs
		}
		if rec.Has(RecTramp) != rec.Has(RecTrampEn) {
			want |= RecTramp
		}
		// Only a direct function that is alone is called by the site itself.
		if rec.Count == 1 && rec.Has(RecDirect) != rec.Has(RecDirectEn) || rec.Count != 1 && rec.Has(RecDirectEn) {
			want |= RecDirect
		}
	}
	if rec.Flags&RecEnabled == want {
		return ignore
	}
	if want == 0 {
		if update {
			if rec.Count == 0 {
				rec.Flags &= RecDisabled
			} else {
				rec.Flags &^= RecEnabled | RecTrampEn | RecRegsEn | RecDirectEn
			}
		}
		return makeNop
	}
	wasOff := !rec.Has(RecEnabled)
	if update {
		rec.Flags |= RecEnabled
		if want&RecRegs != 0 {
			rec.copyFlag(RecRegs, RecRegsEn)
		}
		if want&RecTramp != 0 {
			rec.copyFlag(RecTramp, RecTrampEn)
		}
		if want&RecDirect != 0 {
			if rec.Count == 1 {
				rec.copyFlag(RecDirect, RecDirectEn)
			} else {
				rec.Flags &^= RecDirectEn
			}
		}
	}
	if wasOff {
		return makeCall
	}
	return modifyCall
}

func (r *Record) copyFlag(from, to RecFlags) {
	if r.Has(from) {
		r.Flags |= to
	} else {
		r.Flags &^= to
	}
}

// newTarget is what the site should call, by its wanted flags
// (ftrace_get_addr_new).
func (c *Core) newTarget(rec *Record) uint64 {
	const fn = "ftrace_get_addr_new"
	if rec.Has(RecDirect) && rec.Count == 1 {
		if addr, ok := c.DirectFunction(rec.IP); ok {
			return addr
		}
		c.warnOnce(fn, "new-direct", "%s is direct and has no direct function", c.siteName(rec.IP))
	}
	if rec.Has(RecTramp) {
		for _, op := range c.list {
			if !op.Covers(rec.IP) {
				continue
			}
			if op.Trampoline == 0 {
				break
			}
			return op.Trampoline
		}
		c.warnKill(fn, "bad trampoline accounting at %s", c.siteName(rec.IP))
		return c.addr.FtraceCaller
	}
	return c.staticCaller(rec.Has(RecRegs))
}

// currentTarget is what the site calls now, by its installed flags and the
// hashes that were in force when it was patched (ftrace_get_addr_curr).
func (c *Core) currentTarget(rec *Record) uint64 {
	const fn = "ftrace_get_addr_curr"
	if rec.Has(RecDirectEn) {
		if addr, ok := c.DirectFunction(rec.IP); ok {
			return addr
		}
		c.warnOnce(fn, "curr-direct", "%s calls a direct function that is not in the table", c.siteName(rec.IP))
	}
	if rec.Has(RecTrampEn) {
		if op := c.currentOps(rec); op != nil {
			return op.Trampoline
		}
		c.warnKill(fn, "bad trampoline accounting at %s", c.siteName(rec.IP))
		return c.addr.FtraceCaller
	}
	return c.staticCaller(rec.Has(RecRegsEn))
}

// currentOps finds the ops whose trampoline the site calls now
// (ftrace_find_tramp_ops_curr).
func (c *Core) currentOps(rec *Record) *Ops {
	if c.removed != nil && c.removed.old.covers(rec.IP) {
		return c.removed
	}
	for _, op := range c.list {
		switch {
		case op.Trampoline == 0 || op.Has(OpsAdding):
		case op.Has(OpsModifying) && op.old.covers(rec.IP):
			return op
		case !op.Has(OpsModifying) && op.Covers(rec.IP):
			return op
		}
	}
	return nil
}

func (c *Core) staticCaller(regs bool) uint64 {
	if regs {
		return c.addr.FtraceRegsCaller
	}
	return c.addr.FtraceCaller
}
