package ftracecore

// The design proposed on 15 July 2022 and never merged: everything happens
// inside the registration. ftrace_lock is dropped around the callback of the
// owner in the way, taken again, and the whole is repeated until nothing
// changed meanwhile ("wash, rinse, repeat"). It is a reconstruction from the
// discussion.

// maxRinse bounds the repetition; a registration that does not come to rest
// fails with -EAGAIN.
const maxRinse = 8

// RinseRepeatDesign is the form in which every IPMODIFY registration holds
// direct_mutex.
func RinseRepeatDesign() Design {
	return rinseRepeat("rinse-repeat", "ftrace_lock is dropped, owners are called, and all is looked at again; IPMODIFY registrations hold direct_mutex", func(ops *Ops) bool { return ops.Has(OpsIPModify) }, false)
}

// RinseRepeatNoDirectMutexDesign is the form in which direct_mutex is taken only
// when ftrace_lock has been dropped and an owner is to be called.
func RinseRepeatNoDirectMutexDesign() Design {
	return rinseRepeat("rinse-repeat-no-direct-mutex", "the same, with direct_mutex taken only while owners are called", func(*Ops) bool { return false }, false)
}

// RinseRepeatGuardedDesign is RinseRepeatDesign where modifying an ops whose
// registration has not returned changes the table of direct functions and no
// code.
func RinseRepeatGuardedDesign() Design {
	return rinseRepeat("rinse-repeat-guarded", "rinse-repeat, but to modify what is not registered yet changes no code", func(ops *Ops) bool { return ops.Has(OpsIPModify) }, true)
}

func rinseRepeat(name, about string, locksDirect func(*Ops) bool, guarded bool) Design {
	return Design{
		name:            name,
		about:           about,
		Protocol:        UpdateInPlace,
		locksDirect:     locksDirect,
		swapWhileAdding: guarded,
		prepare:         func(*Core, *Ops) error { return nil },
		cleanup:         func(*Core, *Ops) error { return nil },
		// Everything was settled by negotiate, under this same ftrace_lock.
		directMeetsIPModify: func(*Core, *Ops, *Record) error { return nil },
		negotiate:           func(c *Core, ops *Ops) error { return c.rinse(ops, locksDirect(ops)) },
	}
}

// A conflict is a site where ops meets another, and whom to ask about it.
type conflict struct {
	ip  uint64
	who *Ops
	cmd Command
}

// conflicts finds where ops meets direct functions or IPMODIFY, in the order of
// the records.
func (c *Core) conflicts(ops *Ops) (found []conflict) {
	filter := ops.Filter()
	if filter.Empty() || !ops.Has(OpsIPModify) && !ops.Has(OpsDirect) {
		return nil
	}
	c.Records(func(rec *Record) bool {
		switch {
		case !filter.Has(rec.IP):
		case ops.Has(OpsDirect):
			if rec.Has(RecIPModify) {
				found = append(found, conflict{rec.IP, ops, EnableSelf})
			}
		default:
			for _, op := range c.list {
				if op != ops && op.Has(OpsDirect|OpsEnabled) && op.Covers(rec.IP) {
					found = append(found, conflict{rec.IP, op, EnablePeer})
				}
			}
		}
		return true
	})
	return found
}

// rinse asks everybody whom ops is in conflict with, without ftrace_lock, until
// a look under the lock finds nobody new. direct tells whether the caller holds
// direct_mutex, as registrations of direct ops always do.
func (c *Core) rinse(ops *Ops, direct bool) error {
	direct = direct || ops.Has(OpsDirect)
	capable := make(map[*Ops]bool)
	for range maxRinse {
		var ask []conflict
		for _, x := range c.conflicts(ops) {
			if !capable[x.who] {
				ask = append(ask, x)
			}
		}
		if len(ask) == 0 {
			return nil
		}
		c.Release(&c.FtraceLock)
		err := c.askAll(ask, capable, direct)
		c.Acquire(&c.FtraceLock)
		if err != nil {
			return err
		}
	}
	return c.refuse(EAGAIN, "", "others kept changing: gave up after %d rounds", maxRinse)
}

// askAll asks the owners in ask, with direct_mutex held.
func (c *Core) askAll(ask []conflict, capable map[*Ops]bool, direct bool) error {
	if !direct {
		c.Acquire(&c.DirectMutex)
		defer c.Release(&c.DirectMutex)
	}
	for _, x := range ask {
		if capable[x.who] {
			continue
		}
		if x.who.OpsFunc == nil {
			return c.refuseOwned(EBUSY, c.siteName(x.ip), []string{x.who.Name}, "the owner of the direct function has no ops_func")
		}
		if ret := c.ask(x.who, x.cmd, x.ip); ret != 0 {
			return c.answered(ret, x.ip, []string{x.who.Name}, x.who, x.cmd)
		}
		capable[x.who] = true
	}
	return nil
}
