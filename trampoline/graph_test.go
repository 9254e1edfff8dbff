package trampoline

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReturnToHandler(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    Return
		ret  string
	}{
		{"ret", Return{}, "c3cccccccc"},
		{"thunk", Return{Thunk: 0xffffffff81001000}, "e9ccffffff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ReturnToHandler(0xffffffff81001000, 0xffffffff81002000, tt.r)
			require.NoError(t, err)
			require.Equal(t, "4883ec10"+"48890424"+"4889542408"+"4889ef"+"e8eb0f0000"+"4889c7"+"488b542408"+"488b0424"+
				"4883c410"+"e801000000"+"cc"+"48893c24"+tt.ret, hex.EncodeToString(c.Bytes))
		})
	}
}
