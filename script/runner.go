// Package script is the scenario language: one verb a line, a strict superset of
// the language in which a real kernel was recorded. A scenario is parsed whole
// ([Parse]), so that every name and number in it is known to be good, and then
// run line by line against a lab ([Runner]), each line giving a [Result].
package script

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ftemu"
	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/x86"
)

// A Runner runs one script on one lab.
type Runner struct {
	lab      *ftemu.Lab
	script   *Script
	sites    []uint64 // to report, in the order of sites=
	clients  []*client
	singles  []single // sites that the single-ip API made direct, in order
	progs    []prog   // BPF programs
	attached []attachment
	res      *Result
	prev     *Result
	ended    bool
}

// A client is an ops of the script.
type client struct {
	id          string
	direct      bool // of kind direct
	ops         *ftracecore.Ops
	owner       *owner
	redirecting bool
	redirect    map[uint64]uint64 // by site: where the callback takes the call to
}

// A single is a use of the single-ip API.
type single struct {
	ip    uint64
	tramp string
}

// NewRunner makes a lab for the script. opt.Guest and opt.Observer are the
// script's to set.
func NewRunner(s *Script, opt ftemu.Options) (*Runner, error) {
	r := &Runner{script: s}
	opt.CPUs = max(opt.CPUs, s.CPUs())
	opt.Guest = s.Guest
	opt.Observer = r
	lab, err := ftemu.New(opt)
	if err != nil {
		return nil, err
	}
	r.lab = lab
	return r, nil
}

// Lab is the lab that the script runs on.
func (r *Runner) Lab() *ftemu.Lab { return r.lab }

// Close ends the lab.
func (r *Runner) Close() { r.lab.Close() }

// Run runs one step. After an oops only steps that want something may run.
func (r *Runner) Run(s Step) *Result {
	res := &Result{Op: s.Text, Line: s.Line, Want: s.Wants()}
	if r.prev != nil {
		res.Before, res.BeforeBPF, res.BeforeMore = r.prev.Sites, r.prev.BPF, r.prev.More
	}
	r.res = res
	s.run(r)
	res.Warnings = r.lab.Core.Warnings()
	for _, w := range res.Warnings {
		res.Warn = append(res.Warn, w.Func)
	}
	r.report(res)
	if res.Want == "" {
		r.prev = res
	}
	return res
}

// api notes a call of the kernel's API and returns its value.
func (r *Runner) api(fn string, err error) int {
	rc := r.rc(err)
	r.called(fn, rc, err)
	return rc
}

func (r *Runner) called(fn string, rc int, why error) {
	c := APICall{Fn: fn, RC: rc}
	r.res.API = append(r.res.API, c)
	r.res.Calls = append(r.res.Calls, Call{API: &c, Why: why})
}

// rc notes the result of a line's call of the API, which was the last.
func (r *Runner) rc(err error) int {
	r.res.RC = ftracecore.Ret(err)
	r.decided(r.lab.Core.LastDecision())
	if err != nil {
		r.res.Why = append(r.res.Why, err)
	}
	var oops *ftracecore.Oops
	if errors.As(err, &oops) {
		r.res.Oops = oops.Error()
	}
	return r.res.RC
}

// decided notes a decision, in place of those that were made inside of it.
func (r *Runner) decided(d *ftracecore.Decision) {
	if d == nil {
		return
	}
	r.res.Decisions = slices.DeleteFunc(r.res.Decisions, func(o *ftracecore.Decision) bool { return o == d || contains(d, o) })
	r.res.Decisions = append(r.res.Decisions, d)
}

func contains(d, inner *ftracecore.Decision) bool {
	return slices.ContainsFunc(d.Steps, func(s ftracecore.Step) bool {
		return s.Nested != nil && (s.Nested == inner || contains(s.Nested, inner))
	})
}

// skip notes a call that was not made because it would have crashed.
func (r *Runner) skip(fn string, rc int, why string) {
	err := errors.New(why)
	r.called(fn, rc, err)
	r.res.RC = rc
	r.res.Why = append(r.res.Why, err)
}

func (r *Runner) client(id string) *client {
	for _, c := range r.clients {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (r *Runner) ops(id string) *ftracecore.Ops { return r.client(id).ops }

func (r *Runner) newOps(id string, k kind, mode Mode) {
	c := &client{
		id: id, direct: k.direct, redirecting: k.flags&ftracecore.OpsIPModify != 0, redirect: make(map[uint64]uint64),
		owner: &owner{run: r, mode: mode, shared: defaultShared},
	}
	if k.direct {
		c.ops = r.lab.NewDirectOps(id, nil)
		c.ops.Flags = k.flags
	} else {
		c.ops = r.lab.NewOps(id, k.flags, func(ip, parent uint64, _ *ftracecore.Ops, regs ftracecore.Regs) {
			r.callback(c, ip, parent, regs)
		})
	}
	// Any kind may have one: direct_register_retry makes any ops direct.
	c.ops.OpsFunc = c.owner.opsFunc()
	c.owner.ops = c.ops
	r.clients = append(r.clients, c)
}

// callback is the callback of every ops of a script.
func (r *Runner) callback(c *client, ip, parent uint64, regs ftracecore.Regs) {
	full := 0
	if regs.Full() {
		full = 1
	}
	r.res.EV = append(r.res.EV, Event{CB: c.id, IP: r.script.names.siteName(ip) + "+0", Parent: r.symbol(parent), Regs: &full})
	if !c.redirecting {
		return
	}
	if to, ok := c.redirect[ip]; ok {
		regs.SetIP(to)
	} else if to, ok := r.replacement(ip); ok {
		regs.SetIP(to)
	}
}

// replacement is where the recorded livepatches take a function of the built-in
// guest: fN to gN.
func (r *Runner) replacement(ip uint64) (uint64, bool) {
	name := r.script.names.siteName(ip)
	if r.script.names.prefix == "" || !strings.HasPrefix(name, "f") {
		return 0, false
	}
	return r.script.names.addr("g" + name[1:])
}

// symbol names an address by its function and module.
func (r *Runner) symbol(addr uint64) string {
	s, ok := r.lab.Symbols.At(addr)
	switch {
	case !ok:
		return fmt.Sprintf("%#x", addr)
	case s.Module != "":
		return s.Name + " [" + s.Module + "]"
	}
	return s.Name
}

// Body implements ftemu.Observer.
func (r *Runner) Body(name string, a, b int64) {
	r.res.EV = append(r.res.EV, Event{Body: name, A: &a, B: &b})
}

// Direct implements ftemu.Observer.
func (r *Runner) Direct(name string, slot uint64, a, b int64) {
	place := r.script.names.place(slot)
	r.res.EV = append(r.res.EV, Event{Direct: name, RetSlot: &place, A: &a, B: &b})
}

// DirectExit implements ftemu.Observer.
func (r *Runner) DirectExit(name string, ret int64) {
	r.res.EV = append(r.res.EV, Event{DirectExit: name, RV: &ret})
}

// register registers an ops unless that would crash the kernel, or with force in
// any case.
func (r *Runner) register(ops *ftracecore.Ops, force bool) {
	switch {
	case force:
	case ops.Has(ftracecore.OpsIPModify) && ops.Filter() == nil:
		r.skip("SKIPPED_WOULD_OOPS", SkippedWouldOops, "ops "+ops.Name+" is IPMODIFY and never had a filter: the kernel would dereference NULL")
		return
	case ops.Func == nil:
		r.skip("SKIPPED_NULL_FUNC", SkippedNullFunc, "ops "+ops.Name+" has no function: a call would jump to NULL")
		return
	}
	r.api("register_ftrace_function", r.lab.Core.RegisterFtraceFunction(ops))
}

func (r *Runner) unregister(ops *ftracecore.Ops) {
	if ops.Has(ftracecore.OpsIPModify) && ops.Filter() == nil {
		r.skip("SKIPPED_WOULD_OOPS", SkippedWouldOops, "ops "+ops.Name+" is IPMODIFY and never had a filter: the kernel would dereference NULL")
		return
	}
	r.api("unregister_ftrace_function", r.lab.Core.UnregisterFtraceFunction(ops))
}

// returned notes how a call into the guest ended.
func (r *Runner) returned(v uint64, err error) {
	if err != nil {
		r.res.Oops = err.Error()
		r.res.Why = append(r.res.Why, err)
		return
	}
	ret := int64(v)
	r.res.Ret = &ret
}

func (r *Runner) dropSingle(ip uint64) {
	loc := r.lab.Core.Location(ip)
	r.singles = slices.DeleteFunc(r.singles, func(s single) bool { return r.lab.Core.Location(s.ip) == loc })
}

// end detaches all BPF programs, unregisters everything, the newest ops first and the sites of the
// single-ip API last, and reports which sites are not clean then.
func (r *Runner) end() {
	r.detachAll()
	for _, c := range slices.Backward(r.clients) {
		if !c.ops.Has(ftracecore.OpsEnabled) {
			continue
		}
		if c.ops.Has(ftracecore.OpsDirect) {
			r.api("cleanup unregister_direct_multi", r.lab.Core.UnregisterDirectMulti(c.ops, r.currentTramp(c)))
		} else {
			r.api("cleanup unregister_ftrace_function", r.lab.Core.UnregisterFtraceFunction(c.ops))
		}
	}
	for _, s := range r.singles {
		r.api("cleanup unregister_ftrace_direct", r.lab.Core.UnregisterDirect(s.ip, r.tramp(s.tramp)))
	}
	r.ended, r.sites, r.clients, r.singles = true, nil, nil, nil
	left, unclean := []LeftSite{}, 0
	r.lab.Core.Records(func(rec *ftracecore.Record) bool {
		if _, direct := r.lab.Core.DirectFunction(rec.IP); !direct && rec.Flags&^ftracecore.RecDisabled == 0 && !r.recordInUse(rec) {
			return true
		}
		s := r.siteState(rec)
		l := LeftSite{Count: s.Count, Flags: s.Flags, Site: s.Site, Direct: s.Direct}
		if s.Form == x86.FormNop.String() {
			l.Nop = 1
		}
		if inUse(s) {
			unclean++
		}
		left = append(left, l)
		return true
	})
	r.res.Left, r.res.Unclean = &left, &unclean
	r.res.RC = 0
	if unclean != 0 {
		r.res.RC = notEmpty
	}
}

func (r *Runner) currentTramp(c *client) uint64 {
	if c.owner.cur == "" {
		return 0
	}
	return r.tramp(c.owner.cur)
}

// inUse tells whether a site is counted or patched. A site that is not may
// still have a flag that sticks, or a stale direct function.
func inUse(s SiteState) bool { return s.Count != 0 || s.Form != x86.FormNop.String() }

// maxSites is how many sites that a script does not name are reported after a
// line; where there are more in use they are counted.
const maxSites = 1000

// recordInUse is inUse without looking at more than it takes.
func (r *Runner) recordInUse(rec *ftracecore.Record) bool {
	if rec.Count != 0 {
		return true
	}
	var b x86.Bytes5
	// A site's bytes are mapped for as long as the lab lives.
	_ = r.lab.Mem.Read(rec.IP, b[:])
	return b != x86.Nop5
}

// report fills in the state after a line.
func (r *Runner) report(res *Result) {
	core := r.lab.Core
	if core.Disabled() {
		res.Dead = 1
	}
	if !core.Enabled() {
		zero := 0
		res.FtraceEnabled = &zero
	}
	res.Ops, res.Sites = []OpsState{}, []SiteState{}
	for _, c := range r.clients {
		res.Ops = append(res.Ops, opsState(c))
	}
	for _, ip := range r.sites {
		res.Sites = append(res.Sites, r.siteState(core.RecordAt(ip)))
	}
	named := len(res.Sites)
	core.Records(func(rec *ftracecore.Record) bool {
		if !r.recordInUse(rec) || slices.Contains(r.sites, rec.IP) {
			return true
		}
		if res.More++; res.More <= maxSites {
			res.Sites = append(res.Sites, r.siteState(rec))
		}
		return true
	})
	if res.More > maxSites {
		res.Sites = res.Sites[:named]
	} else {
		res.More = 0
	}
	res.BPF = r.bpfStates()
	if res.More == 0 && !r.listingOverflows() {
		for _, l := range core.EnabledFunctions() {
			res.EF = append(res.EF, r.normalise(l))
		}
	}
}

// listingOverflows tells whether a recorder would have lost the guest's lines of
// enabled_functions: it keeps the head of the listing, and while an ops selects
// all functions that is filled by the tens of thousands of a whole kernel, whose
// lines come before those of the module that the built-in guest is.
func (r *Runner) listingOverflows() bool {
	return r.script.names.prefix != "" && slices.ContainsFunc(r.lab.Core.Ops(), func(o *ftracecore.Ops) bool {
		return o.Filter().Empty()
	})
}

func opsState(c *client) OpsState {
	s := OpsState{ID: c.id, Flags: c.ops.Flags.String(), Tramp: "none"}
	switch {
	case c.ops.Has(ftracecore.OpsDirect) && c.ops.Trampoline != 0:
		s.Tramp = "ftrace_regs_caller"
	case c.ops.Trampoline != 0:
		s.Tramp = "own"
	}
	if o := c.owner; c.direct {
		bit := func(b bool) *int {
			v := 0
			if b {
				v = 1
			}
			return &v
		}
		s.Func, s.Share, s.OrigStack = bit(c.ops.Func != nil), bit(o.share), bit(o.origStack)
		if o.cur != "" {
			s.Cur = "direct:" + o.cur
		}
	}
	return s
}

func (r *Runner) siteState(rec *ftracecore.Record) SiteState {
	s := SiteState{Count: rec.Count, Flags: rec.Flags.String(), Site: r.script.names.siteName(rec.IP), IP: rec.IP}
	// A site's bytes are mapped for as long as the lab lives.
	_ = r.lab.Mem.Read(rec.IP, s.Bytes[:])
	form, target := x86.ParseSite(s.Bytes, rec.IP)
	s.Form = form.String()
	s.Raw = hex.EncodeToString(s.Bytes[:])
	if form == x86.FormCall {
		s.Raw = s.Raw[:2] + "........"
		s.Target = r.target(target)
	}
	if addr, ok := r.lab.Core.DirectFunction(rec.IP); ok {
		s.Direct = r.target(addr)
	}
	return s
}

// target names what a site calls: the trampoline of an ops, a direct
// trampoline, or a symbol.
func (r *Runner) target(addr uint64) string {
	if name, ok := r.lab.DirectName(addr); ok {
		return "direct:" + name
	}
	for _, c := range r.clients {
		if c.ops.Trampoline == addr && c.ops.Has(ftracecore.OpsAllocTramp) {
			return "tramp:" + c.id
		}
	}
	return r.lab.Name(addr)
}

// SymbolAt names an address: a trampoline by its ops, anything else by the lab's
// symbols, with the distance from its start.
func (r *Runner) SymbolAt(addr uint64) (name string, offset uint64, ok bool) {
	for _, c := range r.clients {
		if t := c.ops.Trampoline; t != 0 && c.ops.Has(ftracecore.OpsAllocTramp) && addr-t < emu.PageSize {
			return "tramp:" + c.id, addr - t, true
		}
	}
	return r.lab.Symbols.Name(addr)
}

var (
	symbolSize = regexp.MustCompile(`(\+0x[0-9a-f]+)/0x[0-9a-f]+`)
	bareAddr   = regexp.MustCompile(`0x[0-9a-f]{16}`)
)

// normalise turns a line of enabled_functions into what the recordings keep of
// it: no symbol sizes, and trampolines by the ops they belong to.
func (r *Runner) normalise(line string) string {
	line = symbolSize.ReplaceAllString(line, "$1")
	return bareAddr.ReplaceAllStringFunc(line, func(s string) string {
		var a uint64
		fmt.Sscanf(s, "0x%x", &a)
		for _, c := range r.clients {
			if c.ops.Trampoline == a {
				return "<tramp:" + c.id + ">"
			}
		}
		return s
	})
}
