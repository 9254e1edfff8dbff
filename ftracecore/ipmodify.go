package ftracecore

// ipmodifyEnable marks the sites of ops as IPMODIFY, or for a direct ops asks
// its owner whether it can share with the IPMODIFY ops that are there
// (ftrace_hash_ipmodify_enable).
func (c *Core) ipmodifyEnable(ops *Ops) error {
	return c.hashUpdateIPModify(ops, emptyHash(), nilIfEmpty(ops.Filter()), false)
}

// negotiateAndMark lets the design talk to owners of direct functions first,
// where it does so at this point, and then marks the sites.
func (c *Core) negotiateAndMark(ops *Ops) error {
	if c.design.negotiate != nil {
		if err := c.design.negotiate(c, ops); Ret(err) < 0 {
			return err
		}
	}
	return c.ipmodifyEnable(ops)
}

// ipmodifyDisable takes the marks away. It cannot fail.
func (c *Core) ipmodifyDisable(ops *Ops) {
	_ = c.hashUpdateIPModify(ops, nilIfEmpty(ops.Filter()), emptyHash(), false)
}

// ipmodifyUpdate moves the marks when the filter of ops becomes next.
func (c *Core) ipmodifyUpdate(ops *Ops, next *Hash) error {
	return c.hashUpdateIPModify(ops, nilIfEmpty(ops.Filter()), nilIfEmpty(next), false)
}

// nilIfEmpty turns the filter that selects all functions into the nil that
// means so in hashUpdateIPModify, where an empty hash means none.
func nilIfEmpty(h *Hash) *Hash {
	if h.Empty() {
		return nil
	}
	return h
}

// hashUpdateIPModify is where IPMODIFY and direct ops meet
// (__ftrace_hash_update_ipmodify). A nil hash selects all functions.
// updateTarget says that ops is a direct ops about to call something else from
// the sites it has, so that its owner must be asked again.
//
// As the kernel: an IPMODIFY ops that comes second does not look for direct
// functions here; their owners were asked before, and only by a registration.
func (c *Core) hashUpdateIPModify(ops *Ops, old, next *Hash, updateTarget bool) error {
	const fn = "__ftrace_hash_update_ipmodify"
	isIPModify, isDirect := ops.Has(OpsIPModify), ops.Has(OpsDirect)
	switch {
	case !ops.Has(OpsEnabled), !isIPModify && !isDirect:
		return nil
	case isIPModify && isDirect:
		c.warnOnce(fn, "both", "ops %q is both IPMODIFY and DIRECT", ops.Name)
		return nil
	case old == nil || next == nil:
		kind := "IPMODIFY"
		if isDirect {
			kind = "DIRECT"
		}
		return c.refuse(EINVAL, "", "ops %q is %s, which may not select all functions", ops.Name, kind).because(allFunctions)
	}
	var err error
	var taken *Record
	w := c.newWalk()
	c.Records(func(rec *Record) bool {
		if rec.Has(RecDisabled) {
			return true
		}
		inOld, inNext := old.Has(rec.IP), next.Has(rec.IP)
		if inOld == inNext && !updateTarget || !inOld && !inNext {
			return true
		}
		switch {
		case !inNext:
			if isIPModify {
				rec.Flags &^= RecIPModify
				if w != nil {
					w.note("%s no longer marked", c.siteName(rec.IP))
				}
			}
		case !rec.Has(RecIPModify):
			if w != nil {
				w.note("%s free", c.siteName(rec.IP))
			}
			if isIPModify {
				rec.Flags |= RecIPModify
			}
		case isIPModify:
			if w != nil {
				w.note("%s taken by %s", c.siteName(rec.IP), ownerNames(c.ipmodifyOwners(rec.IP, ops)))
			}
			taken = rec
			return false
		default:
			if !updateTarget && rec.Has(RecDirect) {
				c.warnKill(fn, "%s has a direct function already and gets another one while shared", c.siteName(rec.IP))
			}
			if w != nil {
				w.note("%s taken by %s", c.siteName(rec.IP), ownerNames(c.ipmodifyOwners(rec.IP, ops)))
				c.stepWalk(w, walkText+ops.quoted())
				w = c.newWalk()
			}
			if err = c.design.directMeetsIPModify(c, ops, rec); err != nil {
				return false
			}
		}
		return true
	})
	c.stepWalk(w, walkText+ops.quoted())
	if taken == nil {
		return err
	}
	err = c.refuseOwned(EBUSY, c.siteName(taken.IP), c.ipmodifyOwners(taken.IP, ops), "it already has IPMODIFY").
		because("Only one ops may change where a function continues. A livepatch is such an ops, and so is a kprobe with a post handler.")
	w = c.newWalk()
	c.Records(func(rec *Record) bool {
		if rec == taken {
			return false
		}
		if inOld, inNext := old.Has(rec.IP), next.Has(rec.IP); !rec.Has(RecDisabled) && inOld != inNext {
			if inNext {
				rec.Flags &^= RecIPModify
			} else {
				rec.Flags |= RecIPModify
			}
			if w != nil {
				w.note("%s", c.siteName(rec.IP))
			}
		}
		return true
	})
	c.stepWalk(w, "IPMODIFY: put %s back as before")
	return err
}

// walkText begins the step that tells which records were walked.
const walkText = "IPMODIFY: walk the records in the filter of "

// allFunctions is why some ops need a filter.
const allFunctions = "A filter that is empty selects all functions, and who takes a function over must name it."

// ipmodifyOwners names the registered IPMODIFY ops that cover ip, other than not.
func (c *Core) ipmodifyOwners(ip uint64, not *Ops) []string {
	return c.owners(ip, OpsIPModify, not)
}

func (c *Core) owners(ip uint64, flag OpsFlags, not *Ops) (names []string) {
	for _, op := range c.list {
		if op != not && op.Has(flag|OpsEnabled) && op.Covers(ip) {
			names = append(names, op.Name)
		}
	}
	return names
}
