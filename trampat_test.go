package ftemu_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/trampoline"
)

func TestTrampolineAt(t *testing.T) {
	lab, err := ftemu.New(ftemu.Options{})
	require.NoError(t, err)
	defer lab.Close()
	f0, ok := lab.Symbols.Lookup("ftor_f0")
	require.True(t, ok)
	f1, ok := lab.Symbols.Lookup("ftor_f1")
	require.True(t, ok)

	plain, regs := lab.NewOps("plain", 0, nil), lab.NewOps("regs", ftracecore.OpsSaveRegs, nil)
	for fn, ops := range map[uint64]*ftracecore.Ops{f0: plain, f1: regs} {
		require.NoError(t, lab.Core.SetFilterIP(ops, fn, false, false))
		require.NoError(t, lab.Core.RegisterFtraceFunction(ops))
	}
	direct, err := lab.AddDirect("share", trampoline.Share, 0)
	require.NoError(t, err)
	f2, ok := lab.Symbols.Lookup("ftor_f2")
	require.True(t, ok)
	prog, err := lab.LoadProg(ftemu.ProgSpec{Name: "p", Kind: bpf.Fexit})
	require.NoError(t, err)
	_, err = lab.AttachProg(prog, f2, 0)
	require.NoError(t, err)
	caller, _ := lab.Symbols.Lookup("ftrace_caller")
	regsCaller, _ := lab.Symbols.Lookup("ftrace_regs_caller")

	for _, tt := range []struct {
		name, slot string
		addr       uint64
	}{
		{"ftrace_caller", "orig_rax", caller},
		{"ftrace_regs_caller", "flags", regsCaller},
		{"ops", "orig_rax", plain.Trampoline},
		{"ops-regs", "flags", regs.Trampoline},
		{"direct share", "saved rbx", direct},
		{"bpf_trampoline:ftor_f2", "cookie", lab.BPF.Trampoline(f2).Image().Addr},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tramp, ok := lab.TrampolineAt(tt.addr)
			require.True(t, ok)
			require.Equal(t, tt.addr, tramp.Code.Addr)
			require.Equal(t, tt.name, tramp.Code.Name)
			var names []string
			for _, s := range tramp.Frame {
				names = append(names, s.Name)
			}
			require.Contains(t, names, tt.slot)
		})
	}
	_, ok = lab.TrampolineAt(f0)
	require.False(t, ok)
}

// What is made again to get at labels is what was installed.
func TestTrampolineAtMadeAgain(t *testing.T) {
	lab, err := ftemu.New(ftemu.Options{})
	require.NoError(t, err)
	defer lab.Close()
	f0, _ := lab.Symbols.Lookup("ftor_f0")
	ops := lab.NewOps("a", 0, nil)
	require.NoError(t, lab.Core.SetFilterIP(ops, f0, false, false))
	require.NoError(t, lab.Core.RegisterFtraceFunction(ops))
	tramp, ok := lab.TrampolineAt(ops.Trampoline)
	require.True(t, ok)
	code, err := trampoline.OpsTrampoline(trampoline.OpsSpec{
		Addr: ops.Trampoline, Func: lab.Core.CallTarget(ops).Addr, Ops: ops.Addr, Return: trampoline.Return{SLS: true},
	})
	require.NoError(t, err)
	require.Equal(t, code.Bytes, tramp.Code.Bytes)
	call, ok := tramp.Code.Label(trampoline.LabelCall)
	require.True(t, ok)
	require.Equal(t, call, code.Addr+code.Labels[trampoline.LabelCall])
}
