package guest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteDisasm(t *testing.T) {
	for _, c := range []struct{ fixture, function string }{
		{"gcc-ibt-patchable-21-16", "nested"},
		{"gcc-fentry", "count"},
		{"clang-patchable-5", "walk"},
	} {
		var b strings.Builder
		require.NoError(t, loadFixture(t, fixture(c.fixture)).WriteDisasm(&b, c.function))
		requireGolden(t, c.fixture+"."+c.function+".disasm", b.String())
	}
}

var listingLine = regexp.MustCompile(`^  ffffffffc04[0-9a-f]{5}  \S`)

// The whole listing has each function once, marks every site and relocation
// inside of functions, and leaves no byte out.
func TestWriteDisasmOfAll(t *testing.T) {
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			img := loadFixture(t, fixture(name))
			var b strings.Builder
			require.NoError(t, img.WriteDisasm(&b, ""))
			text := b.String()
			require.NotContains(t, text, ".byte", "compilers make instructions only")
			require.Equal(t, len(img.Sites), strings.Count(text, "# site, "))
			padding, relocs := 0, 0
			for _, p := range img.Padding {
				if p.Kind == PadBefore {
					padding++
				}
			}
			for _, r := range img.Relocs {
				if sec, ok := img.section(r.Addr); ok && strings.Contains(sec.Name, "text") {
					relocs++
				}
			}
			require.Equal(t, padding, strings.Count(text, "# padding"))
			require.Equal(t, relocs, strings.Count(text, "R_X86_64_"))
			functions := 0
			for line := range strings.Lines(text) {
				switch {
				case strings.HasSuffix(line, ">:\n"):
					functions++
				case line != "\n":
					require.Regexp(t, listingLine, line)
				}
				require.NotRegexp(t, ` \n$`, line)
			}
			want := 0
			for _, sym := range img.Symbols.All() {
				if sym.Func {
					want++
				}
			}
			require.GreaterOrEqual(t, want, 10)
			require.Equal(t, want, functions)
		})
	}
}

func TestWriteDisasmErrors(t *testing.T) {
	img := loadFixture(t, fixture("gcc-fentry"))
	var b strings.Builder
	require.EqualError(t, img.WriteDisasm(&b, "nobody"), "gcc-fentry.o: no function nobody")
	require.EqualError(t, img.WriteDisasm(&b, "counter"), "gcc-fentry.o: no function counter")
	require.Empty(t, b.String())
	require.ErrorIs(t, img.WriteDisasm(fullWriter{}, "leaf"), os.ErrClosed)
	empty, err := (&object{}).load(t, LoadOptions{})
	require.NoError(t, err)
	require.EqualError(t, empty.WriteDisasm(&b, ""), "test.o: no functions")
}

// Bytes that are no instruction are listed one by one.
func TestWriteDisasmOfGarbage(t *testing.T) {
	var b strings.Builder
	img, err := codeObject(".text", "", []byte{0x06, 0x07, 0xc3, 0x0f}, []uint64{0}).load(t, LoadOptions{})
	require.NoError(t, err)
	require.NoError(t, img.WriteDisasm(&b, "f0"))
	require.Equal(t, 3, strings.Count(b.String(), ".byte 0x"), b.String())
}
