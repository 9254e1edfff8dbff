package trampoline

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

// Addresses for images of these tests.
const (
	imageAddr = 0xffffffffc0219000
	funcAddr  = 0xffffffff81855510
	bpfCode   = 0xffffffffc0000600
	bpfEnter  = 0xffffffff8123eef0
	bpfExit   = 0xffffffff8123f110
	trampIn   = 0xffffffff8123f750
	trampOut  = 0xffffffff8123f780
	bpfImage  = 0xffff8880052bb400
)

// bpfProg is the i-th of a number of programs.
func bpfProg(i uint64) BPFProg {
	return BPFProg{Prog: 0xffffc90000055000 + i<<12, Func: bpfCode + i<<6, Enter: bpfEnter, Exit: bpfExit}
}

// bpfSpec describes an image for a function of n arguments.
func bpfSpec(n int, flags BPFFlag) BPFSpec {
	return BPFSpec{
		Addr: imageAddr, Flags: flags, Args: slices.Repeat([]int{8}, n), Func: funcAddr,
		Image: bpfImage, TrampEnter: trampIn, TrampExit: trampOut,
	}
}

// hexOf strips the separators of a byte listing.
func hexOf(s string) string { return strings.NewReplacer(" ", "", "|", "", "\n", "").Replace(s) }

// TestBPFByHand has images put together by hand from the rules of the kernel's
// JIT. Displacements and addresses are zeroed on both sides.
func TestBPFByHand(t *testing.T) {
	const (
		abs  = "00 00 00 00 00 00 00 00"
		call = "e8 00 00 00 00"
	)
	invoke := func(ctx, arg string) string {
		return "31 ff | 48 89 7d " + ctx + " | 48 bf " + abs + " | 48 8d 75 " + ctx + " | " + call +
			"| 48 89 c3 | 48 85 c0 | 74 09 | 48 8d 7d " + arg + " | " + call +
			"| 48 bf " + abs + " | 48 89 de | 48 8d 55 " + ctx + " | " + call
	}
	invokeSaving := func(ctx, arg string) string {
		s := strings.Replace(invoke(ctx, arg), "74 09", "74 0d", 1)
		return strings.Replace(s, arg+" | "+call, arg+" | "+call+" | 48 89 45 f8", 1)
	}
	tramp := "48 bf " + abs + " | " + call
	for _, tt := range []struct {
		name string
		spec func() BPFSpec
		want string
	}{
		{"two arguments, fentry", func() BPFSpec {
			s := bpfSpec(2, RestoreRegs)
			s.Fentry = []BPFProg{bpfProg(0)}
			return s
		}, "55 | 48 89 e5 | 48 83 ec 28 | 53 | b8 02 00 00 00 | 48 89 45 e8 | 48 89 7d f0 | 48 89 75 f8" +
			invoke("d8", "f0") + "48 8b 7d f0 | 48 8b 75 f8 | 5b | c9 | c3"},
		{"two arguments, fexit", func() BPFSpec {
			s := bpfSpec(2, CallOrig|SkipFrame)
			s.Fexit = []BPFProg{bpfProg(0)}
			return s
		}, "55 | 48 89 e5 | 48 83 ec 30 | 53 | b8 02 00 00 00 | 48 89 45 e0 | 48 89 7d e8 | 48 89 75 f0" + tramp +
			"48 8b 7d e8 | 48 8b 75 f0 |" + call + "| 48 89 45 f8 | 0f 1f 44 00 00" +
			invoke("d0", "e8") + tramp + "48 8b 45 f8 | 5b | c9 | 48 83 c4 08 | c3"},
		{"no argument, shared fexit", func() BPFSpec {
			s := bpfSpec(0, CallOrig|SkipFrame|OrigStack)
			s.Fexit = []BPFProg{bpfProg(0)}
			return s
		}, "55 | 48 89 e5 | 48 83 ec 20 | 53 | 31 c0 | 48 89 45 f0" + tramp +
			"48 8b 5d 08 | ff d3 | 48 89 45 f8 | 0f 1f 44 00 00" +
			invoke("e0", "f8") + tramp + "48 8b 45 f8 | 5b | c9 | 48 83 c4 08 | c3"},
		{"struct_ops: the program's value is returned", func() BPFSpec {
			s := bpfSpec(1, RetFentryRet)
			s.IBT, s.Return.SLS = true, true
			s.Fentry = []BPFProg{bpfProg(0)}
			return s
		}, "f3 0f 1e fa | 55 | 48 89 e5 | 48 83 ec 28 | 53 | b8 01 00 00 00 | 48 89 45 e8 | 48 89 7d f0" +
			invokeSaving("d8", "f0") + "48 8b 45 f8 | 5b | c9 | c3 cc"},
		{"six arguments", func() BPFSpec { return bpfSpec(6, RestoreRegs) },
			"55 | 48 89 e5 | 48 83 ec 48 | 53 | b8 06 00 00 00 | 48 89 45 c8 |" +
				"48 89 7d d0 | 48 89 75 d8 | 48 89 55 e0 | 48 89 4d e8 | 4c 89 45 f0 | 4c 89 4d f8 |" +
				"48 8b 7d d0 | 48 8b 75 d8 | 48 8b 55 e0 | 48 8b 4d e8 | 4c 8b 45 f0 | 4c 8b 4d f8 | 5b | c9 | c3"},
		{"tail call counter", func() BPFSpec { return bpfSpec(1, RestoreRegs|TailCallCtx) },
			"55 | 48 89 e5 | 48 83 ec 20 | 50 | 53 | b8 01 00 00 00 | 48 89 45 f0 | 48 89 7d f8 |" +
				"48 8b 7d f8 | 48 8b 85 d8 ff ff ff | 5b | c9 | c3"},
		{"tail call counter around the body", func() BPFSpec { return bpfSpec(0, CallOrig|TailCallCtx) },
			"55 | 48 89 e5 | 48 83 ec 20 | 50 | 53 | 31 c0 | 48 89 45 f0 |" + tramp +
				"48 8b 85 d8 ff ff ff |" + call + "| 48 89 45 f8 | 0f 1f 44 00 00 |" + tramp + "48 8b 45 f8 | 5b | c9 | c3"},
		{"interpreted program", func() BPFSpec {
			s := bpfSpec(0, 0)
			s.Fentry = []BPFProg{bpfProg(0)}
			s.Fentry[0].Insns = 0xffffc90000056048
			return s
		}, "55 | 48 89 e5 | 48 83 ec 18 | 53 | 31 c0 | 48 89 45 f8" +
			strings.Replace(strings.Replace(invoke("e8", "00"), "7d 00", "7d 00 | 48 be "+abs, 1), "74 09", "74 13", 1) +
			"5b | c9 | c3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, err := BPF(tt.spec())
			require.NoError(t, err)
			b := slices.Clone(code.Bytes)
			for _, r := range code.Refs {
				switch r.Kind {
				case RefCall:
					copy(b[r.Off+1:], make([]byte, 4))
				case RefImm64:
					copy(b[r.Off+2:], make([]byte, 8))
				}
			}
			require.Equal(t, hexOf(tt.want), hex.EncodeToString(b))
		})
	}
}

// TestBPFBody checks which address an image calls.
func TestBPFBody(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags BPFFlag
		endbr bool
		want  uint64
	}{
		{"behind the site", CallOrig | SkipFrame, false, funcAddr + 5},
		{"behind landing pad and site", CallOrig | SkipFrame, true, funcAddr + 9},
		{"a function without a site", CallOrig, true, funcAddr},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := bpfSpec(1, tt.flags)
			s.Endbr = tt.endbr
			code, err := BPF(s)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(code.Refs, func(r Ref) bool { return r.Kind == RefCall && r.Target == tt.want }))
		})
	}
}

// TestBPFRegisters checks how arguments take up registers.
func TestBPFRegisters(t *testing.T) {
	for _, tt := range []struct {
		args []int
		want int // registers; 0 where too many
	}{
		{[]int{1, 2, 4, 8}, 4},
		{[]int{12, 16, 8, 8}, 6},
		{[]int{9}, 2},
		{[]int{8, 8, 8, 8, 8, 8, 8}, 0},
		{[]int{16, 16, 16, 1}, 0},
		{[]int{17}, 0},
		{[]int{0}, 0},
		{[]int{-8}, 0},
	} {
		s := bpfSpec(0, RestoreRegs)
		s.Args = tt.args
		code, err := BPF(s)
		if tt.want == 0 {
			require.ErrorIs(t, err, ErrUnsupported, "%v", tt.args)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []byte{0xb8, byte(tt.want), 0, 0, 0}, code.Bytes[9:14], "%v", tt.args)
	}
}

// TestBPFSize finds how many programs fit into a page: BPF_INSN_SAFETY bytes
// must remain.
func TestBPFSize(t *testing.T) {
	for n := 1; ; n++ {
		s := bpfSpec(6, CallOrig|SkipFrame)
		for i := range n {
			p := bpfProg(uint64(i))
			p.Cookie = 1 << 40
			s.Fexit = append(s.Fexit, p)
		}
		code, err := BPF(s)
		if err == nil {
			require.LessOrEqual(t, len(code.Bytes), DefaultLimit-bpfSafety)
			continue
		}
		require.ErrorIs(t, err, ErrTooLarge)
		require.Greater(t, n, 38, "the 38 programs that the kernel allows fit")
		return
	}
}

func TestBPFErrors(t *testing.T) {
	s := bpfSpec(1, RestoreRegs|SkipFrame)
	_, err := BPF(s)
	require.ErrorIs(t, err, ErrInvalid)
	require.EqualError(t, err, "bpf image at 0xffffffffc0219000: flags RESTORE_REGS|SKIP_FRAME: "+
		"RESTORE_REGS returns into the body, SKIP_FRAME to the parent: invalid description")
	s = bpfSpec(1, RestoreRegs)
	s.Fentry = []BPFProg{bpfProg(0)}
	s.Fentry[0].Func = 0x1000_0000_0000
	_, err = BPF(s)
	require.ErrorIs(t, err, ErrReach)
	require.Equal(t, "IP_ARG|0x4000", (IPArg | 0x4000).String())
}

// TestBPFRetire checks the change that makes tasks inside the body skip what
// follows it.
func TestBPFRetire(t *testing.T) {
	s := bpfSpec(2, CallOrig|SkipFrame)
	s.Fexit = []BPFProg{bpfProg(0), bpfProg(1)}
	code, err := BPF(s)
	require.NoError(t, err)
	ip, old, to, ok := code.Retirement()
	require.True(t, ok)
	require.Equal(t, x86.Nop5, old)
	require.Equal(t, old[:], code.Bytes[ip-code.Addr:][:5])
	form, target := x86.ParseSite(to, ip)
	require.Equal(t, x86.FormJmp, form)
	exit := slices.IndexFunc(code.Refs, func(r Ref) bool { return r.Kind == RefCall && r.Target == trampOut })
	require.Equal(t, code.Addr+code.Refs[exit].Off, target+10, "the epilogue loads the image and lets go of it")

	code, err = BPF(bpfSpec(2, RestoreRegs))
	require.NoError(t, err)
	_, _, _, ok = code.Retirement()
	require.False(t, ok, "an image that does not call the body needs none")
}
