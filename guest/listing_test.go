package guest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

// requireGolden compares with a file of testdata/guest.
func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("..", "testdata", "guest", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestWriteSites(t *testing.T) {
	for _, name := range []string{"gcc-ibt-patchable-21-16", "gcc-ibt-fentry", "clang-patchable-5", "gcc-plain"} {
		var b strings.Builder
		require.NoError(t, loadFixture(t, fixture(name)).WriteSites(&b))
		requireGolden(t, name+".sites", b.String())
	}
}

func TestSiteList(t *testing.T) {
	img := loadFixture(t, fixture("gcc-ibt-fentry-patchable-16-16"))
	list := img.SiteList()
	require.Len(t, list, len(img.Sites)+len(img.Padding))
	b, err := json.Marshal(list[1:3])
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"ip": "0xffffffffc0400010", "func": "hidden", "offset": 0, "kind": "fentry-call", "ftrace": true, "bytes": "e83b66c7c0"},
		{"ip": "0xffffffffc0400030", "func": "indirect", "offset": -16, "kind": "padding", "ftrace": false, "bytes": "90909090909090909090909090909090"}
	]`, string(b))
	for i := 1; i < len(list); i++ {
		require.Less(t, list[i-1].IP, list[i].IP)
	}
	require.Empty(t, loadFixture(t, fixture("gcc-plain")).SiteList())
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteSitesReportsErrors(t *testing.T) {
	require.ErrorIs(t, loadFixture(t, fixture("gcc-fentry")).WriteSites(fullWriter{}), os.ErrClosed)
}
