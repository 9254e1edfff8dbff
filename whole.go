package ftemu

import (
	"fmt"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/guest"
)

// mapWholeKernel maps a guest that is a kernel. The code that sites call is its
// own, ftrace_caller and ftrace_regs_caller included; the lab's gates take the
// place of the C functions that those call.
func (l *Lab) mapWholeKernel() error {
	if err := l.guest.Map(l.Mem); err != nil {
		return fmt.Errorf("%s: %w", l.guest.Name, err)
	}
	l.Symbols = l.guest.Symbols.Clone()
	var err error
	if l.tramps.plain, err = l.kernelCall("ftrace_call"); err != nil {
		return err
	}
	if l.tramps.regs, err = l.kernelCall("ftrace_regs_call"); err != nil {
		return err
	}
	if err := l.Mem.WriteU64(l.addrs.traceOp, l.addrs.ListEnd); err != nil {
		return fmt.Errorf("%s: function_trace_op: %w", l.guest.Name, err)
	}
	return l.Mem.Map(labBase, emu.PageSize, emu.PermRX, "ftemu")
}

// kernelCall finds the call at a label in one of the kernel's static trampolines.
func (l *Lab) kernelCall(label string) (uint64, error) {
	addr, ok := l.guest.Symbols.Lookup(label)
	if !ok {
		return 0, fmt.Errorf("%s: no symbol %s in its ftrace_caller", l.guest.Name, label)
	}
	if err := l.Poker.Retarget(addr, l.addrs.FtraceStub); err != nil {
		return 0, fmt.Errorf("%s: %s: %w", l.guest.Name, label, err)
	}
	return addr, nil
}

// addSites makes the guest's sites known to ftrace, which leaves alone those that
// are at no function's start.
func (l *Lab) addSites(img *guest.Image) {
	ips := make([]uint64, len(img.Sites))
	for i, s := range img.Sites {
		ips[i] = s.IP
	}
	l.Core.AddSites(ips)
	for _, s := range img.Sites {
		if s.Invalid {
			l.Core.RecordAt(s.IP).Flags |= ftracecore.RecDisabled
		}
	}
}

// memoryFor is how much memory a lab with the guest may take, in bytes: room for
// trampolines and for what calls need on top of the guest.
func memoryFor(img *guest.Image) uint64 {
	return max(emu.DefaultMemoryLimit, img.MemorySize()+emu.DefaultMemoryLimit/2)
}

// addSymbol names code of the kernel unless the guest does.
func (l *Lab) addSymbol(s guest.Symbol) {
	if l.guest.Kernel != nil {
		if _, ok := l.guest.Symbols.Lookup(s.Name); ok {
			return
		}
	}
	l.Symbols.Add(s)
}
