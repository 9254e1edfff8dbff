package bpf

import "ftemu/ftracecore"

// opsFunc answers ftrace on behalf of the trampoline's ops
// (bpf_tramp_ftrace_ops_func).
func (tr *Trampoline) opsFunc(_ *ftracecore.Ops, cmd ftracecore.Command) int {
	core := tr.table.core
	if cmd == ftracecore.EnableSelf {
		// Asked from inside an update of this trampoline, which has the mutex.
		return tr.enableSelf()
	}
	if core.Mistakes().BlockingPeer {
		core.Acquire(&tr.mutex)
	} else if !core.TryAcquire(&tr.mutex) {
		// The holder of the mutex may be waiting for direct_mutex, which our
		// caller has: let it get on, and let the livepatch try again.
		core.Sleep("until " + tr.mutex.Name + " is free")
		return -int(ftracecore.EAGAIN)
	}
	defer core.Release(&tr.mutex)
	switch cmd {
	case ftracecore.EnablePeer:
		// As the kernel: the flag stays when the update fails.
		tr.flags |= ShareIPModify
		tr.announce()
		if tr.flags.Has(CallOrig) && !tr.flags.Has(OrigStack) {
			return ftracecore.Ret(tr.update(false))
		}
	case ftracecore.DisablePeer:
		tr.flags &^= ShareIPModify
		if tr.flags.Has(OrigStack) {
			return ftracecore.Ret(tr.update(false))
		}
	default:
		return -int(ftracecore.EINVAL)
	}
	return 0
}

// enableSelf answers whether the next image can share the function with the
// IPMODIFY ops that is there.
func (tr *Trampoline) enableSelf() int {
	if !tr.flags.Has(CallOrig) || tr.flags.Has(OrigStack) {
		// It respects what the return slot holds.
		return 0
	}
	if tr.flags.Has(ShareIPModify) {
		return -int(ftracecore.EBUSY)
	}
	tr.flags |= ShareIPModify
	if tr.table.core.Design().Protocol == ftracecore.UpdateInPlace {
		return ftracecore.Ret(tr.replaceNext())
	}
	return -int(ftracecore.EAGAIN)
}

// canRetry tells whether another image is worth another try after -EAGAIN: when
// enableSelf has just set the flag, or, in a design where ftrace gives that
// answer by itself, when the flag was not set.
func (tr *Trampoline) canRetry() bool {
	if tr.table.core.Design().Protocol == ftracecore.FlagOnAgain && !tr.flags.Has(ShareIPModify) {
		tr.flags |= ShareIPModify
		tr.announce()
		return true
	}
	return tr.flags.Has(ShareIPModify|CallOrig) && !tr.flags.Has(OrigStack)
}

// announce tells ftrace that the trampoline can share, in the design that has a
// flag for it.
func (tr *Trampoline) announce() {
	if tr.table.core.Design().Protocol == ftracecore.FlagOnAgain {
		tr.ops.Flags |= ftracecore.OpsShare
	}
}

// replaceNext puts an image that can share in the place of the one whose
// registration is under way.
func (tr *Trampoline) replaceNext() error {
	im, err := tr.table.newImage(tr.Name())
	if err != nil {
		return err
	}
	if err = tr.emit(im); err == nil {
		err = tr.table.core.ModifyDirectMultiNolock(tr.ops, im.Addr)
	}
	if err != nil {
		tr.table.discard(im)
		return err
	}
	tr.table.retire(tr.next)
	tr.next = im
	return nil
}
