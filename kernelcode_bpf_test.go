package ftemu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/trampoline"
)

// TestInstalledKernelBPFImages lets arch_prepare_bpf_trampoline of the installed
// kernel write images for random programs and parameters: ours are the same, byte
// for byte.
func TestInstalledKernelBPFImages(t *testing.T) {
	const (
		at                          = 0xffffffffc0380000
		page                        = 0x1000
		tracing, lsm                = 26, 29 // BPF_PROG_TYPE_*
		links, count                = 0x138, 0x130
		linkProg, linkCookie        = 0x18, 0x50
		progType, progFunc, progAux = 0x4, 0x30, 0x38
		auxSleepable                = 0x8c
	)
	k := newKernelCode(t)
	require.NoError(t, k.lab.Mem.Map(at, page, emu.PermRW, "image"))
	k.start = k.lab.Mem.Snapshot()
	rng := rand.New(rand.NewPCG(1, 1))
	one := func(of ...uint64) uint64 { return of[rng.IntN(len(of))] }
	for range 5000 {
		k.reset(t)
		im, model, lists := k.alloc(0x300), k.alloc(0x20), k.alloc(3*links)
		s := trampoline.BPFSpec{
			Addr: at, Func: k.sym("bpf_fentry_test2"), Image: im, TrampEnter: k.sym("__bpf_tramp_enter"), TrampExit: k.sym("__bpf_tramp_exit"),
			Return: trampoline.Return{SLS: true},
		}
		sizes := []byte{0, byte(rng.IntN(8))}
		for range sizes[1] {
			size := one(1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8, 16)
			sizes, s.Args = append(sizes, byte(size)), append(s.Args, int(size))
		}
		k.write(model, sizes)
		most := int(one(2, 3, 13))
		// BPF_TRAMP_FENTRY, _FEXIT, _MODIFY_RETURN
		for i, progs := range []*[]trampoline.BPFProg{&s.Fentry, &s.Fexit, &s.FmodRet} {
			list := lists + uint64(i)*links
			n := rng.IntN(most)
			for j := range n {
				prog, aux, link := k.alloc(0x100), k.alloc(0x200), k.alloc(0x80)
				p := trampoline.BPFProg{
					Prog: prog, Func: 0xffffffffc0020000 + 16*one(0, 1, 2, 3),
					Cookie: one(0, 0, 7, 0xffffffff, 0xffffffff80000000, 0x1122334455667788),
				}
				kind, variant := one(tracing, lsm), ""
				if rng.IntN(2) == 0 {
					variant = "_sleepable"
					k.write(aux+auxSleepable, []byte{1})
				}
				if kind == tracing {
					variant += "_recur"
				}
				p.Enter, p.Exit = k.sym("__bpf_prog_enter"+variant), k.sym("__bpf_prog_exit"+variant)
				k.write(prog+2, []byte{1}) // jited
				k.setU32(prog+progType, uint32(kind))
				k.setU64(prog+progFunc, p.Func)
				k.setU64(prog+progAux, aux)
				k.setU64(link+linkProg, prog)
				k.setU64(link+linkCookie, p.Cookie)
				k.setU64(list+8*uint64(j), link)
				*progs = append(*progs, p)
			}
			k.setU32(list+count, uint32(n))
		}
		flags := uint64(1)
		s.Flags = trampoline.RestoreRegs
		if len(s.Fexit)+len(s.FmodRet) > 0 {
			flags, s.Flags = 6, trampoline.CallOrig|trampoline.SkipFrame
			if rng.IntN(2) == 0 {
				flags, s.Flags = flags|0x60, s.Flags|trampoline.OrigStack // with SHARE_IPMODIFY
			}
		}
		if rng.IntN(2) == 0 {
			flags, s.Flags = flags|8, s.Flags|trampoline.IPArg
		}
		if rng.IntN(4) == 0 {
			flags, s.Flags = flags|0x80, s.Flags|trampoline.TailCallCtx
		}
		what := fmt.Sprintf("flags %#x, sizes %v, %d fentry, %d fmod_ret, %d fexit", flags, s.Args, len(s.Fentry), len(s.FmodRet), len(s.Fexit))
		size, err := k.call("arch_prepare_bpf_trampoline", im, at, at+page, model, flags, lists, s.Func)
		require.NoError(t, err, what)
		code, err := trampoline.BPF(s)
		if err != nil {
			require.Equal(t, emitErrno(err), size, what)
			continue
		}
		require.Len(t, code.Bytes, size, what)
		b := make([]byte, size)
		require.NoError(t, k.lab.Mem.Read(at, b))
		require.Equal(t, b, code.Bytes, what)
	}
}
