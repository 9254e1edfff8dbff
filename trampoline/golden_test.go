package trampoline

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenNames names the addresses that occur in golden listings.
func goldenNames(addr uint64) (name string, offset uint64, ok bool) {
	for _, s := range []struct {
		addr, size uint64
		name       string
	}{
		{fnAddr, 0x40, "fn"},
		{0xffffffff81006000, 1, "ftrace_stub"},
		{0xffffffff81007000, 1, "return_thunk"},
		{opPtrAddr, 8, "function_trace_op"},
		{gateBase, 1, "log_entry"},
		{gateBase + 0x10, 1, "log_exit"},
		{gateBase + 0x20, 1, "callback"},
		{opsAddr, 1, "some_ops"},
		{bpfEnter, 1, "__bpf_prog_enter_recur"},
		{bpfExit, 1, "__bpf_prog_exit_recur"},
		{trampIn, 1, "__bpf_tramp_enter"},
		{trampOut, 1, "__bpf_tramp_exit"},
		{funcAddr, 0x40, "traced"},
		{bpfCode, 1, "program0"},
		{bpfCode + 0x40, 1, "program1"},
		{bpfCode + 0x80, 1, "program2"},
	} {
		if addr-s.addr < s.size {
			return s.name, addr - s.addr, true
		}
	}
	return "", 0, false
}

// TestGolden compares listings of every layout with files that a reviewer can
// read.
func TestGolden(t *testing.T) {
	direct := func(k DirectKind) func() (Code, error) {
		return func() (Code, error) {
			return Direct(DirectSpec{Kind: k, Addr: trampAddr, ID: 3, LogEntry: gateBase, LogExit: gateBase + 0x10, Body: bodyAddr})
		}
	}
	caller := CallerSpec{Addr: regsAddr, Func: 0xffffffff81006000, OpPtr: opPtrAddr}
	thunk := Return{SLS: true, Thunk: 0xffffffff81007000}
	for _, tt := range []struct {
		name string
		make func() (Code, error)
	}{
		{"direct-pass", direct(Pass)},
		{"direct-share", direct(Share)},
		{"direct-orig", direct(Orig)},
		{"direct-skip", direct(Skip)},
		{"ftrace_caller", func() (Code, error) { return FtraceCaller(caller) }},
		{"ftrace_regs_caller", func() (Code, error) { return FtraceRegsCaller(caller) }},
		{"ftrace_caller-thunk", func() (Code, error) { c := caller; c.Return = thunk; return FtraceCaller(c) }},
		{"ftrace_stub", func() (Code, error) { return FtraceStub(0xffffffff81006000, Return{}) }},
		{"fentry", func() (Code, error) { return Fentry(0xffffffff81006010, thunk) }},
		{"ops", func() (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: trampAddr, Func: gateBase + 0x20, Ops: opsAddr, Return: Return{SLS: true}})
		}},
		{"ops-regs", func() (Code, error) {
			return OpsTrampoline(OpsSpec{Addr: trampAddr, Func: gateBase + 0x20, Ops: opsAddr, SaveRegs: true})
		}},
		{"bpf-fentry", func() (Code, error) {
			s := bpfSpec(2, RestoreRegs)
			s.Fentry = []BPFProg{bpfProg(0)}
			return BPF(s)
		}},
		{"bpf-all", func() (Code, error) {
			s := bpfSpec(6, CallOrig|SkipFrame|OrigStack|IPArg)
			s.Fentry, s.FmodRet, s.Fexit = []BPFProg{bpfProg(0)}, []BPFProg{bpfProg(1)}, []BPFProg{bpfProg(2)}
			s.Fexit[0].Cookie = 0x1234
			s.Return = thunk
			return BPF(s)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, err := tt.make()
			require.NoError(t, err)
			file := filepath.Join("..", "testdata", "trampoline", tt.name+".golden")
			got := code.Listing(goldenNames)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// TestListingOddities has what a listing must cope with besides instructions.
func TestListingOddities(t *testing.T) {
	code := Code{Name: "odd", Addr: 0x1000, Bytes: []byte{0xc3, 0x06, 0xe8, 0x00}, Labels: map[string]uint64{"end": 4, "b": 1, "a": 1}}
	require.Equal(t, `odd: 4 bytes at 0x1000
   0  c3                                   ret
a:
b:
   1  06                                   .byte 0x06
   2  e8                                   .byte 0xe8
   3  00                                   .byte 0x00
end:
`, code.Listing(nil))
}
