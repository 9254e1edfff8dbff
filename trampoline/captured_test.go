package trampoline

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A captured image is code read out of a running kernel with what was known
// about it there.
type captured struct {
	Set, Name, Kind, Step, Scenario, Fn string
	Args                                int
	Progs                               []struct{ Name, Type string }
	ImageAddress                        hexaddr            `json:"image_address"`
	OpsAddress                          hexaddr            `json:"ops_address"`
	ProgAddresses                       map[string]hexaddr `json:"prog_addresses"`
	Bytes                               string
	Ops                                 string
	Refs                                []struct {
		Off           int
		Kind, Sym     string
		Target, Value hexaddr
	}
	Site struct{ IP hexaddr }
	Orig bool `json:"reads_return_slot"`
}

// A hexaddr is an address written in hexadecimal.
type hexaddr uint64

func (h *hexaddr) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(string(b), "0x"), 16, 64)
	*h = hexaddr(v)
	return err
}

// ref returns the target of the first reference of a kind to a symbol with the
// given prefix, 0 if there is none.
func (c *captured) ref(kind, prefix string) uint64 {
	for _, r := range c.Refs {
		if r.Kind == kind && strings.HasPrefix(r.Sym, prefix) {
			return uint64(r.Target)
		}
	}
	return 0
}

// describe derives the description of the image, and returns the part of the
// captured bytes that the description determines.
func (c *captured) describe() (image, []byte, error) {
	code, err := hex.DecodeString(c.Bytes)
	if err != nil {
		return image{}, nil, err
	}
	img := image{Set: c.Set, Name: c.Name}
	ret := Return{SLS: true, Thunk: c.ref("jmp", "")}
	addr := uint64(c.ImageAddress)
	switch c.Kind {
	case "text":
		img.Kind, _, _ = strings.Cut(c.Name, ".")
		size := 0xc2 + retSlot
		if img.Kind == "ftrace_regs_caller" {
			size = 0x194 + retSlot
		}
		// What follows the last return is the linker's padding.
		code = code[:size]
		img.Caller = &CallerSpec{Addr: addr, Func: c.ref("call", ""), OpPtr: c.ref("riprel", ""), Return: ret}
	case "ops-trampoline":
		img.Kind = "ops"
		img.Ops = &OpsSpec{Addr: addr, Func: c.ref("call", ""), Ops: uint64(c.OpsAddress),
			SaveRegs: slices.Contains(strings.Split(c.Ops, "|"), "SAVE_REGS"), Return: ret}
	case "bpf-trampoline":
		img.Kind = "bpf"
		img.BPF, err = c.bpf(addr, ret)
	default:
		err = fmt.Errorf("kind %q is not known", c.Kind)
	}
	img.Size, img.SHA256 = len(code), digest(code)
	return img, code, err
}

// capturedCookie is the cookie of links that were given one.
const capturedCookie = 0x1122334455667788

func (c *captured) bpf(addr uint64, ret Return) (*BPFSpec, error) {
	s := &BPFSpec{
		Addr: addr, Args: slices.Repeat([]int{8}, c.Args), Func: uint64(c.Site.IP), Return: ret,
		TrampEnter: c.ref("call", "__bpf_tramp_enter"), TrampExit: c.ref("call", "__bpf_tramp_exit"),
	}
	// The addresses of the program structures occur only in the code, each in
	// the instruction in front of a call of an enter function.
	var structs []uint64
	var last uint64
	for _, r := range c.Refs {
		switch {
		case r.Kind == "imm64":
			last = uint64(r.Value)
		case r.Sym == "__bpf_tramp_enter":
			s.Image = last
		case r.Sym == "__bpf_prog_enter_recur":
			structs = append(structs, last)
		}
	}
	lists := map[string]*[]BPFProg{"fentry": &s.Fentry, "fmod_ret": &s.FmodRet, "fexit": &s.Fexit}
	for _, p := range slices.Backward(c.Progs) { // the newest runs first
		kind, extra, _ := strings.Cut(p.Type, "/")
		if lists[kind] == nil {
			return nil, fmt.Errorf("program type %q is not known", p.Type)
		}
		prog := BPFProg{Enter: c.ref("call", "__bpf_prog_enter_recur"), Exit: c.ref("call", "__bpf_prog_exit_recur")}
		for sym, a := range c.ProgAddresses {
			if strings.HasSuffix(sym, "_"+p.Name) {
				prog.Func = uint64(a)
			}
		}
		switch extra {
		case "ip":
			s.Flags |= IPArg
		case "cookie":
			prog.Cookie = capturedCookie
		}
		*lists[kind] = append(*lists[kind], prog)
	}
	for _, list := range []*[]BPFProg{&s.Fentry, &s.FmodRet, &s.Fexit} {
		for i := range *list {
			if len(structs) == 0 {
				return nil, fmt.Errorf("more programs than calls of enter functions")
			}
			(*list)[i].Prog, structs = structs[0], structs[1:]
		}
	}
	if len(s.FmodRet)+len(s.Fexit) == 0 {
		s.Flags |= RestoreRegs
	} else {
		s.Flags |= CallOrig | SkipFrame
	}
	if c.Orig {
		s.Flags |= OrigStack
	}
	return s, nil
}

// TestCaptured compares with the bytes of captured images, and with -update
// writes their descriptions and digests for TestImages.
func TestCaptured(t *testing.T) {
	path := os.Getenv("FTEMU_IMAGES")
	if path == "" {
		t.Skip("FTEMU_IMAGES is not set: captured kernel code is not part of this project, TestImages checks its digests")
	}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	seen := map[string]bool{} // many steps of a scenario leave the image as it was
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	failed := 0
	for lines.Scan() {
		var c captured
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		img, want, err := c.describe()
		require.NoError(t, err, "%s %s", c.Set, c.Name)
		code, err := img.generate()
		require.NoError(t, err, "%s %s", c.Set, c.Name)
		if !bytes.Equal(want, code.Bytes) {
			failed++
			if failed <= 10 {
				t.Errorf("%s %s: differs from the captured code\n got %x\nwant %x", c.Set, c.Name, code.Bytes, want)
			}
		}
		if !seen[img.Kind+img.SHA256] {
			seen[img.Kind+img.SHA256] = true
			require.NoError(t, enc.Encode(img))
		}
	}
	require.NoError(t, lines.Err())
	require.Zero(t, failed, "images that differ")
	if *update {
		require.NoError(t, os.WriteFile(imagesFile, out.Bytes(), 0o644))
	}
}
