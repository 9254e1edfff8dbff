package trampoline

import (
	"fmt"
	"slices"
	"strings"
)

// A BuiltinOptions says which of a built-in layout's variants is meant. The
// zero value asks for defaults.
type BuiltinOptions struct {
	// Args is the number of the traced function's arguments of 8 bytes, for
	// BPF images. HasArgs tells 0 from not given, which means 2.
	Args    int
	HasArgs bool
	// Progs are the types of the programs of a BPF image in the order of
	// attachment: fentry, fmod_ret, fexit.
	Progs []string
	// IBT asks for a landing pad at the start of a BPF image.
	IBT bool
}

// A BuiltinInfo describes a built-in layout for lists.
type BuiltinInfo struct {
	Name    string `json:"name"`
	Options string `json:"options"` // which options it takes, separated by spaces
	Help    string `json:"help"`
}

// A Builtin is a layout that the package generates by itself: the kernel's, or
// one of the direct trampolines. It is a [Maker].
type Builtin struct {
	name     string
	opt      BuiltinOptions
	family   family
	contract Contract
	frame    []Slot
}

// A family is a number of built-in layouts that are made alike.
type family uint8

const (
	callerFamily family = iota
	opsFamily
	directFamily
	bpfFamily
)

// A builtin is one line of the list of built-in layouts.
type builtin struct {
	name   string
	family family
	regs   bool       // saves all registers
	kind   DirectKind // of directFamily
	progs  []string   // of bpfFamily; nil: --progs decides
	shared bool       // of bpfFamily: calls what the return slot holds
	help   string
}

// builtins lists them in the order of documentation.
func builtins() []builtin {
	return []builtin{
		{name: "ftrace_caller", help: "saves what a call may change; the callbacks of all ops"},
		{name: "ftrace_regs_caller", regs: true, help: "saves all registers; may go on to a direct trampoline"},
		{name: "ops", family: opsFamily, help: "a copy of ftrace_caller that serves one ops"},
		{name: "ops-regs", family: opsFamily, regs: true, help: "a copy of ftrace_regs_caller that serves one ops"},
		{name: "fentry", family: bpfFamily, progs: []string{"fentry"}, help: "BPF image with one fentry program"},
		{name: "fexit", family: bpfFamily, progs: []string{"fexit"}, help: "BPF image with one fexit program: calls the body"},
		{name: "fexit-shared", family: bpfFamily, progs: []string{"fexit"}, shared: true, help: "the same beside a livepatch: calls what the return slot holds (ORIG_STACK)"},
		{name: "fmod_ret", family: bpfFamily, progs: []string{"fmod_ret"}, help: "BPF image with one program that may replace the body"},
		{name: "bpf", family: bpfFamily, help: "BPF image with the programs of --progs"},
		{name: "bpf-shared", family: bpfFamily, shared: true, help: "the same, calling what the return slot holds"},
		{name: "pass", family: directFamily, kind: Pass, help: "direct trampoline: goes on through its return slot"},
		{name: "share", family: directFamily, kind: Share, help: "direct trampoline: calls what its return slot holds"},
		{name: "orig", family: directFamily, kind: Orig, help: "direct trampoline: calls the body, whatever its return slot holds"},
		{name: "skip", family: directFamily, kind: Skip, help: "direct trampoline: runs no body"},
	}
}

// Builtins lists the built-in layouts.
func Builtins() []BuiltinInfo {
	var out []BuiltinInfo
	for _, b := range builtins() {
		info := BuiltinInfo{Name: b.name, Help: b.help, Options: "--mitigations"}
		if b.family == bpfFamily {
			info.Options += " --args"
			if b.progs == nil {
				info.Options += " --progs"
			}
		}
		out = append(out, info)
	}
	return out
}

// NewBuiltin finds a built-in layout by name. The error wraps ErrInvalid or
// ErrUnsupported.
func NewBuiltin(name string, opt BuiltinOptions) (*Builtin, error) {
	all := builtins()
	i := slices.IndexFunc(all, func(b builtin) bool { return b.name == name })
	if i < 0 {
		var names []string
		for _, b := range all {
			names = append(names, b.name)
		}
		return nil, fmt.Errorf("no built-in trampoline %q, expected %s: %w", name, strings.Join(names, ", "), ErrInvalid)
	}
	b := all[i]
	switch {
	case b.family != bpfFamily && opt.HasArgs:
		return nil, fmt.Errorf("%s serves functions of any number of arguments, found args %d: %w", name, opt.Args, ErrInvalid)
	case b.family != bpfFamily && opt.IBT:
		return nil, fmt.Errorf("%s has no variant for ibt, BPF images have: %w", name, ErrInvalid)
	case (b.family != bpfFamily || b.progs != nil) && opt.Progs != nil:
		return nil, fmt.Errorf("%s has its programs by its name, found progs %s: %w", name, strings.Join(opt.Progs, ","), ErrInvalid)
	case b.family == bpfFamily && b.progs == nil && len(opt.Progs) == 0:
		return nil, fmt.Errorf("%s needs programs, expected progs such as fentry,fexit: %w", name, ErrInvalid)
	}
	if b.progs != nil {
		opt.Progs = b.progs
	}
	if !opt.HasArgs {
		opt.Args = 2
	}
	m := &Builtin{name: name, opt: opt, family: b.family}
	return m, m.describe(b)
}

// Name is the layout's name.
func (m *Builtin) Name() string { return m.name }

// Contract is what the layout promises.
func (m *Builtin) Contract() Contract { return m.contract }

// Frame names the words of its frame.
func (m *Builtin) Frame() []Slot { return slices.Clone(m.frame) }

// describe fills in the contract and the frame.
func (m *Builtin) describe(b builtin) error {
	switch m.family {
	case callerFamily, opsFamily:
		m.describeCaller(b.regs, m.family == callerFamily && b.regs)
	case directFamily:
		m.contract = Contract{Args: len(argRegs), RAX: true, Align: 16, Exclusive: b.kind == Orig}
		m.frame = directFrame(b.kind)
	case bpfFamily:
		s, err := m.bpfSpec(Env{Symbol: func(string) (uint64, error) { return 0, nil }})
		if err != nil {
			return err
		}
		f, err := s.layout()
		if err != nil {
			return err
		}
		m.contract = Contract{
			Args: f.regs, Align: 8, Exclusive: s.Flags&CallOrig != 0 && s.Flags&OrigStack == 0,
		}
		m.frame = f.slots(s.Flags)
	}
	return nil
}

// describeCaller is describe for the copies of ftrace_caller and ftrace_regs_caller.
func (m *Builtin) describeCaller(regs, direct bool) {
	base := int64(-RegsSize)
	if regs {
		base -= 8
	}
	m.contract = Contract{
		Args: len(argRegs), RAX: true, Align: 8, WritesReturn: true, IP: Word{base + RegsIP, true},
	}
	if direct {
		m.contract.Direct = Word{base + RegsOrigAX, true}
	}
	for i, name := range [...]string{
		"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
		"orig_rax", "rip", "cs", "eflags", "rsp", "ss",
	} {
		m.frame = append(m.frame, Slot{Name: name, Off: base + 8*int64(i), Size: 8})
	}
	if regs {
		m.frame = append(m.frame, Slot{Name: "flags", Off: -8, Size: 8})
	}
}

// directFrame names the words of a direct trampoline's frame.
func directFrame(k DirectKind) []Slot {
	const rbp = -8 // from the return slot
	slots := []Slot{{"saved rbp", rbp, 8}, {"rax, later the result", rbp + directRAX, 8}}
	for i := range argRegs {
		slots = append(slots, Slot{fmt.Sprintf("argument %d", i+1), rbp + int64(directArg(i)), 8})
	}
	if k == Share {
		slots = append(slots, Slot{"saved rbx", rbp + directRBX, 8}, Slot{"alignment", rbp + directRBX - 8, 8})
	}
	return slots
}

// slots names the words of a BPF image's frame.
func (f bpfFrame) slots(flags BPFFlag) []Slot {
	const rbp = -8
	slots := []Slot{{"saved rbp", rbp, 8}}
	if f.ret {
		slots = append(slots, Slot{"return value", rbp + bpfRet, 8})
	}
	for i := range f.regs {
		slots = append(slots, Slot{fmt.Sprintf("argument %d", i+1), rbp - int64(f.args) + 8*int64(i), 8})
	}
	slots = append(slots, Slot{"number of arguments", rbp - int64(f.nregs), 8})
	if flags&IPArg != 0 {
		slots = append(slots, Slot{"function", rbp - int64(f.ip), 8})
	}
	return append(slots,
		Slot{"saved run context", rbp - int64(f.runCtx) + 8, 8},
		Slot{"cookie", rbp - int64(f.runCtx), 8},
		Slot{"saved rbx", rbp - int64(f.size) - 8, 8},
	)
}

// Make generates the code.
func (m *Builtin) Make(e Env) (Placed, error) {
	code, err := m.code(e)
	return Placed{Code: code}, err
}

func (m *Builtin) code(e Env) (Code, error) {
	sym := symbols{lookup: e.Symbol}
	var code Code
	var err error
	switch m.family {
	case callerFamily:
		s := CallerSpec{Addr: e.Addr, Func: sym.addr("callback"), OpPtr: sym.addr("function_trace_op"), Return: e.Return}
		if code, err = FtraceCaller(s); m.contract.Direct.Has {
			code, err = FtraceRegsCaller(s)
		}
	case opsFamily:
		code, err = OpsTrampoline(OpsSpec{
			Addr: e.Addr, Func: sym.addr("callback"), Ops: sym.addr("ops"), SaveRegs: m.name == "ops-regs", Return: e.Return,
		})
	case directFamily:
		i := slices.IndexFunc(builtins(), func(b builtin) bool { return b.name == m.name })
		code, err = Direct(DirectSpec{
			Kind: builtins()[i].kind, Addr: e.Addr, ID: e.ID, LogEntry: sym.addr("log_entry"), LogExit: sym.addr("log_exit"),
			Body: e.Body, Return: e.Return,
		})
	case bpfFamily:
		var s BPFSpec
		if s, err = m.bpfSpec(e); err == nil {
			code, err = BPF(s)
		}
	}
	if sym.err != nil {
		return Code{}, sym.err
	}
	code.Name = m.name
	return code, err
}

// bpfSpec describes the image.
func (m *Builtin) bpfSpec(e Env) (BPFSpec, error) {
	sym := symbols{lookup: e.Symbol}
	s := BPFSpec{
		Addr: e.Addr, Flags: RestoreRegs, Func: e.Body - 5, IBT: m.opt.IBT, Return: e.Return,
		Image: sym.addr("im"), TrampEnter: sym.addr("__bpf_tramp_enter"), TrampExit: sym.addr("__bpf_tramp_exit"),
	}
	if m.opt.Args < 0 {
		return s, fmt.Errorf("%s: args %d, expected 0 to %d: %w", m.name, m.opt.Args, BPFMaxRegs, ErrInvalid)
	}
	if m.opt.Args > BPFMaxRegs {
		return s, fmt.Errorf("%s: args %d, Linux 6.1 takes at most %d: %w", m.name, m.opt.Args, BPFMaxRegs, ErrUnsupported)
	}
	for range m.opt.Args {
		s.Args = append(s.Args, 8)
	}
	for i, kind := range m.opt.Progs {
		name := fmt.Sprintf("%s%d", kind, i)
		p := BPFProg{
			Prog: sym.addr("prog_" + name), Func: sym.addr(name),
			Enter: sym.addr("__bpf_prog_enter_recur"), Exit: sym.addr("__bpf_prog_exit_recur"),
		}
		// The kernel runs the programs that were attached last first.
		switch kind {
		case "fentry":
			s.Fentry = slices.Insert(s.Fentry, 0, p)
			continue
		case "fmod_ret":
			s.FmodRet = slices.Insert(s.FmodRet, 0, p)
		case "fexit":
			s.Fexit = slices.Insert(s.Fexit, 0, p)
		default:
			return s, fmt.Errorf("%s: unknown program type %q, expected fentry, fmod_ret or fexit: %w", m.name, kind, ErrInvalid)
		}
		s.Flags = CallOrig | SkipFrame
	}
	if m.isShared() {
		if s.Flags&CallOrig == 0 {
			return s, fmt.Errorf("%s: fentry programs alone call no body: use bpf: %w", m.name, ErrInvalid)
		}
		s.Flags |= OrigStack
	}
	return s, sym.err
}

func (m *Builtin) isShared() bool { return strings.HasSuffix(m.name, "-shared") }

// symbols asks for addresses and keeps the first error.
type symbols struct {
	lookup func(string) (uint64, error)
	err    error
}

func (s *symbols) addr(name string) uint64 {
	a, err := s.lookup(name)
	if err != nil && s.err == nil {
		s.err = err
	}
	return a
}
