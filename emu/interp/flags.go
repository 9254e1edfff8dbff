package interp

import (
	"math/bits"

	"ftemu/emu"
)

// flags are the six status flags in the form in which they are cheap to set:
// the values they derive from. Each of them can also be set by itself.
type flags struct {
	zero  uint64 // ZF is set where this is zero
	sign  uint64 // SF is bit 63
	carry uint64 // CF is bit 63; OF is bit 63 exclusive-or bit 62
	low   uint8  // PF is set where an even number of bits is
	aux   uint8  // AF is bit 3
}

// set derives all flags from a result and the vector of carries (or borrows)
// out of each bit position, of which the lowest 64-sh bits count.
func (f *flags) set(result, carries uint64, sh uint8) {
	f.zero = result << (sh & 63)
	f.sign = f.zero
	f.carry = carries << (sh & 63)
	f.low = uint8(result)
	f.aux = uint8(carries)
}

func (f *flags) zf() bool { return f.zero == 0 }
func (f *flags) sf() bool { return int64(f.sign) < 0 }
func (f *flags) cf() bool { return int64(f.carry) < 0 }
func (f *flags) of() bool { return int64(f.carry^f.carry<<1) < 0 }
func (f *flags) pf() bool { return bits.OnesCount8(f.low)&1 == 0 }

// cfBit is CF as a number.
func (f *flags) cfBit() uint64 { return f.carry >> 63 }

// setCO sets CF and OF, each to the lowest bit of its argument.
func (f *flags) setCO(cf, of uint64) {
	f.carry = cf<<63 | (cf^of)&1<<62
}

// setCF sets CF and keeps the others.
func (f *flags) setCF(cf uint64) { f.setCO(cf, (f.carry>>63)^(f.carry>>62)) }

// setOF sets OF and keeps the others.
func (f *flags) setOF(of uint64) { f.setCO(f.carry>>63, of) }

// setZF sets ZF and keeps the others.
func (f *flags) setZF(on bool) {
	f.zero = 1
	if on {
		f.zero = 0
	}
}

// unpack takes the flags from RFLAGS.
func (f *flags) unpack(r uint64) {
	f.zero = ^r & emu.FlagZF
	f.sign = r << 56 // SF is bit 7
	f.setCO(r&1, r>>11&1)
	f.low = uint8(r>>2&1) ^ 1
	f.aux = uint8(r>>4&1) << 3
}

// pack returns the flags as bits of RFLAGS.
func (f *flags) pack() uint64 {
	r := f.carry >> 63
	p := f.low ^ f.low>>4
	r |= 0x9669 >> (p & 15) & 1 << 2 // bit n is set where n has an even number of bits
	r |= uint64(f.aux&8) << 1
	r |= ((f.zero|-f.zero)>>63 ^ 1) << 6 // ZF is bit 6
	r |= f.sign >> 63 << 7
	r |= (f.carry ^ f.carry<<1) >> 63 << 11
	return r
}

// conditions are the tests of jcc, setcc and cmovcc by the low four bits of
// their opcodes.
var conditions = [16]func(*flags) bool{
	0x0: (*flags).of,
	0x1: func(f *flags) bool { return !f.of() },
	0x2: (*flags).cf,
	0x3: func(f *flags) bool { return !f.cf() },
	0x4: (*flags).zf,
	0x5: func(f *flags) bool { return !f.zf() },
	0x6: func(f *flags) bool { return f.cf() || f.zf() },
	0x7: func(f *flags) bool { return !f.cf() && !f.zf() },
	0x8: (*flags).sf,
	0x9: func(f *flags) bool { return !f.sf() },
	0xa: (*flags).pf,
	0xb: func(f *flags) bool { return !f.pf() },
	0xc: func(f *flags) bool { return f.sf() != f.of() },
	0xd: func(f *flags) bool { return f.sf() == f.of() },
	0xe: func(f *flags) bool { return f.zf() || f.sf() != f.of() },
	0xf: func(f *flags) bool { return !f.zf() && f.sf() == f.of() },
}

// ofBit is OF as a number.
func (f *flags) ofBit() uint64 { return (f.carry ^ f.carry<<1) >> 63 }
