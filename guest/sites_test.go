package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

// loadFixture loads an object of testdata/guest; its source and flags are there.
func loadFixture(t testing.TB, path string) *Image {
	img, err := LoadFile(path, LoadOptions{Name: filepath.Base(path)})
	require.NoError(t, err)
	checkImageSites(t, img)
	return img
}

// checkImageSites checks that sites are nops in the image and knew their bytes.
func checkImageSites(t testing.TB, img *Image) {
	for _, s := range img.Sites {
		now, err := img.Bytes(s.IP, x86.SiteLen)
		require.NoError(t, err)
		require.Equal(t, x86.Nop5[:], now, s)
		switch s.Kind {
		case FentryCall, MCountCall:
			want, _ := x86.EncodeCall(s.IP, FentryAddr)
			require.Equal(t, want[:], s.Bytes, s)
		case FentryNop:
			require.Equal(t, x86.Nop5[:], s.Bytes, s)
		case Patchable:
			require.Equal(t, "\x90\x90\x90\x90\x90", string(s.Bytes), s)
		default:
			require.Failf(t, "not a kind of ftrace site", "%s: %s", s, s.Kind)
		}
	}
	for _, s := range img.Padding {
		now, err := img.Bytes(s.IP, uint64(len(s.Bytes)))
		require.NoError(t, err)
		require.Equal(t, now, s.Bytes, "padding is left alone")
		switch s.Kind {
		case PadBefore:
			require.Equal(t, strings.Repeat("\x90", 16), string(s.Bytes), s)
		case OtherNop:
			require.Equal(t, "\x0f\x1f\x44\x00\x08", string(s.Bytes), s)
		default:
			require.Failf(t, "not a kind of padding", "%s: %s", s, s.Kind)
		}
	}
}

// summary lists sites and padding by kind, in address order.
func summary(img *Image) []string {
	names := make(map[SiteKind][]string)
	for _, s := range append(append([]Site{}, img.Sites...), img.Padding...) {
		names[s.Kind] = append(names[s.Kind], s.String())
	}
	var out []string
	for k := FentryCall; k <= OtherNop; k++ {
		if names[k] != nil {
			out = append(out, k.String()+": "+strings.Join(names[k], " "))
		}
	}
	return out
}

// fixtures says what is in the object of each compiler and set of flags.
var fixtures = map[string][]string{
	"gcc-fentry":        {"fentry-call: hidden indirect leaf nested loop walk choose count setup"},
	"gcc-fentry-record": {"fentry-call: hidden indirect leaf nested loop walk choose count setup"},
	"gcc-fentry-nop":    {"fentry-nop: hidden indirect leaf nested loop walk choose count setup"},
	"gcc-mcount":        {"mcount-call: hidden+0x4 indirect+0x4 leaf+0x4 nested+0x7 loop+0x4 walk+0x4 choose+0x4 count+0x4 setup+0x4"},
	"gcc-mcount-record": {"mcount-call: hidden+0x4 indirect+0x4 leaf+0x4 nested+0x7 loop+0x4 walk+0x4 choose+0x4 count+0x4 setup+0x4"},
	"gcc-patchable-5":   {"patchable: hidden indirect leaf nested loop walk choose count untraced setup"},
	"gcc-patchable-16-16": {
		"padding: hidden-0x10 indirect-0x10 leaf-0x10 nested-0x10 loop-0x10 walk-0x10 choose-0x10 count-0x10 untraced-0x10 setup-0x10"},
	// hidden has no endbr64: nobody takes its address.
	"gcc-ibt-fentry": {"fentry-call: hidden indirect+0x4 leaf+0x4 nested+0x4 loop+0x4 walk+0x4 choose+0x4 count+0x4 setup+0x4"},
	"gcc-ibt-patchable-21-16": {
		"patchable: hidden indirect+0x4 leaf+0x4 nested+0x4 loop+0x4 walk+0x4 choose+0x4 count+0x4 untraced+0x4 setup+0x4",
		"padding: hidden-0x10 indirect-0x10 leaf-0x10 nested-0x10 loop-0x10 walk-0x10 choose-0x10 count-0x10 untraced-0x10 setup-0x10"},
	"gcc-fentry-patchable-16-16": {
		"fentry-call: hidden indirect leaf nested loop walk choose count setup",
		"padding: hidden-0x10 indirect-0x10 leaf-0x10 nested-0x10 loop-0x10 walk-0x10 choose-0x10 count-0x10 untraced-0x10 setup-0x10"},
	"gcc-ibt-fentry-patchable-16-16": {
		"fentry-call: hidden indirect+0x4 leaf+0x4 nested+0x4 loop+0x4 walk+0x4 choose+0x4 count+0x4 setup+0x4",
		"padding: hidden-0x10 indirect-0x10 leaf-0x10 nested-0x10 loop-0x10 walk-0x10 choose-0x10 count-0x10 untraced-0x10 setup-0x10"},
	"gcc-plain": nil,

	"clang-fentry":      {"fentry-call: leaf indirect nested hidden loop walk choose count setup"},
	"clang-patchable-5": {"other-nop: leaf indirect nested hidden loop walk choose count untraced setup"},
	"clang-patchable-16-16": {
		"padding: leaf-0x10 indirect-0x10 nested-0x10 hidden-0x10 loop-0x10 walk-0x10 choose-0x10 count-0x10 untraced-0x10 setup-0x10"},
	"clang-patchable-21-16": {
		"padding: leaf-0x10 indirect-0x10 nested-0x10 hidden-0x10 loop-0x10 walk-0x10 choose-0x10 count-0x10 untraced-0x10 setup-0x10",
		"other-nop: leaf indirect nested hidden loop walk choose count untraced setup"},
}

func TestSitesOfFixtures(t *testing.T) {
	for name, want := range fixtures {
		t.Run(name, func(t *testing.T) {
			img := loadFixture(t, fixture(name))
			require.Equal(t, want, summary(img))
			require.Equal(t, strings.ReplaceAll(name, "-", "_"), img.Module)
		})
	}
}

func TestRequireSites(t *testing.T) {
	require.NoError(t, loadFixture(t, fixture("gcc-fentry")).RequireSites())
	err := loadFixture(t, fixture("gcc-plain")).RequireSites()
	require.True(t, errors.Is(err, ErrNoSites))
	require.EqualError(t, err, "gcc-plain.o: no ftrace sites: no __mcount_loc, no calls to __fentry__ or mcount")
	err = loadFixture(t, fixture("clang-patchable-5")).RequireSites()
	require.EqualError(t, err, "clang-patchable-5.o: no ftrace sites: 10 other patchable places only")
}

// codeObject is an object with one section of code, whose functions f0, f1, ...
// begin at the given offsets and reach to the next, and a table of addresses.
func codeObject(section, table string, code []byte, funcs []uint64, entries ...uint64) *object {
	o := &object{}
	text := o.add(objSection{name: section, flags: textFlags, align: 16, data: code})
	start := o.symbol("", elf.STB_LOCAL, elf.STT_SECTION, elf.SectionIndex(text), 0, 0)
	for i, off := range funcs {
		end := uint64(len(code))
		if i+1 < len(funcs) {
			end = funcs[i+1]
		}
		o.fn("f"+string(rune('0'+i)), text, off, end-off)
	}
	if table != "" {
		o.add(objSection{name: table, flags: elf.SHF_ALLOC, align: 8, data: make([]byte, 8*len(entries))})
		for i, e := range entries {
			o.rela(uint64(8*i), elf.R_X86_64_64, start, int64(e))
		}
	}
	return o
}

func TestOddSites(t *testing.T) {
	code := func(parts ...string) []byte { return []byte(strings.Join(parts, "")) }
	const (
		nop5   = "\x0f\x1f\x44\x00\x00"
		ones   = "\x90\x90\x90\x90\x90"
		endbr  = "\xf3\x0f\x1e\xfa"
		ret    = "\xc3"
		mcount = "__mcount_loc"
		patch  = "__patchable_function_entries"
	)
	for name, c := range map[string]struct {
		o    *object
		want []string
	}{
		"a site listed twice is one":      {codeObject(".text", mcount, code(nop5, ret), []uint64{0}, 0, 0), []string{"fentry-nop: f0"}},
		"listing is not sorted":           {codeObject(".text", mcount, code(nop5, ret, nop5, ret), []uint64{0, 6}, 6, 0), []string{"fentry-nop: f0 f1"}},
		"weak loser: behind the function": {codeObject(".text", mcount, code(ret, "\xcc\xcc\xcc", nop5, ret), []uint64{0}, 4), []string{"fentry-nop: f0+0x4"}},
		"no function at all":              {codeObject(".text", mcount, code(nop5, ret), nil, 0), []string{"fentry-nop: 0xffffffffc0400000"}},
		"a nop of another form":           {codeObject(".text", mcount, code("\x0f\x1f\x44\x00\x08", ret), []uint64{0}, 0), []string{"other-nop: f0"}},
		"entry listed behind endbr64":     {codeObject(".text", patch, code(endbr, ones, ret), []uint64{0}, 4), []string{"patchable: f0+0x4"}},
		"entry listed at endbr64":         {codeObject(".text", patch, code(endbr, ones, ret), []uint64{0}, 0), []string{"patchable: f0+0x4"}},
		"too few nops":                    {codeObject(".text", patch, code("\x90\x90", ret), []uint64{0}, 0), []string{"other-nop: f0"}},
		"more nops than needed":           {codeObject(".text", patch, code(ones, "\x90\x90", ret), []uint64{0}, 0), []string{"patchable: f0"}},
		"five nops, five in front":        {codeObject(".text", patch, code(ret, ones, ones, ret), []uint64{6}, 1), []string{"patchable: f0", "padding: f0-0x5"}},
		"padding of long nops":            {codeObject(".text", patch, code(ret, "\x66\x0f\x1f\x44\x00\x00", ret), []uint64{7}, 1), []string{"padding: f0-0x6"}},
		"nop of the kernel's own form":    {codeObject(".text", patch, code(nop5, ret), []uint64{0}, 0), []string{"patchable: f0"}},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := c.o.load(t, LoadOptions{})
			require.NoError(t, err)
			require.Equal(t, c.want, summary(img))
			checkImage(t, img)
		})
	}
	// Both tables list the place: ftrace has it, once.
	o := codeObject(".text", mcount, code(nop5, ret), []uint64{0}, 0)
	o.add(objSection{name: patch, flags: dataFlags, align: 8, data: make([]byte, 8)})
	o.rela(0, elf.R_X86_64_64, 1, 0)
	img, err := o.load(t, LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"fentry-nop: f0"}, summary(img))
}

func TestBadSites(t *testing.T) {
	for name, c := range map[string]struct {
		o    *object
		want string
	}{
		"not a call": {codeObject(".text", "__mcount_loc", []byte("\x55\x48\x89\xe5\xc3"), []uint64{0}, 0),
			"__mcount_loc+0x0: found 55 48 89 e5 c3 at f0, expected a call to __fentry__ or mcount (e8) or a nop (0f 1f 44 00 00)"},
		"a call of something else": {codeObject(".text", "__mcount_loc", []byte("\xe8\x00\x00\x00\x00"), []uint64{0}, 0),
			"__mcount_loc+0x0: found e8 00 00 00 00 at f0, expected a call to __fentry__ or mcount (e8) or a nop (0f 1f 44 00 00)"},
		"at the end of code": {codeObject(".text", "__mcount_loc", []byte("\x0f\x1f\x44\x00"), []uint64{0}, 0),
			"__mcount_loc+0x0: the 5 bytes at 0xffffffffc0400000 are not in the object's code"},
		"overlapping": {codeObject(".text", "__mcount_loc", []byte("\x0f\x1f\x44\x00\x00\x0f\x1f\x44\x00\x00"), []uint64{0}, 0, 5, 8),
			"__mcount_loc+0x10: the 5 bytes at 0xffffffffc0400008 are not in the object's code"},
		"no nops": {codeObject(".text", "__patchable_function_entries", []byte("\x31\xc0\xc3"), []uint64{0}, 0),
			"__patchable_function_entries+0x0: found 31 c0 c3 at f0, expected nops"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.o.load(t, LoadOptions{})
			requireLoadError(t, err, "-ENOEXEC: test.o: "+c.want)
		})
	}
	// Five ones, listed at two places of a longer run.
	o := codeObject(".text", "__patchable_function_entries", []byte(strings.Repeat("\x90", 9)+"\xc3"), []uint64{0}, 0, 3)
	_, err := o.load(t, LoadOptions{})
	requireLoadError(t, err, "-ENOEXEC: test.o: sites f0 and f0+0x3 overlap: 0xffffffffc0400000 and 0xffffffffc0400003")
}

// Without a table, calls in sections that must not be traced become nops, but not
// sites; and only calls count.
func TestSitesByRelocation(t *testing.T) {
	for section, traced := range map[string]bool{
		".text": true, ".text.unlikely": true, ".init.text": true, ".sched.text": true, ".cpuidle.text": true,
		".noinstr.text": false, ".entry.text": false, ".exit.text": false,
	} {
		for _, callee := range []string{"__fentry__", "mcount", "_mcount"} {
			o := codeObject(section, "", []byte("\xe8\x00\x00\x00\x00\xe9\x00\x00\x00\x00"), []uint64{0})
			sym := o.undefined(callee)
			o.rela(1, elf.R_X86_64_PLT32, sym, -4)
			o.rela(6, elf.R_X86_64_PC32, sym, -4) // a jump
			img, err := o.load(t, LoadOptions{})
			require.NoError(t, err)
			kind := "mcount-call"
			switch {
			case !traced:
				kind = "other-nop"
			case callee == "__fentry__":
				kind = "fentry-call"
			}
			require.Equal(t, []string{kind + ": f0"}, summary(img), section)
			code, err := img.Bytes(ModuleBase, 6)
			require.NoError(t, err)
			require.Equal(t, append(x86.Nop5[:], 0xe9), code)
		}
	}
}

func TestExternBindsFentry(t *testing.T) {
	const addr = 0xffffffffc0001000
	o := codeObject(".text", "", []byte("\xe8\x00\x00\x00\x00\xc3"), []uint64{0})
	o.rela(1, elf.R_X86_64_PLT32, o.undefined("__fentry__"), -4)
	img, err := o.load(t, LoadOptions{Extern: func(string) (uint64, bool) { return addr, true }})
	require.NoError(t, err)
	call, _ := x86.EncodeCall(ModuleBase, addr)
	require.Equal(t, call[:], img.Sites[0].Bytes)
	require.Equal(t, FentryCall, img.Sites[0].Kind)
}

func TestNopLen(t *testing.T) {
	for n := 1; n <= 8; n++ {
		nop := x86.AppendNops(nil, n)
		require.Equal(t, n, nopLen(append(nop, 0xc3)), "% x", nop)
		for cut := range nop {
			require.Zero(t, nopLen(nop[:cut]), "% x cut to %d", nop, cut)
		}
	}
	for _, c := range []struct {
		code string
		want int
	}{
		{"\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00", 10},
		{"\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00", 11},
		{"\x0f\x1f\x44\x00\x08", 5},
		{"\x0f\x1f\x05\x01\x02\x03\x04", 7},     // nop of a RIP-relative operand
		{"\x0f\x1f\x04\x25\x01\x02\x03\x04", 8}, // SIB without a base
		{"\x0f\x1f\xc0", 0},                     // a register: no assembler makes that
		{"\x0f\x1f\x48\x00", 0},                 // not /0
		{"\x66\xc3", 0},
		{"\x66", 0},
		{"", 0},
	} {
		require.Equal(t, c.want, nopLen([]byte(c.code)), "% x", c.code)
	}
	require.True(t, allNops(bytes.Repeat([]byte{0x90}, 3)))
	require.False(t, allNops([]byte{0x90, 0xc3}))
}

func TestNullEntriesAreSkipped(t *testing.T) {
	o := codeObject(".text", "__mcount_loc", append(x86.Nop5[:], 0xc3), []uint64{0}, 0)
	o.sections[1].data = binary.LittleEndian.AppendUint64(o.sections[1].data, 0)
	img, err := o.load(t, LoadOptions{})
	require.NoError(t, err)
	require.Len(t, img.Sites, 1)
}
