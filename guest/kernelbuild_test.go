package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

// A tinyKernel is a linked kernel to be written by a test, with what the loader
// looks at: code with sites, kallsyms, the table of sites, per-CPU data, bss.
type tinyKernel struct {
	symtab  bool // has a symbol table; else kallsyms alone
	newer   bool // kallsyms as since Linux 6.4
	seqs    bool // kallsyms with seqs_of_names
	relBase bool // offsets from the base for all symbols, of which none is zero-based
	funcs   int  // how many functions with sites; 0: 3
	badSite bool // the table of sites names an address in the data
	badCall bool // a site calls something else
}

const (
	tinyText   = 0xffffffff81000000
	tinyRodata = 0xffffffff81002000
	tinyInit   = 0xffffffff81200000
	tinyPerCPU = 0xffffffff81300000
	tinyBSS    = 0xffffffff81400000
	tinySpace  = 0x20 // from one function to the next
)

func (k tinyKernel) count() int {
	if k.funcs == 0 {
		return 3
	}
	return k.funcs
}

// symbols lists the kernel's symbols, ascending. Two functions are followed by the
// remains of one that has lost its name.
func (k tinyKernel) symbols() []ksym {
	var syms []ksym
	if !k.relBase {
		syms = []ksym{{name: "fixed_percpu_data", typ: 'A', addr: 0}, {name: "cpu_number", typ: 'A', addr: 0x20}}
	}
	syms = append(syms, ksym{name: "__fentry__", typ: 'T', addr: tinyText})
	for i := range k.count() {
		typ := byte("tTW"[i%3])
		syms = append(syms, ksym{name: fmt.Sprintf("func_%c%d", 'a'+i%26, i), typ: typ, addr: k.fn(i)})
	}
	return append(syms,
		ksym{name: "__start_mcount_loc", typ: 'D', addr: tinyInit + 8},
		ksym{name: "__stop_mcount_loc", typ: 'D', addr: tinyInit + 8 + 8*uint64(k.count()+1)},
		ksym{name: "jiffies", typ: 'B', addr: tinyBSS})
}

func (k tinyKernel) fn(i int) uint64 { return tinyText + tinySpace*uint64(1+i) }

// lost is the site of the function without a name.
func (k tinyKernel) lost() uint64 { return k.fn(0) + tinySpace/2 }

func (k tinyKernel) build(t testing.TB) []byte {
	le := binary.LittleEndian
	text := bytes.Repeat([]byte{0xcc}, int(k.fn(k.count())-tinyText))
	copy(text, []byte{0xc3})
	var sites []uint64
	call := func(ip uint64) {
		b, ok := x86.EncodeCall(ip, tinyText)
		require.True(t, ok)
		copy(text[ip-tinyText:], append(b[:], 0xc3))
		sites = append(sites, ip)
	}
	for i := range k.count() {
		call(k.fn(i))
	}
	call(k.lost())
	if k.badCall {
		text[k.fn(0)-tinyText+1]++
	}
	slices.Sort(sites)
	init := le.AppendUint64(nil, 0)
	for i, s := range sites {
		if k.badSite && i == 1 {
			s = tinyRodata
		}
		init = le.AppendUint64(init, s)
	}
	var ro []byte
	if !k.symtab {
		ro = append(bytes.Repeat([]byte{0}, 24), k.kallsyms()...)
	}
	ro = append(ro, make([]byte, 8)...)

	type section struct {
		name       string
		typ        elf.SectionType
		flags      elf.SectionFlag
		addr, phys uint64
		data       []byte
		size       uint64 // of a section without data
	}
	secs := []section{
		{name: ".text", typ: elf.SHT_PROGBITS, flags: textFlags, addr: tinyText, data: text},
		{name: ".rodata", typ: elf.SHT_PROGBITS, flags: dataFlags, addr: k.rodata(), data: ro},
		{name: ".init.data", typ: elf.SHT_PROGBITS, flags: dataFlags, addr: tinyInit, data: init},
		{name: ".data..percpu", typ: elf.SHT_PROGBITS, flags: dataFlags, phys: tinyPerCPU - KernelBase, data: []byte("per-CPU data")},
		{name: ".bss", typ: elf.SHT_NOBITS, flags: dataFlags, addr: tinyBSS, size: 0x2345},
	}
	var symdata, strtab bytes.Buffer
	strtab.WriteByte(0)
	require.NoError(t, binary.Write(&symdata, le, elf.Sym64{}))
	if k.symtab {
		for _, s := range slices.Backward(k.symbols()) {
			typ := elf.STT_OBJECT
			if strings.IndexByte("tTwW", s.typ) >= 0 {
				typ = elf.STT_FUNC
			}
			require.NoError(t, binary.Write(&symdata, le, elf.Sym64{Name: uint32(strtab.Len()), Info: elf.ST_INFO(elf.STB_GLOBAL, typ), Shndx: 1, Value: s.addr}))
			strtab.WriteString(s.name + "\x00")
		}
	}
	names := "\x00"
	var body, headers, progs bytes.Buffer
	start := uint64(64 + 56*len(secs))
	require.NoError(t, binary.Write(&headers, le, elf.Section64{}))
	name := func(n string) uint32 {
		names += n + "\x00"
		return uint32(len(names) - len(n) - 1)
	}
	for _, s := range secs {
		size := max(s.size, uint64(len(s.data)))
		phys := s.phys
		if phys == 0 {
			phys = s.addr - KernelBase
		}
		off := start + uint64(body.Len())
		body.Write(s.data)
		require.NoError(t, binary.Write(&headers, le, elf.Section64{Name: name(s.name), Type: uint32(s.typ), Flags: uint64(s.flags), Addr: s.addr, Off: off, Size: size, Addralign: 1}))
		require.NoError(t, binary.Write(&progs, le, elf.Prog64{Type: uint32(elf.PT_LOAD), Off: off, Vaddr: s.addr, Paddr: phys, Filesz: uint64(len(s.data)), Memsz: size}))
	}
	extra := func(n string, typ elf.SectionType, data []byte, link, entsize int) {
		off := start + uint64(body.Len())
		body.Write(data)
		require.NoError(t, binary.Write(&headers, le, elf.Section64{Name: name(n), Type: uint32(typ), Off: off, Size: uint64(len(data)), Link: uint32(link), Entsize: uint64(entsize)}))
	}
	count := 1 + len(secs)
	if k.symtab {
		extra(".symtab", elf.SHT_SYMTAB, symdata.Bytes(), count+1, 24)
		extra(".strtab", elf.SHT_STRTAB, strtab.Bytes(), 0, 0)
		count += 2
	}
	extra(".shstrtab", elf.SHT_STRTAB, []byte(names+".shstrtab\x00"), 0, 0)
	hdr := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Phentsize: 56,
		Phoff: 64, Phnum: uint16(len(secs)), Shoff: start + uint64(body.Len()), Shnum: uint16(count + 1), Shstrndx: uint16(count),
	}
	copy(hdr.Ident[:], elf.ELFMAG)
	hdr.Ident[elf.EI_CLASS], hdr.Ident[elf.EI_DATA], hdr.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var out bytes.Buffer
	require.NoError(t, binary.Write(&out, le, hdr))
	out.Write(progs.Bytes())
	out.Write(body.Bytes())
	out.Write(headers.Bytes())
	return out.Bytes()
}

// rodata is where the read-only data begins: behind the code.
func (k tinyKernel) rodata() uint64 { return max(tinyRodata, alignUp(k.fn(k.count()), 0x1000)) }

// kallsyms encodes the symbols as scripts/kallsyms does, with a token of its own
// for each character that occurs and a few longer ones.
func (k tinyKernel) kallsyms() []byte {
	le := binary.LittleEndian
	syms := k.symbols()
	var tokens [kallsymsTokens]string
	for i := range tokens {
		tokens[i] = "-" // never used
		if c := byte(i); c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			tokens[i] = string(rune(c))
		}
	}
	tokens[0], tokens[1], tokens[200] = "func_", "mcount_loc", "__st"
	compress := func(s string) (out []byte) {
		for s != "" {
			best := 0
			for i, t := range tokens {
				if strings.HasPrefix(s, t) && (tokens[best] == "" || !strings.HasPrefix(s, tokens[best]) || len(t) > len(tokens[best])) {
					best = i
				}
			}
			out = append(out, byte(best))
			s = s[len(tokens[best]):]
		}
		return out
	}
	pad := func(b []byte) []byte { return append(b, make([]byte, align8(len(b))-len(b))...) }
	var offsets, names, markers, table, index, seqs []byte
	for i, s := range syms {
		off := uint32(s.addr)
		switch {
		case k.relBase:
			off = uint32(s.addr - tinyText)
		case s.addr >= KernelBase:
			off = uint32(-1 - int64(s.addr-tinyText))
		}
		offsets = le.AppendUint32(offsets, off)
		if i%kallsymsMarker == 0 {
			markers = le.AppendUint32(markers, uint32(len(names)))
		}
		c := compress(string(s.typ) + s.name)
		names = append(append(names, byte(len(c))), c...)
		seqs = append(seqs, byte(i>>16), byte(i>>8), byte(i))
	}
	for _, t := range tokens {
		index = le.AppendUint16(index, uint16(len(table)))
		table = append(append(table, t...), 0)
	}
	where := append(pad(offsets), le.AppendUint64(nil, tinyText)...)
	var out []byte
	if !k.newer {
		out = append(out, where...)
	}
	out = append(out, pad(le.AppendUint32(nil, uint32(len(syms))))...)
	out = append(append(out, pad(names)...), pad(markers)...)
	if k.seqs {
		out = append(out, pad(seqs)...)
	}
	out = append(append(out, pad(table)...), index...)
	if k.newer {
		out = append(out, where...)
	}
	return out
}

// bzImage puts a payload into a bzImage.
func bzImage(payload []byte) []byte {
	img := make([]byte, 3*bzSector)
	img[bzSetupSects] = 2
	copy(img[bzMagic:], "HdrS")
	binary.LittleEndian.PutUint16(img[bzVersion:], 0x20f)
	binary.LittleEndian.PutUint32(img[bzPayloadOffset:], 16)
	binary.LittleEndian.PutUint32(img[bzPayloadLength:], uint32(len(payload)))
	return append(append(img, make([]byte, 16)...), payload...)
}
