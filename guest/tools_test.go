package guest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Major versions of the compilers that built the committed fixtures. Others may
// order functions, or place calls of mcount, differently.
const (
	gccMajor   = "12"
	clangMajor = "14"
)

// tool runs a command and returns its output; the test is skipped if there is
// no such command.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s, which is not installed", name)
	}
	out, err := exec.Command(name, args...).Output()
	require.NoError(t, err, "%s %v", name, args)
	return string(out)
}

// major is the major version that a compiler reports, "" without that compiler.
func major(name string) string {
	out, err := exec.Command(name, "-dumpversion").Output()
	if err != nil {
		return ""
	}
	v, _, _ := strings.Cut(strings.TrimSpace(string(out)), ".")
	return v
}

// The script and the source still make what the committed objects hold.
func TestRebuildFixtures(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles; not with -short")
	}
	for _, name := range []string{"sh", "strip"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s, which is not installed", name)
		}
	}
	have := map[string]bool{"gcc": major("gcc") == gccMajor, "clang": major("clang-"+clangMajor) == clangMajor}
	if !have["gcc"] && !have["clang"] {
		t.Skipf("needs gcc %s or clang %s, as the committed objects; found gcc %q", gccMajor, clangMajor, major("gcc"))
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "../testdata/guest/build.sh", dir)
	cmd.Env = append(os.Environ(), "CC=gcc", "CLANG=clang-"+clangMajor)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	compared := 0
	for name, want := range fixtures {
		compiler, _, _ := strings.Cut(name, "-")
		if !have[compiler] {
			continue
		}
		img := loadFixture(t, filepath.Join(dir, name+".o"))
		require.Equal(t, want, summary(img), name)
		compared++
	}
	t.Logf("%d objects rebuilt and compared (gcc %v, clang %v)", compared, have["gcc"], have["clang"])
}

func TestRebuildOracle(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles; not with -short")
	}
	if m := major("gcc"); m != gccMajor {
		t.Skipf("needs gcc %s, as the committed object; found %q", gccMajor, m)
	}
	for _, name := range []string{"make", "strip"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s, which is not installed", name)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"Makefile", "ftoracle.c"} {
		b, err := os.ReadFile(filepath.Join("ftoracle", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o666))
	}
	out, err := exec.Command("make", "-C", dir, "CC=gcc").CombinedOutput()
	require.NoError(t, err, "%s", out)
	built, err := os.ReadFile(filepath.Join(dir, "ftoracle.o"))
	require.NoError(t, err)
	opt := LoadOptions{Extern: Placeholders(0xffffffff82000000), Base: OracleBase, Module: OracleModule}
	want, err := Load(bytes.NewReader(oracleObject), opt)
	require.NoError(t, err)
	opt.Extern = Placeholders(0xffffffff82000000)
	got, err := Load(bytes.NewReader(built), opt)
	require.NoError(t, err)
	require.Equal(t, want.Segments, got.Segments)
	require.Equal(t, want.Sites, got.Sites)
}

// place names a place of an object: section and offset.
type place struct {
	section string
	off     uint64
}

func (img *Image) placeOf(t *testing.T, addr uint64) place {
	for _, s := range img.Sections {
		if addr-s.Addr < s.Size {
			return place{s.Name, addr - s.Addr}
		}
	}
	require.Failf(t, "no section", "%#x", addr)
	return place{}
}

var (
	relocSection = regexp.MustCompile(`^Relocation section '\.rela([^']+)'`)
	relocLine    = regexp.MustCompile(`^([0-9a-f]{16})\s+[0-9a-f]+ (R_X86_64_\w+)\s+[0-9a-f]{16} (\S+)(?: ([+-]) ([0-9a-f]+))?`)
)

// readelfSites finds the sites in what readelf says of the relocations: the
// contents of __mcount_loc, or else the calls.
func readelfSites(t *testing.T, file string) []place {
	var section string
	var listed, called []place
	sc := bufio.NewScanner(strings.NewReader(tool(t, "readelf", "-rW", file)))
	for sc.Scan() {
		if m := relocSection.FindStringSubmatch(sc.Text()); m != nil {
			section = m[1]
			continue
		}
		m := relocLine.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		off, err := strconv.ParseUint(m[1], 16, 64)
		require.NoError(t, err)
		var addend uint64
		if m[5] != "" {
			addend, err = strconv.ParseUint(m[5], 16, 64)
			require.NoError(t, err)
		}
		switch {
		case section == "__mcount_loc":
			listed = append(listed, place{m[3], addend})
		case isMCount(m[3]) && strings.Contains(section, "text"):
			called = append(called, place{section, off - 1})
		}
	}
	require.NoError(t, sc.Err())
	if listed != nil {
		return listed
	}
	return called
}

func requireReadelfAgrees(t *testing.T, img *Image, file string) {
	var got []place
	for _, s := range img.Sites {
		if s.Kind != Patchable {
			got = append(got, img.placeOf(t, s.IP))
		}
	}
	require.ElementsMatch(t, readelfSites(t, file), got)
}

func TestReadelfAgrees(t *testing.T) {
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			requireReadelfAgrees(t, loadFixture(t, fixture(name)), fixture(name))
		})
	}
}

var (
	dumpSection = regexp.MustCompile(`^Disassembly of section (\S+):`)
	dumpLabel   = regexp.MustCompile(`^([0-9a-f]{16}) <(\S+)>:`)
	dumpLine    = regexp.MustCompile(`^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)`)
)

// objdump's instructions and labels are where our sites say they are.
func TestObjdumpAgrees(t *testing.T) {
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			file := fixture(name)
			img := loadFixture(t, file)
			code := make(map[place][]byte)
			labels := make(map[string]place)
			var section string
			for line := range strings.Lines(tool(t, "objdump", "-dzw", file)) {
				if m := dumpSection.FindStringSubmatch(line); m != nil {
					section = m[1]
				} else if m := dumpLabel.FindStringSubmatch(line); m != nil {
					off, err := strconv.ParseUint(m[1], 16, 64)
					require.NoError(t, err)
					labels[m[2]] = place{section, off}
				} else if m := dumpLine.FindStringSubmatch(line); m != nil {
					off, err := strconv.ParseUint(m[1], 16, 64)
					require.NoError(t, err)
					b, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
					require.NoError(t, err)
					code[place{section, off}] = b
				}
			}
			for _, s := range slices.Concat(img.Sites, img.Padding) {
				at := img.placeOf(t, s.IP)
				f, ok := labels[s.Func]
				require.True(t, ok, "no function %s", s.Func)
				require.Equal(t, place{f.section, f.off + uint64(s.Offset)}, at)
				insn, ok := code[at]
				require.True(t, ok, "%s: no instruction begins there", s)
				switch s.Kind {
				case FentryCall, MCountCall:
					require.Equal(t, "e800000000", hex.EncodeToString(insn), s)
				case Patchable, PadBefore:
					require.Equal(t, "90", hex.EncodeToString(insn), s)
				default:
					require.Equal(t, s.Bytes, insn, s)
				}
			}
		})
	}
}

// knownModules are the site counts of modules of Debian's kernel 6.1.0-56-amd64.
var knownModules = map[string]int{"ext4": 854, "amdgpu": 11134, "i915": 4629}

const knownRelease = "6.1.0-56-amd64"

// findModule finds a real module: the file in FTEMU_KO, or ext4.ko of an installed
// kernel.
func findModule(t *testing.T) string {
	if path := os.Getenv("FTEMU_KO"); path != "" {
		return path
	}
	found, err := filepath.Glob("/lib/modules/*/kernel/fs/ext4/ext4.ko")
	require.NoError(t, err)
	if len(found) == 0 {
		t.Skip("needs a kernel module: none in /lib/modules/*/kernel/fs/ext4/ext4.ko, and FTEMU_KO names none")
	}
	return found[0]
}

func TestRealModule(t *testing.T) {
	path := findModule(t)
	img, err := LoadFile(path, LoadOptions{Extern: Placeholders(0xffffffff82000000)})
	require.NoError(t, err)
	checkImage(t, img)
	require.NotEmpty(t, img.Sites)
	requireReadelfAgrees(t, img, path)
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	t.Logf("%s: %d sites, %d relocations", img.Module, len(img.Sites), len(img.Relocs))
	if want := knownModules[img.Module]; want != 0 && bytes.Contains(file, []byte("vermagic="+knownRelease+" ")) {
		require.Len(t, img.Sites, want)
	}
	_, err = LoadFile(path, LoadOptions{})
	var ue *UndefinedError
	require.ErrorAs(t, err, &ue, fmt.Sprintf("%s needs the kernel", img.Module))
}
