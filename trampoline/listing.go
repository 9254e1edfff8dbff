package trampoline

import (
	"encoding/binary"
	"fmt"
	"strings"

	"ftemu/x86"
)

// listingBytes is how many bytes of an instruction a line of a listing has room
// for, which is more than any form here has.
const listingBytes = 12

// listingComment is the column of comments.
const listingComment = 80

// Listing returns the code as text: labels on lines of their own, then offset,
// bytes, instruction and comment. sym names addresses outside; nil names none.
func (c Code) Listing(sym x86.SymLookup) string {
	sym = c.naming(sym)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d bytes at %#x\n", c.Name, len(c.Bytes), c.Addr)
	labels, notes, data := c.LabelNames(), c.Notes, c.Data
	for off := uint64(0); off < uint64(len(c.Bytes)); {
		for ; len(labels) > 0 && c.Labels[labels[0]] <= off; labels = labels[1:] {
			fmt.Fprintf(&b, "%s:\n", labels[0])
		}
		for ; len(data) > 0 && data[0].Off+data[0].Len <= off; data = data[1:] {
		}
		var text string
		var n int
		if len(data) > 0 && data[0].Off <= off {
			n = int(data[0].Off + data[0].Len - off)
			text = directive(c.Bytes[off:][:n], sym)
		} else {
			text, n = c.instruction(off, sym)
		}
		line := fmt.Sprintf("%4x  %-*s  %s", off, 3*listingBytes-1, fmt.Sprintf("% x", c.Bytes[off:][:n]), text)
		var comments []string
		for ; len(notes) > 0 && notes[0].Off < off+uint64(n); notes = notes[1:] {
			comments = append(comments, notes[0].Text)
		}
		if len(comments) > 0 {
			line = fmt.Sprintf("%-*s ; %s", listingComment, line, strings.Join(comments, ", "))
		}
		b.WriteString(line + "\n")
		off += uint64(n)
	}
	for _, l := range labels {
		fmt.Fprintf(&b, "%s:\n", l)
	}
	return b.String()
}

// naming returns a lookup that knows the code's own labels besides sym.
func (c Code) naming(sym x86.SymLookup) x86.SymLookup {
	names := c.LabelNames()
	return func(addr uint64) (string, uint64, bool) {
		for _, l := range names {
			if c.Addr+c.Labels[l] == addr {
				return l, 0, true
			}
		}
		if sym == nil {
			return "", 0, false
		}
		return sym(addr)
	}
}

// instruction disassembles at off. Bytes that are no instruction come out one
// by one.
func (c Code) instruction(off uint64, sym x86.SymLookup) (text string, n int) {
	text, n, err := x86.Disasm(c.Bytes[off:], c.Addr+off, sym)
	if err != nil {
		return directive(c.Bytes[off:][:1], sym), 1
	}
	return text, n
}

// directive prints bytes that are no instruction.
func directive(b []byte, sym x86.SymLookup) string {
	if len(b) != 8 {
		return ".byte " + strings.ReplaceAll(fmt.Sprintf("%# x", b), " ", ",")
	}
	v := binary.LittleEndian.Uint64(b)
	text := fmt.Sprintf(".quad %#x", v)
	name, off, ok := sym(v)
	switch {
	case ok && off != 0:
		text += fmt.Sprintf(" <%s+%#x>", name, off)
	case ok:
		text += fmt.Sprintf(" <%s>", name)
	}
	return text
}
