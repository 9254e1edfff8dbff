package x86

import (
	"bytes"
	"errors"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// ErrTruncated is returned for bytes that end inside an instruction, and
// ErrUnknown for bytes that are no instruction this package knows.
var (
	ErrTruncated = errors.New("truncated instruction")
	ErrUnknown   = errors.New("unknown instruction")
)

// MaxInstLen is the largest length of an instruction in bytes; the processor
// refuses longer ones.
const MaxInstLen = 15

// A SymLookup names an address: the symbol that covers it and the distance
// from the symbol's start. ok is false where there is none.
type SymLookup func(addr uint64) (name string, offset uint64, ok bool)

// An Inst is one decoded instruction in 64-bit mode: what x86asm made of it,
// put right where x86asm is wrong, and what x86asm does not tell.
//
// Op may be one of the Op constants of this package, which x86asm lacks.
// Displacements are sign-extended, as the processor does.
type Inst struct {
	x86asm.Inst
	Prefixes
}

// Prefixes are the legacy and REX prefixes of an instruction as they act,
// whether or not the opcode takes notice.
type Prefixes struct {
	Lock  bool       // F0
	Has66 bool       // operand size
	Has67 bool       // address size: addresses have 32 bits
	Rep   byte       // F2 or F3, the last of them; 0 if none
	Seg   x86asm.Reg // x86asm.FS or GS, the last of them; the others have no effect in 64-bit mode
	REX   byte       // 0 if none
	N     int        // number of prefix bytes, REX included
}

// Mnemonic returns the name of the operation in the manual's spelling, lower case.
func (i *Inst) Mnemonic() string { return Mnemonic(i.Op) }

// Mnemonic returns the name of an operation in the manual's spelling, lower case.
func Mnemonic(op x86asm.Op) string {
	if op >= opFirst && op < opLast {
		return opNames[op-opFirst]
	}
	return strings.ToLower(strings.TrimSuffix(op.String(), "_XMM"))
}

// scanPrefixes reads the prefixes that code begins with.
func scanPrefixes(code []byte) Prefixes {
	var p Prefixes
	for ; p.N < len(code); p.N++ {
		switch b := code[p.N]; b {
		case 0xf0:
			p.Lock = true
		case 0xf2, 0xf3:
			p.Rep = b
		case 0x66:
			p.Has66 = true
		case 0x67:
			p.Has67 = true
		case 0x64:
			p.Seg = x86asm.FS
		case 0x65:
			p.Seg = x86asm.GS
		case 0x26, 0x2e, 0x36, 0x3e:
			// es, cs, ss, ds: no effect in 64-bit mode
		default:
			if b&0xf0 == 0x40 {
				p.REX = b
				p.N++
			}
			return p
		}
	}
	return p
}

// Decode decodes the instruction that code begins with. Bytes behind it do not
// matter. It returns ErrTruncated where more bytes could make an instruction
// and ErrUnknown where none can, or none that this package knows; on success
// Len is between 1 and MaxInstLen and Op is not zero.
func Decode(code []byte) (Inst, error) {
	window := code[:min(len(code), MaxInstLen)]
	p := scanPrefixes(window)
	if p.N >= len(window) {
		if len(window) == MaxInstLen {
			return Inst{}, ErrUnknown
		}
		return Inst{}, ErrTruncated
	}
	inst, err := decodeOwn(window, p)
	if err == errNotOwn {
		inst, err = decodeX86asm(window, p)
	}
	switch {
	case err == ErrTruncated && len(window) == MaxInstLen:
		return Inst{}, ErrUnknown // longer than the processor takes
	case err != nil:
		return Inst{}, err
	}
	return Inst{Inst: inst, Prefixes: p}, nil
}

// decodeX86asm asks x86asm and takes only answers that are an instruction.
func decodeX86asm(code []byte, p Prefixes) (x86asm.Inst, error) {
	if op := code[p.N:]; len(op) > 2 && op[0] == 0x0f && op[1]&0xfc == 0x20 {
		// Moves of control and debug registers have a register operand whatever
		// the mod field says.
		code = bytes.Clone(code)
		code[p.N+2] |= 0xc0
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil || inst.Op == 0 || inst.Len == 0 {
		return x86asm.Inst{}, missing(code, p)
	}
	if inst.Op == x86asm.PAUSE && p.REX&1 != 0 {
		return decodeX86asm(withoutF3(code, p), p) // with REX.B it is xchg r8, rax
	}
	switch inst.Op {
	case x86asm.MOVBE:
		if p.Rep != 0 {
			return x86asm.Inst{}, ErrUnknown // F2 makes it crc32, F3 nothing
		}
	case x86asm.LFENCE, x86asm.MFENCE, x86asm.SFENCE:
		if p.Rep != 0 || p.Has66 {
			return x86asm.Inst{}, ErrUnknown
		}
	}
	if n := vexLen(code[p.N:]); n > 0 {
		inst.Len = p.N + n
		if inst.Op == x86asm.RORX && code[p.N+2]&0x78 != 0x78 {
			return x86asm.Inst{}, ErrUnknown // vvvv names no register and must be 1111
		}
		vexRelative(&inst, code, p)
	}
	if op := code[p.N:]; op[0] == 0x62 && (op[1]&0x0f == 0 || op[1]&0x0f > 3) {
		return x86asm.Inst{}, ErrUnknown // an opcode map that x86asm takes for another
	}
	if inst.Len > len(code) {
		return x86asm.Inst{}, ErrTruncated
	}
	for _, q := range inst.Prefix {
		if q&x86asm.PrefixInvalid != 0 { // lock where it is not allowed
			return x86asm.Inst{}, ErrUnknown
		}
	}
	if p.Has66 && p.REX&8 == 0 && isNearBranch(inst.Op) {
		// Processors disagree about the operand size of these (Intel ignores
		// the prefix, AMD truncates the target to 16 bits).
		return x86asm.Inst{}, ErrUnknown
	}
	signExtend(&inst, code[p.N])
	return inst, nil
}

// withoutF3 returns code with a prefix that does nothing in place of F3.
func withoutF3(code []byte, p Prefixes) []byte {
	code = bytes.Clone(code)
	for i := range code[:p.N] {
		if code[i] == 0xf3 {
			code[i] = 0x3e
		}
	}
	return code
}

// vexRelative makes the operand of a VEX or EVEX instruction relative to the
// instruction pointer where ModRM says so; x86asm makes it absolute.
func vexRelative(inst *x86asm.Inst, code []byte, p Prefixes) {
	modrm := p.N + map[byte]int{0xc5: 3, 0xc4: 4, 0x62: 5}[code[p.N]]
	if modrm >= len(code) || code[modrm]&0xc7 != 0x05 {
		return
	}
	for i, a := range inst.Args {
		if m, ok := a.(x86asm.Mem); ok && m.Base == 0 && m.Index == 0 {
			m.Base = x86asm.RIP
			if p.Has67 {
				m.Base = x86asm.EIP
			}
			inst.Args[i] = m
			inst.PCRel, inst.PCRelOff = 4, modrm+1
		}
	}
}

// isNearBranch tells whether op is a transfer of control for which the
// operand-size prefix is not defined alike by all processors.
func isNearBranch(op x86asm.Op) bool {
	switch op {
	case x86asm.CALL, x86asm.JMP, x86asm.RET, x86asm.LOOP, x86asm.LOOPE, x86asm.LOOPNE, x86asm.JRCXZ, x86asm.JECXZ,
		x86asm.JA, x86asm.JAE, x86asm.JB, x86asm.JBE, x86asm.JE, x86asm.JG, x86asm.JGE, x86asm.JL, x86asm.JLE,
		x86asm.JNE, x86asm.JNO, x86asm.JNP, x86asm.JNS, x86asm.JO, x86asm.JP, x86asm.JS:
		return true
	}
	return false
}

// signExtend widens 32-bit displacements, which x86asm leaves zero-extended.
// The absolute addresses of mov's A0 to A3 forms are no displacements.
func signExtend(inst *x86asm.Inst, opcode byte) {
	if opcode >= 0xa0 && opcode <= 0xa3 {
		return
	}
	for i, a := range inst.Args {
		if m, ok := a.(x86asm.Mem); ok {
			m.Disp = int64(int32(m.Disp))
			inst.Args[i] = m
		}
	}
}

// missing tells whether bytes that x86asm refused could go on to be an
// instruction: x86asm itself answers alike for both.
func missing(code []byte, p Prefixes) error {
	if n := vexLen(code[p.N:]); n > len(code)-p.N {
		return ErrTruncated
	}
	var longer [MaxInstLen]byte
	n := copy(longer[:], code)
	if n == MaxInstLen {
		return ErrUnknown
	}
	// What follows may be the rest of an opcode, and as ModRM name a register
	// or memory.
	for b := range 256 {
		for _, fill := range []byte{0x00, 0xc0} {
			longer[n] = byte(b)
			for i := n + 1; i < MaxInstLen; i++ {
				longer[i] = fill
			}
			if inst, err := x86asm.Decode(longer[:], 64); err == nil && inst.Op != 0 && inst.Len > n {
				return ErrTruncated
			}
		}
	}
	return ErrUnknown
}

// vexLen returns the length of the VEX or EVEX instruction that code begins
// with, as far as it can be seen: at least one more than len(code) where it is
// cut off. It is 0 for other instructions. x86asm is not exact about it.
func vexLen(code []byte) int {
	var opcode, opMap int
	switch code[0] {
	case 0xc5:
		opcode, opMap = 2, 1
	case 0xc4:
		opcode = 3
	case 0x62:
		opcode = 4
	default:
		return 0
	}
	modrm := opcode + 1
	if opcode >= len(code) {
		return len(code) + 1
	}
	if opMap == 0 {
		opMap = int(code[1] & 0x1f)
		if code[0] == 0x62 {
			opMap = int(code[1] & 7)
		}
	}
	if opMap == 1 && code[opcode] == 0x77 && code[0] != 0x62 {
		return modrm // vzeroupper and vzeroall have no ModRM
	}
	if modrm >= len(code) {
		return len(code) + 1
	}
	n := modrm + 1
	mod, rm := code[modrm]>>6, code[modrm]&7
	if mod != 3 && rm == 4 {
		if n >= len(code) {
			return len(code) + 1
		}
		if mod == 0 && code[n]&7 == 5 {
			n += 4
		}
		n++
	}
	switch {
	case mod == 1:
		n++
	case mod == 2 || mod == 0 && rm == 5:
		n += 4
	}
	switch op := code[opcode]; {
	case opMap == 3, opMap == 1 && (op >= 0x70 && op <= 0x73 || op == 0xc2 || op >= 0xc4 && op <= 0xc6):
		n++ // an immediate byte
	}
	return n
}

// Operations that x86asm does not know or takes for others.
const (
	opFirst x86asm.Op = 1<<16 + iota
	OpENDBR64
	OpENDBR32
	OpADCX
	OpADOX
	OpRDPID
	OpRDSEED
	OpRDSSP
	OpINCSSP
	OpCLAC
	OpSTAC
	OpSERIALIZE
	OpRDPKRU
	OpWRPKRU
	OpVMCALL
	OpVMMCALL
	OpCLZERO
	OpSTGI
	OpCLGI
	OpSETSSBSY
	OpSAVEPREVSSP
	OpENCLS
	OpMONITORX
	OpMWAITX
	OpCLWB
	OpCLFLUSHOPT
	OpTPAUSE
	OpUMONITOR
	OpUMWAIT
	OpVMGEXIT
	OpPVALIDATE
	OpRMPADJUST
	OpTILERELEASE
	opLast
)

var opNames = [...]string{
	"", "endbr64", "endbr32", "adcx", "adox", "rdpid", "rdseed", "rdssp", "incssp",
	"clac", "stac", "serialize", "rdpkru", "wrpkru", "vmcall", "vmmcall", "clzero", "stgi", "clgi",
	"setssbsy", "saveprevssp", "encls", "monitorx", "mwaitx", "clwb", "clflushopt",
	"tpause", "umonitor", "umwait", "vmgexit", "pvalidate", "rmpadjust", "tilerelease",
}

// An ownForm is an encoding in the 0F opcode space that is decoded here.
type ownForm struct {
	op     x86asm.Op
	prefix byte   // the mandatory 66, F2 or F3; 0: none of them
	opcode string // the bytes from 0F on, without ModRM unless it is fixed
	reg    int8   // the ModRM reg field, or one of the below
	mod    modKind
}

// Values of ownForm.reg besides 0 to 7.
const (
	regOperand int8 = -1 // the field names a register operand
	noModRM    int8 = -2 // opcode holds the whole instruction
)

type modKind uint8

const (
	modAny modKind = iota
	modReg         // ModRM names a register
	modMem         // ModRM names memory
)

// ownForms are the encodings of the Op constants (Intel SDM volume 2, AMD APM
// volume 3).
var ownForms = [...]ownForm{
	{OpENDBR64, 0xf3, "\x0f\x1e\xfa", noModRM, modAny},
	{OpENDBR32, 0xf3, "\x0f\x1e\xfb", noModRM, modAny},
	{OpRDSSP, 0xf3, "\x0f\x1e", 1, modReg},
	{OpADCX, 0x66, "\x0f\x38\xf6", regOperand, modAny},
	{OpADOX, 0xf3, "\x0f\x38\xf6", regOperand, modAny},
	{OpRDPID, 0xf3, "\x0f\xc7", 7, modReg},
	{OpRDSEED, 0, "\x0f\xc7", 7, modReg},
	{OpRDSEED, 0x66, "\x0f\xc7", 7, modReg},
	{OpINCSSP, 0xf3, "\x0f\xae", 5, modReg},
	{OpCLWB, 0x66, "\x0f\xae", 6, modMem},
	{OpCLFLUSHOPT, 0x66, "\x0f\xae", 7, modMem},
	{OpTPAUSE, 0x66, "\x0f\xae", 6, modReg},
	{OpUMONITOR, 0xf3, "\x0f\xae", 6, modReg},
	{OpUMWAIT, 0xf2, "\x0f\xae", 6, modReg},
	{OpVMCALL, 0, "\x0f\x01\xc1", noModRM, modAny},
	{OpCLAC, 0, "\x0f\x01\xca", noModRM, modAny},
	{OpSTAC, 0, "\x0f\x01\xcb", noModRM, modAny},
	{OpENCLS, 0, "\x0f\x01\xcf", noModRM, modAny},
	{OpVMMCALL, 0, "\x0f\x01\xd9", noModRM, modAny},
	{OpVMGEXIT, 0xf3, "\x0f\x01\xd9", noModRM, modAny},
	{OpVMGEXIT, 0xf2, "\x0f\x01\xd9", noModRM, modAny},
	{OpSTGI, 0, "\x0f\x01\xdc", noModRM, modAny},
	{OpCLGI, 0, "\x0f\x01\xdd", noModRM, modAny},
	{OpSERIALIZE, 0, "\x0f\x01\xe8", noModRM, modAny},
	{OpSETSSBSY, 0xf3, "\x0f\x01\xe8", noModRM, modAny},
	{OpSAVEPREVSSP, 0xf3, "\x0f\x01\xea", noModRM, modAny},
	{OpRDPKRU, 0, "\x0f\x01\xee", noModRM, modAny},
	{OpWRPKRU, 0, "\x0f\x01\xef", noModRM, modAny},
	{OpMONITORX, 0, "\x0f\x01\xfa", noModRM, modAny},
	{OpMWAITX, 0, "\x0f\x01\xfb", noModRM, modAny},
	{OpCLZERO, 0, "\x0f\x01\xfc", noModRM, modAny},
	{OpRMPADJUST, 0xf3, "\x0f\x01\xfe", noModRM, modAny},
	{OpPVALIDATE, 0xf2, "\x0f\x01\xff", noModRM, modAny},
}

// vexForms are instructions without ModRM, or with a fixed one, in the VEX
// encoding: x86asm reads a ModRM byte behind the first two that is not there.
// A bit that is zero in mask does not matter.
var vexForms = [...]struct {
	op         x86asm.Op
	code, mask string
}{
	{x86asm.VZEROUPPER, "\xc5\x78\x77", "\xff\x7f\xff"},
	{x86asm.VZEROALL, "\xc5\x7c\x77", "\xff\x7f\xff"},
	{x86asm.VZEROUPPER, "\xc4\x01\x78\x77", "\xff\x1f\x7f\xff"},
	{x86asm.VZEROALL, "\xc4\x01\x7c\x77", "\xff\x1f\x7f\xff"},
	{OpTILERELEASE, "\xc4\xe2\x78\x49\xc0", "\xff\xff\xff\xff\xff"},
}

// vexForm finds the entry of vexForms that op begins with.
func vexForm(op []byte) (x86asm.Op, int) {
next:
	for _, f := range vexForms {
		if len(op) < len(f.code) {
			continue
		}
		for i := range len(f.code) {
			if op[i]&f.mask[i] != f.code[i] {
				continue next
			}
		}
		return f.op, len(f.code)
	}
	return 0, 0
}

var errNotOwn = errors.New("not one of ownForms")

// decodeOwn decodes what x86asm gets wrong, or returns errNotOwn.
func decodeOwn(code []byte, p Prefixes) (x86asm.Inst, error) {
	op := code[p.N:]
	if op, n := vexForm(op); n > 0 && p.N == 0 {
		return x86asm.Inst{Op: op, Mode: 64, AddrSize: 64, DataSize: 32, Len: n}, nil
	}
	if len(op) < 2 || op[0] != 0x0f {
		return x86asm.Inst{}, errNotOwn
	}
	mandatory := p.Rep
	if mandatory == 0 && p.Has66 {
		mandatory = 0x66
	}
	for i := range ownForms {
		f := &ownForms[i]
		if f.prefix != mandatory || op[1] != f.opcode[1] {
			continue
		}
		n := len(f.opcode)
		if len(op) < n {
			if strings.HasPrefix(f.opcode, string(op)) {
				return x86asm.Inst{}, ErrTruncated
			}
			continue
		}
		if string(op[:n]) != f.opcode {
			continue
		}
		if f.reg != noModRM {
			if len(op) == n {
				return x86asm.Inst{}, ErrTruncated
			}
			if m := op[n]; f.reg >= 0 && int8(m>>3&7) != f.reg || f.mod == modReg && m < 0xc0 || f.mod == modMem && m >= 0xc0 {
				continue
			}
		}
		if p.Lock {
			return x86asm.Inst{}, ErrUnknown
		}
		return decodeOwnForm(f, code, p)
	}
	return x86asm.Inst{}, errNotOwn
}

// decodeOwnForm fills in length and operands of the form f.
func decodeOwnForm(f *ownForm, code []byte, p Prefixes) (x86asm.Inst, error) {
	n := p.N + len(f.opcode)
	inst := x86asm.Inst{Op: f.op, Mode: 64, AddrSize: 64, DataSize: 32, Len: n}
	inst.Opcode = 0x0f<<24 | uint32(f.opcode[1])<<16
	if f.reg == noModRM {
		return inst, nil
	}
	// The operands are those of imul r, r/m with the same ModRM.
	var b [MaxInstLen + 4]byte
	k := 0
	if p.Seg == x86asm.FS {
		b[k], k = 0x64, k+1
	} else if p.Seg == x86asm.GS {
		b[k], k = 0x65, k+1
	}
	if p.Has67 {
		b[k], k = 0x67, k+1
	}
	if p.REX != 0 {
		b[k], k = p.REX, k+1
	}
	b[k], b[k+1], k = 0x0f, 0xaf, k+2
	m := copy(b[k:], code[n:])
	like, err := x86asm.Decode(b[:k+m], 64)
	if err != nil || like.Op == 0 {
		return x86asm.Inst{}, ErrTruncated
	}
	signExtend(&like, 0)
	inst.Len = n + like.Len - k
	inst.AddrSize, inst.DataSize, inst.MemBytes = like.AddrSize, like.DataSize, like.MemBytes
	if like.PCRel != 0 {
		inst.PCRel, inst.PCRelOff = like.PCRel, like.PCRelOff+n-k
	}
	if f.reg == regOperand {
		inst.Args = like.Args
	} else {
		inst.Args[0] = like.Args[1]
	}
	switch f.op {
	case OpCLWB, OpCLFLUSHOPT:
		inst.MemBytes = 1
	case OpRDPID: // the operand has 64 bits whatever the prefixes
		if r, ok := inst.Args[0].(x86asm.Reg); ok && r >= x86asm.EAX && r <= x86asm.R15L {
			inst.Args[0] = r - x86asm.EAX + x86asm.RAX
		}
	case OpRDSEED:
		if r, ok := inst.Args[0].(x86asm.Reg); ok && f.prefix == 0x66 && r >= x86asm.EAX && r <= x86asm.R15L {
			inst.Args[0], inst.DataSize = r-x86asm.EAX+x86asm.AX, 16
		}
	}
	return inst, nil
}

// Target returns where the direct branch inst at pc goes; ok is false for
// other instructions.
func (i *Inst) Target(pc uint64) (target uint64, ok bool) {
	rel, ok := i.Args[0].(x86asm.Rel)
	return pc + uint64(i.Len) + uint64(int64(rel)), ok
}
