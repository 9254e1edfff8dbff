package x86

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"
)

// bytesOf reads hexadecimal with blanks.
func bytesOf(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(tb, err)
	return b
}

// x86asm answers these with no error and nothing decoded, with an error, with
// another instruction, or with a wrong length.
var x86asmWrong = []struct {
	code, name string
	args       []x86asm.Arg
}{
	{"f3 0f 1e fa", "endbr64", nil},
	{"f3 0f 1e fb", "endbr32", nil},
	{"f3 48 0f 1e c8", "rdssp", []x86asm.Arg{x86asm.RAX}},
	{"f3 48 0f ae e8", "incssp", []x86asm.Arg{x86asm.RAX}},
	{"66 48 0f 38 f6 c3", "adcx", []x86asm.Arg{x86asm.RAX, x86asm.RBX}},
	{"66 0f 38 f6 c3", "adcx", []x86asm.Arg{x86asm.EAX, x86asm.EBX}},
	{"f3 4c 0f 38 f6 4f f8", "adox", []x86asm.Arg{x86asm.R9, x86asm.Mem{Base: x86asm.RDI, Disp: -8}}},
	{"f3 0f 38 f6 04 25 00 00 00 80", "adox", []x86asm.Arg{x86asm.EAX, x86asm.Mem{Scale: 1, Disp: -1 << 31}}},
	{"f3 0f c7 f8", "rdpid", []x86asm.Arg{x86asm.RAX}},
	{"0f c7 f8", "rdseed", []x86asm.Arg{x86asm.EAX}},
	{"66 0f c7 f9", "rdseed", []x86asm.Arg{x86asm.CX}},
	{"49 0f c7 f8", "rdseed", []x86asm.Arg{x86asm.R8}},
	{"66 0f ae 37", "clwb", []x86asm.Arg{x86asm.Mem{Base: x86asm.RDI}}},
	{"66 0f ae 7f 40", "clflushopt", []x86asm.Arg{x86asm.Mem{Base: x86asm.RDI, Disp: 64}}},
	{"66 0f ae f1", "tpause", []x86asm.Arg{x86asm.ECX}},
	{"f3 0f ae f0", "umonitor", []x86asm.Arg{x86asm.EAX}},
	{"f2 0f ae f1", "umwait", []x86asm.Arg{x86asm.ECX}},
	{"0f 01 ca", "clac", nil},
	{"0f 01 cb", "stac", nil},
	{"0f 01 c1", "vmcall", nil},
	{"0f 01 d9", "vmmcall", nil},
	{"f3 0f 01 d9", "vmgexit", nil},
	{"0f 01 e8", "serialize", nil},
	{"0f 01 ee", "rdpkru", nil},
	{"0f 01 ef", "wrpkru", nil},
	{"f2 0f 01 ff", "pvalidate", nil},
	{"f3 0f 01 fe", "rmpadjust", nil},
	{"c5 f8 77", "vzeroupper", nil},
	{"c5 fc 77", "vzeroall", nil},
	{"c4 e2 78 49 c0", "tilerelease", nil},
	{"48 8b 85 78 ff ff ff", "mov", []x86asm.Arg{x86asm.RAX, x86asm.Mem{Base: x86asm.RBP, Disp: -136}}},
	{"8b 04 25 f8 ff ff ff", "mov", []x86asm.Arg{x86asm.EAX, x86asm.Mem{Scale: 1, Disp: -8}}},
	{"c4 e2 70 f2 85 78 ff ff ff", "andn", []x86asm.Arg{x86asm.EAX, x86asm.ECX, x86asm.Mem{Base: x86asm.RBP, Disp: -136}}},
}

func TestDecodeWhereX86asmIsWrong(t *testing.T) {
	for _, c := range x86asmWrong {
		t.Run(c.code, func(t *testing.T) {
			code := bytesOf(t, c.code)
			for _, tail := range []string{"", "90 90 90 90", "00 00 00 00", "ff ff ff ff"} {
				in, err := Decode(append(bytes.Clone(code), bytesOf(t, tail)...))
				require.NoError(t, err)
				require.Equal(t, c.name, in.Mnemonic())
				require.Equal(t, len(code), in.Len)
				var args []x86asm.Arg
				for _, a := range in.Args {
					if a != nil {
						args = append(args, a)
					}
				}
				require.Equal(t, c.args, args)
			}
			for n := range len(code) {
				_, err := Decode(code[:n])
				require.ErrorIs(t, err, ErrTruncated, "first %d bytes", n)
			}
		})
	}
}

func TestDecodePrefixes(t *testing.T) {
	for _, c := range []struct {
		code string
		want Prefixes
	}{
		{"f3 a4", Prefixes{Rep: 0xf3, N: 1}},
		{"f2 f3 a4", Prefixes{Rep: 0xf3, N: 2}},
		{"f3 f2 a6", Prefixes{Rep: 0xf2, N: 2}},
		{"f3 48 a5", Prefixes{Rep: 0xf3, REX: 0x48, N: 2}},
		{"f0 48 01 07", Prefixes{Lock: true, REX: 0x48, N: 2}},
		{"65 48 8b 04 25 28 00 00 00", Prefixes{Seg: x86asm.GS, REX: 0x48, N: 2}},
		{"64 65 8b 00", Prefixes{Seg: x86asm.GS, N: 2}},
		{"64 3e 8b 00", Prefixes{Seg: x86asm.FS, N: 2}},
		{"2e 8b 00", Prefixes{N: 1}},
		{"66 67 89 07", Prefixes{Has66: true, Has67: true, N: 2}},
	} {
		in, err := Decode(bytesOf(t, c.code))
		require.NoError(t, err, c.code)
		require.Equal(t, c.want, in.Prefixes, c.code)
		require.Equal(t, len(bytesOf(t, c.code)), in.Len, c.code)
	}
}

func TestDecodeSegmentsReachOperands(t *testing.T) {
	for code, want := range map[string]x86asm.Reg{
		"65 8b 00": x86asm.GS, "64 8b 00": x86asm.FS, "3e 8b 00": 0, "65 3e 8b 00": x86asm.GS, "64 65 8b 00": x86asm.GS,
	} {
		in, err := Decode(bytesOf(t, code))
		require.NoError(t, err, code)
		require.Equal(t, want, in.Args[1].(x86asm.Mem).Segment, code)
	}
}

func TestDecodeUnknown(t *testing.T) {
	for _, code := range []string{
		"06",                      // push %es: not in 64-bit mode
		"60",                      // pusha
		"ea 00 00 00 00 00 00 00", // far jmp
		"f0 89 07",                // lock mov
		"f0 01 c0",                // lock add without memory
		"f0 f3 0f 1e fa",          // lock endbr64
		"0f 04",
		"66 e8 00 00 00 00 90 90", // call with operand size: differs by vendor
		"66 c3",
		"66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90",    // longer than 15 bytes
		"2e 2e 2e 2e 2e 2e 2e 2e 2e 48 81 04 25 00 00 00 00 01", // the same with a real instruction
		"2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e",
	} {
		_, err := Decode(bytesOf(t, code))
		require.ErrorIs(t, err, ErrUnknown, code)
	}
}

func TestDecodeTruncated(t *testing.T) {
	for _, code := range []string{
		"", "48", "66", "f3", "0f", "f3 0f", "0f 1f", "0f 1f 44", "0f 1f 44 00", "e8", "e8 01 02 03", "48 b8 01 02 03 04 05 06 07",
		"c5", "c5 f8", "c4", "c4 e2", "62", "81 04 25 00 00 00 00 01 02 03", "0f 38", "0f 3a",
	} {
		_, err := Decode(bytesOf(t, code))
		require.ErrorIs(t, err, ErrTruncated, "%q", code)
	}
}

// TestDecodeAdvances walks over every two-byte beginning: an answer without
// error is an instruction with a length.
func TestDecodeAdvances(t *testing.T) {
	var code [MaxInstLen]byte
	for i := range 1 << 16 {
		code[0], code[1] = byte(i), byte(i>>8)
		for _, fill := range []byte{0x00, 0x90, 0xc0, 0xff} {
			for j := 2; j < len(code); j++ {
				code[j] = fill
			}
			checkDecode(t, code[:])
		}
	}
}

// checkDecode checks what holds for any bytes.
func checkDecode(t *testing.T, code []byte) {
	in, err := Decode(code)
	if err != nil {
		if err != ErrTruncated && err != ErrUnknown {
			t.Fatalf("% x: error %v, expected one of the package's", code, err)
		}
		return
	}
	if in.Op == 0 || in.Len < 1 || in.Len > MaxInstLen || in.Len > len(code) {
		t.Fatalf("% x: op %v, length %d", code, in.Op, in.Len)
	}
	alone, err := Decode(code[:in.Len])
	if err != nil || alone != in {
		t.Fatalf("% x: without the bytes behind it %v, %v, with them %v", code[:in.Len], alone, err, in)
	}
	for n := range in.Len {
		if _, err := Decode(code[:n]); err != ErrTruncated {
			t.Fatalf("% x: the first %d bytes give error %v, expected %v", code[:in.Len], n, err, ErrTruncated)
		}
	}
	text, n, err := Disasm(code, 0xffffffff81000000, nil)
	if err != nil || n != in.Len || text == "" || strings.Contains(text, "%!") || strings.Contains(text, "Reg(") {
		t.Fatalf("% x: disassembled as %q, %d bytes, error %v", code[:in.Len], text, n, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range x86asmWrong {
		f.Add(bytesOf(f, c.code))
	}
	f.Add([]byte{0xe8, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, code []byte) { checkDecode(t, code) })
}
