package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trampoline"
)

// made is a trampoline made for a sample.
func made(t *testing.T, ret trampoline.Return) (trampoline.Code, *File) {
	m, err := trampoline.NewBuiltin("fexit", trampoline.BuiltinOptions{})
	require.NoError(t, err)
	var s trampoline.Sample
	env := s.Env(ret)
	p, err := m.Make(env)
	require.NoError(t, err)
	symbols := map[string]uint64{}
	for _, n := range s.Names() {
		symbols[n], err = s.Symbol(n)
		require.NoError(t, err)
	}
	return p.Code, New(p.Code, env, symbols)
}

func TestRoundTrip(t *testing.T) {
	for _, ret := range []trampoline.Return{{}, {SLS: true}, {Thunk: trampoline.SampleThunk}} {
		code, f := made(t, ret)
		dir := filepath.Join(t.TempDir(), "new")
		paths, err := f.Write(dir, "listing\n")
		require.NoError(t, err)
		require.Equal(t, []string{filepath.Join(dir, "fexit.json"), filepath.Join(dir, "fexit.lst")}, paths)
		listing, err := os.ReadFile(paths[1])
		require.NoError(t, err)
		require.Equal(t, "listing\n", string(listing))

		back, err := Read(paths[0])
		require.NoError(t, err)
		require.Equal(t, f, back)
		require.NoError(t, back.Compare(code))
		m, err := trampoline.NewBuiltin("fexit", trampoline.BuiltinOptions{})
		require.NoError(t, err)
		again, err := m.Make(back.Env())
		require.NoError(t, err)
		require.NoError(t, back.Compare(again.Code))
	}
}

func TestCompare(t *testing.T) {
	code, f := made(t, trampoline.Return{})
	change := func(fn func(c *trampoline.Code)) error {
		c := code
		c.Bytes = append([]byte(nil), code.Bytes...)
		fn(&c)
		return f.Compare(c)
	}
	for _, tt := range []struct {
		change func(c *trampoline.Code)
		want   string
	}{
		{func(c *trampoline.Code) { c.Bytes[7] = 0x38 },
			`fexit: at +0x4: found "sub    $0x38,%rsp" (48 83 ec 38), expected "sub    $0x30,%rsp" (48 83 ec 30): differs from the golden`},
		{func(c *trampoline.Code) { c.Bytes = c.Bytes[:len(c.Bytes)-1] }, `found the end, expected "ret" (c3)`},
		{func(c *trampoline.Code) { c.Bytes = append(c.Bytes, 0x06) }, `found 06, expected the end`},
		{func(c *trampoline.Code) { c.Bytes = nil }, `at +0x0: found the end, expected "push   %rbp" (55)`},
		{func(c *trampoline.Code) { c.Addr++ }, `fexit: made for address 0xffffffffc0200001, expected 0xffffffffc0200000`},
	} {
		err := change(tt.change)
		require.ErrorIs(t, err, ErrDiffers)
		require.ErrorContains(t, err, tt.want)
	}
}

func TestBadFiles(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "unexpected end of JSON"},
		{"{}", "schema 0, expected 1"},
		{`{"schema":1,"size":2,"bytes":"c3"}`, "bytes are not 2 bytes in hexadecimal"},
		{`{"schema":1,"size":1,"bytes":"zz"}`, "bytes are not 1 bytes in hexadecimal"},
		{`{"schema":1,"addr":"x"}`, `found address "x", expected 0x and hexadecimal digits`},
	} {
		file := filepath.Join(t.TempDir(), "f.json")
		require.NoError(t, os.WriteFile(file, []byte(tt.text), 0o644))
		_, err := Read(file)
		require.ErrorContains(t, err, tt.want)
		require.True(t, strings.HasPrefix(err.Error(), file), err)
	}
	_, f := made(t, trampoline.Return{})
	_, err := f.Env().Symbol("nobody")
	require.EqualError(t, err, `fexit: the golden has no symbol "nobody"`)
}
