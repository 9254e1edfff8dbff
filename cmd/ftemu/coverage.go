package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/guest"
	"ftemu/x86"
)

// A coverage counts what the interpreter makes of the instructions of code.
type coverage struct {
	total     int
	classes   map[interp.Class]int
	missing   map[string]int // by mnemonic, or by bytes that are no instruction
	unscanned int            // bytes behind those, up to the next symbol
}

// cover sweeps over the sections of an image that hold code, or over .text
// alone, from symbol to symbol. int3 is left out: it fills gaps.
func cover(img *guest.Image, section string) (*coverage, error) {
	c := &coverage{classes: make(map[interp.Class]int), missing: make(map[string]int)}
	syms := img.Symbols.All()
	found := false
	for _, s := range img.Sections {
		if s.Perm&emu.PermX == 0 || section != "" && s.Name != section {
			continue
		}
		found = true
		code, err := img.Bytes(s.Addr, s.Size)
		if err != nil {
			return nil, err
		}
		c.sweep(code, s.Addr, syms)
	}
	if !found {
		return nil, fmt.Errorf("%s: no section %s with code", img.Name, section)
	}
	return c, nil
}

func (c *coverage) sweep(code []byte, addr uint64, syms []guest.Symbol) {
	next, _ := slices.BinarySearchFunc(syms, addr, func(s guest.Symbol, a uint64) int { return cmp.Compare(s.Addr, a) })
	for off := 0; off < len(code); {
		if code[off] == x86.OpInt3 {
			off++
			continue
		}
		ip := addr + uint64(off)
		c.total++
		in, err := x86.Decode(code[off:])
		if err == nil {
			class := interp.Classify(&in, code[off:], ip)
			c.classes[class]++
			if class == interp.Missing {
				c.missing[in.Mnemonic()]++
			}
			off += in.Len
			continue
		}
		// Data, or an instruction of which not even the length is known.
		c.classes[interp.Missing]++
		c.missing[fmt.Sprintf("(%02x)", code[off])]++
		for next < len(syms) && syms[next].Addr <= ip {
			next++
		}
		end := len(code)
		if next < len(syms) {
			end = int(min(syms[next].Addr-addr, uint64(end)))
		}
		c.unscanned += end - off - 1
		off = end
	}
}

// coverage prints the instructions that the interpreter knows and, of a file,
// what it makes of its code.
func (c *enginesCmd) coverage(a *app) error {
	known := interp.Supported()
	var found *coverage
	if c.File != "" {
		img, err := lookAt(c.File)
		if err != nil {
			return err
		}
		if found, err = cover(img, c.Section); err != nil {
			return err
		}
		if found.total == 0 {
			return errors.New(c.File + ": no instructions")
		}
	}
	if c.JSON {
		return a.encode(coverageJSON(known, c.File, found))
	}
	a.say(fmt.Sprintf("interp knows %d instructions by name:", len(known)), style{}.plain)
	hang(a.stdout, textWidth(a), "  ", 2, strings.Join(known, " "), style{}.plain)
	if found != nil {
		found.print(a, c.File, c.Section)
	}
	return nil
}

// coverageJSON is the object of --json; c is nil where there is no file.
func coverageJSON(known []string, file string, c *coverage) any {
	type code struct {
		File         string         `json:"file"`
		Instructions int            `json:"instructions"`
		Executed     int            `json:"executed"`
		Privileged   int            `json:"privileged"`
		Vector       int            `json:"vector"`
		Missing      map[string]int `json:"missing"`
		Unscanned    int            `json:"unscanned_bytes"`
	}
	out := struct {
		Known []string `json:"known"`
		Code  *code    `json:"code,omitempty"`
	}{Known: known}
	if c != nil {
		out.Code = &code{file, c.total, c.classes[interp.Executes], c.classes[interp.Privileged], c.classes[interp.Vector], c.missing, c.unscanned}
	}
	return out
}

// print prints what the interpreter makes of a file's code.
func (c *coverage) print(a *app, file, section string) {
	where := section
	if where == "" {
		where = "code"
	}
	executes, privileged, vector := c.classes[interp.Executes], c.classes[interp.Privileged], c.classes[interp.Vector]
	row := func(n, of int, what string) {
		hang(a.stdout, a.width, fmt.Sprintf("  %9d  %8.4f %%  ", n, 100*float64(n)/float64(max(of, 1))), 25, what, style{}.plain)
	}
	fmt.Fprintln(a.stdout)
	a.say(fmt.Sprintf("%s, %s: %d instructions, int3 apart", file, where, c.total), style{}.plain)
	row(executes, c.total, "are executed")
	row(privileged, c.total, "are privileged, and stop the run")
	row(vector, c.total, "are of the vector or floating-point units, and stop the run")
	row(c.classes[interp.Missing], c.total, "are others that stop the run")
	row(executes, c.total-privileged-vector, "of those neither privileged nor vector are executed")
	if c.unscanned > 0 {
		hang(a.stdout, a.width, "  ", 2, fmt.Sprintf("%d bytes behind what is no instruction were not looked at", c.unscanned), style{}.plain)
	}
	names := slices.SortedFunc(maps.Keys(c.missing), func(x, y string) int {
		return cmp.Or(cmp.Compare(c.missing[y], c.missing[x]), cmp.Compare(x, y))
	})
	if len(names) == 0 {
		return
	}
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, c.missing[n])
	}
	hang(a.stdout, a.width, "  ", 2, "others, with how often they occur:", style{}.plain)
	hang(a.stdout, textWidth(a), "    ", 4, strings.Join(names, ", "), style{}.plain)
}

// textWidth is the width of long texts, which have one also where the output has none.
func textWidth(a *app) int {
	if a.width == 0 {
		return 80
	}
	return a.width
}
