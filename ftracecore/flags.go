package ftracecore

import "strings"

// RecFlags are the flags of a record (FTRACE_FL_*). A flag without _EN says
// what is wanted and changes when hashes are accounted; its _EN twin says what
// the site's code does and changes when code is patched.
type RecFlags uint32

// The record flags of v6.1. The bits below are the reference count.
const (
	RecEnabled  RecFlags = 1 << 31 // the site holds a call
	RecRegs     RecFlags = 1 << 30 // some ops wants full registers
	RecRegsEn   RecFlags = 1 << 29 // the site calls a trampoline that saves them
	RecTramp    RecFlags = 1 << 28 // one ops, with a trampoline of its own
	RecTrampEn  RecFlags = 1 << 27 // the site calls that trampoline
	RecIPModify RecFlags = 1 << 26 // an enabled IPMODIFY ops covers the site
	RecDisabled RecFlags = 1 << 25 // the record must be left alone
	RecDirect   RecFlags = 1 << 24 // a direct ops covers the site
	RecDirectEn RecFlags = 1 << 23 // the site calls the direct function itself
)

// MaxRefs is the largest reference count of a record (FTRACE_REF_MAX).
const MaxRefs = 1<<23 - 1

var recFlagNames = []struct {
	flag RecFlags
	name string
}{
	{RecEnabled, "EN"}, {RecRegs, "REGS"}, {RecRegsEn, "REGS_EN"}, {RecTramp, "TRAMP"}, {RecTrampEn, "TRAMP_EN"},
	{RecIPModify, "IPMODIFY"}, {RecDisabled, "DISABLED"}, {RecDirect, "DIRECT"}, {RecDirectEn, "DIRECT_EN"},
}

// String lists the flags from the high bit to the low, joined by "|".
func (f RecFlags) String() string {
	var names []string
	for _, n := range recFlagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "|")
}

// OpsFlags are the flags of an ops (FTRACE_OPS_FL_*).
type OpsFlags uint32

// The ops flags of v6.1.
const (
	OpsEnabled    OpsFlags = 1 << iota // registered and on the list (core)
	OpsDynamic                         // the ops may be freed: its memory is not the core kernel's (core or owner)
	OpsSaveRegs                        // the callback needs full registers (owner)
	OpsSaveRegsIf                      // SAVE_REGS_IF_SUPPORTED: no effect on x86-64 (owner)
	OpsRecursion                       // the callback has no recursion protection of its own (owner)
	OpsStub                            // the list function skips it (owner)
	OpsInit                            // INITIALIZED: hashes and their mutex exist (core)
	OpsDeleted                         // being destroyed (core)
	OpsAdding                          // inside ftrace_startup (core)
	OpsRemoving                        // inside ftrace_shutdown (core)
	OpsModifying                       // inside a live change of its hash (core)
	OpsAllocTramp                      // the trampoline was made for it (core)
	OpsIPModify                        // the callback may change the instruction pointer (owner)
	OpsPID                             // obeys set_ftrace_pid (owner)
	OpsRCU                             // runs only while RCU watches (owner)
	OpsTraceArray                      // private points to a trace instance (owner)
	OpsPermanent                       // ftrace_enabled may not be cleared while registered (owner)
	OpsDirect                          // stands for direct callers (core)
	OpsShare                           // SHARE_IPMODIFY: the direct function can share (owner; design eagain-flag only)
)

// multiFlags are what register_ftrace_direct_multi gives an ops (MULTI_FLAGS).
const multiFlags = OpsDirect | OpsSaveRegs

var opsFlagNames = []string{
	"ENABLED", "DYNAMIC", "SAVE_REGS", "REGS_IF", "RECURSION", "STUB", "INITIALIZED", "DELETED", "ADDING",
	"REMOVING", "MODIFYING", "ALLOC_TRAMP", "IPMODIFY", "PID", "RCU", "TRACE_ARRAY", "PERMANENT", "DIRECT",
	"SHARE_IPMODIFY",
}

// String lists the flags from the low bit to the high, joined by "|".
func (f OpsFlags) String() string {
	var names []string
	for i, n := range opsFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, "|")
}
