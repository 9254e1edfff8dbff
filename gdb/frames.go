package gdb

import (
	"encoding/binary"

	"ftemu/emu"
)

// Call frame instructions, as DWARF 4 numbers them in section 7.23.
const (
	cfaAdvance4  = 0x04
	cfaOffset    = 0x05 // offset_extended
	cfaUndefined = 0x07
	cfaSame      = 0x08
	cfaDef       = 0x0c
	cfaOffsetSF  = 0x11 // offset_extended_sf
)

const (
	dwarfRA   = 16         // the return address, as a register
	dataAlign = -8         // what offsets are multiples of
	cieID     = 0xffffffff // in the place of a reference to what it is itself
	// pieceBefore is how many bytes in front of a function are described as the
	// function, for return addresses that point to its start.
	pieceBefore = 1
	// takenDistance is how far from a word of the stack the client reads what
	// function_graph took from there. Nothing is mapped at such addresses.
	takenDistance = 0x1000000000
)

// dwarfRegs are the general registers by their numbers in DWARF.
var dwarfRegs = [16]byte{
	emu.RAX: 0, emu.RDX: 1, emu.RCX: 2, emu.RBX: 3, emu.RSI: 4, emu.RDI: 5, emu.RBP: 6, emu.RSP: 7,
	8: 8, 9: 9, 10: 10, 11: 11, 12: 12, 13: 13, 14: 14, 15: 15,
}

// debugFrame makes the section .debug_frame: for each piece of code, how to
// find the caller's registers.
func (v *survey) debugFrame() []byte {
	entry := []byte{cfaDef, dwarfRegs[emu.RSP], 8, cfaOffset, dwarfRA, 1}
	out := frameEntry(nil, cieID, append([]byte{1, 0, 1, sleb(dataAlign)[0], dwarfRA}, entry...))
	end := uint64(0) // of the pieces so far, which are in the order of addresses
	for _, p := range v.pieces {
		first := p.addr
		if end < first {
			first -= pieceBefore
		}
		end = max(end, p.addr+p.size)
		if p.label || p.data || (len(v.pieces) > manySymbols && v.entered[p.addr] == 0) {
			continue
		}
		rules := []row{{addr: p.addr, base: emu.RSP, off: 8}}
		if p.code != nil {
			rules = unwind(p.code, p.addr)
		}
		var head []byte
		switch p.addr {
		case v.end:
			head = []byte{cfaUndefined, dwarfRA}
		case v.handler:
			// Functions return to it, so that no return address is on the stack
			// any more. The CFA is where the next frame begins all the same.
			for i := range rules {
				rules[i].off -= 8
				for r, slot := range rules[i].saved {
					if slot != 0 {
						rules[i].saved[r] += 8
					}
				}
			}
			head = append([]byte{cfaDef, dwarfRegs[emu.RSP], 0, cfaOffsetSF, dwarfRA}, sleb((takenDistance-8)/dataAlign)...)
		}
		fde := binary.LittleEndian.AppendUint64(nil, first)
		fde = binary.LittleEndian.AppendUint64(fde, p.addr-first+max(p.size, uint64(len(p.code)), 1))
		out = frameEntry(out, 0, append(append(fde, head...), instructions(first, rules)...))
	}
	return out
}

// frameEntry appends an entry with its length in front.
func frameEntry(out []byte, id uint32, content []byte) []byte {
	for (len(content)+4)%8 != 4 {
		content = append(content, 0) // DW_CFA_nop
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(content)+4))
	out = binary.LittleEndian.AppendUint32(out, id)
	return append(out, content...)
}

// instructions say what the rows say, by what differs from one to the next.
func instructions(first uint64, rows []row) []byte {
	var out []byte
	last := row{addr: first, base: -1}
	for _, r := range rows {
		if r.addr != last.addr {
			out = append(out, cfaAdvance4)
			out = binary.LittleEndian.AppendUint32(out, uint32(r.addr-last.addr))
		}
		if last.base < 0 || r.base != last.base || r.off != last.off {
			out = append(append(out, cfaDef, dwarfRegs[r.base]), uleb(uint64(r.off))...)
		}
		for reg := range r.saved {
			n := dwarfRegs[reg]
			switch {
			case r.saved[reg] == last.saved[reg] && r.lost[reg] == last.lost[reg]:
			case r.saved[reg] != 0:
				out = append(append(out, cfaOffsetSF, n), sleb(r.saved[reg]/dataAlign)...)
			case r.lost[reg]:
				out = append(out, cfaUndefined, n)
			default:
				out = append(out, cfaSame, n)
			}
		}
		last = r
	}
	return out
}

// uleb is a number in DWARF's form for unsigned ones.
func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// sleb is a number in DWARF's form for signed ones.
func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if (n == 0 && b&0x40 == 0) || (n == -1 && b&0x40 != 0) {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
