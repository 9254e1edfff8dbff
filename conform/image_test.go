package conform_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/conform"
	"ftemu/trampoline"
)

// capture describes code of our own as a captured image would be: machine code
// of a kernel is not kept here.
func capture(t *testing.T, code trampoline.Code, err error, more map[string]any) map[string]any {
	require.NoError(t, err)
	obj := map[string]any{
		"set": "s", "name": "n", "image_address": fmt.Sprintf("%#x", code.Addr), "size": len(code.Bytes),
		"bytes": hex.EncodeToString(code.Bytes), "prog_addresses": map[string]string{},
	}
	for k, v := range more {
		obj[k] = v
	}
	names := map[uint64]string{
		its: "its_return_thunk", enter: "__bpf_prog_enter_recur", exit: "__bpf_prog_exit_recur", trampEnter: "__bpf_tramp_enter", trampExit: "__bpf_tramp_exit",
	}
	kinds := map[trampoline.RefKind]string{
		trampoline.RefCall: "call", trampoline.RefJmp: "jmp", trampoline.RefRIPRel: "riprel", trampoline.RefImm64: "imm64",
	}
	refs := []map[string]any{}
	for _, r := range code.Refs {
		ref := map[string]any{"off": r.Off, "kind": kinds[r.Kind]}
		switch r.Kind {
		case trampoline.RefQuad:
			continue
		case trampoline.RefImm64:
			ref["value"] = fmt.Sprintf("%x", r.Target)
		default:
			ref["target"], ref["sym"] = fmt.Sprintf("%x", r.Target), names[r.Target]
		}
		refs = append(refs, ref)
	}
	obj["refs"] = refs
	return obj
}

const (
	at         = 0xffffffffc0213000
	fn         = 0xffffffff81856b50
	enter      = 0xffffffff8123eef0
	exit       = 0xffffffff8123f110
	trampEnter = 0xffffffff8123f750
	trampExit  = 0xffffffff8123f780
	its        = 0xffffffff81e01d20
)

// images are one of each kind.
func images(t *testing.T) map[string]map[string]any {
	thunk := trampoline.Return{SLS: true, Thunk: 0xffffffff81e018a0}
	caller := trampoline.CallerSpec{Addr: 0xffffffff81076660, Func: 0xffffffff811af770, OpPtr: 0xffffffff82c3d478, Return: thunk}
	plain, err := trampoline.FtraceCaller(caller)
	require.NoError(t, err)
	plain.Bytes = append(plain.Bytes, 0x0f, 0x1f, 0x00) // the linker's padding
	out := map[string]map[string]any{
		"ftrace_caller": capture(t, plain, nil, map[string]any{"kind": "text", "name": "ftrace_caller.idle"}),
	}
	caller.Addr, caller.Return = 0xffffffff81076730, trampoline.Return{Thunk: its, ITS: true}
	mixed, err := trampoline.FtraceRegsCaller(caller)
	out["ftrace_regs_caller"] = capture(t, mixed, err, map[string]any{"kind": "text", "name": "ftrace_regs_caller.idle"})
	ops := trampoline.OpsSpec{Addr: at, Func: 0xffffffffc0201970, Ops: 0xffff888005000200, SaveRegs: true, Return: thunk}
	code, err := trampoline.OpsTrampoline(ops)
	out["ops"] = capture(t, code, err, map[string]any{
		"kind": "ops-trampoline", "ops_address": "0xffff888005000200", "ops": "ENABLED|SAVE_REGS|ALLOC_TRAMP",
	})
	prog := func(n uint64, cookie uint64) trampoline.BPFProg {
		return trampoline.BPFProg{Prog: 0xffffc90000040000 + n, Func: 0xffffffffc0000600 + n, Cookie: cookie, Enter: enter, Exit: exit}
	}
	bpf := trampoline.BPFSpec{
		Addr: at, Args: []int{4, 8, 1}, Func: fn, Image: 0xffff88800575f400, TrampEnter: trampEnter, TrampExit: trampExit, Return: thunk,
		Flags:  trampoline.CallOrig | trampoline.SkipFrame | trampoline.OrigStack | trampoline.IPArg,
		Fentry: []trampoline.BPFProg{prog(0x20, 0), prog(0, 0x1234567890)}, Fexit: []trampoline.BPFProg{prog(0x40, 0)},
	}
	code, err = trampoline.BPF(bpf)
	out["bpf"] = capture(t, code, err, map[string]any{
		"kind": "bpf-trampoline", "fn": "bpf_fentry_test3", "args": 3, "reads_return_slot": true,
		"site":           map[string]string{"ip": fmt.Sprintf("%x", uint64(fn))},
		"progs":          []map[string]string{{"name": "fe_1", "type": "fentry/cookie"}, {"name": "fe_2", "type": "fentry"}, {"name": "fx_3", "type": "fexit/ip"}},
		"prog_addresses": map[string]string{"bpf_prog_a04f5eef06a7f555_fe_1": "0xffffffffc0000600", "bpf_prog_a04f5eef06a7f555_fe_2": "0xffffffffc0000620", "bpf_prog_a04f5eef06a7f555_fx_3": "0xffffffffc0000640"},
	})
	return out
}

func readImage(t *testing.T, obj map[string]any) conform.Recording {
	b, err := json.Marshal(obj)
	require.NoError(t, err)
	return conform.Read("f", strings.NewReader(string(b)))[0]
}

// An image agrees with its description, and a changed bit in any byte of it is found, in
// the instruction that it is in.
func TestImages(t *testing.T) {
	for name, obj := range images(t) {
		t.Run(name, func(t *testing.T) {
			rec := readImage(t, obj)
			require.NoError(t, rec.Err)
			rep, err := rec.Case.Run(conform.Options{Steps: true})
			require.NoError(t, err)
			require.Empty(t, rep.Diffs)
			require.Greater(t, len(rep.Steps), 30)
			code, err := hex.DecodeString(obj["bytes"].(string))
			require.NoError(t, err)
			if name == "ftrace_caller" {
				code = code[:len(code)-3]
			}
			was := obj["bytes"]
			defer func() { obj["bytes"] = was }()
			for i := range code {
				bit := 8*i + 3*i%8
				code[i] ^= 1 << (bit % 8)
				obj["bytes"] = hex.EncodeToString(code)
				obj["size"] = len(code)
				rec := readImage(t, obj)
				require.NoError(t, rec.Err)
				rep, err := rec.Case.Run(conform.Options{})
				require.NoError(t, err)
				require.Len(t, rep.Diffs, 1, "byte %d", i)
				var off int
				_, err = fmt.Sscanf(rep.Diffs[0].Op, "+0x%x", &off)
				require.NoError(t, err)
				require.LessOrEqual(t, off, i)
				require.Greater(t, off+16, i)
				code[i] ^= 1 << (bit % 8)
			}
		})
	}
}

// The first instruction that differs is shown on both sides.
func TestImageDifference(t *testing.T) {
	obj := images(t)["bpf"]
	obj["bytes"] = strings.Replace(obj["bytes"].(string), "488b5d08ffd3", "488b5d10ffd3", 1)
	rep, err := readImage(t, obj).Case.Run(conform.Options{})
	require.NoError(t, err)
	require.Len(t, rep.Diffs, 1)
	require.Equal(t, `line 45 (+0xcf): instruction: kernel "48 8b 5d 10  mov    0x10(%rbp),%rbx", ftemu "48 8b 5d 08  mov    0x8(%rbp),%rbx"`, rep.Diffs[0].String())

	obj = images(t)["bpf"]
	code := obj["bytes"].(string)
	obj["bytes"], obj["size"] = code[:len(code)-10], len(code)/2-5
	rep, err = readImage(t, obj).Case.Run(conform.Options{})
	require.NoError(t, err)
	require.Len(t, rep.Diffs, 1, "one that is too short")
	require.Equal(t, "", rep.Diffs[0].Kernel)
	obj["bytes"], obj["size"] = code+"90", len(code)/2+1
	rep, err = readImage(t, obj).Case.Run(conform.Options{})
	require.NoError(t, err)
	require.Len(t, rep.Diffs, 1, "one that is too long")
	require.Equal(t, `"90  nop"`, rep.Diffs[0].Kernel)
}

func TestBadImages(t *testing.T) {
	for _, c := range []struct {
		name, image string
		change      func(map[string]any)
		want        string
	}{
		{"key", "ops", func(o map[string]any) { o["x"] = 1 }, `unknown key "x"`},
		{"kind", "ops", func(o map[string]any) { o["kind"] = "elf" }, `image s/n: kind "elf", expected text, ops-trampoline or bpf-trampoline`},
		{"text", "ftrace_caller", func(o map[string]any) { o["name"] = "f0.idle" }, `image s/f0.idle: text of "f0", expected ftrace_caller or ftrace_regs_caller`},
		{"bytes", "ops", func(o map[string]any) { o["bytes"] = "zz" }, `image s/n: key "bytes": encoding/hex: invalid byte`},
		{"size", "ops", func(o map[string]any) { o["size"] = 1 }, `image s/n: size 1, found 340 bytes`},
		{"arguments", "bpf", func(o map[string]any) { o["args"] = 7 }, `image s/n: 7 arguments, expected 0 to 6`},
		{"type", "bpf", func(o map[string]any) { o["progs"] = []map[string]string{{"name": "fe_1", "type": "kprobe"}} }, `image s/n: program fe_1: type "kprobe", expected fentry, fmod_ret or fexit`},
		{"option", "bpf", func(o map[string]any) { o["progs"] = []map[string]string{{"name": "fe_1", "type": "fentry/x"}} }, `image s/n: program fe_1: type "fentry/x", expected nothing, ip or cookie behind the slash`},
		{"program", "bpf", func(o map[string]any) { o["progs"] = []map[string]string{{"name": "fe_9", "type": "fentry"}} }, `image s/n: program fe_9 is not called`},
		{"address", "ops", func(o map[string]any) { o["image_address"] = "here" }, `image s/n: strconv.ParseUint: parsing "here"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj := images(t)[c.image]
			c.change(obj)
			rec := readImage(t, obj)
			require.Error(t, rec.Err)
			require.True(t, strings.HasPrefix(rec.Err.Error(), "f:1: "+c.want), "found %v, expected %s", rec.Err, c.want)
		})
	}
}
