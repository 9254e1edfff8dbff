package chrome

import "ftemu/trace"

// A track follows the calls of one CPU. It goes by calls and returns: a return to
// where a slice was called from ends that slice and all inside it; any other
// transfer to another function, which is how trampolines go on to what they
// lead to, takes the place of the innermost slice.
type track struct {
	sink  *Sink
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
func stepOf(ev *trace.Event) step {
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
	name, category, start := t.sink.opt.Name(addr)
	t.begin(name, category, slice{start: start, ret: ret, kind: kind})
}

func (t *track) begin(name, category string, s slice) {
	s.shown = t.sink.put(event{Name: name, Category: category, Phase: "B", CPU: t.cpu}, true)
	t.stack = append(t.stack, s)
}

// popTo ends the slices from depth on.
func (t *track) popTo(depth int) {
	for len(t.stack) > depth {
		if t.top().shown {
			t.sink.put(event{Phase: "E", CPU: t.cpu}, false)
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

func (t *track) insn(ev *trace.Event) {
	t.at(ev.IP)
	t.last = stepOf(ev)
	t.next = t.last.next
}

func (t *track) branch(ev *trace.Event) {
	t.next = ev.Addr
	if t.top() == nil {
		return
	}
	_, _, start := t.sink.opt.Name(ev.Addr)
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
		case s.kind == root && addr == t.sink.opt.End, s.kind == code && s.ret == addr:
			t.popTo(i)
			return true
		}
	}
	return false
}

// gate notes that Go code runs in place of the function at ev.IP. Unless another
// gate has returned to it, there is a slice for it already.
func (t *track) gate(ev *trace.Event) {
	_, _, start := t.sink.opt.Name(ev.IP)
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
