package gdb

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/x86"
)

const monitorHelp = `sites              the sites that are traced or patched: users, flags, bytes
ops                the ops that are registered, the newest first
enabled_functions  the listing of that name
script             the lines of the scenario; => is before the one that runs
help               this text
`

// maxLines bounds what a monitor command lists.
const maxLines = 1000

// monitor answers a monitor command of gdb.
func (r *Run) monitor(cmd string) string {
	switch strings.TrimSpace(cmd) {
	case "sites":
		return listing(r.sites(), "no site is traced or patched")
	case "ops":
		return listing(r.ops(), "no ops is registered")
	case "enabled_functions":
		return listing(r.lab().Core.EnabledFunctions(), "no function is enabled")
	case "script":
		return listing(r.lines(), "")
	case "help", "":
		return monitorHelp
	}
	return fmt.Sprintf("unknown command %.40q, expected sites, ops, enabled_functions, script or help\n", cmd)
}

func listing(lines []string, none string) string {
	if len(lines) == 0 {
		return none + "\n"
	}
	more := ""
	if n := len(lines) - maxLines; n > 0 {
		lines, more = lines[:maxLines], fmt.Sprintf("... and %d more\n", n)
	}
	return strings.Join(lines, "\n") + "\n" + more
}

func (r *Run) sites() []string {
	var out []string
	r.lab().Core.Records(func(rec *ftracecore.Record) bool {
		var b x86.Bytes5
		// A site's bytes are mapped for as long as the lab lives.
		_ = r.lab().Mem.Read(rec.IP, b[:])
		if rec.Count == 0 && b == x86.Nop5 {
			return true
		}
		text, _, err := x86.Disasm(b[:], rec.IP, r.runner.SymbolAt)
		if err != nil {
			text = "(no instruction)"
		}
		out = append(out, strings.TrimRight(fmt.Sprintf("%-10s %#x (%d) %-4s % x  %s", r.runner.SiteName(rec.IP), rec.IP, rec.Count, rec.Flags, b, text), " "))
		return true
	})
	return out
}

func (r *Run) ops() []string {
	var out []string
	for _, o := range r.lab().Core.Ops() {
		line := fmt.Sprintf("%-10s %s", o.Name, o.Flags)
		if o.Trampoline != 0 {
			line += fmt.Sprintf("  trampoline %#x", o.Trampoline)
		}
		out = append(out, line)
	}
	return out
}

func (r *Run) lines() []string {
	var out []string
	steps := r.runner.Script().Steps
	for i, s := range steps {
		mark, num := "  ", ""
		if i == r.line {
			mark = "=>"
		}
		if s.Line > 0 {
			num = fmt.Sprint(s.Line)
		}
		out = append(out, fmt.Sprintf("%s %4s  %s", mark, num, s.Text))
	}
	if r.line == len(steps) {
		out = append(out, "=>       all lines have run")
	}
	return out
}
