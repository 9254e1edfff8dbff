package bpf

import (
	"errors"
	"slices"

	"ftemu/ftracecore"
)

// MaxLinks is the largest number of programs on one function
// (BPF_MAX_TRAMP_LINKS).
const MaxLinks = 38

// A Trampoline is what stands between one function and the programs attached to
// it (struct bpf_trampoline).
type Trampoline struct {
	table  *Table
	target Target
	ops    *ftracecore.Ops // tr->fops
	mutex  ftracecore.Lock
	flags  Flags
	links  [numKinds][]*Link // each with the newest first
	order  []*Link           // all, in the order in which they were attached
	cur    *Image            // nil: none is registered
	next   *Image            // the one that is about to replace it
}

func (t *Table) newTrampoline(target Target) *Trampoline {
	tr := &Trampoline{table: t, target: target, mutex: ftracecore.Lock{Name: "trampoline mutex of " + target.Name}}
	tr.ops = t.kernel.NewOps(tr.Name(), tr.opsFunc)
	return tr
}

// Name is the symbol of the trampoline's images.
func (tr *Trampoline) Name() string { return "bpf_trampoline:" + tr.target.Name }

// Target is the function.
func (tr *Trampoline) Target() Target { return tr.target }

// Ops is the direct ops by which ftrace knows the trampoline.
func (tr *Trampoline) Ops() *ftracecore.Ops { return tr.ops }

// Flags are those of the image, and SHARE_IPMODIFY.
func (tr *Trampoline) Flags() Flags { return tr.flags }

// Image is the image in use; nil if there is none.
func (tr *Trampoline) Image() *Image { return tr.cur }

// Links lists what is attached, in the order in which it was.
func (tr *Trampoline) Links() []*Link { return slices.Clone(tr.order) }

func (tr *Trampoline) total() int { return len(tr.order) }

// link is __bpf_trampoline_link_prog, with the mutex held.
func (tr *Trampoline) link(l *Link) error {
	core, kind := tr.table.core, l.Prog.Kind
	if tr.total() >= MaxLinks {
		return core.Refuse(ftracecore.E2BIG, tr.target.Name, "The limit keeps an image within its page.",
			"%d programs are attached to it, which is the limit", tr.total())
	}
	for _, other := range tr.links[kind] {
		if other.Prog == l.Prog {
			return core.Refuse(ftracecore.EBUSY, tr.target.Name, "", "program %q is attached to it already", l.Prog.Name)
		}
	}
	tr.links[kind] = slices.Insert(tr.links[kind], 0, l)
	tr.order = append(tr.order, l)
	if err := tr.update(true); err != nil {
		tr.drop(l)
		return err
	}
	l.tr = tr
	return nil
}

// unlink is bpf_trampoline_unlink_prog, with the mutex held.
func (tr *Trampoline) unlink(l *Link) error {
	tr.drop(l)
	l.tr = nil
	return tr.update(true)
}

func (tr *Trampoline) drop(l *Link) {
	is := func(o *Link) bool { return o == l }
	tr.links[l.Prog.Kind] = slices.DeleteFunc(tr.links[l.Prog.Kind], is)
	tr.order = slices.DeleteFunc(tr.order, is)
}

// wanted are the flags that the links ask for. Whether a livepatch shares the
// function is kept.
func (tr *Trampoline) wanted() Flags {
	f := tr.flags & (ShareIPModify | TailCallCtx)
	if len(tr.links[Fexit])+len(tr.links[FmodRet]) > 0 {
		f |= CallOrig | SkipFrame
	} else {
		f |= RestoreRegs
	}
	if slices.ContainsFunc(tr.order, func(l *Link) bool { return l.Prog.WantsIP }) {
		f |= IPArg
	}
	return f
}

// update makes an image for the programs that are attached now and puts it in
// the place of the present one (bpf_trampoline_update), with the mutex held.
// lockDirect says that direct_mutex is not held.
func (tr *Trampoline) update(lockDirect bool) (err error) {
	before := tr.flags
	defer func() {
		if err != nil {
			tr.flags = before
		}
	}()
	if tr.total() == 0 {
		return tr.unregister()
	}
	tr.flags = tr.wanted()
	if tr.next, err = tr.table.newImage(tr.Name()); err != nil {
		return err
	}
	err = tr.install(lockDirect)
	if err != nil {
		tr.table.discard(tr.next)
	} else {
		tr.table.retire(tr.cur)
		tr.cur = tr.next
	}
	tr.next = nil
	return err
}

// install registers the next image; when ftrace answers -EAGAIN, once more with
// one that can share the function.
func (tr *Trampoline) install(lockDirect bool) error {
	core := tr.table.core
	for {
		if err := tr.emit(tr.next); err != nil {
			return err
		}
		err := tr.register(lockDirect)
		if !errors.Is(err, ftracecore.EAGAIN) || !tr.canRetry() {
			return err
		}
		core.Step("%q makes an image that can share and tries again", tr.ops.Name)
		if tr.cur == nil || core.Profile().NullFuncOnRetry {
			tr.ops.Func, tr.ops.Trampoline = nil, 0
		}
	}
}

// emit writes the image that the flags ask for.
func (tr *Trampoline) emit(im *Image) error {
	if tr.flags.Has(ShareIPModify | CallOrig) {
		tr.flags |= OrigStack
	}
	return tr.table.kernel.Emit(im, &Description{Target: tr.target, Flags: tr.flags, Links: tr.links})
}

// register makes the function's site call the next image: modify_fentry where
// one is in use, register_fentry otherwise.
func (tr *Trampoline) register(lockDirect bool) error {
	core, ops, addr := tr.table.core, tr.ops, tr.next.Addr
	switch {
	case tr.cur != nil && lockDirect:
		return core.ModifyDirectMulti(ops, addr)
	case tr.cur != nil:
		return core.ModifyDirectMultiNolock(ops, addr)
	}
	if core.Location(tr.target.Addr) == 0 {
		return tr.noSite()
	}
	// As the kernel: the result is not looked at; the registration then fails.
	_ = core.SetFilterIP(ops, tr.target.Addr, false, true)
	return core.RegisterDirectMulti(ops, addr)
}

// noSite is what bpf_arch_text_poke says of a function that ftrace does not know:
// its first bytes are no nop, or it lies in a module.
func (tr *Trampoline) noSite() error {
	core, name := tr.table.core, tr.target.Name
	if tr.target.Module != "" {
		return core.Refuse(ftracecore.EINVAL, name, "", "it has no ftrace site and lies in module %s, whose code BPF does not patch by itself", tr.target.Module)
	}
	return core.Refuse(ftracecore.EBUSY, name, "", "it has no ftrace site and does not begin with a nop")
}

// unregister takes the last image out of use.
//
// As the kernel: the image is let go of even where ftrace refuses, being dead,
// and the site goes on calling it.
func (tr *Trampoline) unregister() error {
	if tr.cur == nil {
		return nil
	}
	err := tr.table.core.UnregisterDirectMulti(tr.ops, tr.cur.Addr)
	tr.table.retire(tr.cur)
	tr.cur = nil
	return err
}

// The images of a table.

func (t *Table) newImage(name string) (*Image, error) {
	im, err := t.kernel.NewImage(name)
	if err == nil {
		t.images[im.Object] = im
	}
	return im, err
}

func (t *Table) discard(im *Image) {
	delete(t.images, im.Object)
	t.kernel.Discard(im)
}

func (t *Table) retire(im *Image) {
	if im != nil {
		t.kernel.Retire(im)
	}
}

// Forget takes a retired image off the table, when it is freed.
func (t *Table) Forget(im *Image) { delete(t.images, im.Object) }
