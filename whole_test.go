package ftemu_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/guest"
	"ftemu/trampoline"
	"ftemu/x86"
)

// Where the parts of the kernel below lie: elsewhere than in the kernel of the
// recordings.
const (
	wholeText    = 0xffffffff92000000
	wholeStub    = wholeText + 0x10
	wholeFentry  = wholeText + 0x20
	wholeCaller  = wholeText + 0x100
	wholeRegs    = wholeText + 0x200
	wholeList    = wholeText + 0x400
	wholeAssist  = wholeText + 0x420
	wholeFuncs   = wholeText + 0x1000
	wholeFuncGap = 0x20
	wholeData    = 0xffffffff93000000
	wholePerCPU  = wholeData + 0x800
)

// wholeKernel is a kernel with n functions f0, f1, ... that return their number
// plus the word at gs:8, which is 100, and one site at no function.
func wholeKernel(t *testing.T, n int) *guest.Image {
	end := wholeFuncs + uint64(n+1)*wholeFuncGap
	text := slices.Repeat([]byte{0xcc}, int(end-wholeText))
	syms := []guest.Symbol{{Name: "ftrace_list_end", Addr: wholeData + 8}, {Name: "function_trace_op", Addr: wholeData}}
	put := func(name string, c trampoline.Code, err error) trampoline.Code {
		require.NoError(t, err)
		copy(text[c.Addr-wholeText:], c.Bytes)
		syms = append(syms, guest.Symbol{Name: name, Addr: c.Addr, Size: uint64(len(c.Bytes)), Func: true})
		return c
	}
	spec := trampoline.CallerSpec{Addr: wholeCaller, Func: wholeStub, OpPtr: wholeData}
	stub, err := trampoline.FtraceStub(wholeStub, spec.Return)
	put("ftrace_stub", stub, err)
	fentry, err := trampoline.Fentry(wholeFentry, spec.Return)
	put("__fentry__", fentry, err)
	caller, err := trampoline.FtraceCaller(spec)
	put("ftrace_caller", caller, err)
	call, ok := caller.Label(trampoline.LabelCall)
	require.True(t, ok)
	spec.Addr = wholeRegs
	regs, err := trampoline.FtraceRegsCaller(spec)
	put("ftrace_regs_caller", regs, err)
	regsCall, ok := regs.Label(trampoline.LabelRegsCall)
	require.True(t, ok)
	syms = append(syms,
		guest.Symbol{Name: "ftrace_call", Addr: call, Func: true}, guest.Symbol{Name: "ftrace_regs_call", Addr: regsCall, Func: true},
		guest.Symbol{Name: "arch_ftrace_ops_list_func", Addr: wholeList, Size: 0x10, Func: true},
		guest.Symbol{Name: "ftrace_ops_assist_func", Addr: wholeAssist, Size: 0x10, Func: true})
	img := &guest.Image{Name: "whole", Kernel: &guest.Kernel{GSBase: wholePerCPU}, Symbols: &guest.Symbols{}}
	for i := range n + 1 {
		addr := wholeFuncs + uint64(i)*wholeFuncGap
		code := append(x86.Nop5[:],
			0x65, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0, // mov rax, gs:8
			0x48, 0x05, byte(i), byte(i>>8), 0, 0, // add rax, i
			0xc3)
		copy(text[addr-wholeText:], code)
		site := guest.Site{IP: addr, Func: funcName(i), Kind: guest.FentryNop, Bytes: x86.Nop5[:]}
		if i == n {
			site.Func, site.Offset, site.Invalid = funcName(n-1), wholeFuncGap, true
		} else {
			syms = append(syms, guest.Symbol{Name: funcName(i), Addr: addr, Size: wholeFuncGap, Func: true})
		}
		img.Sites = append(img.Sites, site)
	}
	img.Symbols.AddAll(syms)
	data := make([]byte, 0x1000)
	data[wholePerCPU-wholeData+8] = 100
	img.Segments = []guest.Segment{
		{Name: ".text", Addr: wholeText, Data: text, Perm: emu.PermRX},
		{Name: ".data", Addr: wholeData, Data: data, Size: 0x8000, Perm: emu.PermRW},
	}
	return img
}

func funcName(i int) string {
	return "f" + string(rune('a'+i/26/26%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26))
}

func TestWholeKernel(t *testing.T) {
	lab, err := ftemu.New(ftemu.Options{Guest: wholeKernel(t, 8)})
	require.NoError(t, err)
	defer lab.Close()
	fn := func(i int) uint64 { return wholeFuncs + uint64(i)*wholeFuncGap }
	ret, err := lab.Call(fn(3))
	require.NoError(t, err)
	require.Equal(t, uint64(103), ret, "the function finds its per-CPU data")

	var ran []string
	tracer := func(name string) *ftracecore.Ops {
		return lab.NewOps(name, 0, func(ip, parent uint64, _ *ftracecore.Ops, _ ftracecore.Regs) {
			ran = append(ran, name+" "+lab.Name(ip)+" from "+lab.Name(parent))
		})
	}
	a, b := tracer("a"), tracer("b")
	require.NoError(t, lab.Core.RegisterFtraceFunction(a))
	require.NoError(t, lab.Core.RegisterFtraceFunction(b))
	target := func(i int) uint64 {
		var code x86.Bytes5
		require.NoError(t, lab.Mem.Read(fn(i), code[:]))
		_, to := x86.ParseSite(code, fn(i))
		return to
	}
	require.Equal(t, uint64(wholeCaller), target(3), "the kernel's own ftrace_caller")
	require.Zero(t, target(8), "the site at no function is left alone")
	ret, err = lab.Call(fn(3))
	require.NoError(t, err)
	require.Equal(t, uint64(103), ret)
	require.Equal(t, []string{"b faad from ftemu_call+0x6", "a faad from ftemu_call+0x6"}, ran)

	direct, err := lab.AddDirect("d", trampoline.Pass, 0)
	require.NoError(t, err)
	d := lab.NewDirectOps("d", nil)
	require.NoError(t, lab.Core.SetFilterIP(d, fn(3), false, false))
	require.NoError(t, lab.Core.RegisterDirectMulti(d, direct))
	require.Equal(t, uint64(wholeRegs), target(3))
	ret, err = lab.Call(fn(3))
	require.NoError(t, err)
	require.Equal(t, uint64(103), ret)
	require.NoError(t, lab.Core.UnregisterDirectMulti(d, direct))
	require.NoError(t, lab.Core.UnregisterFtraceFunction(a))
	require.NoError(t, lab.Core.UnregisterFtraceFunction(b))
	require.Zero(t, target(3))
	require.Empty(t, lab.Core.Warnings())
	require.ErrorIs(t, lab.Core.SetFilter(a, "__ftrace_invalid*", false), ftracecore.EINVAL, "globs do not match what is at no function")
}

// A kernel that cannot be traced is refused in one line.
func TestWholeKernelWithout(t *testing.T) {
	for name, want := range map[string]string{
		"ftrace_caller":             "whole: no symbol ftrace_caller, expected a kernel with CONFIG_DYNAMIC_FTRACE_WITH_REGS",
		"arch_ftrace_ops_list_func": "whole: no symbol arch_ftrace_ops_list_func, expected a kernel with CONFIG_DYNAMIC_FTRACE_WITH_REGS",
		"ftrace_regs_call":          "whole: no symbol ftrace_regs_call in its ftrace_caller",
	} {
		img := wholeKernel(t, 3)
		addr, ok := img.Symbols.Lookup(name)
		require.True(t, ok)
		img.Symbols.Remove(name, addr)
		_, err := ftemu.New(ftemu.Options{Guest: img})
		require.EqualError(t, err, want)
	}
}

// More sites than one batch of the breakpoint protocol holds, by filter and all of
// them.
func TestWholeKernelEverySite(t *testing.T) {
	const n = 3000
	lab, err := ftemu.New(ftemu.Options{Guest: wholeKernel(t, n)})
	require.NoError(t, err)
	defer lab.Close()
	ops := lab.NewOps("a", 0, nil)
	count := func() (patched int) {
		lab.Core.Records(func(r *ftracecore.Record) bool {
			var code x86.Bytes5
			require.NoError(t, lab.Mem.Read(r.IP, code[:]))
			if code != x86.Nop5 {
				patched++
			}
			return true
		})
		return patched
	}
	for _, c := range []struct {
		glob string
		want int
	}{{"*", n}, {"fa*", 26 * 26}, {"", n}} {
		require.NoError(t, lab.Core.SetFilter(ops, c.glob, true))
		require.NoError(t, lab.Core.RegisterFtraceFunction(ops))
		require.Equal(t, c.want, count(), "%q", c.glob)
		require.NoError(t, lab.Core.UnregisterFtraceFunction(ops))
		require.Zero(t, count())
	}
}

func TestPlaceData(t *testing.T) {
	lab, err := ftemu.New(ftemu.Options{})
	require.NoError(t, err)
	defer lab.Close()
	addrs, err := lab.PlaceData([]byte("one\x00"), make([]byte, 100), []byte("three\x00"))
	require.NoError(t, err)
	require.Len(t, addrs, 3)
	for i, want := range []string{"one\x00", "", "three\x00"} {
		b := make([]byte, len(want))
		require.Nil(t, lab.Mem.Load(addrs[i], b), "the guest may read it")
		require.Nil(t, lab.Mem.Store(addrs[i], b), "and write it")
		require.Equal(t, want, string(b))
	}
	require.GreaterOrEqual(t, addrs[2]-addrs[1], uint64(100))
	again, err := lab.PlaceData(make([]byte, 1<<20))
	require.NoError(t, err)
	require.Equal(t, addrs[0], again[0])
	_, err = lab.PlaceData(make([]byte, 1<<20), []byte{1})
	require.EqualError(t, err, "data of calls: more than 1048576 bytes")
}
