package bpf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"ftemu/ftracecore"
)

// A Kernel is what trampolines need besides ftrace.
type Kernel interface {
	// NewImage reserves room for an image; name is its symbol
	// (bpf_tramp_image_alloc).
	NewImage(name string) (*Image, error)
	// Emit writes the code that d describes into im and sets im.Size. An image
	// that was not entered yet may be written again. The error carries an errno.
	Emit(im *Image, d *Description) error
	// Discard frees an image that nobody ever entered.
	Discard(im *Image)
	// Retire lets go of an image that nobody will enter any more: a task in
	// the function's body must skip the fexit programs when it comes back,
	// and the image is freed when the last one has left it
	// (bpf_tramp_image_put).
	Retire(im *Image)
	// NewOps makes the ops of a trampoline.
	NewOps(name string, fn ftracecore.OpsFunc) *ftracecore.Ops
	// FreeOps forgets it.
	FreeOps(ops *ftracecore.Ops)
}

// A Table is the trampolines and programs of one kernel. A trampoline is there
// as long as a program is attached to its function; its flags go with it.
type Table struct {
	core   *ftracecore.Core
	kernel Kernel

	tramps map[uint64]*Trampoline // by address of the function
	progs  map[uint64]*Prog       // by Addr
	images map[uint64]*Image      // by Object: all that are not freed
	runCtx map[int]uint64         // by CPU: current->bpf_ctx
}

// NewTable returns a table without trampolines.
func NewTable(core *ftracecore.Core, kernel Kernel) *Table {
	return &Table{
		core: core, kernel: kernel, tramps: make(map[uint64]*Trampoline), progs: make(map[uint64]*Prog),
		images: make(map[uint64]*Image), runCtx: make(map[int]uint64),
	}
}

// Load makes a program known.
func (t *Table) Load(p *Prog) error {
	switch {
	case p.Kind >= numKinds || p.Variant >= NumVariants:
		return fmt.Errorf("program %q: kind %d, variant %d: not known", p.Name, p.Kind, p.Variant)
	case t.progs[p.Addr] != nil:
		return fmt.Errorf("program %q: its object at %#x is that of %q", p.Name, p.Addr, t.progs[p.Addr].Name)
	}
	p.active = make(map[int]int)
	t.progs[p.Addr] = p
	return nil
}

// Trampoline returns the trampoline of the function at addr, nil if it has none.
func (t *Table) Trampoline(addr uint64) *Trampoline { return t.tramps[addr] }

// Trampolines lists the trampolines by address of their functions.
func (t *Table) Trampolines() []*Trampoline {
	return slices.SortedFunc(maps.Values(t.tramps), func(a, b *Trampoline) int { return cmp.Compare(a.target.Addr, b.target.Addr) })
}

// Attach attaches a loaded program to a function (bpf_trampoline_link_prog).
// The errors are -EBUSY if it is attached there already, -E2BIG beyond
// [MaxLinks] programs, and those of making and registering an image.
func (t *Table) Attach(p *Prog, target Target, cookie uint64) (*Link, error) {
	link := &Link{Prog: p, Cookie: cookie}
	tr := t.tramps[target.Addr]
	if tr == nil {
		tr = t.newTrampoline(target)
		t.tramps[target.Addr] = tr
	}
	err := t.core.Do("bpf_trampoline_link_prog", tr.ops, func() error {
		t.core.Acquire(&tr.mutex)
		defer t.core.Release(&tr.mutex)
		return tr.link(link)
	})
	t.put(tr)
	if err != nil {
		return nil, err
	}
	return link, nil
}

// Detach takes a link away (bpf_trampoline_unlink_prog). It is gone whatever
// the error, which tells why the image could not be replaced.
func (t *Table) Detach(link *Link) error {
	tr := link.tr
	if tr == nil {
		return t.core.Refuse(ftracecore.ENOENT, "", "", "program %q is not attached", link.Prog.Name)
	}
	err := t.core.Do("bpf_trampoline_unlink_prog", tr.ops, func() error {
		t.core.Acquire(&tr.mutex)
		defer t.core.Release(&tr.mutex)
		return tr.unlink(link)
	})
	t.put(tr)
	return err
}

// put frees a trampoline that nobody uses any more (bpf_trampoline_put).
func (t *Table) put(tr *Trampoline) {
	if tr.total() == 0 && t.tramps[tr.target.Addr] == tr {
		delete(t.tramps, tr.target.Addr)
		if !tr.ops.Has(ftracecore.OpsEnabled) {
			// As long as a dead ftrace has it on its list, calls find it there.
			t.kernel.FreeOps(tr.ops)
		}
	}
}
