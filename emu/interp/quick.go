package interp

// A flow says what an operation has to do with flags, for chooseQuick.
type flow uint8

const (
	// looks is for operations that may look at flags, or after which the
	// guest's state can be seen: they may fault or jump.
	looks flow = iota
	// keeps is for those that leave flags alone and always go on.
	keeps
	// sets is for those that set all flags and always go on.
	sets
)

// chooseQuick decides for each operation of a block whether its flags are set
// when the whole block is executed: not if one that follows sets them all, with
// nothing in between that looks.
func chooseQuick(ops []op) {
	unseen := false
	for i := len(ops) - 1; i >= 0; i-- {
		o := &ops[i]
		o.quick = o.fn
		if unseen && o.noFlags != nil {
			o.quick = o.noFlags
		}
		switch o.flow {
		case sets:
			unseen = true
		case looks:
			unseen = false
		}
	}
}

// The operations without flags. inc and dec do not set CF either way.

func incQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r + 1) & o.mask
	return next
}

func decQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r - 1) & o.mask
	return next
}

func addQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r + c.val(o)) & o.mask
	return next
}

func addMemQuick(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = (*r + b) & o.mask
	return next
}

func subQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r - c.val(o)) & o.mask
	return next
}

func subMemQuick(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = (*r - b) & o.mask
	return next
}

func andQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r & c.val(o)) & o.mask
	return next
}

func andMemQuick(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = (*r & b) & o.mask
	return next
}

func orQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r | c.val(o)) & o.mask
	return next
}

func orMemQuick(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = (*r | b) & o.mask
	return next
}

func xorQuick(c *cpu, o *op) status {
	r := &c.regs.GPR[o.dst&15]
	*r = (*r ^ c.val(o)) & o.mask
	return next
}

func xorMemQuick(c *cpu, o *op) status {
	b, ok := c.loadOp(o)
	if !ok {
		return fault
	}
	r := &c.regs.GPR[o.dst&15]
	*r = (*r ^ b) & o.mask
	return next
}
