package ftemu

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"ftemu/emu"
)

// A CallError is a call into the guest that did not come back.
type CallError struct {
	Func string // what was called
	At   string // where it stopped, by name
	// From is the return address on top of the stack where a jump led out of
	// all code, which then tells most about where it came from; "" otherwise.
	From string
	// Overflow says that the access that failed was just below the stack.
	Overflow bool
	Stop     emu.Stop
}

// Error says what stopped the call, and where.
func (e *CallError) Error() string {
	s := fmt.Sprintf("call of %s: %s (in %s", e.Func, e.Stop.Error(), e.At)
	if e.From != "" {
		s += ", return address " + e.From
	}
	s += ")"
	if e.Overflow {
		s += fmt.Sprintf(": the stack of %d bytes is used up", stackSize)
	}
	return s
}

// Unwrap gives the emu.Stop.
func (e *CallError) Unwrap() error { return e.Stop }

// ErrArgs is returned for a call with more arguments than registers carry.
var ErrArgs = errors.New("more than six arguments")

// docall is the function of the built-in guests that calls others: docall(fn,
// arguments...).
const docall = "ftor_docall"

// Call calls the guest function at fn on CPU 0 and returns its value. In the
// built-in guests the parent of a call is ftor_docall, as in the recordings, if
// it passes that many arguments on; otherwise it is ftemu_call.
func (l *Lab) Call(fn uint64, args ...uint64) (uint64, error) {
	return l.CallOn(l.Machine.CPU(0), fn, args...)
}

// CallOn is Call on a CPU of the lab's machine.
func (l *Lab) CallOn(cpu emu.CPU, fn uint64, args ...uint64) (uint64, error) {
	r := cpu.Regs()
	saved := *r
	if err := l.BeginCall(cpu, fn, args...); err != nil {
		return 0, err
	}
	lim := l.limits
	lim.Until, lim.UseUntil = l.returnIP, true
	level := l.Graph.Level(cpu.ID())
	l.running++
	stop := cpu.Run(lim)
	l.running--
	ret := r.GPR[emu.RAX]
	if l.running > 0 {
		*r = saved
	}
	l.tramps.reap()
	if stop.Reason != emu.StopUntil {
		l.Graph.Unwind(cpu.ID(), level)
		return 0, l.callError(fn, cpu, stop)
	}
	return ret, nil
}

// BeginCall sets a CPU up to call the guest function at fn, and runs nothing.
// The call is over when RIP is ReturnIP; rax is then its value. With an error
// nothing was changed.
func (l *Lab) BeginCall(cpu emu.CPU, fn uint64, args ...uint64) error {
	if len(args) > len(emu.ArgRegs) {
		return ErrArgs
	}
	r := cpu.Regs()
	saved := *r
	*r = emu.Regs{Flags: emu.FlagsReset}
	if k := l.guest.Kernel; k != nil {
		// No other CPU has been brought up: each uses the boot CPU's data.
		r.GSBase = k.GSBase
	}
	l.poison(r)
	r.RIP = l.caller
	if parent, ok := l.guest.Symbols.Lookup(docall); ok && len(args) < len(l.guest.Params[docall]) {
		r.RIP = parent
		args = append([]uint64{fn}, args...)
	}
	inRegs := min(len(args), len(emu.ArgRegs))
	for i, a := range args[:inRegs] {
		r.GPR[emu.ArgRegs[i]] = a
	}
	r.GPR[emu.RAX] = fn
	r.GPR[emu.RSP] = stackBase + uint64(cpu.ID())*stackPitch + stackSize - 16
	if l.running > 0 {
		// A call from inside a gate goes on below the frames of the outer one.
		r.GPR[emu.RSP] = saved.GPR[emu.RSP]&^15 - 256
	}
	r.GPR[emu.RSP] -= 8
	for i, v := range append([]uint64{l.returnIP}, args[inRegs:]...) {
		if err := l.Mem.WriteU64(r.GPR[emu.RSP]+8*uint64(i), v); err != nil {
			*r = saved
			return err
		}
	}
	return nil
}

// ReturnIP is the address at which calls into the guest end.
func (l *Lab) ReturnIP() uint64 { return l.returnIP }

func (l *Lab) callError(fn uint64, cpu emu.CPU, stop emu.Stop) error {
	e := &CallError{Func: l.Name(fn), At: l.Name(stop.RIP), Stop: stop}
	bottom := stackBase + uint64(cpu.ID())*stackPitch
	switch stop.Reason {
	case emu.StopRead, emu.StopWrite:
		e.Overflow = stop.Addr < bottom && bottom-stop.Addr <= emu.PageSize
	case emu.StopFetch, emu.StopNoExec:
		if ret, err := l.Mem.ReadU64(cpu.Regs().GPR[emu.RSP]); err == nil {
			e.From = l.Name(ret)
		}
	}
	return e
}

// undefined are the registers whose values a function may not rely on when it
// is called, those of arguments apart.
var undefined = [...]int{emu.RBX, emu.RBP, emu.R10, emu.R11, emu.R12, emu.R13, emu.R14, emu.R15}

// poison fills the undefined registers from the seed, the same for each call.
func (l *Lab) poison(r *emu.Regs) {
	rng := rand.New(rand.NewPCG(l.seed, 0))
	for _, i := range undefined {
		r.GPR[i] = rng.Uint64()
	}
}

// Name names an address by symbol and offset, or as a number.
func (l *Lab) Name(addr uint64) string {
	s, ok := l.Symbols.At(addr)
	switch {
	case !ok:
		return fmt.Sprintf("%#x", addr)
	case addr == s.Addr:
		return s.Name
	}
	return fmt.Sprintf("%s+%#x", s.Name, addr-s.Addr)
}
