package hwtest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/x86"
)

// A Form is an opcode with operands of certain kinds and sizes. There is one
// for each that the decoder knows and the interpreter executes.
type Form struct {
	Op       x86asm.Op
	Name     string // opcode bytes, mnemonic, operands
	variants []variant
}

// A variant is one way to encode a form: what the rest of the encoding is
// chosen around.
type variant struct {
	space  opcodeSpace
	opcode byte
	prefix byte // 66, F2, F3, or 0
	w      bool // REX.W or VEX.W
	digit  byte // the ModRM reg field
	rm     byte // the ModRM rm field of the plainest encoding
	narrow bool // 67, which makes jrcxz jecxz
	mem    bool // whether ModRM means memory
}

// An opcodeSpace is what comes before the opcode.
type opcodeSpace uint8

const (
	oneByte opcodeSpace = iota
	space0F
	space0F38
	space0F3A
	vex0F
	vex0F38
	vex0F3A
)

var opcodeSpaces = [...]struct{ escape, name string }{
	oneByte: {"", ""}, space0F: {"\x0f", "0f "}, space0F38: {"\x0f\x38", "0f 38 "}, space0F3A: {"\x0f\x3a", "0f 3a "},
	vex0F: {"", "vex.0f "}, vex0F38: {"", "vex.0f38 "}, vex0F3A: {"", "vex.0f3a "},
}

// Exempt are the instructions that are not compared, each with the reason.
var Exempt = map[string]string{
	"cpuid":  "describes the emulated processor, not this one",
	"rdtsc":  "a clock",
	"rdtscp": "a clock",
	"rdpid":  "the number of the CPU it happens to run on",
	"hlt":    "privileged on the processor, ends a run on the engine",
	"cli":    "privileged on the processor (IOPL), executed by the engine",
	"sti":    "privileged on the processor (IOPL), executed by the engine",
	"clac":   "undefined for programs, where it is merely privileged on the engine",
	"stac":   "undefined for programs, where it is merely privileged on the engine",
	"iretq":  "not privileged, but the engine has no segments to return to",
}

// Forms finds all forms, by trying every opcode with the prefixes and ModRM
// bytes that choose among its instructions.
func Forms() ([]Form, error) {
	probe, err := NewMachine()
	if err != nil {
		return nil, err
	}
	supported := interp.Supported()
	index := make(map[string]int)
	var forms []Form
	for space := oneByte; space <= vex0F3A; space++ {
		for n := 0; n < 256*4*2*8*2*8*2; n++ {
			v := variant{
				space: space, opcode: byte(n), prefix: [...]byte{0, 0x66, 0xf3, 0xf2}[n>>8&3],
				w: n>>10&1 != 0, digit: byte(n >> 11 & 7), mem: n>>14&1 != 0, rm: byte(n >> 15 & 7), narrow: n>>18 != 0,
			}
			if v.rm != 1 && !v.rmChooses() || v.narrow && (space != oneByte || v.opcode != 0xe3) {
				continue
			}
			if space == oneByte && isPrefix(v.opcode) || space == space0F && (v.opcode == 0x38 || v.opcode == 0x3a) {
				continue
			}
			code := v.encode(nil)
			in, err := x86.Decode(code)
			if err != nil {
				continue
			}
			name := in.Mnemonic()
			if _, ok := slices.BinarySearch(supported, name); !ok || Exempt[name] != "" {
				continue
			}
			if v.reserved(in.Op) {
				continue
			}
			c := Case{Code: code[:in.Len]}
			if err := probe.Place([]Case{c}); err != nil {
				return nil, err
			}
			stop, _, err := probe.Run(&c)
			if err != nil {
				return nil, err
			}
			if stop.Reason == emu.StopUnknown {
				continue
			}
			key := fmt.Sprintf("%s%02x %s%s", opcodeSpaces[space].name, v.opcode, name, operandKinds(&in))
			if isString(in.Op) && in.Rep != 0 {
				key = fmt.Sprintf("rep%x %s", in.Rep, key)
			}
			i, ok := index[key]
			if !ok {
				i = len(forms)
				index[key] = i
				forms = append(forms, Form{Op: in.Op, Name: key})
			}
			forms[i].variants = append(forms[i].variants, v)
		}
	}
	slices.SortFunc(forms, func(a, b Form) int { return cmp.Compare(a.Name, b.Name) })
	return forms, nil
}

// reserved tells whether the variant has F2 or F3 without it being part of the
// instruction op: the use of these is reserved (Intel SDM volume 2, 2.1.1), and
// processors give it a meaning at times. AMD's loope with F2 is loopne.
func (v variant) reserved(op x86asm.Op) bool {
	if v.prefix < 0xf0 || v.space >= vex0F || isString(op) {
		return false
	}
	v.prefix = 0
	in, err := x86.Decode(v.encode(nil))
	return err == nil && in.Op == op
}

// rmChooses tells whether the rm field is part of the opcode.
func (v variant) rmChooses() bool {
	return !v.mem && v.space == space0F && (v.opcode == 0x01 || v.opcode == 0x1e || v.opcode == 0xae)
}

// isPrefix tells whether a byte is no opcode: prefixes, escapes, VEX, EVEX.
func isPrefix(b byte) bool {
	switch b {
	case 0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x62, 0x64, 0x65, 0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3:
		return true
	}
	return b&0xf0 == 0x40
}

// operandKinds describes operands by kind and size in bits.
func operandKinds(in *x86.Inst) string {
	var s []string
	for _, a := range in.Args {
		switch a := a.(type) {
		case x86asm.Reg:
			s = append(s, fmt.Sprintf("r%d", regBits(a)))
		case x86asm.Mem:
			s = append(s, fmt.Sprintf("m%d", 8*in.MemBytes))
		case x86asm.Imm:
			s = append(s, "imm")
		case x86asm.Rel:
			s = append(s, "rel")
		}
	}
	if len(s) == 0 {
		return ""
	}
	return " " + strings.Join(s, ",")
}

// regBits is the size of a general register, 0 for others.
func regBits(r x86asm.Reg) int {
	switch {
	case r >= x86asm.AL && r <= x86asm.R15B:
		return 8
	case r >= x86asm.AX && r <= x86asm.R15W:
		return 16
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return 32
	case r >= x86asm.RAX && r <= x86asm.R15:
		return 64
	}
	return 0
}

// regNumber is a general register's number in emu.Regs; high tells that it is
// ah, ch, dh or bh. ok is false for other registers.
func regNumber(r x86asm.Reg) (n int, high, ok bool) {
	switch {
	case r >= x86asm.AL && r <= x86asm.BL:
		return int(r - x86asm.AL), false, true
	case r >= x86asm.AH && r <= x86asm.BH:
		return int(r - x86asm.AH), true, true
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return int(r-x86asm.SPB) + emu.RSP, false, true
	case r >= x86asm.AX && r <= x86asm.R15W:
		return int(r - x86asm.AX), false, true
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return int(r - x86asm.EAX), false, true
	case r >= x86asm.RAX && r <= x86asm.R15:
		return int(r - x86asm.RAX), false, true
	}
	return 0, false, false
}

// isString tells whether op is a string instruction.
func isString(op x86asm.Op) bool {
	switch op {
	case x86asm.MOVSB, x86asm.MOVSW, x86asm.MOVSD, x86asm.MOVSQ, x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ,
		x86asm.LODSB, x86asm.LODSW, x86asm.LODSD, x86asm.LODSQ, x86asm.SCASB, x86asm.SCASW, x86asm.SCASD, x86asm.SCASQ,
		x86asm.CMPSB, x86asm.CMPSW, x86asm.CMPSD, x86asm.CMPSQ:
		return true
	}
	return false
}

// An encoding is an instruction's bytes, with zeros or random bytes behind it,
// and where its displacement would be.
type encoding struct {
	bytes [2 * x86.MaxInstLen]byte
	disp  int // the offset of what follows ModRM and SIB
	moffs int // the offset of what follows the opcode
}

// encode returns bytes that begin with an instruction of the variant. With rng
// nil it is the plainest one; otherwise registers, addressing mode, displacement,
// immediate and prefixes without influence on the form are random.
func (v variant) encode(rng *rand.Rand) []byte {
	e := v.encodeAt(rng)
	return e.bytes[:]
}

func (v variant) encodeAt(rng *rand.Rand) encoding {
	var rex, modrm, sib byte // REX is the bits WRXB
	var legacy []byte
	modrm = v.digit << 3
	if v.w {
		rex = 8
	}
	hasREX := v.w
	vvvv := byte(15)
	tail := make([]byte, 0, x86.MaxInstLen)
	mod, rm := byte(3), v.rm
	if v.mem {
		mod = 0
	}
	if rng == nil {
		modrm |= mod<<6 | rm
		tail = tail[:x86.MaxInstLen]
	} else {
		rm = byte(rng.IntN(8))
		if v.mem {
			mod = byte(rng.IntN(3))
		}
		if rng.IntN(2) == 0 {
			hasREX = true
			rex |= byte(rng.IntN(8))
		}
		modrm |= mod<<6 | rm
		sib = byte(rng.Uint32())
		if vvvv = byte(rng.IntN(16)); rng.IntN(2) == 0 {
			vvvv = 0 // encoded as 1111, which is no register to some
		}
		tail = appendTail(tail, rng, mod)
		legacy = v.extraPrefixes(rng)
	}

	var e encoding
	b := append(e.bytes[:0], legacy...)
	if v.space >= vex0F {
		pp := map[byte]byte{0: 0, 0x66: 1, 0xf3: 2, 0xf2: 3}[v.prefix]
		b = append(b, 0xc4, (^rex&7)<<5|byte(v.space-vex0F+1), rex>>3<<7|(vvvv^15)<<3|pp)
		if rng == nil {
			b[len(b)-1] |= 15 << 3 // vvvv = 1111, no register
		}
	} else {
		if v.narrow {
			b = append(b, 0x67)
		}
		if v.prefix != 0 {
			b = append(b, v.prefix)
		}
		if hasREX {
			b = append(b, 0x40|rex)
		}
		b = append(b, opcodeSpaces[v.space].escape...)
	}
	b = append(b, v.opcode)
	e.moffs = len(b)
	b = append(b, modrm)
	if mod != 3 && rm == 4 {
		b = append(b, sib)
	}
	e.disp = len(b)
	copy(e.bytes[len(b):], tail)
	return e
}

// appendTail makes up displacement and immediate.
func appendTail(b []byte, rng *rand.Rand, mod byte) []byte {
	if mod == 1 {
		b = append(b, byte(rng.Uint32()))
	} else if mod == 2 {
		disp := rng.Uint32()
		if rng.IntN(2) == 0 {
			disp = uint32(int32(disp) >> 20) // small, of either sign
		}
		b = binary.LittleEndian.AppendUint32(b, disp)
	}
	b = binary.LittleEndian.AppendUint64(b, value(rng))
	return binary.LittleEndian.AppendUint64(b, value(rng))
}

// extraPrefixes makes up prefixes that come before the variant's own. Some may
// turn it into another instruction or none: the caller decodes.
func (v variant) extraPrefixes(rng *rand.Rand) []byte {
	var b []byte
	if rng.IntN(8) == 0 {
		b = append(b, 0x67)
	}
	switch rng.IntN(16) {
	case 0:
		b = append(b, 0x64)
	case 1:
		b = append(b, 0x65)
	case 2:
		b = append(b, [...]byte{0x26, 0x2e, 0x36, 0x3e}[rng.IntN(4)])
	}
	if v.space >= vex0F {
		return b
	}
	if v.mem && rng.IntN(8) == 0 {
		b = append(b, 0xf0)
	}
	if v.w && rng.IntN(32) == 0 {
		b = append(b, 0x66) // REX.W is stronger
	}
	rng.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	return b
}
