package abi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/trampoline"
)

// A variant is one way in which the surroundings of a trampoline behave.
type variant uint8

const (
	plain   variant = iota // entered from the site, nobody asks for anything
	shared                 // entered through ftrace_regs_caller, with the address of a replacement in the return slot
	changed                // a function that it calls changes the address to go on at
	direct                 // a function that it calls asks for a direct trampoline
)

var variantNames = [...]string{
	plain: "entered from the site", shared: "entered with a changed return slot",
	changed: "a callback changes ip", direct: "a callback asks for a direct call",
}

func (v variant) String() string { return variantNames[v] }

// variants lists those that concern a contract.
func variants(c trampoline.Contract) []variant {
	out := []variant{plain, shared}
	if c.IP.Has && !c.Exclusive {
		out = append(out, changed)
	}
	if c.Direct.Has {
		out = append(out, direct)
	}
	return out
}

// A run is one execution of the trampoline.
type run struct {
	b       *bench
	variant variant
	entry   emu.Regs // the registers when the trampoline is entered
	slot    uint64   // address of the return slot: rsp then
	caller  []byte   // what is above the return slot
	at, sp  uint64   // the instruction being executed, and rsp before it
	seen    []bool   // by offset: which bytes of code were executed; nil: nobody asks
	ran     int      // how often the original, or its replacement, was entered
	calls   int      // how often it was called by the trampoline
	result  uint64   // what the original returned
	asked   bool     // the callback has done what the variant says
	fault   func(Fault)
	halt    error // stops the run
	answer  func(name string) uint64
}

// errOver stops a run that cannot go on.
var errOver = errors.New("over")

// goTo is where the run has to enter the original.
func (r *run) goTo() uint64 {
	if r.b.contract.Exclusive || r.variant == plain || r.variant == direct {
		return bodyAddr
	}
	return insteadAddr
}

// newRun fills registers and stack at random.
func (b *bench) newRun(v variant) *run {
	r := &run{b: b, variant: v, answer: b.randomAnswer}
	for i := range r.entry.GPR {
		r.entry.GPR[i] = b.rng.Uint64()
	}
	// The direction flag is clear whenever a function is entered.
	r.entry.Flags = b.rng.Uint64()&emu.FlagsStatus | emu.FlagsFixed
	align := b.contract.Align
	r.slot = stackBase + stackSize - callerFrame - slotRoom + b.rng.Uint64N(slotRoom/align)*align
	r.entry.GPR[emu.RSP] = r.slot
	r.entry.RIP = b.placed.Code.Addr
	return r
}

// randomAnswer is what a function returns: zero now and then, so that both ways
// of a test are taken.
func (b *bench) randomAnswer(string) uint64 {
	if b.rng.IntN(3) == 0 {
		return 0
	}
	return b.rng.Uint64()
}

// prepare writes the stack: random words, the return slot, the return address.
func (r *run) prepare() error {
	stack := make([]byte, 0, stackSize)
	for len(stack) < stackSize {
		stack = binary.LittleEndian.AppendUint64(stack, r.b.rng.Uint64())
	}
	if err := r.b.mem.Write(stackBase, stack); err != nil {
		return err
	}
	to := uint64(bodyAddr)
	if r.variant == shared {
		to = insteadAddr
	}
	if err := r.b.mem.WriteU64(r.slot, to); err != nil {
		return err
	}
	if err := r.b.mem.WriteU64(r.slot+8, parentAddr); err != nil {
		return err
	}
	r.caller = make([]byte, stackBase+stackSize-r.slot-8)
	return r.b.mem.Read(r.slot+8, r.caller)
}

// execute runs the trampoline until the parent is reached.
func (r *run) execute() error {
	if err := r.prepare(); err != nil {
		return err
	}
	r.b.run = r
	regs := r.b.cpu.Regs()
	*regs = r.entry
	r.at = r.entry.RIP
	stop := r.b.cpu.Run(emu.Limits{Until: parentAddr, UseUntil: true, Insns: maxInsns})
	switch {
	case stop.Reason == emu.StopUntil:
		r.returned()
	case stop.Reason == emu.StopGate && errors.Is(stop.Err, errOver):
	case stop.Reason == emu.StopEngine || stop.Reason == emu.StopGate:
		return stop
	default:
		r.at = stop.RIP
		r.report(RuleEnd, "return to the parent", stop.Error())
	}
	return nil
}

// regs is the register file.
func (r *run) regs() *emu.Regs { return r.b.cpu.Regs() }

// top is the return address of the gate that runs.
func (r *run) top() uint64 {
	// The gate has read it already, so it can be read.
	v, _ := r.b.mem.ReadU64(r.regs().GPR[emu.RSP])
	return v
}

// report reports a fault at the present instruction.
func (r *run) report(rule Rule, expected, found string) {
	if r.fault == nil {
		return
	}
	r.fault(Fault{
		Rule: rule, Case: r.variant.String(), IP: r.at, Expected: expected, Found: found,
		Entry: r.entry, Regs: *r.regs(),
	})
}

func (r *run) reportf(rule Rule, expected, format string, args ...any) {
	r.report(rule, expected, fmt.Sprintf(format, args...))
}

// covered notes that an instruction was executed.
func (r *run) covered(off uint64, size int) {
	if r.seen == nil {
		return
	}
	for i := off; i < min(off+uint64(size), uint64(len(r.seen))); i++ {
		r.seen[i] = true
	}
}

// access looks at what the trampoline reads and writes.
func (r *run) access(ev *trace.Event) {
	if !r.b.own(ev.IP) {
		return
	}
	onStack := ev.Addr-stackBase < stackSize
	end := ev.Addr + uint64(ev.Size)
	switch {
	case !ev.Write && onStack && ev.Addr < r.sp:
		r.reportf(RuleRedZone, "reads at rsp and above: an interrupt overwrites what is below",
			"%d bytes read %d below rsp", ev.Size, r.sp-ev.Addr)
	case !ev.Write || onStack && end <= r.slot:
	case onStack && ev.Addr >= r.slot && end <= r.slot+8 && r.b.contract.WritesReturn:
	case onStack && ev.Addr < r.slot+8:
		r.reportf(RuleWrites, "nothing written above the frame", "%d bytes written to the return slot (entry rsp%+#x)", ev.Size, int64(ev.Addr-r.slot))
	case onStack:
		r.reportf(RuleWrites, "nothing written above the frame", "%d bytes written to the caller's frame (entry rsp%+#x)", ev.Size, int64(ev.Addr-r.slot))
	case !r.ownData(ev.Addr):
		r.reportf(RuleWrites, "writes to its own frame", "%d bytes written at %#x", ev.Size, ev.Addr)
	}
}

// ownData tells whether addr is in writable memory that the trampoline brought along.
func (r *run) ownData(addr uint64) bool {
	for _, s := range r.b.placed.Segments {
		if addr-s.Addr < uint64(len(s.Data)) && s.Perm&emu.PermW != 0 {
			return true
		}
	}
	return false
}

// atCall checks what must hold when anything is called. RSP points to the
// return address.
func (r *run) atCall(name string) {
	regs := r.regs()
	if over := (regs.GPR[emu.RSP] + 8) % r.b.contract.Align; over != 0 {
		r.reportf(RuleAlign, fmt.Sprintf("rsp a multiple of %d at each call", r.b.contract.Align),
			"call of %s with rsp %#x, %d bytes past a multiple", name, regs.GPR[emu.RSP]+8, over)
	}
	r.checkDF("at the call of " + name)
}

func (r *run) checkDF(where string) {
	if r.regs().Flags&emu.FlagDF != 0 {
		r.report(RuleDF, "the direction flag clear", "set "+where)
	}
}

// spoil overwrites the stack below rsp, as interrupts and callees do.
func (r *run) spoil() {
	sp := r.regs().GPR[emu.RSP]
	n := min(sp-stackBase, 0x100)
	if sp < stackBase || sp > stackBase+stackSize {
		return
	}
	// Inside of the stack, which is mapped.
	_ = r.b.mem.Write(sp-n, bytes.Repeat([]byte{0xa5}, int(n)))
}

// called is what functions do that the trampoline calls, or goes on to, by name.
func (r *run) called(name string) {
	top := r.top()
	if !r.b.own(top) {
		r.wayOut(name)
		return
	}
	r.atCall(name)
	r.ask()
	r.leaveC(name, r.answer(name))
}

// leaveC is how a C function returns: with a result, and with everything
// changed that it may change.
func (r *run) leaveC(name string, result uint64) {
	if r.b.watch != nil {
		r.b.watch.gate(name, r.top(), result)
	}
	r.spoil()
	regs := r.regs()
	for _, i := range emu.Clobbered {
		regs.GPR[i] = emu.Poison(i)
	}
	regs.Flags |= emu.FlagsStatus
	regs.GPR[emu.RAX] = result
}

// ask does what the variant wants a callback to do, once.
func (r *run) ask() {
	if r.asked {
		return
	}
	var w trampoline.Word
	var v uint64
	switch r.variant {
	case changed:
		w, v = r.b.contract.IP, insteadAddr
	case direct:
		w, v = r.b.contract.Direct, trampoline.SampleDirect
	default:
		return
	}
	r.asked = true
	// Words of a contract are near the return slot, on the stack.
	_ = r.b.mem.WriteU64(r.slot+uint64(w.Off), v)
}

// original is the body of the traced function, or its replacement: called by
// the trampoline, or gone to.
func (r *run) original(which uint64) {
	name, _, _ := r.b.sample.Name(which)
	r.ran++
	if r.ran > 1 {
		r.reportf(RuleOnce, "the original entered at most once", "entered %d times", r.ran)
		r.halt = errOver
		return
	}
	if want := r.goTo(); which != want {
		wanted, _, _ := r.b.sample.Name(want)
		rule := "the " + wanted + " at " + fmt.Sprintf("%#x", want)
		if want == insteadAddr {
			rule += ", as ip was changed"
		}
		r.reportf(RuleIP, rule, "the %s at %#x", name, which)
	}
	sp := r.regs().GPR[emu.RSP]
	switch top := r.top(); {
	case top == parentAddr:
		if sp != r.slot+8 {
			r.reportf(RuleStack, fmt.Sprintf("rsp %#x on the way into the original (at the return address)", r.slot+8), "%#x, off by %+d", sp, int64(sp-r.slot-8))
		}
		r.checkSaved("on the way into the original")
	case r.b.own(top):
		r.calls++
		r.atCall("the " + name)
	default:
		r.reportf(RuleReturn, fmt.Sprintf("the return address %#x", uint64(parentAddr)), "the %s entered with the return address %#x", name, top)
		r.halt = errOver
		return
	}
	r.checkArgs(name)
	r.checkDF("on the way into the original")
	r.result = r.b.rng.Uint64()
	r.leaveC(name, r.result)
}

// wayOut is another trampoline to which this one goes on: it finds everything
// as this one did, and goes on through the return slot.
func (r *run) wayOut(name string) {
	where := "on the way to " + name
	sp := r.regs().GPR[emu.RSP]
	if sp != r.slot {
		r.reportf(RuleStack, fmt.Sprintf("rsp %#x %s", r.slot, where), "%#x, off by %+d", sp, int64(sp-r.slot))
	}
	if top := r.top(); top != bodyAddr && top != insteadAddr {
		r.reportf(RuleReturn, "the return slot on top of the stack "+where, "%#x", top)
		r.halt = errOver
		return
	}
	r.checkArgs(name)
	r.checkSaved(where)
	r.checkDF(where)
	if r.b.watch != nil {
		r.b.watch.gate(name, r.top(), r.regs().GPR[emu.RAX])
	}
	r.spoil() // it keeps the registers
}

// returned looks at the machine when the parent is reached.
func (r *run) returned() {
	sp := r.regs().GPR[emu.RSP]
	if sp != r.slot+16 {
		r.reportf(RuleStack, fmt.Sprintf("rsp %#x in the parent", r.slot+16), "%#x, off by %+d", sp, int64(sp-r.slot-16))
	}
	r.checkSaved("in the parent")
	r.checkDF("in the parent")
	if r.ran == 1 && r.regs().GPR[emu.RAX] != r.result {
		r.reportf(RuleResult, fmt.Sprintf("rax %#x, what the original returned", r.result), "rax %#x in the parent", r.regs().GPR[emu.RAX])
	}
	now := make([]byte, len(r.caller))
	// Mapped, as it was when the run began.
	_ = r.b.mem.Read(r.slot+8, now)
	for i := range now {
		if now[i] != r.caller[i] {
			if i < 8 {
				r.reportf(RuleReturn, fmt.Sprintf("the return address %#x", uint64(parentAddr)), "its byte %d has changed", i)
			} else {
				r.reportf(RuleWrites, "nothing written above the frame", "the caller's frame has changed at entry rsp+%#x", i+8)
			}
			break
		}
	}
}

// calleeSaved are the registers that a callee must preserve, rsp apart.
var calleeSaved = [...]int{emu.RBX, emu.RBP, emu.R12, emu.R13, emu.R14, emu.R15}

func (r *run) checkSaved(where string) {
	if found, wanted := r.differing(calleeSaved[:]); found != "" {
		r.report(RuleSaved, wanted+", as on entry", found+" "+where)
	}
}

// checkArgs checks the argument registers.
func (r *run) checkArgs(name string) {
	list := append([]int(nil), emu.ArgRegs[:r.b.contract.Args]...)
	if r.b.contract.RAX {
		list = append(list, emu.RAX)
	}
	if found, wanted := r.differing(list); found != "" {
		r.report(RuleArgs, wanted+", as on entry", found+" in the "+name)
	}
}

// differing lists registers that are not as they were on entry.
func (r *run) differing(list []int) (found, wanted string) {
	var f, w []string
	for _, i := range list {
		if now := r.regs().GPR[i]; now != r.entry.GPR[i] {
			f = append(f, fmt.Sprintf("%s %#x", emu.RegNames[i], now))
			w = append(w, fmt.Sprintf("%s %#x", emu.RegNames[i], r.entry.GPR[i]))
		}
	}
	return strings.Join(f, ", "), strings.Join(w, ", ")
}
