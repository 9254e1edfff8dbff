package ftracecore

import (
	"fmt"
	"strconv"
)

// A Command is what an ops_func is asked (enum ftrace_ops_cmd).
type Command int

// The commands, with the kernel's values.
const (
	EnableSelf  Command = iota // ENABLE_SHARE_IPMODIFY_SELF: can you share with the IPMODIFY ops that is there?
	EnablePeer                 // ENABLE_SHARE_IPMODIFY_PEER: an IPMODIFY ops is about to join
	DisablePeer                // DISABLE_SHARE_IPMODIFY_PEER: the IPMODIFY ops has left
)

// String returns the command without its common middle part.
func (c Command) String() string {
	switch c {
	case EnableSelf:
		return "ENABLE_SELF"
	case EnablePeer:
		return "ENABLE_PEER"
	case DisablePeer:
		return "DISABLE_PEER"
	}
	return fmt.Sprintf("Command(%d)", int(c))
}

// An OpsFunc answers for a direct ops whether its function can be shared with
// an IPMODIFY ops: 0, or a negative errno that fails the registration.
type OpsFunc func(ops *Ops, cmd Command) int

// A Callback is the function of an ops: ip is the site, parent the return
// address of the function that it stands in.
type Callback func(ip, parent uint64, ops *Ops, regs Regs)

// Regs is what a callback sees of the registers that its trampoline saved
// (struct ftrace_regs).
type Regs interface {
	// Full tells whether all registers were saved: ftrace_get_regs != NULL.
	Full() bool
	// IP is where the function continues: behind the site unless changed.
	IP() uint64
	SetIP(ip uint64)
	// SetDirect makes the trampoline go on to the direct function at addr
	// (arch_ftrace_set_direct_caller). Only with full registers.
	SetDirect(addr uint64)
}

// cpuOf is the CPU that registers are of, for events: 0 where they do not tell.
func cpuOf(r Regs) int {
	if c, ok := r.(interface{ CPU() int }); ok {
		return c.CPU()
	}
	return 0
}

// A Func is a kernel function that trampolines can call.
type Func struct {
	Addr uint64
	Call Callback
}

// hashes are the filter of an ops (struct ftrace_ops_hash). A nil filter or
// notrace means that none was ever set.
type hashes struct {
	filter, notrace *Hash
}

// covers tells whether the hashes select ip (ops_test, hash_contains_ip).
func (h *hashes) covers(ip uint64) bool {
	return (h.filter.Empty() || h.filter.Has(ip)) && !h.notrace.Has(ip)
}

// An Ops is one user of ftrace (struct ftrace_ops). The owner sets Name, Addr,
// Func, OpsFunc, Static and the owner's flags before first use; the rest
// belongs to the core.
type Ops struct {
	Name    string
	Addr    uint64 // where the object lies in the guest's memory
	Func    *Func  // the callback; nil is NULL
	OpsFunc OpsFunc
	Flags   OpsFlags
	// Static says that the object lies in the core kernel's data, so that it
	// does not become DYNAMIC.
	Static bool

	// Trampoline is the address of the code that sites call when this ops is
	// alone on them; 0: none.
	Trampoline uint64

	local     hashes
	hash      *hashes // nil until INITIALIZED; usually &local
	old       hashes  // what hash held before, while code is being updated
	savedFunc *Func
	regexLock Lock
}

// Filter is the hash of the functions asked for; nil if none was ever set.
func (o *Ops) Filter() *Hash {
	if o.hash == nil {
		return nil
	}
	return o.hash.filter
}

// Notrace is the hash of the functions excluded; nil if none was ever set.
func (o *Ops) Notrace() *Hash {
	if o.hash == nil {
		return nil
	}
	return o.hash.notrace
}

// Covers tells whether the ops' hashes select ip.
func (o *Ops) Covers(ip uint64) bool { return o.hash == nil || o.hash.covers(ip) }

// Has tells whether all of the given flags are set.
func (o *Ops) Has(f OpsFlags) bool { return o.Flags&f == f }

// quoted is the name for texts into which no arguments are put.
func (o *Ops) quoted() string { return strconv.Quote(o.Name) }

// CallTarget is what trampolines made for this ops call: its function, or the
// assist function where the core must guard it (ftrace_ops_get_func). Nil for
// a NULL function.
func (c *Core) CallTarget(o *Ops) *Func {
	if o.Flags&(OpsRecursion|OpsRCU) != 0 {
		return c.assistFunc
	}
	return o.Func
}

// init makes the hashes usable (ftrace_ops_init).
func (o *Ops) init() {
	if o.Flags&OpsInit == 0 {
		o.hash = &o.local
		o.regexLock = Lock{Name: "regex_lock of " + o.Name}
		o.Flags |= OpsInit
	}
}
