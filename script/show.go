package script

import (
	"fmt"

	"ftemu/x86"
)

func parseBytes(p *Parser, args []string) (func(*Runner), error) {
	a, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	s, ok := p.script.names.site(a)
	if !ok {
		return nil, fmt.Errorf("function %q has no ftrace site", args[0])
	}
	return func(r *Runner) { r.show("%s", siteLine(r.siteState(r.lab.Core.RecordAt(s.IP)))) }, nil
}

func (r *Runner) show(format string, args ...any) {
	r.res.Text = append(r.res.Text, fmt.Sprintf(format, args...))
}

// siteLine shows the bytes of a site with their disassembly.
func siteLine(s SiteState) string {
	return fmt.Sprintf("%-8s %x: % x  %s", s.Site, s.IP, s.Bytes, s.Disasm())
}

func parseDisasm(p *Parser, args []string) (func(*Runner), error) {
	name := args[0]
	if p.ids[name] != nil {
		return func(r *Runner) {
			ops := r.ops(name)
			if ops.Trampoline == 0 {
				r.show("ops %s has no trampoline", name)
				return
			}
			r.disasm(ops.Trampoline, "trampoline of "+name)
		}, nil
	}
	if p.tramp(name) == nil {
		return func(r *Runner) { r.disasm(r.tramp(name), name) }, nil
	}
	a, err := p.function(name)
	if err != nil {
		return nil, err
	}
	return func(r *Runner) { r.disasm(a, name) }, nil
}

// maxDisasm bounds the listing of code whose end is not known, in bytes.
const maxDisasm = 512

// disasm lists code from addr to the end of its symbol, or to its first return.
func (r *Runner) disasm(addr uint64, title string) {
	r.show("%x <%s>:", addr, title)
	size := uint64(maxDisasm)
	sym, known := r.lab.Symbols.At(addr)
	if known && sym.Addr == addr && sym.Size > 0 {
		size = sym.Size
	}
	code := make([]byte, size)
	if err := r.lab.Mem.Read(addr, code); err != nil {
		r.show("  %v", err)
		return
	}
	for off := 0; off < len(code); {
		text, n, err := x86.Disasm(code[off:], addr+uint64(off), r.lab.Symbols.Name)
		if err != nil {
			r.show("  %x: %-36s (%v)", addr+uint64(off), fmt.Sprintf("% x", code[off]), err)
			return
		}
		r.show("  %x: %-36s %s", addr+uint64(off), fmt.Sprintf("% x", code[off:off+n]), text)
		off += n
		if code[off-n] == x86.OpRet {
			return
		}
	}
}

func (r *Runner) showEnabled() {
	lines := r.lab.Core.EnabledFunctions()
	if len(lines) == 0 {
		r.show("(nothing is enabled)")
	}
	for _, l := range lines {
		r.show("%s", l)
	}
}
