package trampoline

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// cpu_wants_rethunk_at: where the return thunk is its_return_thunk, a ret in the
// upper half of a cache line of 64 bytes stays. The first two addresses are those of
// Debian's 6.1.192, whose ftrace_regs_caller returns one way here and the other
// way there.
func TestReturnITS(t *testing.T) {
	const its = 0xffffffff81e01d20
	const thunk, bare = "e9", "c3cccccccc"
	for _, tt := range []struct {
		name string
		code func(Return) (Code, error)
		at   []uint64 // offsets of the returns
		want []string // how their slots begin
	}{
		{"ftrace_caller", func(r Return) (Code, error) {
			return FtraceCaller(CallerSpec{Addr: 0xffffffff81076660, Func: its, OpPtr: its, Return: r})
		}, []uint64{0xc2}, []string{bare}},
		{"ftrace_regs_caller", func(r Return) (Code, error) {
			return FtraceRegsCaller(CallerSpec{Addr: 0xffffffff81076730, Func: its, OpPtr: its, Return: r})
		}, []uint64{0x147, 0x194}, []string{bare, thunk}},
		{"trampoline of an ops", func(r Return) (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: 0xffffffffc0213000, Func: its, Return: r})
		}, []uint64{0xc2}, []string{thunk}},
		{"the same half a cache line on", func(r Return) (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: 0xffffffffc0213020, Func: its, Return: r})
		}, []uint64{0xc2}, []string{"c3cc000000"}},
		{"BPF image", func(r Return) (Code, error) {
			return BPF(BPFSpec{Addr: 0xffffffffc0213000, Return: r})
		}, []uint64{0x11}, []string{thunk}},
		{"BPF image half a cache line on", func(r Return) (Code, error) {
			return BPF(BPFSpec{Addr: 0xffffffffc0213020, Return: r})
		}, []uint64{0x11}, []string{thunk}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, err := tt.code(Return{SLS: true, Thunk: its})
			require.NoError(t, err)
			some, err := tt.code(Return{SLS: true, Thunk: its, ITS: true})
			require.NoError(t, err)
			require.Len(t, some.Bytes, len(all.Bytes))
			for i, at := range tt.at {
				require.EqualValues(t, 0xe9, all.Bytes[at], "any other thunk is needed everywhere")
				got := hex.EncodeToString(some.Bytes[at : at+retSlot])
				require.Equal(t, tt.want[i], got[:len(tt.want[i])], "return at +%#x", at)
			}
		})
	}
}
