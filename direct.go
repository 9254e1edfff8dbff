package ftemu

import (
	"fmt"

	"ftemu/emu"
	"ftemu/guest"
	"ftemu/trampoline"
)

// A direct is a direct trampoline that the lab made.
type direct struct {
	name string
	addr uint64
	code trampoline.Code
	// frame names the words of its stack frame; nil where nobody has.
	frame []trampoline.Slot
	// redirect is where the callback of a trampoline of one's own takes calls to.
	redirect map[uint64]uint64
}

// directRoom is how much memory each direct trampoline gets, in bytes.
const directRoom = 0x80

// AddDirect makes a direct trampoline of the given kind and returns its address.
// body is what an Orig trampoline calls, the address behind the site. Its
// symbol is "ftor_t_" and the name in the built-in guest, as in the recordings,
// and the bare name elsewhere.
func (l *Lab) AddDirect(name string, kind trampoline.DirectKind, body uint64) (uint64, error) {
	for _, d := range l.directs {
		if d.name == name {
			return 0, fmt.Errorf("direct trampoline %q exists already", name)
		}
	}
	spec := trampoline.DirectSpec{
		Kind: kind, Addr: l.directMem, ID: uint64(len(l.directs)),
		LogEntry: directLogIP, LogExit: directEndIP, Body: body,
	}
	symbol := guest.Symbol{Name: name, Addr: spec.Addr, Size: directRoom, Func: true, Module: l.guest.Module}
	if l.guest.Module == guest.OracleModule {
		spec.LogEntry, spec.LogExit = guest.OracleDirectLog, guest.OracleDirectExitLog
		symbol.Name = "ftor_t_" + name
	}
	code, err := trampoline.Direct(spec)
	if err != nil {
		return 0, err
	}
	if len(code.Bytes) > directRoom {
		return 0, fmt.Errorf("direct trampoline %q takes %d bytes, of which there are %d", name, len(code.Bytes), directRoom)
	}
	if l.Mem.Page(spec.Addr) == nil {
		if err := l.Mem.Map(pageOf(spec.Addr), emu.PageSize, emu.PermRX, "direct trampolines"); err != nil {
			return 0, err
		}
	}
	if err := l.install(code, nil); err != nil {
		return 0, err
	}
	l.Symbols.Add(symbol)
	layout, err := trampoline.NewBuiltin(kind.String(), trampoline.BuiltinOptions{})
	if err != nil {
		return 0, err
	}
	l.directs = append(l.directs, &direct{name: name, addr: spec.Addr, code: code, frame: layout.Frame()})
	l.directMem += directRoom
	return spec.Addr, nil
}

// Direct returns the address of a direct trampoline by name.
func (l *Lab) Direct(name string) (addr uint64, ok bool) {
	for _, d := range l.directs {
		if d.name == name {
			return d.addr, true
		}
	}
	return 0, false
}

// DirectName returns the name of the direct trampoline at addr.
func (l *Lab) DirectName(addr uint64) (string, bool) {
	for _, d := range l.directs {
		if d.addr == addr {
			return d.name, true
		}
	}
	return "", false
}

func (l *Lab) direct(id uint64) (*direct, error) {
	if id >= uint64(len(l.directs)) {
		return nil, fmt.Errorf("a direct trampoline logged with ID %d, of which there are %d", id, len(l.directs))
	}
	return l.directs[id], nil
}

// logDirect is ftor_direct_log(id, return slot, a, b).
func (l *Lab) logDirect(c emu.CPU) error {
	r := c.Regs()
	d, err := l.direct(r.GPR[emu.RDI])
	if err == nil && l.observer != nil {
		l.observer.Direct(d.name, r.GPR[emu.RSI], int64(r.GPR[emu.RDX]), int64(r.GPR[emu.RCX]))
	}
	return err
}

// logDirectExit is ftor_directexit_log(id, return value).
func (l *Lab) logDirectExit(c emu.CPU) error {
	r := c.Regs()
	d, err := l.direct(r.GPR[emu.RDI])
	if err == nil && l.observer != nil {
		l.observer.DirectExit(d.name, int64(r.GPR[emu.RSI]))
	}
	return err
}

// logBody is ftor_body_log(id, a, b) of the built-in guests: 0 to 7 are f0 to f7,
// 8 to 15 are g0 to g7, 16 is galt.
func (l *Lab) logBody(c emu.CPU) error {
	r := c.Regs()
	id := r.GPR[emu.RDI]
	name := "galt"
	switch {
	case id > 16:
		return fmt.Errorf("ftor_body_log was called with ID %d, expected 0 to 16", id)
	case id < 16:
		name = fmt.Sprintf("%c%d", "fg"[id/8], id%8)
	}
	if l.observer != nil {
		l.observer.Body(name, int64(r.GPR[emu.RSI]), int64(r.GPR[emu.RDX]))
	}
	return nil
}
