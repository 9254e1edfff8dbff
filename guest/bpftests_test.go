package guest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

func TestBPFTestsLayout(t *testing.T) {
	img, err := BPFTests()
	require.NoError(t, err)
	require.Len(t, img.Sites, 6, "ftor_docall and ftor_galt are not traceable")
	mem := emu.NewMemory(emu.MemoryOptions{})
	require.NoError(t, img.Map(mem))
	// The addresses of four were recorded; 3, 5 and 6 lie where there is room for them.
	for name, addr := range map[string]uint64{
		"bpf_fentry_test1": 0xffffffff81855510, "bpf_fentry_test2": 0xffffffff81856b50, "bpf_fentry_test4": 0xffffffff81856b80,
	} {
		sym, ok := img.Symbols.At(addr)
		require.True(t, ok, name)
		require.Equal(t, Symbol{Name: name, Addr: addr, Size: sym.Size, Func: true}, sym, "the core kernel's, without a module")
	}
	for i, s := range img.Sites {
		require.Zero(t, s.Offset, s.Func)
		require.Len(t, img.Params[s.Func], i+1, s.Func)
		var now [5]byte
		require.NoError(t, mem.Read(s.IP, now[:]))
		require.Equal(t, x86.Nop5, now, s.Func)
	}
	for _, name := range []string{"ftor_docall", "ftor_galt", "ftor_cb"} {
		addr, ok := img.Symbols.Lookup(name)
		require.True(t, ok, name)
		sym, _ := img.Symbols.At(addr)
		require.Equal(t, OracleModule, sym.Module, name)
	}
}

func TestSymbolsRemove(t *testing.T) {
	var s Symbols
	s.Add(Symbol{Name: "a", Addr: 1})
	s.Add(Symbol{Name: "a", Addr: 2})
	s.Add(Symbol{Name: "b", Addr: 2})
	s.Remove("a", 1)
	addr, ok := s.Lookup("a")
	require.True(t, ok)
	require.Equal(t, uint64(2), addr)
	s.Remove("a", 2)
	_, ok = s.Lookup("a")
	require.False(t, ok)
	require.Equal(t, []Symbol{{Name: "b", Addr: 2}}, s.All())
	s.Remove("nobody", 2)
	require.Len(t, s.All(), 1)
}
