//go:build linux && amd64

package hwtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"ftemu/emu"
	"ftemu/x86"
)

// Lengths compares the decoder's idea of where an instruction ends with the
// processor's, for random bytes: the bytes are put before the end of
// executable memory, so that a fetch beyond them faults, and stepped over.
type Lengths struct {
	hw   *Processor
	soft *Machine
	seed uint64

	batch    uint64
	Tried    uint64 // byte strings
	Agreed   uint64 // of them, instructions whose length agrees
	Executed uint64 // of them, those that executed
	Refused  uint64 // byte strings that neither side takes for an instruction
	Unknown  uint64 // those that the processor executes and the decoder does not know
}

// NewLengths returns a comparison of lengths.
func NewLengths(hw *Processor, seed uint64) (*Lengths, error) {
	soft, err := NewMachine()
	return &Lengths{hw: hw, soft: soft, seed: seed}, err
}

// harmful are instructions that must not be tried, since they change what the
// traced process runs on, wait for something, or call a kernel or a hypervisor.
func harmful(code []byte) bool {
	p := 0
	for p < len(code)-1 && (isPrefix(code[p]) && code[p] != 0x0f && code[p] != 0x62 && code[p] != 0xc4 && code[p] != 0xc5) {
		p++
	}
	op := code[p:]
	if len(op) < 2 {
		return true
	}
	switch op[0] {
	case 0xcd, 0xf1: // int n, int1: signals of their own
		return true
	case 0xca, 0xcb, 0xcf: // lret, iret: to 32-bit code, which is traced in another way
		return true
	case 0xff: // lcall, ljmp
		return op[1]>>3&7 == 3 || op[1]>>3&7 == 5
	}
	if op[0] != 0x0f {
		return false
	}
	switch op[1] {
	case 0x05, 0x34: // system calls
		return true
	case 0x01: // wrpkru, vmcall, vmmcall, mwaitx, ...
		return len(op) < 3 || op[2] >= 0xc0
	case 0xae: // xrstor; wrfsbase, umwait, tpause, incssp
		mandatory := func(b byte) bool { return b == 0x66 || b == 0xf2 || b == 0xf3 }
		return len(op) < 3 || op[2]>>3&7 == 5 && op[2] < 0xc0 || op[2] >= 0xc0 && slices.ContainsFunc(code[:p], mandatory)
	}
	return false
}

// Batch tries n byte strings. An error tells of the first difference.
func (l *Lengths) Batch(n int) error {
	l.batch++
	rng := rand.New(rand.NewPCG(l.seed, l.batch))
	g := newGenerator(rng)
	for range n {
		var b [x86.MaxInstLen]byte
		code := randomBytes(rng, b[:])
		if harmful(code) {
			continue
		}
		l.Tried++
		state := g.regs()
		if err := l.one(code, &state); err != nil {
			text, _, derr := x86.Disasm(code, 0, nil)
			if derr != nil {
				text = derr.Error()
			}
			return fmt.Errorf("% x (%s): %w", code, text, err)
		}
	}
	return nil
}

// randomBytes fills b with prefixes and an opcode of some space more often than
// chance would, then anything.
func randomBytes(rng *rand.Rand, b []byte) []byte {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	at := 0
	for rng.IntN(3) == 0 && at < 4 {
		b[at] = [...]byte{0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x64, 0x65}[rng.IntN(8)]
		at++
	}
	if rng.IntN(3) == 0 {
		b[at] = 0x40 | b[at]&15
		at++
	}
	switch rng.IntN(8) {
	case 0, 1, 2:
		b[at] = 0x0f
	case 3:
		b[at], b[at+1] = 0x0f, 0x38|b[at+1]&2
	case 4:
		b[at], b[at+1] = 0xc4, b[at+1]&^0x1f|byte(1+rng.IntN(3))
	}
	return b
}

// step executes code at the end of executable memory. ended tells whether the
// processor wanted more bytes.
func (l *Lengths) step(code []byte, state *emu.Regs) (s Step, at uint64, ended bool, err error) {
	const end = codeBase + codeSize
	at = end - uint64(len(code))
	copy(l.hw.Bytes()[codeSize-len(code):], code)
	s, err = l.hw.Step(at, state)
	return s, at, s.Signal == unix.SIGSEGV && s.RIP == at && s.Addr == end, err
}

func (l *Lengths) one(code []byte, state *emu.Regs) error {
	in, derr := x86.Decode(code)
	if derr != nil {
		s, _, _, err := l.step(code, state)
		if err != nil {
			return err
		}
		if s.Signal == unix.SIGTRAP {
			l.Unknown++
		} else {
			l.Refused++
		}
		return nil
	}
	if exact, err := x86.Decode(code[:in.Len]); err != nil || exact.Len != in.Len {
		return fmt.Errorf("the decoder says %d bytes, and of these that they are %d (%v)", in.Len, exact.Len, err)
	}
	if short, err := x86.Decode(code[:in.Len-1]); err == nil {
		return fmt.Errorf("the decoder says %d bytes, and without the last %d", in.Len, short.Len)
	}
	s, at, ended, err := l.step(code[:in.Len], state)
	switch {
	case err != nil:
		return err
	case ended:
		return fmt.Errorf("the decoder says %d bytes, the processor wants more", in.Len)
	case s.Signal == unix.SIGILL:
		if l.executes(&in, code) {
			return errors.New("the interpreter executes it, the processor does not know it")
		}
		l.Refused++
		return nil
	}
	if _, branch := in.Args[0].(x86asm.Rel); s.Signal == unix.SIGTRAP {
		repeats := in.Rep != 0 && s.RIP == at
		if s.RIP != at+uint64(in.Len) && !branch && !repeats && !transfers(in.Op) {
			return fmt.Errorf("the decoder says %d bytes, the processor goes on after %d", in.Len, s.RIP-at)
		}
		l.Executed++
	}
	if in.Len > 1 {
		s, _, ended, err := l.step(code[:in.Len-1], state)
		if err != nil {
			return err
		}
		if !ended && s.Signal != unix.SIGILL {
			return fmt.Errorf("the decoder says %d bytes, fewer are enough for the processor (%v)", in.Len, s.Signal)
		}
	}
	l.Agreed++
	return nil
}

// transfers tells whether an instruction may set RIP to anything.
func transfers(op x86asm.Op) bool {
	switch op {
	case x86asm.JMP, x86asm.CALL, x86asm.RET, x86asm.LJMP, x86asm.LCALL, x86asm.LRET, x86asm.IRET, x86asm.IRETD, x86asm.IRETQ,
		x86asm.SYSCALL, x86asm.SYSENTER, x86asm.INT:
		return true
	}
	return false
}

// executes tells whether the interpreter would execute code, where it does not
// say that it would not.
func (l *Lengths) executes(in *x86.Inst, code []byte) bool {
	if Exempt[in.Mnemonic()] != "" {
		return false
	}
	c := Case{Code: code[:in.Len]}
	if l.soft.Place([]Case{c}) != nil {
		return false
	}
	stop, _, err := l.soft.Run(&c)
	return err == nil && stop.Reason != emu.StopUnknown && stop.Reason != emu.StopUD
}
