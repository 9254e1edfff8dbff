package script

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/near"
)

// A Mode says how the owner of a direct ops answers when it is asked to share
// its sites with an IPMODIFY ops (the of= option of new).
type Mode uint8

// The modes.
const (
	ModeNone Mode = iota
	ModeOK
	ModeBusy
	ModeAgain
	ModePos
	ModeSelfBusy
	ModePeerBusy
	ModeBPF
)

// modes are the names and meanings, by Mode.
var modes = [...]Term{
	ModeNone:     {"none", "", "there is no ops_func; the default"},
	ModeOK:       {"ok", "", "always 0"},
	ModeBusy:     {"ebusy", "", "always -EBUSY"},
	ModeAgain:    {"eagain", "", "always -EAGAIN"},
	ModePos:      {"pos", "", "always 1, which ends the asking and counts as success"},
	ModeSelfBusy: {"selfbusy", "", "-EBUSY to ENABLE_SELF, 0 otherwise"},
	ModePeerBusy: {"peerbusy", "", "-EBUSY to ENABLE_PEER and DISABLE_PEER, 0 otherwise"},
	ModeBPF:      {"bpf", "", "as BPF trampolines answer: switches to a trampoline that can share"},
}

func parseMode(s string) (Mode, error) {
	for i, m := range modes {
		if m.Name == s {
			return Mode(i), nil
		}
	}
	known := termNames(modes[:])
	return 0, fmt.Errorf("unknown mode of=%s, %s", near.Short(s), near.Expected(s, known, "one of "+strings.Join(known, ", ")))
}

// maxTries is how often the owner of a direct ops tries one registration.
const maxTries = 4

// An owner is what stands behind an ops that is made direct. Of mode bpf it does what
// bpf_trampoline_update does: it has a trampoline for use alone, which calls
// the body by its address, and one that can share.
type owner struct {
	run       *Runner
	ops       *ftracecore.Ops
	mode      Mode
	alone     string // the trampoline for use alone
	shared    string // the one that can share
	cur       string // the one in use
	share     bool   // an IPMODIFY ops shares the sites, or is about to
	origStack bool   // the trampoline in use can share
}

// opsFunc returns the ops_func for the mode.
func (o *owner) opsFunc() ftracecore.OpsFunc {
	if o.mode == ModeNone {
		return nil
	}
	return func(_ *ftracecore.Ops, cmd ftracecore.Command) int {
		ret := o.answer(cmd)
		a := OpsAnswer{Cmd: cmd.String(), ID: o.ops.Name, Ret: ret}
		o.run.res.OF = append(o.run.res.OF, a)
		o.run.res.Calls = append(o.run.res.Calls, Call{OF: &a})
		return ret
	}
}

func (o *owner) answer(cmd ftracecore.Command) int {
	busy, again := -int(ftracecore.EBUSY), -int(ftracecore.EAGAIN)
	switch o.mode {
	case ModeBusy:
		return busy
	case ModeAgain:
		return again
	case ModePos:
		return 1
	case ModeSelfBusy:
		if cmd == ftracecore.EnableSelf {
			return busy
		}
	case ModePeerBusy:
		if cmd != ftracecore.EnableSelf {
			return busy
		}
	case ModeBPF:
		return o.bpfAnswer(cmd, busy, again)
	}
	return 0
}

// bpfAnswer is bpf_tramp_ftrace_ops_func.
func (o *owner) bpfAnswer(cmd ftracecore.Command, busy, again int) int {
	modify := func(next uint64) error { return o.run.lab.Core.ModifyDirectMultiNolock(o.ops, next) }
	switch cmd {
	case ftracecore.EnableSelf:
		switch {
		case o.origStack:
			return 0
		case o.share:
			return busy
		}
		o.share = true
		return again
	case ftracecore.EnablePeer:
		o.share = true
		if !o.origStack {
			return o.update("modify_direct_multi_nolock", modify)
		}
	case ftracecore.DisablePeer:
		o.share = false
		if o.origStack {
			return o.update("modify_direct_multi_nolock", modify)
		}
	}
	return 0
}

// update puts the trampoline that fits the share flag in force, by apply, and
// tries again when that answers -EAGAIN (bpf_trampoline_update).
func (o *owner) update(api string, apply func(next uint64) error) int {
	before := o.origStack
	rc := 0
	for range maxTries {
		o.origStack = o.share
		next := o.alone
		if o.share {
			next = o.shared
		}
		rc = o.run.api(api, apply(o.run.tramp(next)))
		if rc == 0 {
			o.cur = next
			return 0
		}
		if rc != -int(ftracecore.EAGAIN) {
			break
		}
	}
	o.origStack = before
	return rc
}

// register makes the ops direct, whatever a failed try has left behind, or
// modifies it if it is registered already.
func (o *owner) register(alone, shared string) {
	core := o.run.lab.Core
	o.alone, o.shared = alone, shared
	o.share, o.origStack = false, false
	if o.ops.Has(ftracecore.OpsEnabled) {
		o.update("modify_direct_multi", func(next uint64) error { return core.ModifyDirectMulti(o.ops, next) })
		return
	}
	o.update("register_direct_multi", func(next uint64) error {
		o.ops.Func, o.ops.Trampoline = nil, 0
		return core.RegisterDirectMulti(o.ops, next)
	})
}
