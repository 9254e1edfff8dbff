package ftracecore

// hashRecUpdate counts ops in or out of every record that it covers
// (__ftrace_hash_rec_update). It tells whether the code of some record has to
// change. inc counts in.
//
// The kernel has a second mode, for changes of the notrace hash, which counts
// the records of that hash alone the other way round; notrace selects it.
func (c *Core) hashRecUpdate(ops *Ops, notrace, inc bool) (update bool) {
	if !ops.Has(OpsEnabled) {
		return false
	}
	match := ops.Covers
	if notrace {
		inc = !inc
		excluded, filter := ops.Notrace(), ops.Filter()
		if excluded.Empty() {
			return false
		}
		match = func(ip uint64) bool {
			return excluded.Has(ip) && (filter.Empty() || filter.Has(ip))
		}
	}
	w := c.newWalk()
	c.Records(func(rec *Record) bool {
		if rec.Has(RecDisabled) && !rec.Has(RecEnabled) || !match(rec.IP) {
			return true
		}
		before := rec.Flags
		if inc {
			if rec.Count == MaxRefs {
				c.warnKill("__ftrace_hash_rec_update", "the reference count of %s overflows", c.siteName(rec.IP))
				return false
			}
			c.countIn(rec, ops)
		} else {
			if rec.Count == 0 {
				c.warnKill("__ftrace_hash_rec_update", "the reference count of %s would go below 0", c.siteName(rec.IP))
				return false
			}
			c.countOut(rec, ops)
		}
		if w != nil {
			w.note("%s now %d%s", c.siteName(rec.IP), rec.Count, flagChange(before, rec.Flags))
		}
		if c.checkRecord(rec, true, false) != ignore {
			update = true
		}
		return true
	})
	if inc {
		c.stepWalk(w, "count "+ops.quoted()+" in at %s")
	} else {
		c.stepWalk(w, "count "+ops.quoted()+" out at %s")
	}
	return update
}

func (c *Core) countIn(rec *Record, ops *Ops) {
	rec.Count++
	if ops.Has(OpsDirect) {
		rec.Flags |= RecDirect
	}
	if rec.Count == 1 && ops.Trampoline != 0 {
		rec.Flags |= RecTramp
	} else {
		rec.Flags &^= RecTramp
	}
	if ops.Has(OpsSaveRegs) {
		rec.Flags |= RecRegs
	}
}

func (c *Core) countOut(rec *Record, ops *Ops) {
	rec.Count--
	if ops.Has(OpsDirect) {
		// As the kernel: also where another direct ops covers the site.
		rec.Flags &^= RecDirect
	}
	if rec.Count > 0 && rec.Has(RecRegs) && ops.Has(OpsSaveRegs) && !c.needsRegs(rec) {
		rec.Flags &^= RecRegs
	}
	if rec.Count == 1 && c.trampolineOfOther(rec.IP, ops) != nil {
		rec.Flags |= RecTramp
	} else {
		rec.Flags &^= RecTramp
	}
}

// needsRegs tells whether a listed ops that covers the record wants registers
// (test_rec_ops_needs_regs).
//
// As the kernel: during a live change of a hash the ops that leaves is still
// listed and its old hash is still in force, so that the flag stays set.
func (c *Core) needsRegs(rec *Record) bool {
	for _, op := range c.list {
		if op.Has(OpsSaveRegs) && op.Covers(rec.IP) {
			return true
		}
	}
	return false
}

// trampolineOfOther finds the first listed ops other than not that covers ip and
// has a trampoline (ftrace_find_tramp_ops_any_other).
func (c *Core) trampolineOfOther(ip uint64, not *Ops) *Ops {
	for _, op := range c.list {
		if op != not && op.Trampoline != 0 && op.Covers(ip) {
			return op
		}
	}
	return nil
}
