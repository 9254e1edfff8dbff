package x86

import "encoding/binary"

// SiteLen is the length in bytes of a patchable site: one call with a 32-bit
// displacement (MCOUNT_INSN_SIZE in Linux).
const SiteLen = 5

// Opcodes that a site, or a site being changed, may begin with.
const (
	OpCall = 0xe8 // call rel32
	OpJmp  = 0xe9 // jmp rel32
	OpInt3 = 0xcc // int3
	OpRet  = 0xc3 // ret
)

// Bytes5 is the content of a site.
type Bytes5 = [SiteLen]byte

// Nop5 is the only content of a site that is switched off: nopl 0x0(%rax,%rax,1).
var Nop5 = Bytes5{0x0f, 0x1f, 0x44, 0x00, 0x00}

// nops holds the kernel's nop of each length, by length.
var nops = [...][]byte{
	1: {0x90},
	2: {0x66, 0x90},
	3: {0x0f, 0x1f, 0x00},
	4: {0x0f, 0x1f, 0x40, 0x00},
	5: {0x0f, 0x1f, 0x44, 0x00, 0x00},
	6: {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
	7: {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
	8: {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
}

// AppendNops appends n bytes of nops to b, the longest forms first, as the
// kernel fills gaps in generated code.
func AppendNops(b []byte, n int) []byte {
	for n > 0 {
		k := min(n, len(nops)-1)
		b = append(b, nops[k]...)
		n -= k
	}
	return b
}

// Rel32 returns the displacement that takes the five-byte call or jump at ip
// to target, and whether 32 signed bits reach that far.
func Rel32(ip, target uint64) (int32, bool) {
	d := int64(target - (ip + SiteLen))
	return int32(d), d == int64(int32(d))
}

// EncodeCall returns the bytes of call target at ip; ok is false where rel32
// does not reach.
func EncodeCall(ip, target uint64) (b Bytes5, ok bool) { return encodeRel(OpCall, ip, target) }

// EncodeJmp returns the bytes of jmp target at ip; ok is false where rel32
// does not reach.
func EncodeJmp(ip, target uint64) (b Bytes5, ok bool) { return encodeRel(OpJmp, ip, target) }

func encodeRel(op byte, ip, target uint64) (b Bytes5, ok bool) {
	d, ok := Rel32(ip, target)
	b[0] = op
	binary.LittleEndian.PutUint32(b[1:], uint32(d))
	return b, ok
}

// A Form is what the five bytes of a site hold.
type Form uint8

// The forms of a site.
const (
	FormOther Form = iota // none of the below
	FormNop               // Nop5
	FormCall              // call rel32
	FormJmp               // jmp rel32
	FormInt3              // int3, the rest is being rewritten
)

// String returns the form's name as listings print it.
func (f Form) String() string {
	return [...]string{"other", "nop", "call", "jmp", "int3"}[f]
}

// ParseSite tells what the bytes at ip hold, and for a call or jump where it goes.
func ParseSite(b Bytes5, ip uint64) (f Form, target uint64) {
	rel := func() uint64 {
		return ip + SiteLen + uint64(int64(int32(binary.LittleEndian.Uint32(b[1:]))))
	}
	switch {
	case b == Nop5:
		return FormNop, 0
	case b[0] == OpCall:
		return FormCall, rel()
	case b[0] == OpJmp:
		return FormJmp, rel()
	case b[0] == OpInt3:
		return FormInt3, 0
	}
	return FormOther, 0
}
