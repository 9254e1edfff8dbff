package ftracecore

import (
	"errors"
	"fmt"

	"ftemu/patcher"
	"ftemu/x86"
)

// What a code update is to do (FTRACE_*).
type command uint8

const (
	updateCalls     command = 1 << iota // bring every site in line with its record
	disableCalls                        // turn every site into a nop
	updateTraceFunc                     // make the static trampolines call ftrace_trace_function
)

// updateCode carries a command out (ftrace_run_update_code). The list function
// serves as a bridge: while sites change, the static trampolines call it,
// because it asks every ops whether it covers the site.
func (c *Core) updateCode(cmd command) {
	c.Acquire(&c.TextMutex)
	defer c.Release(&c.TextMutex)
	if cmd&updateTraceFunc != 0 && !c.setTraceFunc(c.listFunc) {
		return
	}
	switch {
	case cmd&updateCalls != 0:
		c.replaceCode(true)
	case cmd&disableCalls != 0:
		c.replaceCode(false)
	}
	if cmd&updateTraceFunc != 0 && c.traceFunc != c.listFunc {
		c.setTraceFunc(c.traceFunc)
	}
}

// setTraceFunc makes the code of the static trampolines call fn.
func (c *Core) setTraceFunc(fn *Func) bool {
	if err := c.tramps.SetTraceFunction(fn); err != nil {
		c.warnKill("ftrace_modify_all_code", "the static trampolines could not be changed: %v", err)
		return false
	}
	c.textFunc = fn
	if c.explain {
		c.step("ftrace_caller and ftrace_regs_caller call %s", c.symbolic(fn.Addr, false))
	}
	return true
}

// replaceCode brings the code of all sites in line with their records
// (ftrace_replace_code of x86): first everything is verified, then everything
// is written.
func (c *Core) replaceCode(enable bool) {
	// Most updates change as many sites as the one before.
	recs := make([]*Record, 0, c.updated)
	changes := make([]patcher.Change, 0, c.updated)
	c.Records(func(rec *Record) bool {
		act := c.checkRecord(rec, enable, false)
		if act == ignore {
			return true
		}
		old := x86.Nop5
		if act != makeCall {
			old = c.callBytes(rec.IP, c.currentTarget(rec))
		}
		recs = append(recs, rec)
		changes = append(changes, patcher.Change{IP: rec.IP, Old: old})
		return true
	})
	if len(recs) == 0 {
		return
	}
	c.updated = len(recs)
	if err := c.text.Verify(changes); err != nil {
		c.warn("ftrace_verify_code", "%v", err)
		c.bug(err)
		return
	}
	w := c.newWalk()
	for i, rec := range recs {
		changes[i].New = x86.Nop5
		if c.checkRecord(rec, enable, false) != makeNop {
			// The address first, then the record: it follows from the flags
			// as they were.
			changes[i].New = c.callBytes(rec.IP, c.newTarget(rec))
		}
		c.checkRecord(rec, enable, true)
		if w != nil {
			w.note("%s to %s", c.siteName(rec.IP), c.siteText(changes[i]))
		}
	}
	c.stepWalk(w, "patch %s")
	if err := c.text.Apply(changes); err != nil {
		c.bug(err)
	}
}

// callBytes returns the bytes of a call at a site. A target out of reach gives
// the truncated displacement, as the kernel's text_gen_insn would.
func (c *Core) callBytes(ip, target uint64) x86.Bytes5 {
	b, _ := x86.EncodeCall(ip, target)
	return b
}

// bug reports that a site could not be changed and kills ftrace (ftrace_bug).
func (c *Core) bug(err error) {
	var b *patcher.Bug
	if errors.As(err, &b) {
		if rec := c.record(b.IP); rec != nil {
			// The report says what the site should be calling, and to find
			// that out may be a WARN once more.
			c.currentTarget(rec)
		}
		c.warnKill("ftrace_bug", "site %s: found % x, expected % x", c.siteName(b.IP), b.Actual, b.Expected)
		return
	}
	c.warnKill("ftrace_bug", "%v", err)
}

// siteText is the new instruction of a site, for messages.
func (c *Core) siteText(ch patcher.Change) string {
	form, target := x86.ParseSite(ch.New, ch.IP)
	if form != x86.FormCall {
		return form.String()
	}
	for _, op := range c.list {
		if op.Trampoline == target && op.Has(OpsAllocTramp) {
			return fmt.Sprintf("call the trampoline of %q", op.Name)
		}
	}
	return "call " + c.symbolic(target, false)
}
