package guest

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"ftemu/emu"
	"ftemu/x86"
)

// WriteDisasm writes the instructions of the function of that name, or of all
// functions if it is "", as they are in memory: sites are nops. A comment marks
// sites, padding and what the loader relocated.
func (img *Image) WriteDisasm(w io.Writer, function string) error {
	first := true
	return img.disasm(function, func(f Symbol, rows []row) error {
		if !first {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		first = false
		return writeRows(w, f, rows)
	})
}

// An InsnInfo is an instruction of a listing.
type InsnInfo struct {
	IP    string   `json:"ip"` // hexadecimal, 0x in front
	Func  string   `json:"func"`
	Bytes string   `json:"bytes"` // hexadecimal
	Text  string   `json:"text"`  // "" for padding
	Notes []string `json:"notes"` // what WriteDisasm has in comments
}

// Disasm gives the instructions that WriteDisasm writes, in that order. An error
// of each ends it.
func (img *Image) Disasm(function string, each func(InsnInfo) error) error {
	return img.disasm(function, func(f Symbol, rows []row) error {
		for _, r := range rows {
			in := InsnInfo{fmt.Sprintf("%#x", r.addr), f.Name, hex.EncodeToString(r.code), r.text, append([]string{}, r.comments...)}
			if err := each(in); err != nil {
				return err
			}
		}
		return nil
	})
}

func (img *Image) disasm(function string, each func(Symbol, []row) error) error {
	d := newDisasm(img)
	found := false
	for i, f := range d.funcs {
		if function != "" && f.Name != function {
			continue
		}
		found = true
		rows, err := d.rows(i)
		if err == nil {
			err = each(f, rows)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case found:
		return nil
	case function == "":
		return fmt.Errorf("%s: no functions", img.Name)
	}
	return fmt.Errorf("%s: no function %s", img.Name, function)
}

// A disasm holds the indexes that a listing needs.
type disasm struct {
	img     *Image
	funcs   []Symbol          // ascending by address
	externs map[uint64]string // symbols of others that relocations refer to
}

func newDisasm(img *Image) *disasm {
	d := &disasm{img: img, externs: make(map[uint64]string)}
	for _, s := range img.Symbols.byAddr {
		if sec, ok := img.section(s.Addr); s.Func && ok && sec.Perm&emu.PermX != 0 {
			d.funcs = append(d.funcs, s)
		}
	}
	for _, r := range img.Relocs {
		if _, ok := img.section(r.Value); !ok && d.externs[r.Value] == "" {
			d.externs[r.Value] = r.Symbol
		}
	}
	return d
}

// section finds the section that holds addr.
func (img *Image) section(addr uint64) (Section, bool) {
	for _, s := range img.Sections {
		if addr-s.Addr < s.Size {
			return s, true
		}
	}
	return Section{}, false
}

// name is the x86.SymLookup of a listing: the image's symbols and those that its
// relocations refer to.
func (d *disasm) name(addr uint64) (string, uint64, bool) {
	if n, ok := d.externs[addr]; ok {
		return n, 0, true
	}
	if _, ok := d.img.section(addr); !ok {
		return "", 0, false // not "the last symbol and a long way on"
	}
	return d.img.Symbols.Name(addr)
}

// end is where function i ends: at its size, or else where the next begins.
func (d *disasm) end(i int) uint64 {
	f := d.funcs[i]
	sec, _ := d.img.section(f.Addr)
	end := sec.Addr + sec.Size
	if f.Size != 0 {
		return min(end, f.Addr+f.Size)
	}
	for _, next := range d.funcs[i+1:] {
		if next.Addr > f.Addr {
			return min(end, next.Addr)
		}
	}
	return end
}

// A row is a line of a listing.
type row struct {
	addr     uint64
	code     []byte
	text     string
	comments []string
}

// rows are the instructions of function i, behind the padding in front of it.
func (d *disasm) rows(i int) ([]row, error) {
	f := d.funcs[i]
	var rows []row
	for _, p := range d.img.Padding {
		if p.Func == f.Name && p.Offset < 0 && p.IP+uint64(-p.Offset) == f.Addr {
			rows = append(rows, row{addr: p.IP, code: p.Bytes, comments: []string{p.Kind.String()}})
		}
	}
	for pc, end := f.Addr, d.end(i); pc < end; {
		code, err := d.img.Bytes(pc, end-pc)
		if err != nil {
			return nil, err
		}
		text, n, err := x86.Disasm(code, pc, d.name)
		if err != nil || n <= 0 {
			n, text = 1, fmt.Sprintf(".byte %#02x", code[0])
		}
		rows = append(rows, row{addr: pc, code: code[:n], text: text, comments: d.comments(pc, uint64(n))})
		pc += uint64(n)
	}
	return rows, nil
}

func writeRows(w io.Writer, f Symbol, rows []row) error {
	// Only padding has no text, and long runs of one byte.
	bytes := func(r row) string {
		if r.text == "" {
			return spaced(hex.EncodeToString(r.code))
		}
		return fmt.Sprintf("% x", r.code)
	}
	wide := [2]int{}
	for _, r := range rows {
		wide[0], wide[1] = max(wide[0], len(bytes(r))), max(wide[1], len(r.text))
	}
	if _, err := fmt.Fprintf(w, "%016x <%s>:\n", f.Addr, f.Name); err != nil {
		return err
	}
	for _, r := range rows {
		line := fmt.Sprintf("  %016x  %-*s  %-*s", r.addr, wide[0], bytes(r), wide[1], r.text)
		if len(r.comments) > 0 {
			line += "  # " + strings.Join(r.comments, "; ")
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// comments says what is special about the n bytes at pc.
func (d *disasm) comments(pc, n uint64) []string {
	var out []string
	if s, ok := siteAt(d.img.Sites, pc); ok {
		out = append(out, fmt.Sprintf("site, %s, was % x", s.Kind, s.Bytes))
	}
	if s, ok := siteAt(d.img.Padding, pc); ok {
		out = append(out, s.Kind.String())
	}
	i, _ := slices.BinarySearchFunc(d.img.Relocs, pc, func(r Reloc, a uint64) int {
		if r.Addr < a {
			return -1
		}
		return 1
	})
	for _, r := range d.img.Relocs[i:] {
		if r.Addr-pc >= n {
			break
		}
		out = append(out, r.Type+" "+targetText(r.Symbol, r.Addend))
	}
	return out
}

// siteAt finds the site that begins at ip in a list ascending by address.
func siteAt(sites []Site, ip uint64) (Site, bool) {
	i, ok := slices.BinarySearchFunc(sites, ip, func(s Site, a uint64) int {
		switch {
		case s.IP < a:
			return -1
		case s.IP > a:
			return 1
		}
		return 0
	})
	if !ok {
		return Site{}, false
	}
	return sites[i], true
}
