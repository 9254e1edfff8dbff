package ftemu_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/guest"
	"ftemu/trampoline"
)

// A bpfLab is a lab with BPF programs that log.
type bpfLab struct {
	*ftemu.Lab
	t   *testing.T
	fn  uint64
	log []string
	// body, if not nil, is called when a body runs.
	body func()
}

// Body implements ftemu.Observer.
func (b *bpfLab) Body(name string, x, y int64) {
	b.log = append(b.log, fmt.Sprintf("%s(%d, %d)", name, x, y))
	if b.body != nil {
		b.body()
	}
}

// Direct implements ftemu.Observer.
func (b *bpfLab) Direct(string, uint64, int64, int64) {}

// DirectExit implements ftemu.Observer.
func (b *bpfLab) DirectExit(string, int64) {}

// newBPFLab makes a lab on the built-in guest, where programs are for f0.
func newBPFLab(t *testing.T, opt ftemu.Options) *bpfLab {
	b := &bpfLab{t: t}
	opt.Observer = b
	// In the core kernel's guest programs are for bpf_fentry_test2.
	fn := "ftor_f0"
	if opt.Guest != nil {
		fn = "bpf_fentry_test2"
	}
	lab, err := ftemu.New(opt)
	require.NoError(t, err)
	t.Cleanup(lab.Close)
	b.Lab = lab
	b.fn = b.addr(fn)
	return b
}

func (b *bpfLab) addr(name string) uint64 {
	a, ok := b.Symbols.Lookup(name)
	require.True(b.t, ok, name)
	return a
}

// prog loads a program that logs and returns ret; more may do more.
func (b *bpfLab) prog(name string, kind bpf.Kind, ret uint64, more func(*ftemu.ProgRun)) *bpf.Prog {
	p, err := b.LoadProg(ftemu.ProgSpec{Name: name, Kind: kind, Run: func(r *ftemu.ProgRun) {
		line := fmt.Sprintf("%s%v", name, r.Args)
		if r.Value != nil {
			line += fmt.Sprintf("=%d", int64(*r.Value))
		}
		b.log = append(b.log, line)
		r.Return = ret
		if more != nil {
			more(r)
		}
	}})
	require.NoError(b.t, err)
	return p
}

func (b *bpfLab) attach(p *bpf.Prog) *bpf.Link {
	l, err := b.AttachProg(p, b.fn, 0)
	require.NoError(b.t, err)
	return l
}

// call calls f0(1, 2), whose value is 1013, and returns the value and the log.
func (b *bpfLab) call() (int64, []string) {
	b.log = nil
	v, err := b.Call(b.fn, 1, 2)
	require.NoError(b.t, err)
	return int64(v), b.log
}

// patch registers a livepatch of f0 that leads to g0, whose value is 100029.
func (b *bpfLab) patch() (*ftracecore.Ops, error) {
	to := b.addr("ftor_g0")
	ops := b.NewOps("patch", ftracecore.OpsIPModify|ftracecore.OpsDynamic|ftracecore.OpsPermanent,
		func(_, _ uint64, _ *ftracecore.Ops, regs ftracecore.Regs) { regs.SetIP(to) })
	require.NoError(b.t, b.Core.SetFilterIP(ops, b.fn, false, false))
	return ops, b.Core.RegisterFtraceFunction(ops)
}

func (b *bpfLab) flags() bpf.Flags { return b.BPF.Trampoline(b.fn).Flags() }

const (
	aloneFlags  = bpf.CallOrig | bpf.SkipFrame
	sharedFlags = aloneFlags | bpf.OrigStack | bpf.ShareIPModify
)

func TestBPFOrder(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	var links []*bpf.Link
	for i, kind := range []bpf.Kind{bpf.Fexit, bpf.Fentry, bpf.FmodRet, bpf.Fentry, bpf.FmodRet, bpf.Fexit} {
		links = append(links, b.attach(b.prog(fmt.Sprintf("p%d", i), kind, 0, nil)))
	}
	v, log := b.call()
	require.Equal(t, int64(1013), v)
	require.Equal(t, []string{
		"p3[1 2]", "p1[1 2]", "p4[1 2]=0", "p2[1 2]=0", "f0(1, 2)", "p5[1 2]=1013", "p0[1 2]=1013",
	}, log, "the newest of each kind first")
	require.Equal(t, links, b.BPF.Trampoline(b.fn).Links())
	require.Equal(t, aloneFlags, b.flags())

	// An fmod_ret program that returns a value replaces the function by it, and
	// those behind it do not run.
	links = append(links, b.attach(b.prog("no", bpf.FmodRet, 7, nil)))
	v, log = b.call()
	require.Equal(t, int64(7), v)
	require.Equal(t, []string{"p3[1 2]", "p1[1 2]", "no[1 2]=0", "p5[1 2]=7", "p0[1 2]=7"}, log)

	for _, l := range links {
		require.NoError(t, b.BPF.Detach(l))
		require.Nil(t, l.Trampoline())
	}
	require.Empty(t, b.BPF.Trampolines())
	v, log = b.call()
	require.Equal(t, int64(1013), v)
	require.Equal(t, []string{"f0(1, 2)"}, log)
	require.Empty(t, b.Core.EnabledFunctions())
	require.ErrorIs(t, b.BPF.Detach(links[0]), ftracecore.ENOENT)
}

func TestBPFErrors(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	p := b.prog("p", bpf.Fentry, 0, nil)
	b.attach(p)
	_, err := b.AttachProg(p, b.fn, 0)
	require.ErrorIs(t, err, ftracecore.EBUSY)
	require.EqualError(t, err, `-EBUSY: site ftor_f0: program "p" is attached to it already`)

	for i := range bpf.MaxLinks - 1 {
		b.attach(b.prog(fmt.Sprintf("q%d", i), bpf.Fexit, 0, nil))
	}
	image := b.BPF.Trampoline(b.fn).Image()
	_, err = b.AttachProg(b.prog("last", bpf.Fexit, 0, nil), b.fn, 0)
	require.ErrorIs(t, err, ftracecore.E2BIG)
	require.Same(t, image, b.BPF.Trampoline(b.fn).Image())
	_, log := b.call()
	require.Len(t, log, bpf.MaxLinks+1)

	_, err = b.AttachProg(p, b.addr("ftor_g0"), 0)
	require.ErrorIs(t, err, ftracecore.EINVAL)
	require.EqualError(t, err, `-EINVAL: site ftor_g0: it has no ftrace site and lies in module ftoracle, whose code BPF does not patch by itself`)
	require.Nil(t, b.BPF.Trampoline(b.addr("ftor_g0")), "a trampoline without programs is gone")
	_, err = b.AttachProg(p, b.fn+1, 0)
	require.ErrorContains(t, err, "no function begins at")

	f1 := b.addr("ftor_f1")
	b.SetParams(f1, slices.Repeat([]int{8}, 7))
	_, err = b.AttachProg(p, f1, 0)
	require.ErrorIs(t, err, ftracecore.ENOTSUP)
	require.Nil(t, b.BPF.Trampoline(f1))
	b.SetParams(f1, []int{16, 1, 16, 4})
	_, err = b.AttachProg(p, f1, 0)
	require.NoError(t, err)
	require.Equal(t, []int{16, 1, 16, 4}, b.Params(f1))

	// Somebody else's direct function is in the way: nothing is left behind.
	f2 := b.addr("ftor_f2")
	tramp, err := b.AddDirect("pass", trampoline.Pass, 0)
	require.NoError(t, err)
	require.NoError(t, b.Core.RegisterDirect(f2, tramp))
	_, err = b.AttachProg(p, f2, 0)
	require.ErrorIs(t, err, ftracecore.EBUSY)
	require.Nil(t, b.BPF.Trampoline(f2))

	require.Error(t, b.BPF.Load(&bpf.Prog{Name: "x", Kind: 7}))
	require.Error(t, b.BPF.Load(&bpf.Prog{Name: "x", Addr: p.Addr}))
}

// A livepatch and an fexit program share a function, in either order, and go in
// either order.
func TestBPFShares(t *testing.T) {
	for _, design := range ftracecore.Designs() {
		for _, bpfFirst := range []bool{false, true} {
			for _, bpfLeaves := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s bpf-first=%t bpf-leaves=%t", design.Name(), bpfFirst, bpfLeaves), func(t *testing.T) {
					b := newBPFLab(t, ftemu.Options{Design: &design})
					x := b.prog("x", bpf.Fexit, 0, nil)
					var link *bpf.Link
					var patch *ftracecore.Ops
					var err error
					if bpfFirst {
						link = b.attach(x)
					}
					patch, err = b.patch()
					require.NoError(t, err)
					if !bpfFirst {
						link, err = b.AttachProg(x, b.fn, 0)
					}
					if design.Protocol == ftracecore.UpdateInPlace && design.Name() != "rinse-repeat-guarded" && !bpfFirst {
						// The danger that the discussion saw: the direct function
						// is modified before its registration has returned.
						require.ErrorIs(t, err, ftracecore.ENODEV)
						require.True(t, b.Core.Disabled())
						return
					}
					require.NoError(t, err)
					v, log := b.call()
					require.Equal(t, int64(100029), v)
					require.Equal(t, []string{"g0(1, 2)", "x[1 2]=100029"}, log)
					require.Equal(t, sharedFlags, b.flags())
					require.Empty(t, b.Core.Warnings())
					if bpfLeaves {
						require.NoError(t, b.BPF.Detach(link))
						v, log = b.call()
						require.Equal(t, int64(100029), v)
						require.Equal(t, []string{"g0(1, 2)"}, log)
						return
					}
					require.NoError(t, b.Core.UnregisterFtraceFunction(patch))
					v, log = b.call()
					require.Equal(t, int64(1013), v)
					require.Equal(t, []string{"f0(1, 2)", "x[1 2]=1013"}, log)
					if design.Protocol == ftracecore.RetryOnAgain {
						require.Equal(t, aloneFlags, b.flags(), "DISABLE_PEER takes sharing back")
					}
				})
			}
		}
	}
}

// A second livepatch is refused, and the trampoline keeps sharing as the first is
// there.
func TestBPFStaysShared(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	b.attach(b.prog("x", bpf.Fexit, 0, nil))
	first, err := b.patch()
	require.NoError(t, err)
	_, err = b.patch()
	require.ErrorIs(t, err, ftracecore.EBUSY)
	require.Equal(t, sharedFlags, b.flags())
	v, _ := b.call()
	require.Equal(t, int64(100029), v)
	require.NoError(t, b.Core.UnregisterFtraceFunction(first))
	require.Equal(t, aloneFlags, b.flags())
}

// An fentry program needs no other image to share; an fexit program that joins it
// on a patched function kills ftrace in 6.1.192, and only there.
func TestBPFNullFunc(t *testing.T) {
	for _, quirk := range []bool{true, false} {
		t.Run(fmt.Sprint(quirk), func(t *testing.T) {
			profile := ftracecore.V6_1()
			profile.NullFuncOnRetry = quirk
			b := newBPFLab(t, ftemu.Options{Profile: &profile})
			_, err := b.patch()
			require.NoError(t, err)
			b.attach(b.prog("e", bpf.Fentry, 0, nil))
			require.Equal(t, bpf.RestoreRegs, b.flags(), "SELF does not set the share flag")
			v, log := b.call()
			require.Equal(t, int64(100029), v)
			require.Equal(t, []string{"e[1 2]", "g0(1, 2)"}, log)
			b.attach(b.prog("x", bpf.Fexit, 0, nil))
			require.Equal(t, sharedFlags, b.flags())
			v, log = b.call()
			require.Equal(t, quirk, b.Core.Disabled())
			if !quirk {
				require.Equal(t, int64(100029), v)
				require.Equal(t, []string{"e[1 2]", "g0(1, 2)", "x[1 2]=100029"}, log)
				return
			}
			require.Equal(t, int64(1013), v, "the patch is bypassed")
			require.Equal(t, []string{"f0(1, 2)"}, log)
			require.NotEmpty(t, b.Core.Warnings())
			image, images := b.BPF.Trampoline(b.fn).Image(), b.Symbols.WithPrefix("bpf_trampoline:")
			late, err := b.LoadProg(ftemu.ProgSpec{Name: "late", Kind: bpf.Fentry, WantsIP: true})
			require.NoError(t, err)
			_, err = b.AttachProg(late, b.fn, 0)
			require.ErrorIs(t, err, ftracecore.ENODEV)
			require.Same(t, image, b.BPF.Trampoline(b.fn).Image())
			require.Equal(t, sharedFlags, b.flags(), "a failed update changes nothing")
			require.Equal(t, images, b.Symbols.WithPrefix("bpf_trampoline:"), "nor leaves an image behind")
		})
	}
}

// A livepatch that comes while the trampoline is being changed gets -EAGAIN:
// waiting for its mutex with direct_mutex held could deadlock.
func TestBPFTryLock(t *testing.T) {
	s := &intruder{at: "msleep until trampoline mutex of ftor_f0 is free"}
	b := newBPFLab(t, ftemu.Options{Sched: s})
	b.attach(b.prog("x", bpf.Fexit, 0, nil))
	s.busy = "trampoline mutex of ftor_f0"
	_, err := b.patch()
	require.ErrorIs(t, err, ftracecore.EAGAIN)
	require.True(t, s.slept)
	require.Equal(t, aloneFlags, b.flags(), "nothing was changed")
	s.busy = ""
	_, err = b.patch()
	require.NoError(t, err)
	require.Equal(t, sharedFlags, b.flags())
}

// An intruder is a scheduler under which one lock can be taken by somebody.
type intruder struct {
	busy  string
	at    string
	slept bool
}

func (s *intruder) Lock(*ftracecore.Lock)           {}
func (s *intruder) TryLock(l *ftracecore.Lock) bool { return l.Name != s.busy }
func (s *intruder) Unlock(*ftracecore.Lock)         {}
func (s *intruder) Grace(string)                    {}
func (s *intruder) Point(what string)               { s.slept = s.slept || what == s.at }

// A program that is running on the CPU already is skipped and counted, its exit
// function called all the same; LSM programs are not guarded so.
func TestBPFRecursion(t *testing.T) {
	for v := range bpf.NumVariants {
		enter, exit := v.Functions()
		t.Run(enter+" "+exit, func(t *testing.T) {
			b := newBPFLab(t, ftemu.Options{})
			depth, runs := 0, 0
			p, err := b.LoadProg(ftemu.ProgSpec{Name: "p", Kind: bpf.Fentry, Variant: v, Run: func(r *ftemu.ProgRun) {
				runs++
				if depth++; depth < 3 {
					outer := b.BPF.RunCtx(r.CPU)
					_, err := b.Call(b.fn, 5, 6)
					require.NoError(t, err)
					require.Equal(t, outer, b.BPF.RunCtx(r.CPU), "the run context is in force again")
				}
				depth--
			}})
			require.NoError(t, err)
			b.attach(p)
			for range 2 {
				runs = 0
				v, _ := b.call()
				require.Equal(t, int64(1013), v)
			}
			require.Zero(t, b.BPF.RunCtx(0))
			if v == bpf.Recur || v == bpf.SleepableRecur {
				require.Equal(t, 1, runs)
				require.Equal(t, 2, p.Misses())
			} else {
				require.Equal(t, 3, runs)
				require.Zero(t, p.Misses())
			}
		})
	}
}

// A cookie belongs to the link, the function's address to the traced function.
func TestBPFContext(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	var seen []ftemu.ProgRun
	p, err := b.LoadProg(ftemu.ProgSpec{Name: "p", Kind: bpf.Fexit, WantsIP: true, Run: func(r *ftemu.ProgRun) { seen = append(seen, *r) }})
	require.NoError(t, err)
	for i, cookie := range []uint64{0, 7, 1 << 40} {
		fn := b.addr(fmt.Sprintf("ftor_f%d", i))
		_, err := b.AttachProg(p, fn, cookie)
		require.NoError(t, err)
		_, err = b.Call(fn, 1, 2)
		require.NoError(t, err)
		require.Equal(t, cookie, seen[i].Cookie)
		require.Equal(t, fn, seen[i].IP)
	}
	require.Equal(t, aloneFlags|bpf.IPArg, b.flags())
}

// A guest function can be a program: it gets the address of the arguments.
func TestBPFGuestProgram(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	var ret uint64
	p, err := b.LoadProg(ftemu.ProgSpec{Name: "p", Kind: bpf.FmodRet, Func: b.addr("ftor_f1"), Run: func(r *ftemu.ProgRun) {
		require.Equal(t, []uint64{1, 2}, r.Args)
		ret = r.Return
	}})
	require.NoError(t, err)
	b.attach(p)
	v, log := b.call()
	require.Len(t, log, 1, "f1 ran, f0 did not")
	require.Equal(t, uint64(v), ret)
	require.NotEqual(t, int64(1013), v)
}

// An image that is replaced while a task is in the body is not used by those
// who come later; the task skips the exit programs and leaves it alone.
func TestBPFRetirement(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	x := b.prog("x", bpf.Fexit, 0, nil)
	link := b.attach(x)
	old := b.BPF.Trampoline(b.fn).Image()
	var during []uint64
	b.prog("unused", bpf.Fentry, 0, nil)
	detach := b.prog("detach", bpf.FmodRet, 0, func(*ftemu.ProgRun) {
		require.NoError(t, b.BPF.Detach(link))
		during = append(during, b.Mem.Page(old.Addr).Addr)
	})
	other := b.attach(detach)
	old = b.BPF.Trampoline(b.fn).Image()
	require.NotNil(t, b.Mem.Page(old.Addr))
	v, log := b.call()
	require.Equal(t, int64(1013), v)
	require.Equal(t, []string{"detach[1 2]=0", "f0(1, 2)"}, log, "x is skipped: its image was retired")
	require.Equal(t, []uint64{old.Addr}, during, "the page is there as long as it is run")
	require.Nil(t, b.Mem.Page(old.Addr), "and gone afterwards")
	require.False(t, old.Busy())
	require.NoError(t, b.BPF.Detach(other))
	require.Nil(t, b.BPF.Trampoline(b.fn))
	_, ok := b.Symbols.Lookup("bpf_trampoline:ftor_f0")
	require.False(t, ok)
}

// An image is held while the body runs that it has called, so that a task which
// never comes back keeps it.
func TestBPFHeld(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	link := b.attach(b.prog("x", bpf.Fexit, 0, nil))
	image := b.BPF.Trampoline(b.fn).Image()
	held := false
	b.body = func() { held = image.Busy() }
	b.call()
	require.True(t, held)
	require.False(t, image.Busy())

	// The nop behind the call is no place to come back to any more.
	code, ok := b.ProgImage(b.fn)
	require.True(t, ok)
	ip, ok := code.Label(trampoline.LabelIPAfterCall)
	require.True(t, ok)
	saved := make([]byte, 1)
	require.NoError(t, b.Mem.Read(ip, saved))
	require.NoError(t, b.Poker.WriteEarly(ip, []byte{0x06}))
	_, err := b.Call(b.fn, 1, 2)
	var stopped *ftemu.CallError
	require.ErrorAs(t, err, &stopped)
	require.True(t, image.Busy())
	require.NoError(t, b.Poker.WriteEarly(ip, saved))
	require.NoError(t, b.BPF.Detach(link))
	require.NotNil(t, b.Mem.Page(image.Addr), "the page stays")
}

// Images come and go without using anything up.
func TestBPFChurn(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	e, x := b.prog("e", bpf.Fentry, 0, nil), b.prog("x", bpf.Fexit, 0, nil)
	for range 1000 {
		first, second := b.attach(e), b.attach(x)
		require.NoError(t, b.BPF.Detach(first))
		require.NoError(t, b.BPF.Detach(second))
	}
	page := b.attach(e)
	require.Equal(t, uint64(0xffffffffc0210000), page.Trampoline().Image().Addr, "the first page is free again")
	_, log := b.call()
	require.Equal(t, []string{"e[1 2]", "f0(1, 2)"}, log)
}

// A snapshot brings programs, trampolines and images back.
func TestBPFSnapshot(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	link := b.attach(b.prog("x", bpf.Fexit, 0, nil))
	digest := func() string {
		var s sink
		b.Digest(&s)
		return string(s)
	}
	before := digest()
	restore := b.Snapshot()
	for range 2 {
		require.NoError(t, b.BPF.Detach(link))
		y := b.prog("y", bpf.Fentry, 0, nil)
		b.attach(y)
		_, err := b.patch()
		require.NoError(t, err)
		v, log := b.call()
		require.Equal(t, int64(100029), v)
		require.Equal(t, []string{"y[1 2]", "g0(1, 2)"}, log)
		require.NotEqual(t, before, digest())
		require.NoError(t, restore())
		require.Equal(t, before, digest())
		v, log = b.call()
		require.Equal(t, int64(1013), v)
		require.Equal(t, []string{"f0(1, 2)", "x[1 2]=1013"}, log)
		require.NoError(t, restore())
	}
	require.NoError(t, b.BPF.Detach(link))
}

type sink []byte

func (s *sink) Write(p []byte) (int, error) { *s = append(*s, p...); return len(p), nil }

// All six arguments reach programs and body, on functions of the core kernel.
func TestBPFArguments(t *testing.T) {
	img, err := guest.BPFTests()
	require.NoError(t, err)
	b := newBPFLab(t, ftemu.Options{Guest: img})
	for n := 1; n <= 6; n++ {
		fn := b.addr(fmt.Sprintf("bpf_fentry_test%d", n))
		args, sum := []uint64{10, 20, 30, 40, 50, 60}[:n], uint64(0)
		for _, a := range args {
			sum += a
		}
		if n == 1 {
			sum++
		}
		for _, kind := range []bpf.Kind{bpf.Fentry, bpf.Fexit} {
			link, err := b.AttachProg(b.prog(fmt.Sprintf("%s%d", kind, n), kind, 0, nil), fn, 0)
			require.NoError(t, err)
			b.log = nil
			v, err := b.Call(fn, args...)
			require.NoError(t, err)
			require.Equal(t, sum, v)
			want := fmt.Sprintf("%s%d%v", kind, n, args)
			if kind == bpf.Fexit {
				want += fmt.Sprintf("=%d", sum)
			}
			require.Equal(t, []string{want}, b.log)
			require.NoError(t, b.BPF.Detach(link))
		}
	}
}

// Images go around a landing pad at the start of a function, and are refused for
// sites that are elsewhere.
func TestBPFSites(t *testing.T) {
	for name, attaches := range map[string]bool{"gcc-fentry": true, "gcc-ibt-fentry": true, "gcc-patchable-5": true, "gcc-ibt-patchable-21-16": true, "gcc-mcount": false} {
		t.Run(name, func(t *testing.T) {
			img, err := guest.LoadFile(filepath.Join("testdata", "guest", name+".o"), guest.LoadOptions{Extern: guest.Placeholders(0xffffffffc0300000)})
			require.NoError(t, err)
			lab, err := ftemu.New(ftemu.Options{Guest: img})
			require.NoError(t, err)
			defer lab.Close()
			b := &bpfLab{Lab: lab, t: t}
			b.fn = b.addr("leaf")
			alone, _ := b.call()
			link, err := b.AttachProg(b.prog("x", bpf.Fexit, 0, nil), b.fn, 0)
			if !attaches {
				require.ErrorIs(t, err, ftracecore.EINVAL)
				require.ErrorContains(t, err, "site leaf: its site is at +4, not at its start")
				return
			}
			require.NoError(t, err)
			v, log := b.call()
			require.Equal(t, alone, v)
			require.Equal(t, []string{fmt.Sprintf("x[1 2 0 0 0 0]=%d", v)}, log)
			require.NoError(t, b.BPF.Detach(link))
			v, _ = b.call()
			require.Equal(t, alone, v)
		})
	}
}

// Wild values where the kernel passes objects stop the run with an error.
func TestBPFWildObjects(t *testing.T) {
	b := newBPFLab(t, ftemu.Options{})
	for _, name := range []string{"__bpf_prog_enter_recur", "__bpf_prog_exit_recur", "__bpf_tramp_enter", "__bpf_tramp_exit"} {
		_, err := b.Call(b.addr(name), 1, 2)
		var call *ftemu.CallError
		require.True(t, errors.As(err, &call), name)
		require.Equal(t, emu.StopGate, call.Stop.Reason, name)
	}
}
