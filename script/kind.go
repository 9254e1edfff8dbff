package script

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/near"
)

// A kind is what new makes.
type kind struct {
	name   string
	flags  ftracecore.OpsFlags
	direct bool
	about  string
}

// kinds are the kinds of ops; those of the livepatches are what klp_patch_func
// uses on x86-64 (klp), and what it used before WITH_ARGS (ipmod).
var kinds = []kind{
	{name: "plain", about: "a function tracer: its callback sees the arguments"},
	{name: "regs", flags: ftracecore.OpsSaveRegs, about: "a tracer that sees all registers, as a kprobe (SAVE_REGS)"},
	{name: "regsif", flags: ftracecore.OpsSaveRegsIf, about: "one that takes all registers where they can be had; on x86-64 it gets what plain gets (SAVE_REGS_IF_SUPPORTED)"},
	{name: "ipmod", flags: ftracecore.OpsSaveRegs | ftracecore.OpsIPModify | ftracecore.OpsDynamic, about: "a livepatch of an older kernel, or a kprobe with a post handler (SAVE_REGS, IPMODIFY)"},
	{name: "klp", flags: ftracecore.OpsIPModify | ftracecore.OpsDynamic | ftracecore.OpsPermanent, about: "a livepatch: its callback takes calls elsewhere (IPMODIFY, PERMANENT); see redirect and ipmod"},
	{name: "recur", flags: ftracecore.OpsRecursion, about: "a tracer that ftrace guards against recursion (RECURSION)"},
	{name: "perm", flags: ftracecore.OpsPermanent, about: "a tracer that kernel.ftrace_enabled must not switch off (PERMANENT)"},
	{name: "rcu", flags: ftracecore.OpsRCU, about: "a tracer that is called only where RCU watches, as perf's function events (RCU)"},
	{name: "stub", flags: ftracecore.OpsStub, about: "an ops that is counted at its sites and not called where several share one, as what modifies direct callers (STUB)"},
	{name: "deleted", flags: ftracecore.OpsDeleted, about: "the tracer of an instance that is going away, which cannot be registered (DELETED)"},
	{name: "direct", direct: true, about: "a direct caller, such as a BPF trampoline: sites call its trampoline themselves; see direct_register and of="},
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

func parseKind(s string) (kind, error) {
	for _, k := range kinds {
		if k.name == s {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("unknown kind %q, %s", near.Short(s), near.Expected(s, kindNames(), "one of "+strings.Join(kindNames(), ", ")))
}
