package bpf

import "fmt"

// started is the start time of a program while no statistics are kept.
const started = 1

// Enter is __bpf_prog_enter in the given variant, on a CPU: the program at prog
// is about to run with the run context at runCtx. It returns the context that
// was in force, which is to be saved in that at runCtx, and 0 if the program
// must not run.
func (t *Table) Enter(cpu int, prog uint64, v Variant, runCtx uint64) (saved, start uint64, err error) {
	p := t.progs[prog]
	if p == nil {
		return 0, 0, fmt.Errorf("an image entered a program at %#x, which is none", prog)
	}
	saved = t.runCtx[cpu]
	t.runCtx[cpu] = runCtx
	if v.recur() {
		if p.active[cpu]++; p.active[cpu] != 1 {
			p.misses++
			return saved, 0, nil
		}
	}
	return saved, started, nil
}

// Exit is __bpf_prog_exit: it puts the saved run context in force again. It is
// called whether the program ran or not.
func (t *Table) Exit(cpu int, prog uint64, v Variant, saved uint64) error {
	p := t.progs[prog]
	if p == nil {
		return fmt.Errorf("an image left a program at %#x, which is none", prog)
	}
	t.runCtx[cpu] = saved
	if v.recur() {
		p.active[cpu]--
	}
	return nil
}

// RunCtx is the address of the run context in force on a CPU, 0 if no program
// runs there.
func (t *Table) RunCtx(cpu int) uint64 { return t.runCtx[cpu] }

// Hold is __bpf_tramp_enter: a task goes into the body on behalf of an image.
func (t *Table) Hold(object uint64) error { return t.count(object, 1) }

// Release is __bpf_tramp_exit: it came back.
func (t *Table) Release(object uint64) error { return t.count(object, -1) }

func (t *Table) count(object uint64, by int) error {
	im := t.images[object]
	if im == nil {
		return fmt.Errorf("an image passed %#x as its object, which is none", object)
	}
	im.refs += by
	return nil
}
