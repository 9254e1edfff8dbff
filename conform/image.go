package conform

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ftemu/trampoline"
	"ftemu/x86"
)

// An Image is code captured from a running kernel, with a description from
// which the same bytes must come. Its lines, in reports, are instructions.
type Image struct {
	set, name, kind string
	code            []byte
	symbols         map[uint64]string // of what it refers to
	generate        func() (trampoline.Code, error)
	padded          bool // filler of the linker may follow
}

// capturedKeys are the keys that an image may have. Those without a meaning here
// tell how it was captured.
var capturedKeys = map[string]bool{
	"set": true, "name": true, "kind": true, "fn": true, "args": true, "progs": true, "scenario": true, "step": true,
	"rc": true, "image_address": true, "size": true, "code_size": true, "bytes": true, "refs": true, "prog_addresses": true,
	"ops": true, "ops_address": true, "reads_return_slot": true, "site": true, "ef": true, "callret": true, "callev": true,
	"symbols": true,
}

// captured is what an image is described by.
type captured struct {
	Args          int                `json:"args"`
	Progs         []capturedProg     `json:"progs"`
	Address       hexAddr            `json:"image_address"`
	Refs          []capturedRef      `json:"refs"`
	ProgAddresses map[string]hexAddr `json:"prog_addresses"`
	Ops           string             `json:"ops"`
	OpsAddress    hexAddr            `json:"ops_address"`
	OrigStack     bool               `json:"reads_return_slot"`
	Size          int                `json:"size"`
	Site          struct {
		IP hexAddr `json:"ip"`
	} `json:"site"`
}

// A capturedProg is a program by name; its type is that of the program, with
// what it asks for behind a slash.
type capturedProg struct{ Name, Type string }

// A capturedRef is a reference from the code. An imm64 has a value, the others
// a target.
type capturedRef struct {
	Off           int
	Kind, Sym     string
	Target, Value hexAddr
}

// The kinds of references.
const (
	refCall   = "call"
	refJmp    = "jmp"
	refRIPRel = "riprel"
	refImm64  = "imm64"
)

// A hexAddr is an address written in hexadecimal.
type hexAddr uint64

// UnmarshalText reads an address with or without 0x.
func (h *hexAddr) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(string(b), "0x"), 16, 64)
	*h = hexAddr(v)
	return err
}

// Name is the set of the image and its name in that.
func (im *Image) Name() string { return im.set + "/" + im.name }

func parseImage(raw map[string]json.RawMessage) (Case, error) {
	im := &Image{symbols: make(map[uint64]string)}
	var text string
	err := fields(raw, capturedKeys, field{"set", &im.set}, field{"name", &im.name}, field{"kind", &im.kind}, field{"bytes", &text})
	if err == nil {
		err = im.describe(raw, text)
	}
	if err != nil && im.name != "" {
		err = fmt.Errorf("image %s: %w", im.Name(), err)
	}
	return im, err
}

func (im *Image) describe(raw map[string]json.RawMessage, text string) error {
	whole, err := marshal(raw)
	if err != nil {
		return err
	}
	var c captured
	if err := json.Unmarshal(whole, &c); err != nil {
		return err
	}
	if im.code, err = hex.DecodeString(text); err != nil {
		return fmt.Errorf("key \"bytes\": %w", err)
	}
	if c.Size != len(im.code) {
		return fmt.Errorf("size %d, found %d bytes", c.Size, len(im.code))
	}
	for _, r := range c.Refs {
		if r.Sym != "" && r.Target != 0 {
			im.symbols[uint64(r.Target)] = r.Sym
		}
	}
	switch im.kind {
	case "text":
		return im.describeText(&c)
	case "ops-trampoline":
		spec := trampoline.OpsSpec{
			Addr: uint64(c.Address), Func: c.first(refCall), Ops: uint64(c.OpsAddress), Return: c.ret(),
			SaveRegs: slices.Contains(strings.Split(c.Ops, "|"), "SAVE_REGS"),
		}
		im.generate = func() (trampoline.Code, error) { return trampoline.OpsTrampoline(spec) }
		return nil
	case "bpf-trampoline":
		spec, err := c.bpf()
		im.generate = func() (trampoline.Code, error) { return trampoline.BPF(spec) }
		return err
	}
	return fmt.Errorf("kind %q, expected text, ops-trampoline or bpf-trampoline", im.kind)
}

func (im *Image) describeText(c *captured) error {
	spec := trampoline.CallerSpec{Addr: uint64(c.Address), Func: c.first(refCall), OpPtr: c.first(refRIPRel), Return: c.ret()}
	im.padded = true
	switch name, _, _ := strings.Cut(im.name, "."); name {
	case "ftrace_caller":
		im.generate = func() (trampoline.Code, error) { return trampoline.FtraceCaller(spec) }
	case "ftrace_regs_caller":
		im.generate = func() (trampoline.Code, error) { return trampoline.FtraceRegsCaller(spec) }
	default:
		return fmt.Errorf("text of %q, expected ftrace_caller or ftrace_regs_caller", name)
	}
	return nil
}

// first is the target of the first reference of a kind, 0 if there is none.
func (c *captured) first(kind string) uint64 {
	for _, r := range c.Refs {
		if r.Kind == kind {
			return uint64(r.Target)
		}
	}
	return 0
}

// ret is how the kernel returned: a jump out of the code leads to the return
// thunk. A kernel with bare returns puts an int3 behind each of them.
func (c *captured) ret() trampoline.Return {
	r := trampoline.Return{SLS: true}
	if i := slices.IndexFunc(c.Refs, func(r capturedRef) bool { return r.Kind == refJmp }); i >= 0 {
		r.Thunk, r.ITS = uint64(c.Refs[i].Target), c.Refs[i].Sym == itsThunk
	}
	return r
}

// itsThunk is the return thunk that not every return needs.
const itsThunk = "its_return_thunk"

// calledBy are the places and objects that occur in the code only: each is an
// immediate in front of a call.
type calledBy struct {
	helpers map[string]uint64 // kernel functions by name
	image   uint64            // struct bpf_tramp_image
	progs   map[uint64]trampoline.BPFProg
}

// objects finds them. A program's structure and cookie stand in front of the call
// of its enter function, which the call of its code follows.
func (c *captured) objects() (calledBy, error) {
	o := calledBy{helpers: make(map[string]uint64), progs: make(map[uint64]trampoline.BPFProg)}
	var imms []uint64
	var entering *trampoline.BPFProg
	for _, r := range c.Refs {
		if r.Kind == refImm64 {
			imms = append(imms, uint64(r.Value))
			continue
		}
		if r.Kind != refCall {
			continue
		}
		target := uint64(r.Target)
		switch {
		case strings.HasPrefix(r.Sym, "__bpf_prog_enter"):
			if len(imms) == 0 {
				return o, fmt.Errorf("+%#x: call of %s without a program in front of it", r.Off, r.Sym)
			}
			n := len(imms) - 1
			entering = &trampoline.BPFProg{Prog: imms[n], Enter: target}
			if n > 0 {
				entering.Cookie = imms[n-1]
			}
		case strings.HasPrefix(r.Sym, "__bpf_prog_exit"):
			for fn, p := range o.progs {
				if len(imms) > 0 && p.Prog == imms[len(imms)-1] {
					p.Exit = target
					o.progs[fn] = p
				}
			}
		case strings.HasPrefix(r.Sym, "__bpf_tramp"):
			if len(imms) > 0 {
				o.image = imms[len(imms)-1]
			}
			o.helpers[r.Sym] = target
		case entering != nil:
			entering.Func = target
			o.progs[target] = *entering
			entering = nil
		}
		imms = nil
	}
	return o, nil
}

func (c *captured) bpf() (trampoline.BPFSpec, error) {
	o, err := c.objects()
	if err != nil {
		return trampoline.BPFSpec{}, err
	}
	if c.Args < 0 || c.Args > trampoline.BPFMaxRegs {
		return trampoline.BPFSpec{}, fmt.Errorf("%d arguments, expected 0 to %d", c.Args, trampoline.BPFMaxRegs)
	}
	s := trampoline.BPFSpec{
		Addr: uint64(c.Address), Args: slices.Repeat([]int{8}, c.Args), Func: uint64(c.Site.IP), Return: c.ret(), Image: o.image,
		TrampEnter: o.helpers["__bpf_tramp_enter"], TrampExit: o.helpers["__bpf_tramp_exit"],
	}
	lists := map[string]*[]trampoline.BPFProg{"fentry": &s.Fentry, "fmod_ret": &s.FmodRet, "fexit": &s.Fexit}
	for _, p := range slices.Backward(c.Progs) { // the newest runs first
		kind, extra, _ := strings.Cut(p.Type, "/")
		list := lists[kind]
		if list == nil {
			return s, fmt.Errorf("program %s: type %q, expected fentry, fmod_ret or fexit", p.Name, p.Type)
		}
		prog, ok := o.progs[c.progAddr(p.Name)]
		if !ok {
			return s, fmt.Errorf("program %s is not called", p.Name)
		}
		switch extra {
		case "":
			prog.Cookie = 0
		case "ip":
			s.Flags |= trampoline.IPArg
			prog.Cookie = 0
		case "cookie":
		default:
			return s, fmt.Errorf("program %s: type %q, expected nothing, ip or cookie behind the slash", p.Name, p.Type)
		}
		*list = append(*list, prog)
	}
	if len(s.FmodRet)+len(s.Fexit) > 0 {
		s.Flags |= trampoline.CallOrig | trampoline.SkipFrame
	} else {
		s.Flags |= trampoline.RestoreRegs
	}
	if c.OrigStack {
		s.Flags |= trampoline.OrigStack
	}
	return s, nil
}

// progAddr is the address of a program's code, whose symbol is
// bpf_prog_TAG_NAME.
func (c *captured) progAddr(name string) uint64 {
	for sym, addr := range c.ProgAddresses {
		rest, ok := strings.CutPrefix(sym, "bpf_prog_")
		if _, own, found := strings.Cut(rest, "_"); ok && found && own == name {
			return uint64(addr)
		}
	}
	return 0
}

// Run generates the image and compares it with the captured one. A difference
// shows the first instruction that differs, bytes and text.
func (im *Image) Run(opt Options) (Report, error) {
	code, err := im.generate()
	if err != nil {
		return Report{}, err
	}
	var rep Report
	want := im.code
	if im.padded && len(want) > len(code.Bytes) {
		want = want[:len(code.Bytes)]
	}
	n := 0
	for off := 0; off < max(len(want), len(code.Bytes)); n++ {
		kernel, size := im.instruction(want, code, off)
		ftemu, ours := im.instruction(code.Bytes, code, off)
		op := fmt.Sprintf("+%#x", off)
		rep.step(opt, n, op, kernel, ftemu)
		if !bytes.Equal(piece(want, off, size), piece(code.Bytes, off, ours)) {
			rep.Diffs = append(rep.Diffs, Diff{Line: n + 1, Op: op, Field: "instruction", Kernel: kernel, Ftemu: ftemu})
			break
		}
		off += ours
	}
	return rep, nil
}

func piece(b []byte, off, n int) []byte {
	if off > len(b) {
		return nil
	}
	return b[off:min(off+n, len(b))]
}

// instruction is the instruction or data at off as a JSON string, and its size;
// "" behind the end. Both sides are data where our code has data.
func (im *Image) instruction(b []byte, code trampoline.Code, off int) (text string, size int) {
	if off >= len(b) {
		return "", 0
	}
	var what string
	for _, d := range code.Data {
		if at := int(d.Off); off >= at && off < at+int(d.Len) {
			size = min(at+int(d.Len), len(b)) - off
			what = "(data)"
		}
	}
	if size == 0 {
		var err error
		what, size, err = x86.Disasm(b[off:], code.Addr+uint64(off), im.symbol)
		if err != nil {
			what, size = "(no instruction)", 1
		}
	}
	return quote(fmt.Sprintf("% x  %s", b[off:off+size], what)), size
}

// symbol names what the captured code refers to.
func (im *Image) symbol(addr uint64) (string, uint64, bool) {
	s, ok := im.symbols[addr]
	return s, 0, ok
}
