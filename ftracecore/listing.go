package ftracecore

import (
	"fmt"
	"strings"
)

// Symbolic names an address as the kernel's %pS does: symbol+offset/size and the
// module in brackets, or the bare number where no symbol covers it.
func (c *Core) Symbolic(addr uint64) string { return c.symbolic(addr, true) }

// symbolic names an address with size and offset (full), or as short as
// possible.
func (c *Core) symbolic(addr uint64, full bool) string {
	if addr == 0 {
		return "0x0"
	}
	s, ok := c.kallsyms(addr)
	if !ok {
		return fmt.Sprintf("0x%016x", addr)
	}
	var b strings.Builder
	b.WriteString(s.Name)
	switch off := addr - s.Addr; {
	case full:
		fmt.Fprintf(&b, "+0x%x/0x%x", off, s.Size)
	case off != 0:
		fmt.Fprintf(&b, "+0x%x", off)
	}
	if full && s.Module != "" {
		fmt.Fprintf(&b, " [%s]", s.Module)
	}
	return b.String()
}

// EnabledFunctions returns the lines of tracefs's enabled_functions: every site
// that holds a call, with what it calls. It is empty once ftrace is disabled.
func (c *Core) EnabledFunctions() []string {
	if c.disabled {
		return nil
	}
	var lines []string
	c.Records(func(rec *Record) bool {
		if rec.Has(RecEnabled) {
			lines = append(lines, strings.Split(c.enabledLine(rec), "\n")...)
		}
		return true
	})
	return lines
}

func (c *Core) enabledLine(rec *Record) string {
	var b strings.Builder
	if s, ok := c.kallsyms(rec.IP); ok {
		b.WriteString(s.Name)
		if s.Module != "" {
			fmt.Fprintf(&b, " [%s]", s.Module)
		}
	} else {
		fmt.Fprintf(&b, "0x%x", rec.IP)
	}
	letter := func(f RecFlags, l string) string {
		if rec.Has(f) {
			return " " + l
		}
		return "  "
	}
	fmt.Fprintf(&b, " (%d)%s%s%s", rec.Count, letter(RecRegs, "R"), letter(RecIPModify, "I"), letter(RecDirect, "D"))
	if rec.Has(RecTrampEn) {
		found := false
		for _, op := range c.list {
			if op.Trampoline == 0 || !op.Covers(rec.IP) {
				continue
			}
			found = true
			var fn uint64
			if op.Func != nil {
				fn = op.Func.Addr
			}
			fmt.Fprintf(&b, "\ttramp: %s (%s)", c.Symbolic(op.Trampoline), c.Symbolic(fn))
			// A trampoline that was not made for the ops is not looked into.
			if op.Has(OpsAllocTramp) {
				if target := c.tramps.CallTarget(op); target != 0 {
					fmt.Fprintf(&b, " ->%s", c.Symbolic(target))
				}
			}
		}
		if !found {
			b.WriteString("\ttramp: ERROR!")
		}
	} else {
		fmt.Fprintf(&b, " ->%s", c.Symbolic(c.textFunc.Addr))
	}
	if rec.Has(RecDirect) {
		if addr, ok := c.DirectFunction(rec.IP); ok {
			fmt.Fprintf(&b, "\n\tdirect-->%s", c.Symbolic(addr))
		}
	}
	return b.String()
}
