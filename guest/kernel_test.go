package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

func TestKernel(t *testing.T) {
	for name, k := range map[string]tinyKernel{
		"symbol table":             {symtab: true},
		"kallsyms":                 {},
		"kallsyms with seqs":       {seqs: true},
		"kallsyms since 6.4":       {newer: true, seqs: true},
		"kallsyms, a base for all": {newer: true, relBase: true},
		"more than 256 symbols":    {funcs: 600, seqs: true},
		"an odd number of markers": {funcs: 300},
		"four markers":             {funcs: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := Load(bytes.NewReader(k.build(t)), LoadOptions{Name: "vmlinux", Base: 0x1000})
			require.NoError(t, err)
			checkTiny(t, k, img)
		})
	}
}

func checkTiny(t *testing.T, k tinyKernel, img *Image) {
	t.Helper()
	checkImage(t, img)
	require.Equal(t, &Kernel{GSBase: tinyPerCPU, Stripped: !k.symtab}, img.Kernel)
	require.Equal(t, "", img.Module)
	require.Len(t, img.Sites, k.count()+1)
	for i, s := range img.Sites {
		require.Equal(t, FentryCall, s.Kind)
		require.Equal(t, byte(x86.OpCall), s.Bytes[0])
		if s.IP == k.lost() {
			require.True(t, s.Invalid)
			require.Equal(t, "__ftrace_invalid_address___16", s.Name())
			continue
		}
		require.False(t, s.Invalid)
		addr, ok := img.Symbols.Lookup(s.Name())
		require.True(t, ok)
		require.Equal(t, s.IP, addr, "site %d", i)
	}
	s, ok := img.Symbols.At(k.fn(1) + 3)
	require.True(t, ok)
	require.Equal(t, Symbol{Name: "func_b1", Addr: k.fn(1), Size: tinySpace, Func: true}, s)

	mem := emu.NewMemory(emu.MemoryOptions{})
	require.NoError(t, img.Map(mem))
	require.Equal(t, img.MemorySize(), mem.Used())
	data := make([]byte, len("per-CPU data"))
	require.NoError(t, mem.Read(tinyPerCPU, data))
	require.Equal(t, "per-CPU data", string(data))
	bss := make([]byte, 0x2345)
	require.Nil(t, mem.Load(tinyBSS, bss))
	require.Nil(t, mem.Store(tinyBSS, bss))
	require.NotNil(t, mem.Store(k.rodata(), bss[:1]), "read-only data")
	require.NotNil(t, mem.Store(tinyText, bss[:1]), "code")
}

// sized appends the size that the kernel's build puts behind a payload.
func sized(packed []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(packed, uint32(size))
}

func pack(t testing.TB, vmlinux []byte, newWriter func(io.Writer) (io.WriteCloser, error)) []byte {
	var b bytes.Buffer
	w, err := newWriter(&b)
	require.NoError(t, err)
	_, err = w.Write(vmlinux)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// payloads packs the kernel in every way that the loader knows.
func payloads(t testing.TB, vmlinux []byte) map[string][]byte {
	lz := func(legacy bool) []byte {
		return sized(pack(t, vmlinux, func(w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(lz4.LegacyOption(legacy))
		}), len(vmlinux))
	}
	// xz --check=crc32 --x86 --lzma2=dict=1MiB of tinyKernel{}.build
	xz, err := os.ReadFile(filepath.Join("..", "testdata", "guest", "tiny-kernel.xz"))
	require.NoError(t, err)
	return map[string][]byte{
		"none":       vmlinux,
		"gzip":       pack(t, vmlinux, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"zstd":       sized(pack(t, vmlinux, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }), len(vmlinux)),
		"lz4 legacy": lz(true),
		"lz4":        lz(false),
		"xz x86":     sized(xz, len(vmlinux)),
	}
}

func TestBZImage(t *testing.T) {
	k := tinyKernel{}
	vmlinux := k.build(t)
	for name, p := range payloads(t, vmlinux) {
		t.Run(name, func(t *testing.T) {
			img, err := Load(bytes.NewReader(bzImage(p)), LoadOptions{Name: "vmlinuz"})
			require.NoError(t, err)
			checkTiny(t, k, img)
		})
	}
}

func TestDamagedKernels(t *testing.T) {
	vmlinux := tinyKernel{}.build(t)
	gz := payloads(t, vmlinux)["gzip"]
	setup := func(off int, b ...byte) []byte {
		img := bzImage(bytes.Clone(gz))
		copy(img[off:], b)
		return img
	}
	const lead = "-ENOEXEC: vmlinuz: "
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"old protocol":     {setup(bzVersion, 7, 2), "boot protocol 2.07, expected 2.08 or later"},
		"header cut off":   {bzImage(gz)[:0x230], "truncated: a bzImage's header has 592 bytes"},
		"payload cut off":  {bzImage(gz)[:0x700], "truncated: 240 bytes of payload at 0x610, expected "},
		"payload too long": {setup(bzPayloadLength, 0xff, 0xff, 0xff, 0xff), "a payload of 4294967295 bytes, expected 8 to 536870912"},
		"no payload":       {setup(bzPayloadLength, 0, 0, 0, 0), "a payload of 0 bytes, expected 8 to 536870912"},
		"other payload":    {bzImage([]byte("BZh91AY&SY")), "payload begins with 42 5a 68 39, expected xz, zstd, gzip or lz4: this is bzip2"},
		"no kernel inside": {bzImage(pack(t, []byte("nothing"), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })), "not an ELF file: begins with 6e 6f 74 68, expected 7f 45 4c 46"},
		"an object inside": {bzImage(readFixture(t, "gcc-fentry")), "the payload is ET_REL, expected a linked kernel (ET_EXEC)"},
		"wrong size":       {bzImage(sized(payloads(t, vmlinux)["zstd"][:100], 1<<29+1)), "a kernel of 536870913 bytes, expected at most 536870912"},
		"no table":         {tinyKernel{symtab: true}.withoutTable(t), "no ftrace sites: neither a section __mcount_loc nor the symbols __start_mcount_loc and __stop_mcount_loc"},
		"no symbols":       {bytes.ReplaceAll(vmlinux, []byte("0\x001\x002\x00"), []byte("0\x001\x003\x00")), "no symbol table, and no kallsyms found"},
		"site in the data": {tinyKernel{badSite: true}.build(t), "__start_mcount_loc: 0xffffffff81002000 is not in the kernel's code"},
		"site that calls":  {tinyKernel{badCall: true}.build(t), "__start_mcount_loc: found a call to 0xffffffff81000001 at 0xffffffff81000020, expected one to __fentry__ (0xffffffff81000000)"},
		"code cut off":     {vmlinux[:0x190], "damaged ELF file: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bytes.NewReader(c.file), LoadOptions{Name: "vmlinuz"})
			require.ErrorIs(t, err, ErrNoExec)
			require.NotContains(t, err.Error(), "\n")
			require.Contains(t, err.Error(), lead+c.want)
		})
	}
	for name, p := range payloads(t, vmlinux) {
		if name == "none" {
			continue
		}
		t.Run("damaged "+name, func(t *testing.T) {
			for _, off := range []int{len(p) / 3, len(p) / 2} {
				bad := bytes.Clone(p)
				for i := range 16 {
					bad[off+i] ^= 0x5a
				}
				_, err := Load(bytes.NewReader(bzImage(bad)), LoadOptions{Name: "vmlinuz"})
				require.ErrorIs(t, err, ErrNoExec)
				require.NotContains(t, err.Error(), "\n")
			}
			short := sized(p[:len(p)-4:len(p)-4], len(vmlinux)-1)
			_, err := Load(bytes.NewReader(bzImage(short)), LoadOptions{Name: "vmlinuz"})
			require.ErrorContains(t, err, "-ENOEXEC: vmlinuz: damaged "+name[:2])
		})
	}
}

// withoutTable has no symbols around the table of sites.
func (k tinyKernel) withoutTable(t testing.TB) []byte {
	return bytes.ReplaceAll(k.build(t), []byte("_mcount_loc"), []byte("_mcount_lox"))
}

// Every kernel loads or gives one of the documented errors.
func FuzzKernel(f *testing.F) {
	vmlinux := tinyKernel{}.build(f)
	f.Add(vmlinux)
	f.Add(tinyKernel{symtab: true}.build(f))
	f.Add(tinyKernel{newer: true, seqs: true}.build(f))
	for _, p := range payloads(f, vmlinux) {
		f.Add(bzImage(p))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		img, err := Load(bytes.NewReader(file), LoadOptions{Extern: Placeholders(0xffffffff82000000)})
		if err == nil {
			if img.MemorySize() < 64<<20 {
				checkImage(t, img)
			}
			return
		}
		var le *LoadError
		require.ErrorAs(t, err, &le)
		require.NotEmpty(t, le.What)
	})
}

// Nothing in data makes the decoder of kallsyms panic or run for ever.
func FuzzKallsyms(f *testing.F) {
	f.Add(tinyKernel{}.kallsyms())
	f.Add(tinyKernel{newer: true, seqs: true}.kallsyms())
	f.Add(tinyKernel{funcs: 300}.kallsyms())
	f.Fuzz(func(t *testing.T, data []byte) {
		syms, err := decodeKallsyms(data)
		if err != nil {
			require.Empty(t, syms)
			return
		}
		last := uint64(0)
		for _, s := range syms {
			require.NotEmpty(t, s.name)
			require.GreaterOrEqual(t, s.addr, last)
			last = s.addr
		}
	})
}

// The sites of the kernel that is installed here.
func TestInstalledKernel(t *testing.T) {
	path, err := InstalledKernel()
	if err != nil {
		t.Skip(err)
	}
	img, err := LoadFile(path, LoadOptions{})
	require.NoError(t, err)
	var text, initText, invalid int
	for _, s := range img.Sites {
		if _, ok := img.Symbols.Lookup(s.Func); !ok {
			t.Fatalf("site %#x is of %q, which is no symbol", s.IP, s.Func)
		}
		if s.Invalid {
			invalid++
		}
		for _, sec := range img.Sections {
			switch {
			case s.IP-sec.Addr >= sec.Size:
			case sec.Name == ".text":
				text++
			case sec.Name == ".init.text":
				initText++
			}
		}
	}
	t.Logf("%s: %d sites, %d at no function, %d symbols", path, len(img.Sites), invalid, img.Symbols.Len())
	require.Equal(t, len(img.Sites), text+initText)
	require.Greater(t, text, 10_000)
	if filepath.Base(path) != "vmlinuz-6.1.0-56-amd64" {
		return
	}
	require.Equal(t, []int{38_252, 2_269, 615}, []int{text, initText, invalid})
	require.Equal(t, 93_883, img.Symbols.Len())
}
