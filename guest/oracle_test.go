package guest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

// recordedAddrs are the addresses of the recordings, copied from them.
var recordedAddrs = map[string]uint64{
	"f0": 0xffffffffc0201540, "f1": 0xffffffffc02015c0, "f2": 0xffffffffc0201640, "f3": 0xffffffffc02016c0,
	"f4": 0xffffffffc0201740, "f5": 0xffffffffc02017c0, "f6": 0xffffffffc0201840, "f7": 0xffffffffc02018c0,
	"g0": 0xffffffffc0201580, "g1": 0xffffffffc0201600, "g2": 0xffffffffc0201680, "g3": 0xffffffffc0201700,
	"g4": 0xffffffffc0201780, "g5": 0xffffffffc0201800, "g6": 0xffffffffc0201880, "g7": 0xffffffffc0201900,
}

func TestOracleLayout(t *testing.T) {
	img, err := Oracle()
	require.NoError(t, err)
	require.Equal(t, "ftoracle", img.Module)
	require.NoError(t, img.RequireSites())
	require.Empty(t, img.Padding)
	require.Len(t, img.Sites, 8, "g0..g7 are not traceable")
	mem := emu.NewMemory(emu.MemoryOptions{})
	require.NoError(t, img.Map(mem))

	byFunc := make(map[string]Site)
	for _, s := range img.Sites {
		byFunc[s.Func] = s
	}
	for name, addr := range recordedAddrs {
		sym, ok := img.Symbols.At(addr)
		require.True(t, ok, name)
		require.Equal(t, "ftor_"+name, sym.Name)
		require.Equal(t, addr, sym.Addr)
		require.True(t, sym.Func)
		require.LessOrEqual(t, sym.Size, uint64(0x40), name)

		if name[0] == 'g' {
			require.NotContains(t, byFunc, "ftor_"+name)
			continue
		}
		s := byFunc["ftor_"+name]
		require.Equal(t, addr, s.IP, name)
		require.Zero(t, s.Offset)
		require.Equal(t, FentryCall, s.Kind)
		want, ok := x86.EncodeCall(addr, FentryAddr)
		require.True(t, ok)
		require.Equal(t, want[:], s.Bytes, name)
		var now [5]byte
		require.NoError(t, mem.Read(addr, now[:]))
		require.Equal(t, x86.Nop5, now, name)
	}

	docall, ok := img.Symbols.Lookup("ftor_docall")
	require.True(t, ok)
	code, err := img.Bytes(docall, 12)
	require.NoError(t, err)
	require.Contains(t, string(code), "\xff\xd0", "an indirect call, not a jump: the parent is on the stack")

	for _, seg := range img.Segments {
		require.LessOrEqual(t, seg.Addr+uint64(len(seg.Data)), uint64(OracleTrampolines), seg.Name)
	}
	for _, g := range OracleGates() {
		sym, ok := img.Symbols.At(g.Addr + 1)
		require.True(t, ok)
		require.Equal(t, g.Name, sym.Name)
		for _, sec := range img.Sections {
			require.False(t, g.Addr < sec.Addr+sec.Size && g.Addr+oracleGateSize > sec.Addr, "%s is in %s", g.Name, sec.Name)
		}
	}
}
