package ftemu

import (
	"errors"
	"fmt"

	"ftemu/emu"
	"ftemu/guest"
	"ftemu/trampoline"
)

// OwnTrampoline says what a trampoline of one's own is used for in a lab.
type OwnTrampoline struct {
	Maker trampoline.Maker
	// Body is the address behind the site of the one function that it serves;
	// 0 where it serves any.
	Body uint64
	// Redirect says where its callback takes calls to: by the address to go on
	// at, the address to go on at instead.
	Redirect map[uint64]uint64
}

// errNoOwnRoom is returned when the area for trampolines of one's own is full.
var errNoOwnRoom = errors.New("no room is left for trampolines")

// AddTrampoline makes a direct trampoline of one's own and returns its address.
// It may call functions of the guest and of the kernel by name, and these of
// the lab:
//
//	log_entry(id, slot, a, b)   tells the observer that it was entered
//	log_exit(id, value)         tells it that what it called has returned
//	callback(id, &ip, a, b)     does as log_entry with the content of ip, and changes that as Redirect says
//
// What it is called by listings is as for AddDirect.
func (l *Lab) AddTrampoline(name string, own OwnTrampoline) (uint64, error) {
	if _, exists := l.Direct(name); exists {
		return 0, fmt.Errorf("direct trampoline %q exists already", name)
	}
	env := trampoline.Env{Addr: ownBase, Body: own.Body, ID: uint64(len(l.directs)), Symbol: l.ownSymbol}
	p, err := own.Maker.Make(env) // for its size
	if err != nil {
		return 0, err
	}
	if env.Addr, err = l.ownRoom(p); err != nil {
		return 0, fmt.Errorf("%s: %w", own.Maker.Name(), err)
	}
	if p, err = own.Maker.Make(env); err != nil {
		return 0, err
	}
	for _, s := range ownSegments(p) {
		if err := l.Mem.Map(s.Addr, roundUp(uint64(len(s.Data))), s.Perm, s.Name); err != nil {
			return 0, err
		}
		if err := l.Mem.Write(s.Addr, s.Data); err != nil {
			return 0, err
		}
	}
	symbol := guest.Symbol{Name: name, Addr: p.Code.Addr, Size: uint64(len(p.Code.Bytes)), Func: true, Module: l.guest.Module}
	if l.guest.Module == guest.OracleModule {
		symbol.Name = "ftor_t_" + name
	}
	l.Symbols.Add(symbol)
	l.directs = append(l.directs, &direct{name: name, addr: p.Code.Addr, code: p.Code, frame: own.Maker.Frame(), redirect: own.Redirect})
	return p.Code.Addr, nil
}

// ownSegments is the memory of a trampoline.
func ownSegments(p trampoline.Placed) []trampoline.Segment {
	if p.Segments != nil {
		return p.Segments
	}
	return []trampoline.Segment{{Name: p.Code.Name, Addr: p.Code.Addr, Data: p.Code.Bytes, Perm: emu.PermRX}}
}

// ownRoom finds free pages for a trampoline that was made for ownBase.
func (l *Lab) ownRoom(p trampoline.Placed) (uint64, error) {
	size := uint64(0)
	for _, s := range ownSegments(p) {
		size = max(size, roundUp(s.Addr+uint64(len(s.Data))-ownBase))
	}
	free := uint64(ownBase)
	for page := free; page < ownLimit; page += emu.PageSize {
		if l.Mem.Page(page) != nil {
			free = page + emu.PageSize
		}
		if page+emu.PageSize-free >= size {
			return free, nil
		}
	}
	return 0, errNoOwnRoom
}

// roundUp rounds up to whole pages.
func roundUp(size uint64) uint64 { return pageOf(size + emu.PageSize - 1) }

// ownSymbol finds what a trampoline of one's own calls.
func (l *Lab) ownSymbol(name string) (uint64, error) {
	switch name {
	case "log_entry":
		return l.directLog, nil
	case "log_exit":
		return l.directEnd, nil
	case "callback":
		return ownCallbackIP, nil
	}
	if addr, ok := l.Symbols.Lookup(name); ok {
		return addr, nil
	}
	if addr, ok := l.Symbols.Lookup("ftor_" + name); ok && l.guest.Module == guest.OracleModule {
		return addr, nil
	}
	return 0, fmt.Errorf("unknown function %q, expected log_entry, log_exit, callback, or one of the guest or the kernel", name)
}

// ownCallback is callback(id, &ip, a, b).
func (l *Lab) ownCallback(c emu.CPU) error {
	r := c.Regs()
	d, err := l.direct(r.GPR[emu.RDI])
	if err != nil {
		return err
	}
	ip, err := l.Mem.ReadU64(r.GPR[emu.RSI])
	if err != nil {
		return err
	}
	if l.observer != nil {
		l.observer.Direct(d.name, ip, int64(r.GPR[emu.RDX]), int64(r.GPR[emu.RCX]))
	}
	if to, ok := d.redirect[ip]; ok {
		return l.Mem.WriteU64(r.GPR[emu.RSI], to)
	}
	return nil
}
