package ftemu

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/guest"
)

// Where the parts lie that code of an installed kernel works on here. The sites
// are those of the built-in guest, so that the bytes of their calls can be compared.
const (
	codeSites   = 0xffffffffc0201000
	codeSite0   = codeSites + 0x540
	codeSiteGap = 0x80
	codeHeap    = 0xffff88800a000000
	codeHeapLen = 0x200000
	codeOps     = 0xffff88800b000000 // struct ftrace_ops, codeOpsGap each
	codeOpsGap  = 0x100
	codePage    = 0xffff88800c000000 // struct ftrace_page, and its records
	codeRecords = codePage + 0x100
	codeArgs    = codePage + 0x800 // what an argument points to
	codeOpsFunc = 0xffffffffc0fff000
	codeTramps  = 0xffffffffc0300000 // trampolines of ops: addresses without code
	numCodeSite = 8
)

// Offsets in struct ftrace_ops, of Linux 6.1 as Debian configures it.
const (
	opsFunc       = 0x00
	opsFlags      = 0x10
	opsFuncHash   = 0x58
	opsTrampoline = 0x90
	opsOpsFunc    = 0xb0
	opsAllocTramp = 1 << 11
)

// kernelCode executes functions of an installed kernel: ftrace's arbitration
// and the making of BPF images are the kernel's own machine code. Gates stand for
// what surrounds them: locks, memory, RCU, and writing text.
type kernelCode struct {
	lab     *Lab
	start   *emu.Snapshot
	heap    uint64
	nesting int
	bugs    map[uint64]uint16 // flags of __bug_table by address of the ud2
	warned  map[uint64]bool   // of WARN_ON_ONCE
	warns   []string          // functions that warned
	sysctl  uint32            // what is written to ftrace_enabled
	answer  func(ops uint64, cmd int) int
}

// newKernelCode loads the installed kernel, if it is one with the layouts above.
func newKernelCode(t *testing.T) *kernelCode {
	path, err := guest.InstalledKernel()
	if err != nil {
		t.Skip(err)
	}
	if ok, _ := filepath.Match("vmlinuz-6.1.0-*-amd64", filepath.Base(path)); !ok {
		t.Skipf("%s is not a 6.1 of Debian, whose structures are known here", path)
	}
	img, err := guest.LoadFile(path, guest.LoadOptions{})
	require.NoError(t, err)
	lab, err := New(Options{Guest: img})
	require.NoError(t, err)
	t.Cleanup(lab.Close)
	k := &kernelCode{lab: lab, bugs: make(map[uint64]uint16)}
	for _, m := range []struct {
		addr, size uint64
		perm       emu.Perm
	}{
		{codeSites, emu.PageSize, emu.PermRX}, {codeHeap, codeHeapLen, emu.PermRW}, {codeOps, emu.PageSize, emu.PermRW},
		{codePage, emu.PageSize, emu.PermRW}, {codeOpsFunc, emu.PageSize, emu.PermRX},
	} {
		require.NoError(t, lab.Mem.Map(m.addr, m.size, m.perm, "test"))
	}
	for a := k.sym("__start___bug_table"); a < k.sym("__stop___bug_table"); a += 12 {
		k.bugs[a+uint64(int64(int32(k.u32(a))))] = uint16(k.u32(a+8) >> 16)
	}
	k.addGates(t)
	for i := range uint64(numCodeSite) {
		k.write(codeSite0+i*codeSiteGap, []byte{0x0f, 0x1f, 0x44, 0, 0})
		k.setU64(codeRecords+16*i, codeSite0+i*codeSiteGap)
	}
	k.setU64(codePage+8, codeRecords)
	k.setU32(codePage+16, numCodeSite)
	k.setU64(k.sym("ftrace_pages_start"), codePage)
	k.setU32(k.sym("ftrace_enabled"), 1)
	k.setU32(k.sym("last_ftrace_enabled"), 1)
	k.start = lab.Mem.Snapshot()
	return k
}

// reset begins anew, as after a boot.
func (k *kernelCode) reset(t *testing.T) {
	require.NoError(t, k.lab.Mem.Restore(k.start))
	k.start = k.lab.Mem.Snapshot()
	k.heap, k.nesting, k.warned, k.warns = codeHeap, 0, make(map[uint64]bool), nil
}

func (k *kernelCode) addGates(t *testing.T) {
	add := func(name string, fn func(r *emu.Regs)) {
		require.NoError(t, k.lab.gates.Add(emu.Gate{Addr: k.sym(name), Name: name, Func: func(c emu.CPU) error {
			fn(c.Regs())
			return nil
		}}))
	}
	for name := range strings.FieldsSeq(`mutex_lock mutex_unlock __mutex_init kfree kvfree call_rcu synchronize_rcu_tasks
		synchronize_rcu_tasks_rude _printk smp_call_function text_poke_finish ftrace_update_ftrace_func cpu_wants_rethunk`) {
		add(name, func(r *emu.Regs) { r.GPR[emu.RAX] = 0 })
	}
	add("kmalloc_trace", func(r *emu.Regs) { r.GPR[emu.RAX] = k.alloc(r.GPR[emu.RDX]) })
	add("__kmalloc", func(r *emu.Regs) { r.GPR[emu.RAX] = k.alloc(r.GPR[emu.RDI]) })
	// No site is found by the start of a function that is not its own.
	add("kallsyms_lookup_size_offset", func(r *emu.Regs) { r.GPR[emu.RAX] = 0 })
	add("kallsyms_lookup", func(r *emu.Regs) {
		if module := r.GPR[emu.RCX]; module != 0 {
			k.setU64(module, 0)
		}
		k.write(r.GPR[emu.R8], append(fmt.Appendf(nil, "ftor_f%d", (r.GPR[emu.RDI]-codeSite0)/codeSiteGap), 0))
		r.GPR[emu.RAX] = r.GPR[emu.R8]
	})
	copyTo := func(r *emu.Regs) {
		b := make([]byte, r.GPR[emu.RDX])
		_ = k.lab.Mem.Read(r.GPR[emu.RSI], b)
		k.write(r.GPR[emu.RDI], b)
		r.GPR[emu.RAX] = 0
	}
	add("copy_from_kernel_nofault", copyTo)
	add("text_poke_queue", copyTo)
	add("ftrace_update_trampoline", func(r *emu.Regs) {
		if ops := r.GPR[emu.RDI]; k.u64(ops+opsTrampoline) == 0 {
			k.setU64(ops+opsTrampoline, codeTramps+ops-codeOps)
			k.setU64(ops+opsFlags, k.u64(ops+opsFlags)|opsAllocTramp)
		}
	})
	add("ftrace_trampoline_free", func(r *emu.Regs) {
		if ops := r.GPR[emu.RDI]; k.u64(ops+opsFlags)&opsAllocTramp != 0 {
			k.setU64(ops+opsTrampoline, 0)
		}
	})
	add("proc_dointvec", func(r *emu.Regs) {
		k.setU32(k.sym("ftrace_enabled"), k.sysctl)
		r.GPR[emu.RAX] = 0
	})
	require.NoError(t, k.lab.gates.Add(emu.Gate{Addr: codeOpsFunc, Name: "ops_func", Func: func(c emu.CPU) error {
		r := c.Regs()
		ret := k.answer(r.GPR[emu.RDI], int(int32(r.GPR[emu.RSI])))
		r.GPR[emu.RAX] = uint64(int64(ret))
		return nil
	}}))
}

// call calls a function of the kernel and returns its int. The error is for one
// that crashed. What warned on the way is in warns.
func (k *kernelCode) call(name string, args ...uint64) (int, error) {
	cpu := k.lab.Machine.CPU(0)
	r := cpu.Regs()
	saved := *r
	sp := uint64(stackBase + stackSize - 64)
	if k.nesting > 0 {
		sp = saved.GPR[emu.RSP]&^15 - 256
	}
	*r = emu.Regs{Flags: emu.FlagsReset, GSBase: k.lab.guest.Kernel.GSBase, RIP: k.sym(name)}
	inRegs := min(len(args), len(emu.ArgRegs))
	for i, a := range args[:inRegs] {
		r.GPR[emu.ArgRegs[i]] = a
	}
	for i, v := range append([]uint64{returnIP}, args[inRegs:]...) {
		k.setU64(sp+8*uint64(i)-64, v)
	}
	r.GPR[emu.RSP] = sp - 64
	k.nesting++
	defer func() { k.nesting--; *r = saved }()
	for {
		stop := cpu.Run(emu.Limits{Insns: 5_000_000, Until: returnIP, UseUntil: true})
		switch stop.Reason {
		case emu.StopUntil:
			return int(int32(r.GPR[emu.RAX])), nil
		case emu.StopUD:
			k.warn(stop.RIP)
			r.RIP = stop.RIP + 2
		default:
			return 0, fmt.Errorf("%s: %w at %s", name, stop, k.lab.Name(stop.RIP))
		}
	}
}

// Flags in __bug_table.
const bugOnce = 1 << 1

// warn is the handler of WARN's ud2.
func (k *kernelCode) warn(ip uint64) {
	if k.bugs[ip]&bugOnce != 0 && k.warned[ip] {
		return
	}
	k.warned[ip] = true
	name, _, _ := strings.Cut(k.lab.Name(ip), "+")
	name, _, _ = strings.Cut(name, ".") // the compiler's .part.0 and .cold
	k.warns = append(k.warns, name)
}

func (k *kernelCode) sym(name string) uint64 {
	a, ok := k.lab.guest.Symbols.Lookup(name)
	if !ok {
		panic("the kernel has no " + name)
	}
	return a
}

// alloc is memory of zeros.
func (k *kernelCode) alloc(size uint64) uint64 {
	a := k.heap
	k.heap += (size + 15) &^ 15
	k.write(a, make([]byte, size))
	return a
}

func (k *kernelCode) write(addr uint64, b []byte) {
	if err := k.lab.Mem.Write(addr, b); err != nil {
		panic(err)
	}
}

func (k *kernelCode) u64(addr uint64) uint64 {
	v, err := k.lab.Mem.ReadU64(addr)
	if err != nil {
		panic(err)
	}
	return v
}

func (k *kernelCode) u32(addr uint64) uint32 {
	var b [4]byte
	_ = k.lab.Mem.Read(addr, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (k *kernelCode) setU64(addr, v uint64) { k.write(addr, binary.LittleEndian.AppendUint64(nil, v)) }
func (k *kernelCode) setU32(addr uint64, v uint32) {
	k.write(addr, binary.LittleEndian.AppendUint32(nil, v))
}
