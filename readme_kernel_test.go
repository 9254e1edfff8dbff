package ftemu_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/guest"
)

// readmeKernel is the kernel whose sessions docs/kernel.md shows.
const readmeKernel = "/boot/vmlinuz-6.1.0-56-amd64"

// TestInstalledKernelSessions runs the console blocks of docs/kernel.md, which want a
// kernel, where that is the one.
func TestInstalledKernelSessions(t *testing.T) {
	path, err := guest.InstalledKernel()
	if err != nil {
		t.Skip(err)
	}
	if filepath.Base(path) != filepath.Base(readmeKernel) {
		t.Skipf("%s is not the kernel of docs/kernel.md", path)
	}
	text, err := os.ReadFile("docs/kernel.md")
	require.NoError(t, err)
	const mark = "```console kernel\n"
	require.Contains(t, string(text), mark)
	runSessions(t, build(t), strings.ReplaceAll(string(text), readmeKernel, path), mark)
}
