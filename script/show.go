package script

import (
	"fmt"
	"strconv"
	"strings"

	"ftemu/ftracecore"
	"ftemu/x86"
)

func parseBytes(p *parser, args []string) (func(*Runner), error) {
	a, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	s, ok := p.script.names.site(a)
	if !ok {
		return nil, fmt.Errorf("function %q has no ftrace site", args[0])
	}
	return func(r *Runner) { r.show("%s", r.siteLine(r.siteState(r.lab.Core.RecordAt(s.IP)))) }, nil
}

func (r *Runner) show(format string, args ...any) {
	r.res.Text = append(r.res.Text, fmt.Sprintf(format, args...))
}

// siteLine shows the bytes of a site with their disassembly.
func (r *Runner) siteLine(s SiteState) string {
	text, _, err := x86.Disasm(s.Bytes[:], s.IP, r.lab.Symbols.Name)
	if err != nil {
		text = err.Error()
	}
	return fmt.Sprintf("%-8s %x: % x  %s", s.Site, s.IP, s.Bytes, text)
}

func parseDisasm(p *parser, args []string) (func(*Runner), error) {
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
			r.show("  %x: %-30s (%v)", addr+uint64(off), fmt.Sprintf("% x", code[off]), err)
			return
		}
		r.show("  %x: %-30s %s", addr+uint64(off), fmt.Sprintf("% x", code[off:off+n]), text)
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

func parseWant(p *parser, args []string) (func(*Runner), error) {
	if !p.begun {
		return nil, fmt.Errorf("want needs a line before it")
	}
	switch what, rest := args[0], args[1:]; what {
	case "rc":
		rc, err := parseRC(rest)
		if err != nil {
			return nil, err
		}
		return expect(func(r *Runner) (found, wanted string) {
			return ftracecore.RetName(r.prev.RC), ftracecore.RetName(rc)
		}), nil
	case "ret":
		v, err := number(rest[0])
		if err != nil {
			return nil, err
		}
		if len(rest) > 1 {
			return nil, fmt.Errorf("want ret takes one number, found %q", strings.Join(rest, " "))
		}
		return expect(func(r *Runner) (found, wanted string) {
			if r.prev.Ret == nil {
				return "no return value", fmt.Sprint(int64(v))
			}
			return fmt.Sprint(*r.prev.Ret), fmt.Sprint(int64(v))
		}), nil
	case "callbacks":
		wanted := strings.Join(rest, " ")
		return expect(func(r *Runner) (string, string) { return callbacks(r.prev.EV), wanted }), nil
	case "target":
		if len(rest) != 2 {
			return nil, fmt.Errorf("want target takes FUNCTION nop|NAME, found %q", strings.Join(rest, " "))
		}
		a, err := p.function(rest[0])
		if err != nil {
			return nil, err
		}
		s, ok := p.script.names.site(a)
		if !ok {
			return nil, fmt.Errorf("function %q has no ftrace site", rest[0])
		}
		return expect(func(r *Runner) (string, string) {
			st := r.siteState(r.lab.Core.RecordAt(s.IP))
			if st.Target != "" {
				return st.Target, rest[1]
			}
			return st.Form, rest[1]
		}), nil
	}
	return nil, fmt.Errorf("unknown expectation %q, expected rc, ret, callbacks or target", args[0])
}

// parseRC reads a return value: a number, or an errno by name with or without
// the minus.
func parseRC(args []string) (int, error) {
	if len(args) == 1 {
		if v, err := strconv.Atoi(args[0]); err == nil {
			return v, nil
		}
		if e, ok := ftracecore.ErrnoByName(strings.TrimPrefix(args[0], "-")); ok {
			return -int(e), nil
		}
	}
	return 0, fmt.Errorf("want rc takes 0, a number or an errno such as -EBUSY, found %q", strings.Join(args, " "))
}

// expect makes a step that compares.
func expect(fn func(*Runner) (found, wanted string)) func(*Runner) {
	return func(r *Runner) {
		if found, wanted := fn(r); found != wanted {
			r.res.Failed = fmt.Sprintf("found %s, wanted %s", found, wanted)
		}
	}
}

// callbacks lists what ran in a call, in order: IDs of ops, direct trampolines,
// bodies.
func callbacks(evs []Event) string {
	var names []string
	for _, e := range evs {
		switch {
		case e.CB != "":
			names = append(names, e.CB)
		case e.Direct != "":
			names = append(names, "direct:"+e.Direct)
		case e.Body != "":
			names = append(names, "body:"+e.Body)
		}
	}
	return strings.Join(names, " ")
}
