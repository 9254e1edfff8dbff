package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

func fixture(name string) string { return filepath.Join("..", "testdata", "guest", name+".o") }

func readFixture(t testing.TB, name string) []byte {
	b, err := os.ReadFile(fixture(name))
	require.NoError(t, err)
	return b
}

// requireLoadError checks that err is one line, a LoadError, and says want.
func requireLoadError(t *testing.T, err error, want string) {
	t.Helper()
	var le *LoadError
	require.ErrorAs(t, err, &le)
	require.ErrorIs(t, err, ErrNoExec)
	require.NotContains(t, err.Error(), "\n")
	require.Equal(t, want, err.Error())
}

func TestForeignFiles(t *testing.T) {
	patch := func(off int, b ...byte) []byte {
		obj := readFixture(t, "gcc-fentry")
		copy(obj[off:], b)
		return obj
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":         {nil, "-ENOEXEC: x.o: empty file"},
		"text":          {[]byte("#!/bin/sh\n"), "-ENOEXEC: x.o: not an ELF file: begins with 23 21 2f 62, expected 7f 45 4c 46"},
		"half a header": {readFixture(t, "gcc-fentry")[:12], "-ENOEXEC: x.o: truncated: 12 bytes, an ELF header has 64"},
		"32 bits":       {patch(elf.EI_CLASS, byte(elf.ELFCLASS32)), "-ENOEXEC: x.o: ELFCLASS32 file, expected ELFCLASS64"},
		"big endian":    {patch(elf.EI_DATA, byte(elf.ELFDATA2MSB)), "-ENOEXEC: x.o: ELFDATA2MSB file, expected ELFDATA2LSB"},
		"arm":           {patch(18, byte(elf.EM_AARCH64)), "-ENOEXEC: x.o: code for EM_AARCH64, expected EM_X86_64"},
		"program":       {patch(16, byte(elf.ET_EXEC)), "-ENOEXEC: x.o: linked already (ET_EXEC), expected a relocatable object (ET_REL), or a kernel with its sections at 0xffffffff80000000 to 0xffffffffc0000000: .text has 549 bytes at 0x0"},
		"library":       {patch(16, byte(elf.ET_DYN)), "-ENOEXEC: x.o: linked already (ET_DYN), expected a relocatable object (ET_REL) or a kernel (ET_EXEC)"},
		"other type":    {patch(16, 9), "-ENOEXEC: x.o: ELF type 9, expected a relocatable object (ET_REL)"},
		"other machine": {patch(18, 0xff, 0xff), "-ENOEXEC: x.o: code for machine 65535, expected EM_X86_64"},
		"core dump":     {patch(16, byte(elf.ET_CORE)), "-ENOEXEC: x.o: ET_CORE, expected a relocatable object (ET_REL)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(bytes.NewReader(c.file), LoadOptions{Name: "x.o"})
			requireLoadError(t, err, c.want)
		})
	}
}

// The section headers are the last thing in the file: no prefix of it loads.
func TestTruncatedFiles(t *testing.T) {
	obj := readFixture(t, "gcc-fentry-record")
	for n := range obj {
		_, err := Load(bytes.NewReader(obj[:n]), LoadOptions{})
		require.ErrorIs(t, err, ErrNoExec, "%d bytes", n)
	}
}

type failingReader struct{}

var errDisk = errors.New("disk on fire")

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestReadError(t *testing.T) {
	_, err := Load(failingReader{}, LoadOptions{Name: "x.o"})
	require.ErrorIs(t, err, errDisk)
	_, err = LoadFile(filepath.Join(t.TempDir(), "none.o"), LoadOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// oneReloc is an object with eight bytes of data and a relocation of them.
func oneReloc(typ elf.R_X86_64, value uint64, addend int64, before ...byte) *object {
	o := &object{}
	sym := o.symbol("target", elf.STB_GLOBAL, elf.STT_NOTYPE, elf.SHN_ABS, value, 0)
	o.add(objSection{name: ".data", flags: dataFlags, align: 8, data: append(before, make([]byte, 16-len(before))...)})
	o.rela(4, typ, sym, addend)
	return o
}

func TestRelocationValues(t *testing.T) {
	const base = 0xffffffff00000000
	const p = base + 4 // where the relocation is
	for name, c := range map[string]struct {
		typ    elf.R_X86_64
		value  uint64
		addend int64
		want   uint64
		width  int
	}{
		"64":             {elf.R_X86_64_64, 0x1122334455667788, 1, 0x1122334455667789, 8},
		"32":             {elf.R_X86_64_32, 0xfffffff0, 0xf, 0xffffffff, 4},
		"32s":            {elf.R_X86_64_32S, 0xffffffff80000000, 0x10, 0x80000010, 4},
		"32s top":        {elf.R_X86_64_32S, 0, -1, 0xffffffff, 4},
		"pc32":           {elf.R_X86_64_PC32, p + 0x100, -4, 0xfc, 4},
		"plt32":          {elf.R_X86_64_PLT32, p - 0x100, -4, 0xfffffefc, 4},
		"pc32 furthest":  {elf.R_X86_64_PC32, p + math.MaxInt32, 0, math.MaxInt32, 4},
		"pc32 backwards": {elf.R_X86_64_PC32, p - (1 << 31), 0, 1 << 31, 4},
		"pc64":           {elf.R_X86_64_PC64, 0, 0, 1<<64 - p, 8},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := oneReloc(c.typ, c.value, c.addend).load(t, LoadOptions{Base: base})
			require.NoError(t, err)
			data, err := img.Bytes(base, 16)
			require.NoError(t, err)
			want := make([]byte, 16)
			binary.LittleEndian.PutUint64(want[4:], c.want) // for width 4 the upper half is zero
			require.Equal(t, want, data)
			require.Equal(t, []Reloc{{Addr: p, Type: c.typ.String(), Width: c.width, Symbol: "target", Addend: c.addend, Value: c.value}}, img.Relocs)
		})
	}
}

func TestRelocationErrors(t *testing.T) {
	const base = 0xffffffff00000000
	const p = base + 4
	for name, c := range map[string]struct {
		o    *object
		want string
	}{
		"nonzero target": {oneReloc(elf.R_X86_64_32S, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9), "R_X86_64_32S against target: invalid relocation target, existing value is nonzero: 00 00 00 09"},
		"32 overflow":    {oneReloc(elf.R_X86_64_32, 1<<32, 0), "R_X86_64_32 against target: overflow: 0x100000000 does not fit in 32 bits zero-extended; code needs -mcmodel=kernel"},
		"32s overflow":   {oneReloc(elf.R_X86_64_32S, 1<<31, 4), "R_X86_64_32S against target+0x4: overflow: 0x80000004 does not fit in 32 bits sign-extended; code needs -mcmodel=kernel"},
		"pc32 too far":   {oneReloc(elf.R_X86_64_PC32, p+1<<31, 0), "R_X86_64_PC32 against target: overflow: a displacement of 0x80000000 does not fit in 32 bits signed"},
		"plt32 too far":  {oneReloc(elf.R_X86_64_PLT32, p-1<<31, -1), "R_X86_64_PLT32 against target-0x1: overflow: a displacement of 0xffffffff7fffffff does not fit in 32 bits signed"},
		"got":            {oneReloc(elf.R_X86_64_GOTPCREL, 0, -4), "R_X86_64_GOTPCREL against target-0x4: unknown rela relocation: 9"},
		"relaxed got":    {oneReloc(elf.R_X86_64_REX_GOTPCRELX, 0, -4), "R_X86_64_REX_GOTPCRELX against target-0x4: unknown rela relocation: 42"},
		"8 bits":         {oneReloc(elf.R_X86_64_8, 0, 0), "R_X86_64_8 against target: unknown rela relocation: 14"},
		"no such type":   {oneReloc(250, 0, 0), "relocation type 250 against target: unknown rela relocation: 250"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.o.load(t, LoadOptions{Base: base})
			requireLoadError(t, err, "-ENOEXEC: test.o: .data+0x4: "+c.want)
		})
	}
}

func TestDamagedObjects(t *testing.T) {
	data := func(change func(o *object, s *objSection)) *object {
		o := &object{}
		o.add(objSection{name: ".data", flags: dataFlags, align: 8, data: make([]byte, 16)})
		change(o, &o.sections[0])
		return o
	}
	for name, c := range map[string]struct {
		o    *object
		want string
	}{
		"relocation outside": {data(func(o *object, s *objSection) { o.rela(14, elf.R_X86_64_32, 0, 0) }),
			".data+0xe: R_X86_64_32 against : 4 bytes, the section has 16"},
		"relocation far outside": {data(func(o *object, s *objSection) { o.rela(math.MaxUint64, elf.R_X86_64_64, 0, 0) }),
			".data+0xffffffffffffffff: R_X86_64_64 against : 8 bytes, the section has 16"},
		"no such symbol": {data(func(o *object, s *objSection) { o.rela(0, elf.R_X86_64_32, 7, 0) }),
			".data+0x0: R_X86_64_32 against symbol 7 of 1"},
		"symbol behind the section's end": {data(func(o *object, s *objSection) { o.symbol("x", elf.STB_GLOBAL, elf.STT_OBJECT, 1, 12, 8) }),
			".data+0xc: symbol x of 8 bytes, the section has 16"},
		"symbol in no section": {data(func(o *object, s *objSection) { o.fn("x", 99, 0, 0) }),
			"symbol x in section 99 of 5"},
		"symbol in a section that is not loaded": {data(func(o *object, s *objSection) {
			sym := o.symbol("x", elf.STB_GLOBAL, elf.STT_OBJECT, 2, 0, 0)
			o.rela(0, elf.R_X86_64_64, sym, 0)
			o.add(objSection{name: ".comment", data: []byte("hi")})
		}), ".data+0x0: R_X86_64_64 against x: the symbol is in .comment, which is not loaded"},
		"writable code": {data(func(o *object, s *objSection) { s.flags |= elf.SHF_EXECINSTR }),
			".data: writable and executable (WRITE|EXEC flags)"},
		"thread-local data": {data(func(o *object, s *objSection) { s.flags |= elf.SHF_TLS }),
			".data: thread-local data, which the kernel does not have"},
		"odd alignment": {data(func(o *object, s *objSection) { s.align = 24 }),
			".data: alignment 0x18, expected a power of two up to 0x200000"},
		"giant alignment": {data(func(o *object, s *objSection) { s.align = 1 << 40 }),
			".data: alignment 0x10000000000, expected a power of two up to 0x200000"},
		"giant section": {data(func(o *object, s *objSection) { s.typ, s.size = elf.SHT_NOBITS, 1<<62 }),
			".data: 4611686018427387904 bytes, expected at most 67108864"},
		"giant common symbol": {data(func(o *object, s *objSection) {
			o.symbol("c", elf.STB_GLOBAL, elf.STT_OBJECT, elf.SHN_COMMON, 8, 1<<63)
		}),
			"common symbol c: 9223372036854775808 bytes more at 0xffffffffc0400010: an image is at most 67108864 bytes from 0xffffffffc0400000, below the last page"},
		"odd common symbol": {data(func(o *object, s *objSection) { o.symbol("c", elf.STB_GLOBAL, elf.STT_OBJECT, elf.SHN_COMMON, 6, 8) }),
			"common symbol c: alignment 0x6, expected a power of two up to 0x200000"},
		"relocations without addends": {data(func(o *object, s *objSection) {
			o.add(objSection{name: ".rel.data", typ: elf.SHT_REL, info: 1})
		}), ".rel.data: relocations without addends (SHT_REL), expected SHT_RELA"},
		"relocations of no section": {data(func(o *object, s *objSection) {
			o.add(objSection{name: ".rela.data", typ: elf.SHT_RELA, info: 77})
		}), ".rela.data: relocations of section 77 of 6"},
		"relocations against no symbols": {data(func(o *object, s *objSection) {
			o.add(objSection{name: ".rela.data", typ: elf.SHT_RELA, info: 1, link: 1})
		}), ".rela.data: relocations against section 1, expected the symbol table (3)"},
		"half a relocation": {data(func(o *object, s *objSection) {
			o.add(objSection{name: ".rela.data", typ: elf.SHT_RELA, info: 1, link: 3, data: make([]byte, 36)})
		}), ".rela.data: 36 bytes, expected a multiple of 24"},
		"livepatch": {data(func(o *object, s *objSection) {
			o.add(objSection{name: ".klp.rela.vmlinux..data", typ: elf.SHT_RELA, flags: elf.SHF_ALLOC | shfLivepatch, info: 1, link: 3})
		}), ".klp.rela.vmlinux..data: relocations of a livepatch against another object, which are not supported"},
		"site table of odd size": {data(func(o *object, s *objSection) { s.name, s.data = "__mcount_loc", make([]byte, 12) }),
			"__mcount_loc: 12 bytes, expected a multiple of 8"},
		"site outside": {data(func(o *object, s *objSection) { s.name = "__mcount_loc"; s.data[9] = 1 }),
			"__mcount_loc+0x8: the 5 bytes at 0x100 are not in the object's code"},
		"patchable entry outside": {data(func(o *object, s *objSection) { s.name = "__patchable_function_entries"; s.data[1] = 1 }),
			"__patchable_function_entries+0x0: 0x100 is not in the object's code"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.o.load(t, LoadOptions{})
			requireLoadError(t, err, "-ENOEXEC: test.o: "+c.want)
		})
	}
}

func TestUndefinedSymbols(t *testing.T) {
	o := &object{}
	o.undefined("printk")
	o.undefined("__fentry__")
	o.symbol("maybe", elf.STB_WEAK, elf.STT_NOTYPE, elf.SHN_UNDEF, 0, 0)
	o.undefined("kmalloc")
	_, err := o.load(t, LoadOptions{})
	var ue *UndefinedError
	require.ErrorAs(t, err, &ue)
	require.Equal(t, []string{"printk", "kmalloc"}, ue.Names)
	require.EqualError(t, err, "-ENOENT: test.o: undefined symbols: printk, kmalloc")

	_, err = o.load(t, LoadOptions{Extern: func(name string) (uint64, bool) { return 1, name == "printk" }})
	require.EqualError(t, err, "-ENOENT: test.o: undefined symbol: kmalloc")

	_, err = o.load(t, LoadOptions{Extern: Placeholders(0xffffffff82000000)})
	require.NoError(t, err)
}

func TestLayout(t *testing.T) {
	o := &object{}
	text := o.add(objSection{name: ".text", flags: textFlags, align: 16, data: []byte{0xc3}})
	o.add(objSection{name: ".bss", typ: elf.SHT_NOBITS, flags: dataFlags, align: 32, size: 5000})
	o.add(objSection{name: ".text.hot", flags: textFlags, align: 64, data: []byte{0xc3, 0xc3}})
	o.add(objSection{name: ".rodata", flags: elf.SHF_ALLOC, data: []byte("text")})
	o.add(objSection{name: ".init.text", flags: textFlags, align: 16, data: []byte{0xc3}})
	o.add(objSection{name: ".comment", data: []byte("not loaded")})
	o.add(objSection{name: ".data", flags: dataFlags, align: 8, data: []byte{1}})
	empty := o.add(objSection{name: ".init.data", flags: dataFlags, align: 8})
	o.fn("f", text, 0, 1)
	o.symbol("end", elf.STB_LOCAL, elf.STT_NOTYPE, elf.SectionIndex(text), 1, 0)
	o.symbol("shared", elf.STB_GLOBAL, elf.STT_OBJECT, elf.SHN_COMMON, 16, 8)
	o.symbol("nothing", elf.STB_GLOBAL, elf.STT_OBJECT, elf.SectionIndex(empty), 0, 0)

	img, err := o.load(t, LoadOptions{Name: "dir/my-guest.ko", Base: 0xffffffffc0000540})
	require.NoError(t, err)
	require.Equal(t, "my_guest", img.Module)
	require.Equal(t, []Section{
		{".text", 0xffffffffc0000540, 1, emu.PermRX},
		{".text.hot", 0xffffffffc0000580, 2, emu.PermRX},
		{".rodata", 0xffffffffc0001000, 4, emu.PermR},
		{".bss", 0xffffffffc0002000, 5000, emu.PermRW},
		{".data", 0xffffffffc0003388, 1, emu.PermRW},
		{".init.text", 0xffffffffc0004000, 1, emu.PermRX},
	}, img.Sections)
	var names []string
	for _, s := range img.Segments {
		require.Zero(t, s.Addr%emu.PageSize)
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"my_guest.text", "my_guest.rodata", "my_guest.data", "my_guest.init.text"}, names)
	require.Equal(t, byte(int3), img.Segments[0].Data[0x541], "gaps between code trap")

	require.Equal(t, []Symbol{
		{"f", 0xffffffffc0000540, 1, true, "my_guest"},
		{"end", 0xffffffffc0000541, 0, true, "my_guest"},
		{"shared", 0xffffffffc0003390, 8, false, "my_guest"},
		{"nothing", 0xffffffffc0005000, 0, false, "my_guest"},
	}, img.Symbols.All())

	mem := emu.NewMemory(emu.MemoryOptions{})
	require.NoError(t, img.Map(mem))
	require.Nil(t, mem.Store(0xffffffffc0003390, make([]byte, 8)), "the common symbol has writable space")
	require.NotNil(t, mem.Store(0xffffffffc0000540, []byte{0}), "code is read-only")
	require.NotNil(t, mem.Fetch(0xffffffffc0001000, make([]byte, 1)), "data is not code")
}

func TestLayoutAtTheTop(t *testing.T) {
	o := &object{}
	o.add(objSection{name: ".text", flags: textFlags, align: 16, data: make([]byte, 8192)})
	_, err := o.load(t, LoadOptions{Base: 0xfffffffffffff000})
	requireLoadError(t, err, "-ENOEXEC: test.o: .text: 8192 bytes more at 0xfffffffffffff000: an image is at most 67108864 bytes from 0xfffffffffffff000, below the last page")
}

func TestModuleName(t *testing.T) {
	o := &object{}
	o.add(objSection{name: ".modinfo", flags: elf.SHF_ALLOC, data: []byte("license=GPL\x00name=livepatch_test\x00depends=\x00")})
	img, err := o.load(t, LoadOptions{})
	require.NoError(t, err)
	require.Equal(t, "livepatch_test", img.Module)
	img, err = o.load(t, LoadOptions{Module: "other"})
	require.NoError(t, err)
	require.Equal(t, "other", img.Module)
}

// Whatever single byte of an object is wrong, it loads to a sound image or gives
// one of the documented errors.
func TestDamagedBytes(t *testing.T) {
	for _, name := range []string{"gcc-ibt-fentry-patchable-16-16", "gcc-mcount"} {
		obj := readFixture(t, name)
		loaded, refused := 0, 0
		for i := range obj {
			for _, v := range []byte{0xff, obj[i] ^ 4} {
				was := obj[i]
				obj[i] = v
				img, err := Load(bytes.NewReader(obj), LoadOptions{Extern: Placeholders(0xffffffff82000000)})
				obj[i] = was
				if err != nil {
					require.ErrorIs(t, err, ErrNoExec, "byte %d is %#x", i, v)
					refused++
					continue
				}
				loaded++
				for _, s := range img.Sites {
					now, err := img.Bytes(s.IP, x86.SiteLen)
					require.NoError(t, err)
					require.Equal(t, x86.Nop5[:], now, "byte %d is %#x", i, v)
				}
			}
		}
		require.NotZero(t, loaded)
		require.NotZero(t, refused)
		t.Logf("%s: %d files loaded, %d refused", name, loaded, refused)
	}
}
