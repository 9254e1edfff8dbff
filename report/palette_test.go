package report

import (
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// pairs are the texts of the style and what they stand on.
var pairs = [][2]string{
	{"text", "page"}, {"text", "panel"}, {"faint", "page"}, {"faint", "panel"}, {"link", "page"}, {"link", "panel"},
	{"good", "page"}, {"good", "panel"}, {"bad", "page"}, {"bad", "panel"}, {"bad", "bad-back"}, {"faint", "bad-back"}, {"text", "bad-back"},
	{"new", "new-back"}, {"new", "page"}, {"nop", "nop-back"}, {"nop", "page"}, {"trap", "trap-back"}, {"page", "bad"},
	{"tracer", "tracer-back"}, {"tracer", "page"}, {"klp", "klp-back"}, {"klp", "page"}, {"direct", "direct-back"}, {"direct", "page"},
	{"plain", "plain-back"}, {"plain", "page"}, {"text", "plain-back"}, {"text", "new-back"}, {"faint", "plain-back"},
}

var (
	rootRule = regexp.MustCompile(`:root \{([^}]*)\}`)
	colour   = regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)
)

// palettes are the colours of the style sheet: light, dark, print.
func palettes(t *testing.T) []map[string]string {
	style, err := files.ReadFile("style.css")
	require.NoError(t, err)
	var out []map[string]string
	for _, rule := range rootRule.FindAllStringSubmatch(string(style), -1) {
		p := make(map[string]string)
		for _, c := range colour.FindAllStringSubmatch(rule[1], -1) {
			p[c[1]] = c[2]
		}
		out = append(out, p)
	}
	require.Len(t, out, 3)
	return out
}

// luminance is that of WCAG 2.
func luminance(t *testing.T, rgb string) float64 {
	v, err := strconv.ParseUint(rgb, 16, 32)
	require.NoError(t, err)
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(v>>(16-8*i)&0xff) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

func TestContrast(t *testing.T) {
	for i, p := range palettes(t) {
		for _, pair := range pairs {
			text, back := luminance(t, p[pair[0]]), luminance(t, p[pair[1]])
			ratio := (max(text, back) + 0.05) / (min(text, back) + 0.05)
			require.GreaterOrEqual(t, ratio, 4.5, "palette %d: %s on %s", i, pair[0], pair[1])
		}
	}
}

func TestPrintIsLight(t *testing.T) {
	p := palettes(t)
	require.Equal(t, p[0], p[2])
	require.Len(t, p[1], len(p[0]))
}
