package x86

import (
	"fmt"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// Disasm returns the text of the instruction that code begins with, as GNU
// objdump prints it in AT&T syntax, and the instruction's length in bytes. pc
// is its address. With sym not nil, the targets of branches and of operands
// relative to the instruction pointer are followed by their names:
//
//	call   ffffffff81076660 <ftrace_caller>
//	mov    0x1e0(%rip),%rax        # 4711 <counter+0x8>
//
// Bytes that are no instruction give an error, ErrTruncated or ErrUnknown.
func Disasm(code []byte, pc uint64, sym SymLookup) (text string, n int, err error) {
	inst, err := Decode(code)
	if err != nil {
		return "", 0, err
	}
	if sym == nil {
		sym = func(uint64) (string, uint64, bool) { return "", 0, false }
	}
	p := printer{inst: &inst, code: code[:inst.Len], pc: pc, sym: sym}
	return p.text(), inst.Len, nil
}

// A printer makes the text of one instruction.
type printer struct {
	inst *Inst
	code []byte
	pc   uint64
	sym  SymLookup
	note string // what a relative operand refers to
}

func (p *printer) text() string {
	in := p.inst
	if usesVectors(in) {
		t := x86asm.GNUSyntax(in.Inst, p.pc, nil)
		name, operands, _ := strings.Cut(t, " ")
		return pad(name, operands)
	}
	var args []string
	for _, a := range p.operands() {
		if a != nil {
			args = append(args, p.arg(a))
		}
	}
	star := ""
	if _, direct := in.Args[0].(x86asm.Rel); !direct && (in.Op == x86asm.CALL || in.Op == x86asm.JMP) {
		star = "*"
	}
	t := p.prefixes() + pad(p.mnemonic(), star+strings.Join(args, ","))
	if p.note != "" {
		t += "        # " + p.note
	}
	return t
}

func pad(name, operands string) string {
	if operands == "" {
		return name
	}
	return fmt.Sprintf("%-6s %s", name, operands)
}

// usesVectors tells whether an operand is a floating-point, vector or mask
// register, or the operation is one of floating point: x86asm prints those.
func usesVectors(in *Inst) bool {
	for _, a := range in.Args {
		if r, ok := a.(x86asm.Reg); ok && r >= x86asm.F0 && r <= x86asm.K7 {
			return true
		}
	}
	return in.Opcode>>24 >= 0xd8 && in.Opcode>>24 <= 0xdf
}

// operands returns the arguments in AT&T order, without those that the name
// already says.
func (p *printer) operands() []x86asm.Arg {
	in := p.inst
	var args []x86asm.Arg
	for _, a := range in.Args {
		if a == nil {
			break
		}
		args = append(args, a)
	}
	switch in.Op {
	case x86asm.NOP:
		if len(args) == 0 && in.Has66 {
			return []x86asm.Arg{x86asm.AX, x86asm.AX}
		}
	case x86asm.INT:
		if in.Opcode>>24 == OpInt3 {
			return nil
		}
	case x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.ROL, x86asm.ROR, x86asm.RCL, x86asm.RCR:
		if op := in.Opcode >> 24; op == 0xd0 || op == 0xd1 {
			args = args[:1]
		}
	case x86asm.ENTER:
		return args
	}
	for i, j := 0, len(args)-1; i < j; i, j = i+1, j-1 {
		args[i], args[j] = args[j], args[i]
	}
	return args
}

// attNames are the names that AT&T syntax spells in its own way.
var attNames = map[x86asm.Op]string{
	x86asm.CBW: "cbtw", x86asm.CWDE: "cwtl", x86asm.CDQE: "cltq",
	x86asm.CWD: "cwtd", x86asm.CDQ: "cltd", x86asm.CQO: "cqto",
	x86asm.PUSHF: "pushfw", x86asm.PUSHFQ: "pushf", x86asm.POPF: "popfw", x86asm.POPFQ: "popf",
	x86asm.MOVSD: "movsl", x86asm.CMPSD: "cmpsl", x86asm.INSD: "insl", x86asm.OUTSD: "outsl",
	x86asm.LODSB: "lods", x86asm.LODSW: "lods", x86asm.LODSD: "lods", x86asm.LODSQ: "lods",
	x86asm.SCASB: "scas", x86asm.SCASW: "scas", x86asm.SCASD: "scas", x86asm.SCASQ: "scas",
	x86asm.STOSB: "stos", x86asm.STOSW: "stos", x86asm.STOSD: "stos", x86asm.STOSQ: "stos",
	x86asm.XLATB: "xlat", x86asm.ICEBP: "int1",
}

// unsized are operations whose name never takes a suffix.
var unsized = map[x86asm.Op]bool{
	x86asm.CALL: true, x86asm.JMP: true, x86asm.PUSH: true, x86asm.POP: true, x86asm.RET: true,
	x86asm.CMPXCHG8B: true, x86asm.CMPXCHG16B: true, x86asm.CLFLUSH: true, OpCLWB: true, OpCLFLUSHOPT: true,
	x86asm.PREFETCHNTA: true, x86asm.PREFETCHT0: true, x86asm.PREFETCHT1: true, x86asm.PREFETCHT2: true,
	x86asm.PREFETCHW: true, x86asm.INVLPG: true, x86asm.LGDT: true, x86asm.LIDT: true, x86asm.SGDT: true, x86asm.SIDT: true,
	x86asm.LDMXCSR: true, x86asm.STMXCSR: true, x86asm.XLATB: true, x86asm.LLDT: true, x86asm.SLDT: true,
	x86asm.LTR: true, x86asm.STR: true, x86asm.SMSW: true, x86asm.LMSW: true, x86asm.VERR: true, x86asm.VERW: true,
}

var sizeSuffix = map[int]string{1: "b", 2: "w", 4: "l", 8: "q"}

func (p *printer) mnemonic() string {
	in := p.inst
	name := in.Mnemonic()
	if n, ok := attNames[in.Op]; ok {
		name = n
	}
	opcode := in.Opcode >> 24
	switch in.Op {
	case x86asm.INT:
		if opcode == OpInt3 {
			return "int3"
		}
	case x86asm.NOP:
		if in.Args[0] == nil && in.Has66 {
			return "xchg"
		}
	case x86asm.MOV:
		if opcode >= 0xb8 && opcode <= 0xbf && in.REX&8 != 0 || opcode >= 0xa0 && opcode <= 0xa3 {
			return "movabs"
		}
	case x86asm.MOVZX, x86asm.MOVSX:
		return name[:4] + sizeSuffix[p.argSize(1)] + sizeSuffix[p.argSize(0)]
	case x86asm.MOVSXD:
		if p.argSize(0) == 8 {
			return "movslq"
		}
		return name
	case x86asm.CRC32:
		if _, memory := in.Args[1].(x86asm.Mem); memory {
			return name + sizeSuffix[in.MemBytes] // the size of the other operand is not that of the source
		}
	case x86asm.SYSRET, x86asm.LRET:
		if in.REX&8 != 0 {
			return name + "q"
		}
		if in.Op == x86asm.SYSRET {
			return name + "l"
		}
		return name
	case x86asm.PUSH, x86asm.POP:
		if _, isReg := in.Args[0].(x86asm.Reg); in.Has66 && !isReg {
			return name + "w"
		}
	}
	if unsized[in.Op] || strings.HasPrefix(name, "set") {
		return name
	}
	memory := false
	for i, a := range in.Args {
		switch a.(type) {
		case x86asm.Reg:
			// The count of a shift says nothing of the size.
			if !(i == 1 && isShift(in.Op)) {
				return name
			}
		case x86asm.Mem:
			memory = true
		}
	}
	if memory && !isString(in.Op) {
		name += sizeSuffix[in.MemBytes]
	}
	return name
}

func isShift(op x86asm.Op) bool {
	switch op {
	case x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.ROL, x86asm.ROR, x86asm.RCL, x86asm.RCR:
		return true
	}
	return false
}

// isString tells whether op is a string instruction, whose operands x86asm
// makes explicit.
func isString(op x86asm.Op) bool {
	switch op {
	case x86asm.MOVSB, x86asm.MOVSW, x86asm.MOVSD, x86asm.MOVSQ, x86asm.CMPSB, x86asm.CMPSW, x86asm.CMPSD, x86asm.CMPSQ,
		x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ, x86asm.LODSB, x86asm.LODSW, x86asm.LODSD, x86asm.LODSQ,
		x86asm.SCASB, x86asm.SCASW, x86asm.SCASD, x86asm.SCASQ, x86asm.INSB, x86asm.INSW, x86asm.INSD,
		x86asm.OUTSB, x86asm.OUTSW, x86asm.OUTSD:
		return true
	}
	return false
}

// argSize is the size of the i-th argument in bytes.
func (p *printer) argSize(i int) int {
	switch a := p.inst.Args[i].(type) {
	case x86asm.Reg:
		return regSize(a)
	case x86asm.Mem:
		return p.inst.MemBytes
	}
	return 0
}

func regSize(r x86asm.Reg) int {
	switch {
	case r >= x86asm.AL && r <= x86asm.R15B:
		return 1
	case r >= x86asm.AX && r <= x86asm.R15W:
		return 2
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return 4
	case r >= x86asm.RAX && r <= x86asm.R15:
		return 8
	}
	return 0
}

// prefixes returns the prefixes that act on the instruction, or that pad it.
func (p *printer) prefixes() string {
	in := p.inst
	var b strings.Builder
	indirect := false
	if in.Op == x86asm.CALL || in.Op == x86asm.JMP {
		_, direct := in.Args[0].(x86asm.Rel)
		indirect = !direct
	}
	data := 0
	for _, c := range p.code[:in.N] {
		switch c {
		case 0x66:
			if data++; data > 1 {
				b.WriteString("data16 ")
			}
		case 0x2e:
			b.WriteString("cs ")
		case 0x3e:
			if indirect {
				b.WriteString("notrack ")
			} else {
				b.WriteString("ds ")
			}
		}
	}
	if in.Lock {
		b.WriteString("lock ")
	}
	switch {
	case in.Rep == 0 || !repVisible(in):
	case isString(in.Op) && in.Rep == 0xf3 && !isCompare(in.Op):
		b.WriteString("rep ")
	case in.Rep == 0xf3:
		b.WriteString("repz ")
	case in.Op == x86asm.CALL || in.Op == x86asm.JMP || in.Op == x86asm.RET:
		b.WriteString("bnd ")
	default:
		b.WriteString("repnz ")
	}
	return b.String()
}

func isCompare(op x86asm.Op) bool {
	switch op {
	case x86asm.CMPSB, x86asm.CMPSW, x86asm.CMPSD, x86asm.CMPSQ, x86asm.SCASB, x86asm.SCASW, x86asm.SCASD, x86asm.SCASQ:
		return true
	}
	return false
}

// repVisible tells whether F2 or F3 is a prefix of its own and not part of the
// opcode.
func repVisible(in *Inst) bool {
	switch {
	case in.Op >= opFirst, in.Op == x86asm.PAUSE:
		return false
	case isString(in.Op), in.Op == x86asm.RET, in.Op == x86asm.CALL, in.Op == x86asm.JMP:
		return true
	}
	return in.Opcode>>24 != 0x0f
}

// segNames are the segments as operands show them.
var segNames = map[x86asm.Reg]string{
	x86asm.ES: "%es:", x86asm.DS: "%ds:", x86asm.FS: "%fs:", x86asm.GS: "%gs:",
}

func (p *printer) arg(a x86asm.Arg) string {
	in := p.inst
	switch a := a.(type) {
	case x86asm.Reg:
		if a == x86asm.DX && (in.Op == x86asm.IN || in.Op == x86asm.OUT || isString(in.Op)) {
			return "(%dx)"
		}
		return regName(a)
	case x86asm.Imm:
		return fmt.Sprintf("$%#x", uint64(a)&p.immMask())
	case x86asm.Rel:
		return p.address(p.pc + uint64(in.Len) + uint64(int64(a)))
	case x86asm.Mem:
		return p.memory(a)
	}
	return a.String()
}

// immMask holds the bits of an immediate that are shown: those of the operand
// it is combined with.
func (p *printer) immMask() uint64 {
	in := p.inst
	size := 8
	switch in.Op {
	case x86asm.ENTER, x86asm.RET, x86asm.LRET:
		size = 2
	case x86asm.INT, x86asm.IN, x86asm.OUT:
		size = 1
	case x86asm.PUSH:
		if in.Has66 {
			size = 2
		}
	default:
		if isShift(in.Op) {
			size = 1
		} else if s := p.argSize(0); s != 0 {
			size = s
		}
	}
	return ^uint64(0) >> (64 - 8*size)
}

// address prints the target of a branch.
func (p *printer) address(a uint64) string {
	if name := p.symbol(a); name != "" {
		return fmt.Sprintf("%x %s", a, name)
	}
	return fmt.Sprintf("%x", a)
}

// symbol returns <name+0xoffset>, or nothing.
func (p *printer) symbol(a uint64) string {
	name, off, ok := p.sym(a)
	switch {
	case !ok:
		return ""
	case off == 0:
		return "<" + name + ">"
	}
	return fmt.Sprintf("<%s+%#x>", name, off)
}

func (p *printer) memory(m x86asm.Mem) string {
	in := p.inst
	seg := segNames[m.Segment]
	if isString(in.Op) && m.Segment == 0 {
		seg = "%es:"
		if b := m.Base; b == x86asm.RSI || b == x86asm.ESI {
			seg = "%ds:"
		}
	}
	if in.Op == x86asm.LEA {
		seg = ""
	}
	disp := ""
	switch {
	case m.Base == 0 && m.Index == 0:
		return fmt.Sprintf("%s%#x", seg, uint64(m.Disp))
	case m.Disp < 0:
		disp = fmt.Sprintf("-%#x", uint64(-m.Disp))
	case m.Disp > 0 || p.hasDisp():
		disp = fmt.Sprintf("%#x", m.Disp)
	}
	switch {
	case m.Base == x86asm.RIP || m.Base == x86asm.EIP:
		p.note = p.address(p.pc + uint64(in.Len) + uint64(m.Disp))
		return fmt.Sprintf("%s%s(%s)", seg, disp, regName(m.Base))
	case m.Index == 0:
		return fmt.Sprintf("%s%s(%s)", seg, disp, regName(m.Base))
	case m.Base == 0:
		return fmt.Sprintf("%s%s(,%s,%d)", seg, disp, regName(m.Index), m.Scale)
	}
	return fmt.Sprintf("%s%s(%s,%s,%d)", seg, disp, regName(m.Base), regName(m.Index), m.Scale)
}

// hasDisp tells whether the memory operand has a displacement, if only a zero.
func (p *printer) hasDisp() bool {
	if isString(p.inst.Op) {
		return false
	}
	op := p.code[p.inst.N:]
	at := 1
	switch {
	case op[0] == 0xc5:
		at = 3
	case op[0] == 0xc4:
		at = 4
	case op[0] == 0x0f && (op[1] == 0x38 || op[1] == 0x3a):
		at = 3
	case op[0] == 0x0f:
		at = 2
	}
	if at >= len(op) {
		return false
	}
	modrm := op[at]
	mod, rm := modrm>>6, modrm&7
	noBase := rm == 4 && at+1 < len(op) && op[at+1]&7 == 5
	return mod == 1 || mod == 2 || mod == 0 && (rm == 5 || noBase)
}

// byteRegs are the registers that x86asm names in its own way.
var byteRegs = map[x86asm.Reg]string{
	x86asm.SPB: "%spl", x86asm.BPB: "%bpl", x86asm.SIB: "%sil", x86asm.DIB: "%dil",
}

func regName(r x86asm.Reg) string {
	if n, ok := byteRegs[r]; ok {
		return n
	}
	n := strings.ToLower(r.String())
	if r >= x86asm.R8L && r <= x86asm.R15L {
		n = strings.TrimSuffix(n, "l") + "d"
	}
	return "%" + n
}
