package ftemu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/x86"
)

// TestInstalledKernelFtrace makes random calls of ftrace's API twice: of
// ftracecore, and of the same functions of the installed kernel, executed. Return
// values, what owners were asked, warnings, records, ops, sites and the table of
// direct functions must be the same after each. Seed: FTEMU_SEED.
func TestInstalledKernelFtrace(t *testing.T) {
	seed := uint64(1)
	if s := os.Getenv("FTEMU_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("seed %d", seed)
	k := newKernelCode(t)
	for i := range 1000 {
		k.reset(t)
		d := newTwins(t, k, rand.New(rand.NewPCG(seed, uint64(i))))
		for range 40 {
			if !d.step() {
				break
			}
		}
		d.lab.Close()
	}
}

// twins are ftracecore and the kernel's code in the same state.
type twins struct {
	t     *testing.T
	rng   *rand.Rand
	k     *kernelCode
	lab   *Lab
	ops   []*twin
	done  []string // what was called
	asked []string // questions to owners, of the side that runs now
}

// A twin is an ops on both sides.
type twin struct {
	ops     *ftracecore.Ops
	addr    uint64
	answers [3]int // to each command
	modify  bool   // its owner changes the direct function when a livepatch comes or goes
}

func newTwins(t *testing.T, k *kernelCode, rng *rand.Rand) *twins {
	lab, err := New(Options{Memory: 1 << 22})
	require.NoError(t, err)
	d := &twins{t: t, rng: rng, k: k, lab: lab}
	k.answer = func(ops uint64, cmd int) int {
		return d.answer(d.ops[(ops-codeOps)/codeOpsGap], cmd, func(o *twin, to uint64) int {
			rc, err := k.call("modify_ftrace_direct_multi_nolock", o.addr, to)
			require.NoError(t, err)
			return rc
		})
	}
	for range 2 + rng.IntN(3) {
		d.add()
	}
	return d
}

func (d *twins) answer(o *twin, cmd int, modify func(o *twin, to uint64) int) int {
	ret := o.answers[cmd]
	if o.modify && cmd != int(ftracecore.EnableSelf) {
		ret = modify(o, directAt(cmd))
	}
	d.asked = append(d.asked, fmt.Sprintf("%s %s = %d", o.ops.Name, ftracecore.Command(cmd), ret))
	return ret
}

// directAt is the address of direct trampoline n, which is never entered.
func directAt(n int) uint64 { return 0xffffffffc0206000 + 0x80*uint64(n) }

func siteAt(n int) uint64 { return codeSite0 + codeSiteGap*uint64(n) }

func (d *twins) pick(of ...int) int { return of[d.rng.IntN(len(of))] }

// add makes one more ops.
func (d *twins) add() {
	kinds := []ftracecore.OpsFlags{
		0, ftracecore.OpsSaveRegs, ftracecore.OpsSaveRegs | ftracecore.OpsIPModify, ftracecore.OpsIPModify | ftracecore.OpsPermanent,
		ftracecore.OpsRecursion, ftracecore.OpsRCU, ftracecore.OpsPermanent, ftracecore.OpsStub, ftracecore.OpsDeleted, ftracecore.OpsSaveRegsIf,
	}
	o := &twin{addr: codeOps + codeOpsGap*uint64(len(d.ops)), modify: d.rng.IntN(3) == 0}
	name := fmt.Sprint("ops", len(d.ops))
	d.k.write(o.addr, make([]byte, codeOpsGap))
	if d.rng.IntN(2) == 0 {
		o.ops = d.lab.NewDirectOps(name, nil)
	} else {
		o.ops = d.lab.NewOps(name, kinds[d.rng.IntN(len(kinds))], nil)
		d.k.setU64(o.addr+opsFunc, callbackIP)
	}
	if d.rng.IntN(4) > 0 {
		for i := range o.answers {
			o.answers[i] = d.pick(0, 0, 0, -int(ftracecore.EBUSY), -int(ftracecore.EAGAIN), 1)
		}
		d.k.setU64(o.addr+opsOpsFunc, codeOpsFunc)
		o.ops.OpsFunc = func(_ *ftracecore.Ops, cmd ftracecore.Command) int {
			return d.answer(o, int(cmd), func(o *twin, to uint64) int {
				return ftracecore.Ret(d.lab.Core.ModifyDirectMultiNolock(o.ops, to))
			})
		}
	}
	d.k.setU64(o.addr+opsFlags, uint64(o.ops.Flags))
	d.ops = append(d.ops, o)
}

// An apiCall is one call on both sides.
type apiCall struct {
	core func(c *ftracecore.Core) error
	fn   string
	args []uint64
}

// draw draws a call.
func (d *twins) draw() apiCall {
	o := d.ops[d.rng.IntN(len(d.ops))]
	ops, at := o.ops, directAt(d.rng.IntN(4))
	site := siteAt(d.rng.IntN(4)) + uint64(d.pick(0, 0, 0, 0, 2))
	remove, reset := d.rng.IntN(3) == 0, d.rng.IntN(4) == 0
	flag := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	switch d.rng.IntN(20) {
	case 0, 1:
		return apiCall{func(c *ftracecore.Core) error { return c.SetFilterIP(ops, site, remove, reset) }, "ftrace_set_filter_ip", []uint64{o.addr, site, flag(remove), flag(reset)}}
	case 2, 3:
		var ips []uint64
		for i := range 1 + d.rng.IntN(4) {
			ips = append(ips, siteAt(d.rng.IntN(4)))
			d.k.setU64(codeArgs+8*uint64(i), ips[i])
		}
		return apiCall{func(c *ftracecore.Core) error { return c.SetFilterIPs(ops, ips, remove, reset) }, "ftrace_set_filter_ips", []uint64{o.addr, codeArgs, uint64(len(ips)), flag(remove), flag(reset)}}
	case 4:
		if d.rng.IntN(8) > 0 {
			return d.draw()
		}
		return apiCall{func(c *ftracecore.Core) error { return c.SetFilter(ops, "", true) }, "ftrace_set_filter", []uint64{o.addr, 0, 0, 1}}
	case 5:
		name := fmt.Sprintf("%sftor_f%d", []string{"", "!"}[flag(remove)], d.rng.IntN(4))
		d.k.write(codeArgs, append([]byte(name), 0))
		return apiCall{func(c *ftracecore.Core) error { return c.SetNotrace(ops, name, reset) }, "ftrace_set_notrace", []uint64{o.addr, codeArgs, uint64(len(name)), flag(reset)}}
	case 6, 7, 8:
		if ops.Func == nil {
			return d.draw()
		}
		return apiCall{func(c *ftracecore.Core) error { return c.RegisterFtraceFunction(ops) }, "register_ftrace_function", []uint64{o.addr}}
	case 9, 10:
		return apiCall{func(c *ftracecore.Core) error { return c.UnregisterFtraceFunction(ops) }, "unregister_ftrace_function", []uint64{o.addr}}
	case 11, 12, 13:
		if d.rng.IntN(2) == 0 && !ops.Has(ftracecore.OpsEnabled) && ops.Has(ftracecore.OpsDirect) {
			// What the owner does after a registration that failed.
			ops.Func, ops.Trampoline = nil, 0
			d.k.setU64(o.addr+opsFunc, 0)
			d.k.setU64(o.addr+opsTrampoline, 0)
		}
		return apiCall{func(c *ftracecore.Core) error { return c.RegisterDirectMulti(ops, at) }, "register_ftrace_direct_multi", []uint64{o.addr, at}}
	case 14:
		return apiCall{func(c *ftracecore.Core) error { return c.ModifyDirectMulti(ops, at) }, "modify_ftrace_direct_multi", []uint64{o.addr, at}}
	case 15:
		return apiCall{func(c *ftracecore.Core) error { return c.UnregisterDirectMulti(ops, at) }, "unregister_ftrace_direct_multi", []uint64{o.addr, at}}
	case 16:
		return apiCall{func(c *ftracecore.Core) error { return c.RegisterDirect(site, at) }, "register_ftrace_direct", []uint64{site, at}}
	case 17:
		if d.rng.IntN(2) == 0 {
			return apiCall{func(c *ftracecore.Core) error { return c.UnregisterDirect(site, at) }, "unregister_ftrace_direct", []uint64{site, at}}
		}
		old := directAt(d.rng.IntN(4))
		return apiCall{func(c *ftracecore.Core) error { return c.ModifyDirect(site, old, at) }, "modify_ftrace_direct", []uint64{site, old, at}}
	case 18:
		on := d.rng.IntN(3) > 0
		d.k.sysctl = uint32(flag(on))
		return apiCall{func(c *ftracecore.Core) error { return c.SetEnabled(on) }, "ftrace_enable_sysctl", []uint64{0, 1, 0, 0, 0}}
	}
	if len(d.ops) < 7 {
		d.add()
	}
	return d.draw()
}

// step makes one call; false after one that crashed the kernel, as it must on both
// sides.
func (d *twins) step() bool {
	c := d.draw()
	d.done = append(d.done, fmt.Sprintf("%s(%x)", c.fn, c.args))
	d.asked, d.k.warns = nil, nil
	err := c.core(d.lab.Core)
	ours := fmt.Sprint(ftracecore.Ret(err), d.asked)
	var warns []string
	for _, w := range d.lab.Core.Warnings() {
		warns = append(warns, w.Func)
	}
	d.asked = nil
	rc, crash := d.k.call(c.fn, c.args...)
	script := strings.Join(d.done, "\n")
	if errors.As(err, new(*ftracecore.Oops)) {
		require.Error(d.t, crash, script)
		return false
	}
	require.NoError(d.t, crash, script)
	require.Equal(d.t, fmt.Sprint(rc, d.asked), ours, "return value and questions after\n%s", script)
	require.Equal(d.t, d.k.warns, warns, "warnings after\n%s", script)
	require.Equal(d.t, d.kernelState(), d.coreState(), "after\n%s", script)
	return true
}

// coreState and kernelState describe all there is to see, in the same words.
func (d *twins) coreState() (out []string) {
	core := d.lab.Core
	out = append(out, fmt.Sprint("disabled ", core.Disabled(), " enabled ", core.Enabled()))
	for _, o := range d.ops {
		out = append(out, describeOps(o, uint64(o.ops.Flags), o.ops.Trampoline))
	}
	for n := range numCodeSite {
		rec := core.RecordAt(siteAt(n))
		direct, _ := core.DirectFunction(rec.IP)
		out = append(out, d.describeSite(d.lab.Mem, rec.IP, rec.Flags, rec.Count, direct, func(o *twin) uint64 { return o.ops.Trampoline }))
	}
	return out
}

func (d *twins) kernelState() (out []string) {
	k := d.k
	out = append(out, fmt.Sprint("disabled ", k.u32(k.sym("ftrace_disabled")) != 0, " enabled ", k.u32(k.sym("ftrace_enabled")) != 0))
	for _, o := range d.ops {
		out = append(out, describeOps(o, k.u64(o.addr+opsFlags), k.u64(o.addr+opsTrampoline)))
	}
	for n := range uint64(numCodeSite) {
		ip, flags := k.u64(codeRecords+16*n), k.u64(codeRecords+16*n+8)
		out = append(out, d.describeSite(k.lab.Mem, ip, ftracecore.RecFlags(flags&^ftracecore.MaxRefs), int(flags&ftracecore.MaxRefs), k.direct(ip),
			func(o *twin) uint64 { return k.u64(o.addr + opsTrampoline) }))
	}
	return out
}

func describeOps(o *twin, flags, trampoline uint64) string {
	return fmt.Sprint(o.ops.Name, " ", ftracecore.OpsFlags(flags), " trampoline ", trampoline != 0)
}

func (d *twins) describeSite(mem *emu.Memory, ip uint64, flags ftracecore.RecFlags, count int, direct uint64, tramp func(*twin) uint64) string {
	var b x86.Bytes5
	require.NoError(d.t, mem.Read(ip, b[:]))
	form, target := x86.ParseSite(b, ip)
	calls := fmt.Sprintf("%s %#x", form, target)
	if i := slices.IndexFunc(d.ops, func(o *twin) bool { return o.ops.Has(ftracecore.OpsAllocTramp) && tramp(o) == target }); form == x86.FormCall && i >= 0 {
		calls = "call of the trampoline of " + d.ops[i].ops.Name
	}
	return fmt.Sprintf("%#x: %d %s %s direct %#x", ip, count, flags, calls, direct)
}

// direct looks up direct_functions, a struct ftrace_hash.
func (k *kernelCode) direct(ip uint64) uint64 {
	hash := k.u64(k.sym("direct_functions"))
	buckets := k.u64(hash + 8)
	if buckets == 0 {
		return 0
	}
	for b := range uint64(1) << k.u64(hash) {
		for e := k.u64(buckets + 8*b); e != 0; e = k.u64(e) {
			if k.u64(e+0x10) == ip {
				return k.u64(e + 0x18)
			}
		}
	}
	return 0
}
