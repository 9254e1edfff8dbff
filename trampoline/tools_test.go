package trampoline

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

// samples are code that has every form and layout: the built-in ones, one image
// of each shape that was captured, and all forms with random operands.
func samples(t *testing.T) []Code {
	var out []Code
	add := func(c Code, err error) {
		require.NoError(t, err)
		out = append(out, c)
	}
	for _, ret := range []Return{{}, {SLS: true}, {SLS: true, Thunk: 0xffffffff81007000}} {
		caller := CallerSpec{Addr: regsAddr, Func: 0xffffffff81006000, OpPtr: opPtrAddr, Return: ret}
		add(FtraceCaller(caller))
		add(FtraceRegsCaller(caller))
		add(FtraceStub(0xffffffff81006000, ret))
		add(Fentry(0xffffffff81006010, ret))
		for _, regs := range []bool{false, true} {
			add(OpsTrampoline(OpsSpec{Addr: trampAddr, Func: gateBase, Ops: opsAddr, SaveRegs: regs, Return: ret}))
		}
	}
	for _, kind := range []DirectKind{Pass, Share, Orig, Skip} {
		add(Direct(DirectSpec{Kind: kind, Addr: trampAddr, ID: 3, LogEntry: gateBase, LogExit: gateBase + 0x10, Body: bodyAddr}))
	}
	for args := range BPFMaxRegs + 1 {
		for _, flags := range []BPFFlag{RestoreRegs | IPArg, CallOrig | SkipFrame, CallOrig | SkipFrame | OrigStack | TailCallCtx, RetFentryRet} {
			s := bpfSpec(args, flags)
			s.Fentry = []BPFProg{bpfProg(0)}
			s.Fentry[0].Cookie = uint64(args) << (8 * args)
			s.IBT = args%2 == 0
			if flags&CallOrig != 0 {
				s.FmodRet, s.Fexit = []BPFProg{bpfProg(1), bpfProg(2)}, []BPFProg{bpfProg(3)}
				s.Fexit[0].Insns = 0xffffc90000099000
			}
			add(BPF(s))
		}
	}
	captured := map[string]bool{}
	f, err := os.Open(imagesFile)
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var img image
		require.NoError(t, json.Unmarshal(lines.Bytes(), &img))
		if shape := fmt.Sprint(img.Kind, img.Size); !captured[shape] {
			captured[shape] = true
			add(img.generate())
		}
	}
	return append(out, randomForms(t)...)
}

// randomForms has every form of the emitter, many times.
func randomForms(t *testing.T) (out []Code) {
	rng := rand.New(rand.NewPCG(1, 2))
	reg := func() Reg { return Reg(rng.IntN(16)) }
	imm := func() int32 {
		return []int32{0, 1, -1, 127, 128, -128, -129, rng.Int32(), -rng.Int32()}[rng.IntN(9)]
	}
	mem := func() Mem { return At(reg(), imm()) }
	for n := range 20 {
		a := NewAsm("forms", trampAddr+uint64(n)<<12)
		a.Limit = 1 << 16
		for round := range 20 {
			a.Mov(reg(), reg())
			a.Load(reg(), mem())
			a.LoadDisp32(reg(), mem())
			a.Store(mem(), reg())
			a.StoreImm(mem(), imm())
			a.Lea(reg(), mem())
			a.LoadRIP(reg(), a.Addr()+uint64(rng.IntN(1<<20)))
			a.MovImm(reg(), []uint64{0, 1, 1<<32 - 1, 1 << 32, rng.Uint64()}[rng.IntN(5)])
			a.MovImmSigned(reg(), imm())
			a.Xor32(reg())
			a.AddImm(reg(), imm())
			a.SubImm(reg(), imm())
			a.Test(reg(), reg())
			a.CmpMem(mem(), int8(imm()))
			a.Push(reg())
			a.Pop(reg())
			a.PushMem(mem())
			a.PopMem(mem())
			a.PushFlags()
			a.PopFlags()
			a.Leave()
			a.Int3()
			a.Endbr64()
			a.Nop(rng.IntN(20))
			a.Align(1 << rng.IntN(5))
			a.Call(a.Addr() + uint64(rng.IntN(1<<20)))
			a.CallReg(reg())
			a.Jmp(a.Addr() + uint64(rng.IntN(300)))
			back, on := fmt.Sprint("back", round), fmt.Sprint("on", round)
			a.Label(back)
			a.JccShort(CondZ, back)
			a.JccNear(CondZ, back)
			a.JccShort(CondNZ, on)
			a.JccNear(CondNZ, on)
			a.Ret(Return{SLS: true})
			a.Label(on)
		}
		code, err := a.Code()
		require.NoError(t, err)
		out = append(out, code)
	}
	return out
}

// An instruction of a listing. Data has no text.
type instruction struct {
	off   uint64
	bytes []byte
	text  string
}

func instructions(t *testing.T, c Code) (out []instruction) {
	data := c.Data
	for off := uint64(0); off < uint64(len(c.Bytes)); {
		if len(data) > 0 && data[0].Off == off {
			end := off + data[0].Len
			out = append(out, instruction{off, c.Bytes[off:end], ""})
			off, data = end, data[1:]
			continue
		}
		text, n, err := x86.Disasm(c.Bytes[off:], c.Addr+off, nil)
		require.NoError(t, err, "%s+%#x: % x", c.Name, off, c.Bytes[off:])
		out = append(out, instruction{off, c.Bytes[off : off+uint64(n)], text})
		off += uint64(n)
	}
	return out
}

var branch = regexp.MustCompile(`^(call|jmp|je|jne) +([0-9a-f]+)$`)

// source is the instruction for GNU as: branches relative to their own place,
// and a prefix where as would choose another encoding of the same.
func (i instruction) source(t *testing.T, c Code) string {
	if i.text == "" {
		return ".byte " + strings.ReplaceAll(fmt.Sprintf("%# x", i.bytes), " ", ",")
	}
	text, _, _ := strings.Cut(i.text, "#")
	text = strings.TrimSpace(text)
	if m := branch.FindStringSubmatch(text); m != nil {
		to, err := strconv.ParseUint(m[2], 16, 64)
		require.NoError(t, err)
		text = fmt.Sprintf("%s .+%d", m[1], int64(to-c.Addr-i.off))
		if m[1] != "call" && len(i.bytes) > 2 {
			text = "{disp32} " + text
		}
		return text
	}
	return i.dispPrefix() + text
}

// dispPrefix asks for a displacement that is longer than it need be.
func (i instruction) dispPrefix() string {
	b := i.bytes
	for len(b) > 0 && (b[0] == 0x66 || b[0] == 0x2e || b[0]&0xf0 == 0x40) {
		b = b[1:]
	}
	if len(b) > 1 && b[0] == 0x0f {
		b = b[1:]
	} else if len(b) > 0 && b[0]&0xf0 == 0xb0 {
		return "" // an immediate behind the opcode
	}
	if len(b) < 3 {
		return ""
	}
	modrm, disp := b[1], b[2:]
	if modrm&7 == 4 && modrm>>6 != 3 {
		disp = disp[1:]
	}
	short := len(disp) >= 4 && int32(disp[0])|int32(disp[1])<<8|int32(disp[2])<<16|int32(disp[3])<<24 == int32(int8(disp[0]))
	switch {
	case modrm>>6 == 2 && short:
		return "{disp32} "
	case modrm>>6 == 1 && len(disp) > 0 && disp[0] == 0 && modrm&7 != 5:
		return "{disp8} "
	}
	return ""
}

// TestAssemblerAgrees has GNU as assemble the text of all samples: the same
// bytes come out.
func TestAssemblerAgrees(t *testing.T) {
	if _, err := exec.LookPath("as"); err != nil {
		t.Skip("as is not installed; TestForms compares some of its output all the same")
	}
	var src strings.Builder
	var want []byte
	var places []string // of each instruction
	var ends []int
	for _, c := range samples(t) {
		for _, i := range instructions(t, c) {
			line := i.source(t, c)
			src.WriteString(line + "\n")
			want = append(want, i.bytes...)
			places = append(places, fmt.Sprintf("%s+%#x: %s", c.Name, i.off, line))
			ends = append(ends, len(want))
		}
	}
	dir := t.TempDir()
	in, obj := filepath.Join(dir, "in.s"), filepath.Join(dir, "out.o")
	require.NoError(t, os.WriteFile(in, []byte(src.String()), 0o644))
	out, err := exec.Command("as", "--64", "-o", obj, in).CombinedOutput()
	require.NoError(t, err, "%s", out)
	f, err := elf.Open(obj)
	require.NoError(t, err)
	defer f.Close()
	got, err := f.Section(".text").Data()
	require.NoError(t, err)
	from := 0
	for i, to := range ends {
		require.LessOrEqual(t, to, len(got))
		require.Equal(t, fmt.Sprintf("% x", want[from:to]), fmt.Sprintf("% x", got[from:to]), places[i])
		from = to
	}
	require.Len(t, got, len(want))
	t.Logf("%d instructions", len(ends))
}

// spellings are texts of objdump that differ from ours, by release or in what
// an address outside of all symbols looks like.
var spellings = strings.NewReplacer(
	"retq", "ret", "callq", "call", "leaveq", "leave", "pushq ", "push ", "popq ", "pop ", "pushfq", "pushf", "popfq", "popf",
)

var (
	blanks = regexp.MustCompile(`\s+`)
	target = regexp.MustCompile(`^(call|jmp|je|jne) 0x|# 0x`)
)

func canonical(text string) string {
	text = blanks.ReplaceAllString(strings.TrimSpace(spellings.Replace(text)), " ")
	return target.ReplaceAllStringFunc(text, func(s string) string { return strings.TrimSuffix(s, "0x") })
}

var objdumpLine = regexp.MustCompile(`(?m)^ *([0-9a-f]+):\t[0-9a-f ]+\t(.*)$`)

// TestObjdumpAgrees has objdump disassemble all samples: the text is ours.
func TestObjdumpAgrees(t *testing.T) {
	if _, err := exec.LookPath("objdump"); err != nil {
		t.Skip("objdump is not installed; package x86 compares with some of its output all the same")
	}
	n := 0
	for i, c := range samples(t) {
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		require.NoError(t, os.WriteFile(file, c.Bytes, 0o644))
		out, err := exec.Command("objdump", "-D", "-w", "-b", "binary", "-m", "i386:x86-64",
			fmt.Sprintf("--adjust-vma=%#x", c.Addr), file).Output()
		require.NoError(t, err)
		theirs := map[uint64]string{}
		for _, m := range objdumpLine.FindAllStringSubmatch(string(out), -1) {
			addr, err := strconv.ParseUint(m[1], 16, 64)
			require.NoError(t, err)
			theirs[addr-c.Addr] = canonical(m[2])
		}
		for _, i := range instructions(t, c) {
			if i.text != "" {
				require.Equal(t, theirs[i.off], canonical(i.text), "%s+%#x: % x", c.Name, i.off, i.bytes)
				n++
			}
		}
	}
	t.Logf("%d instructions", n)
}
