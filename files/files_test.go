package files

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"old", "new and longer", ""} {
		require.NoError(t, Replace(file, []byte(text)))
		found, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, text, string(found))
	}
	require.NoError(t, Replace(os.DevNull, []byte("x")))
	left, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	require.NoError(t, Check(file))
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o644))
	require.NoError(t, Check(file))
	require.NoError(t, Check(os.DevNull))
	require.EqualError(t, Check(file+"/x"), "write "+file+"/x: not a directory")
	require.EqualError(t, Check(dir+"/none/x"), "write "+dir+"/none/x: no such file or directory")
	require.ErrorContains(t, Check(dir), "is a directory")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing was made")
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o644))
	require.EqualError(t, Replace(file+"/x", []byte("new")), "write "+file+"/x: not a directory")
	require.EqualError(t, Replace(dir+"/none/x", []byte("new")), "write "+dir+"/none/x: no such file or directory")
	require.ErrorContains(t, Replace(dir, []byte("new")), "is a directory")
	if _, err := os.Stat("/dev/full"); err == nil {
		require.EqualError(t, Replace("/dev/full", []byte("new")), "write /dev/full: no space left on device")
	}
	found, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "old", string(found))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
