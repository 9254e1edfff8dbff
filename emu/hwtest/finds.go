package hwtest

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ftemu/emu"
)

// A Find is a case that once ended differently on the two sides, with the end
// that the processor gave it. The notation is one line:
//
//	bytes | state before -> state after
//
// A state is registers ("rax=0x1"), flags ("flags=cf|zf") and words of memory
// ("[0x20001000]=0x2"), with blanks between. Before, what is not said is zero;
// after, it is as before. Instead of falling through a case may end with
// "branch 0x..." or with a fault, before the state: "divide", "undefined",
// "general", "read 0x...", "write 0x...".
type Find struct {
	Line   int
	Case   Case
	End    string // "" if it falls through
	Target uint64 // of a branch, or the address of a page fault
	Regs   emu.Regs
	Memory []Poke
}

// ReadFinds parses finds; empty lines and those that begin with # are skipped.
func ReadFinds(r io.Reader) ([]Find, error) {
	var finds []Find
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f, err := parseFind(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		f.Line = n
		finds = append(finds, f)
	}
	return finds, in.Err()
}

func parseFind(line string) (f Find, err error) {
	code, states, ok1 := strings.Cut(line, "|")
	before, after, ok2 := strings.Cut(states, "->")
	if !ok1 || !ok2 {
		return f, fmt.Errorf("%q: expected bytes | state -> state", line)
	}
	if f.Case.Code, err = hex.DecodeString(strings.ReplaceAll(code, " ", "")); err != nil {
		return f, err
	}
	f.Case.Regs.Flags = emu.FlagsFixed | emu.FlagIF
	if f.Case.Pokes, err = parseState(strings.Fields(before), &f.Case.Regs); err != nil {
		return f, err
	}
	if len(f.Case.Pokes) > maxPokes {
		return f, fmt.Errorf("%d words of memory, expected at most %d", len(f.Case.Pokes), maxPokes)
	}
	f.Regs = f.Case.Regs
	words := strings.Fields(after)
	if len(words) > 0 && !strings.Contains(words[0], "=") {
		f.End, words = words[0], words[1:]
		switch f.End {
		case "branch", "read", "write":
			if len(words) == 0 {
				return f, fmt.Errorf("%q: expected an address behind it", f.End)
			}
			if f.Target, err = strconv.ParseUint(words[0], 0, 64); err != nil {
				return f, err
			}
			words = words[1:]
		case "divide", "undefined", "general":
		default:
			return f, fmt.Errorf("%q: expected branch, read, write, divide, undefined or general", f.End)
		}
	}
	f.Memory, err = parseState(words, &f.Regs)
	return f, err
}

// parseState sets registers and returns words of memory.
func parseState(words []string, r *emu.Regs) (memory []Poke, err error) {
	for _, w := range words {
		name, text, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("%q: expected name=value", w)
		}
		if name == "flags" {
			if err := parseFlags(text, &r.Flags); err != nil {
				return nil, err
			}
			continue
		}
		v, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return nil, err
		}
		if addr, ok := strings.CutPrefix(name, "["); ok {
			a, err := strconv.ParseUint(strings.TrimSuffix(addr, "]"), 0, 64)
			if err != nil {
				return nil, err
			}
			if !writable(a, 8) {
				return nil, fmt.Errorf("%q: nothing can be stored there", w)
			}
			memory = append(memory, Poke{a, v})
			continue
		}
		p := registerByName(name, r)
		if p == nil {
			return nil, fmt.Errorf("%q: no register of this name", name)
		}
		*p = v
	}
	return memory, nil
}

func registerByName(name string, r *emu.Regs) *uint64 {
	for i, n := range emu.RegNames {
		if n == name {
			return &r.GPR[i]
		}
	}
	switch name {
	case "fsbase":
		return &r.FSBase
	case "gsbase":
		return &r.GSBase
	}
	return nil
}

// flagNumbers are the flags by name.
var flagNumbers = [...]struct {
	name string
	bit  uint64
}{{"cf", cf}, {"pf", pf}, {"af", af}, {"zf", zf}, {"sf", sf}, {"df", emu.FlagDF}, {"of", of}, {"id", flagID}}

// parseFlags replaces the flags that cases may set by those in text.
func parseFlags(text string, flags *uint64) error {
	*flags &^= flagsCompared
	if text == "none" {
		return nil
	}
next:
	for _, name := range strings.Split(text, "|") {
		for _, n := range flagNumbers {
			if n.name == name {
				*flags |= n.bit
				continue next
			}
		}
		return fmt.Errorf("%q: no flag of this name", name)
	}
	return nil
}

// flagNames lists the flags that are set.
func flagNames(f uint64) string {
	var s []string
	for _, n := range flagNumbers {
		if f&n.bit != 0 {
			s = append(s, n.name)
		}
	}
	if s == nil {
		return "none"
	}
	return strings.Join(s, "|")
}

// stateText is the notation of registers, those that are as in base left out.
func stateText(r, base *emu.Regs) string {
	var s []string
	for i, v := range r.GPR {
		if v != base.GPR[i] {
			s = append(s, fmt.Sprintf("%s=%#x", emu.RegNames[i], v))
		}
	}
	if r.FSBase != base.FSBase {
		s = append(s, fmt.Sprintf("fsbase=%#x", r.FSBase))
	}
	if r.GSBase != base.GSBase {
		s = append(s, fmt.Sprintf("gsbase=%#x", r.GSBase))
	}
	if (r.Flags^base.Flags)&flagsCompared != 0 {
		s = append(s, "flags="+flagNames(r.Flags))
	}
	return strings.Join(s, " ")
}
