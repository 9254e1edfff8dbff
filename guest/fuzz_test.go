package guest

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

// checkImage checks what must hold of every image, whatever the file was.
func checkImage(t *testing.T, img *Image) {
	t.Helper()
	mem := emu.NewMemory(emu.MemoryOptions{})
	require.NoError(t, img.Map(mem)) // segments do not overlap and are page-aligned
	var last uint64
	for _, s := range img.Sites {
		require.Greater(t, s.IP, last)
		last = s.IP
		require.Len(t, s.Bytes, x86.SiteLen)
		var now x86.Bytes5
		require.Nil(t, mem.Fetch(s.IP, now[:]), "site %s is not in code", s)
		require.Equal(t, x86.Nop5, now)
	}
	for _, s := range img.Padding {
		require.NotEmpty(t, s.Bytes)
		require.Nil(t, mem.Fetch(s.IP, make([]byte, len(s.Bytes))))
	}
	for _, r := range img.Relocs {
		_, err := img.Bytes(r.Addr, uint64(r.Width))
		require.NoError(t, err)
	}
}

// Every file loads or gives one of the documented errors.
func FuzzLoad(f *testing.F) {
	objects, err := filepath.Glob(fixture("*"))
	require.NoError(f, err)
	require.NotEmpty(f, objects)
	for _, name := range objects {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add(oracleObject)
	f.Add(oneReloc(elf.R_X86_64_PC64, 0, 0).build(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		img, err := Load(bytes.NewReader(file), LoadOptions{Extern: Placeholders(0xffffffff82000000)})
		if err != nil {
			var le *LoadError
			require.True(t, errors.As(err, &le), "%T: %v", err, err)
			require.NotEmpty(t, le.What)
			return
		}
		checkImage(t, img)
	})
}
