package trace

// Slices takes the calls of a run as slices of time, each inside of the one
// that began before it on its CPU and has not ended.
type Slices interface {
	// Begin begins a slice; false leaves it out, and its end.
	Begin(cpu int, name, category string) bool
	End(cpu int)
}

// Calls follows the calls of a run and tells Out of them. It is right only if it
// sees all events of CallsMask from the first call into the guest on.
type Calls struct {
	// Name names code by address: the function or trampoline that it is part of,
	// where that begins, and what kind of code it is.
	Name func(addr uint64) (name, category string, start uint64)
	// End is the address to which calls into the guest return at last.
	End   uint64
	Out   Slices
	cpus  map[int]*track
	order []*track // by first event
}

// CallsMask is the kinds of events that calls are followed by.
const CallsMask = 1<<Insn | 1<<Gate | 1<<Branch | 1<<Trap | 1<<Callback

// Trace shows an event.
func (c *Calls) Trace(ev *Event) {
	switch ev.Kind {
	case Insn:
		c.track(ev.CPU).insn(ev)
	case Branch:
		c.track(ev.CPU).branch(ev)
	case Gate:
		c.track(ev.CPU).gate(ev)
	case Trap:
		c.track(ev.CPU).trapped = true
	case Callback:
		c.track(ev.CPU).callback(ev.Name)
	}
}

// Close ends the slices that are open.
func (c *Calls) Close() {
	for _, t := range c.order {
		t.popTo(0)
	}
}

func (c *Calls) track(cpu int) *track {
	t := c.cpus[cpu]
	if t == nil {
		if c.cpus == nil {
			c.cpus = make(map[int]*track)
		}
		t = &track{calls: c, cpu: cpu}
		c.cpus[cpu] = t
		c.order = append(c.order, t)
	}
	return t
}

// A track follows the calls of one CPU. It goes by calls and returns: a return to
// where a slice was called from ends that slice and all inside it; any other
// transfer to another function, which is how trampolines go on to what they
// lead to, takes the place of the innermost slice.
type track struct {
	calls *Calls
	cpu   int
	stack []slice
	last  step   // the instruction executed last
	next  uint64 // where the CPU goes on unless something unusual happens
	// trapped says that the handler of a trap decides where the CPU goes on.
	trapped bool
}

type slice struct {
	start uint64 // of the function
	ret   uint64 // where it was called from
	kind  sliceKind
	shown bool
}

type sliceKind uint8

const (
	code     sliceKind = iota
	root               // a call into the guest: nothing in it called it
	gate               // Go code
	callback           // of an ops, inside a gate
)

// A step is what an instruction does to the stack of calls.
type step struct {
	ip, next  uint64
	call, ret bool
}

// Opcodes of calls and returns.
const (
	opCall    = 0xe8
	opRet     = 0xc3
	opRetImm  = 0xc2
	opGroup5  = 0xff // with /2 a call
	firstRex  = 0x40
	lastRex   = 0x4f
	branchRep = 0xf2 // bnd and rep in front of branches
	branchREP = 0xf3
)

// stepOf looks at an instruction.
func stepOf(ev *Event) step {
	s := step{ip: ev.IP, next: ev.IP + uint64(ev.Size)}
	b := ev.New
	for len(b) > 1 && (b[0] >= firstRex && b[0] <= lastRex || b[0] == branchRep || b[0] == branchREP) {
		b = b[1:]
	}
	switch {
	case len(b) == 0:
	case b[0] == opCall:
		s.call = true
	case b[0] == opRet, b[0] == opRetImm:
		s.ret = true
	case b[0] == opGroup5 && len(b) > 1:
		s.call = b[1]>>3&7 == 2
	}
	return s
}

func (t *track) top() *slice {
	if len(t.stack) == 0 {
		return nil
	}
	return &t.stack[len(t.stack)-1]
}

// push begins a slice with the code at addr.
func (t *track) push(addr, ret uint64, kind sliceKind) {
	name, category, start := t.calls.Name(addr)
	t.begin(name, category, slice{start: start, ret: ret, kind: kind})
}

func (t *track) begin(name, category string, s slice) {
	s.shown = t.calls.Out.Begin(t.cpu, name, category)
	t.stack = append(t.stack, s)
}

// popTo ends the slices from depth on.
func (t *track) popTo(depth int) {
	for len(t.stack) > depth {
		if t.top().shown {
			t.calls.Out.End(t.cpu)
		}
		t.stack = t.stack[:len(t.stack)-1]
	}
}

// at notes that the CPU is at ip, by whatever way.
func (t *track) at(ip uint64) {
	inner := len(t.stack) - 1
	for inner >= 0 && t.stack[inner].kind == callback {
		inner--
	}
	switch {
	case inner < 0:
		t.push(ip, 0, root)
	case t.stack[inner].kind == gate && t.stack[inner].ret == ip:
		t.popTo(inner)
		if inner == 0 {
			t.push(ip, 0, root)
		}
	case t.stack[inner].kind == gate: // Go code calls into the guest
		t.push(ip, 0, root)
	case !t.trapped && ip != t.next && ip != t.last.ip:
		// What ran before was given up.
		t.popTo(0)
		t.push(ip, 0, root)
	}
	t.trapped = false
}

func (t *track) insn(ev *Event) {
	t.at(ev.IP)
	t.last = stepOf(ev)
	t.next = t.last.next
}

func (t *track) branch(ev *Event) {
	t.next = ev.Addr
	if t.top() == nil {
		return
	}
	_, _, start := t.calls.Name(ev.Addr)
	switch {
	case t.last.call:
		// A call into the middle of the same function is no call of one.
		if start != t.top().start || ev.Addr == start {
			t.push(ev.Addr, t.last.next, code)
		}
		return
	case t.last.ret && t.returned(ev.Addr):
		return
	}
	if top := t.top(); top.start != start {
		was := *top
		t.popTo(len(t.stack) - 1)
		t.push(ev.Addr, was.ret, was.kind)
	}
}

// returned ends what a return to addr ends, if it is one to a caller.
func (t *track) returned(addr uint64) bool {
	for i := len(t.stack) - 1; i >= 0; i-- {
		switch s := t.stack[i]; {
		case s.kind == gate:
			return false
		case s.kind == root && addr == t.calls.End, s.kind == code && s.ret == addr:
			t.popTo(i)
			return true
		}
	}
	return false
}

// gate notes that Go code runs in place of the function at ev.IP. Unless another
// gate has returned to it, there is a slice for it already.
func (t *track) gate(ev *Event) {
	_, _, start := t.calls.Name(ev.IP)
	if top := t.top(); top == nil || top.kind == gate || top.kind == callback || t.next != ev.IP {
		t.at(ev.IP)
	}
	if t.top().start == start {
		t.top().kind, t.top().ret = gate, ev.Addr
	} else {
		t.push(ev.IP, ev.Addr, gate)
	}
	t.next = ev.Addr
}

// callback notes that a callback runs inside the gate that does.
func (t *track) callback(name string) {
	if top := t.top(); top != nil && top.kind == callback {
		t.popTo(len(t.stack) - 1)
	}
	t.begin(name, "callback", slice{kind: callback})
}
