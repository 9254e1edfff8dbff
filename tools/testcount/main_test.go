package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCount(t *testing.T) {
	for name, tt := range map[string]struct {
		in, want string
		failed   bool
	}{
		"pass and skip": {
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: no gcc\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`,
			want: "skipped: p TestB: a_test.go:9: no gcc\nok  \tp\t0.1s\n1 tests passed, 0 failed, 1 skipped\n",
		},
		"failure with what it said": {
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`,
			want: "    a_test.go:1: wrong\nFAIL\tp\t0.1s\n0 tests passed, 1 failed, 0 skipped\n", failed: true,
		},
		"does not build": {
			in:     `{"ImportPath":"p","Action":"build-output","Output":"p.go:1: syntax error\n"}` + "\n" + `{"ImportPath":"p","Action":"build-fail"}` + "\n",
			want:   "p.go:1: syntax error\n0 tests passed, 0 failed, 0 skipped\n",
			failed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			failed, err := count(strings.NewReader(tt.in), &out)
			require.NoError(t, err)
			require.Equal(t, tt.failed, failed)
			require.Equal(t, tt.want, out.String())
		})
	}
}
