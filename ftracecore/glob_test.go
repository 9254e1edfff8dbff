package ftracecore

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"vfs_read", []string{"vfs_read"}, []string{"vfs_readv", "kvfs_read", ""}},
		{"vfs_*", []string{"vfs_read", "vfs_"}, []string{"vfs", "kvfs_read"}},
		{"*_read", []string{"vfs_read", "_read"}, []string{"vfs_readv", "read"}},
		{"*fs*", []string{"vfs_read", "fs", "xfs"}, []string{"vf_s"}},
		{"*", []string{"", "x", "vfs_read"}, nil},
		{"**", []string{"", "x"}, nil},
		{"t*_b", []string{"tgt_b", "t_b", "tx_b_b"}, []string{"tgt_a", "tgt_bc"}},
		{"*a*b*", []string{"ab", "xaxbx"}, []string{"ba"}},
		{"*a*b", []string{"ab", "xaxb"}, []string{"abc"}},
		{"tgt_?", []string{"tgt_a", "tgt_b"}, []string{"tgt_", "tgt_ab"}},
		{"tgt_[!a]", []string{"tgt_b", "tgt_c"}, []string{"tgt_a"}},
		{"tgt_[a-c]", []string{"tgt_a", "tgt_c"}, []string{"tgt_d", "tgt_-"}},
		{"tgt_[^a]", []string{"tgt_a", "tgt_^"}, []string{"tgt_b"}}, // ^ is no negation here
		{"tgt_[]a]", []string{"tgt_]", "tgt_a"}, []string{"tgt_b"}},
		{"tgt_[a", []string{"tgt_[a"}, []string{"tgt_a"}},
		{`a\*b`, []string{"a*b"}, []string{"axb"}},
		{`a\`, []string{`a\`}, []string{"a"}},
		{"a?*c", []string{"abc", "abbc", "abcc"}, []string{"ac"}},
	} {
		match := compileGlob(tt.pattern)
		for _, s := range tt.yes {
			require.True(t, match(s), "%q matches %q", tt.pattern, s)
		}
		for _, s := range tt.no {
			require.False(t, match(s), "%q matches %q", tt.pattern, s)
		}
	}
}

// The two that have only "*" and "?" in common agree with path.Match.
func TestGlobAgainstPathMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?]{1,8}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "name")
		want, err := path.Match(pattern, name)
		require.NoError(t, err)
		require.Equal(t, want, compileGlob(pattern)(name))
	})
}

func FuzzGlob(f *testing.F) {
	for _, p := range []string{"a*b", "[a-", `\`, "[!]", "**?"} {
		f.Add(p, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := compileGlob(pattern)(name)
		if !strings.ContainsAny(pattern, `*?[\`) && got != (pattern == name) {
			t.Errorf("%q matches %q: %v", pattern, name, got)
		}
	})
}

func TestGlobOfWord(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"tcp_*", "tcp_ack", true}, {"tcp_*", "udp_ack", false}, {"!tcp_*", "tcp_ack", false}, {"!tcp_*", "udp_ack", true},
		{"lcm", "lcm", true}, {"lcm", "lcm_not_zero", false},
	} {
		require.Equal(t, c.want, Glob(c.pattern)(c.name), "%s %s", c.pattern, c.name)
	}
}
