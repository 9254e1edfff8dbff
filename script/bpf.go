package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ftemu"
	"ftemu/ftracecore"
	"ftemu/ftracecore/bpf"
	"ftemu/near"
)

// BPF programs are made by prog, attached by attach, taken away by detach.
//
//	prog p fexit
//	attach p f0 cookie=7
//	call f0 1 2
//	want ran p args=1,2 value=1013 cookie=7
//	detach p

// A prog is a BPF program of the script.
type prog struct {
	id   string
	prog *bpf.Prog
}

// An attachment is a program on a function.
type attachment struct {
	id   string
	fn   uint64
	link *bpf.Link
}

func parseProg(p *Parser, args []string) (func(*Runner), error) {
	id := args[0]
	if p.ids[id] != nil || p.progs[id] {
		return nil, fmt.Errorf("ID %q exists already", id)
	}
	kind, err := bpf.ParseKind(args[1])
	if err != nil {
		return nil, err
	}
	spec := ftemu.ProgSpec{Name: id, Kind: kind}
	var ret *uint64
	sleepable, lsm := false, false
	for _, a := range args[2:] {
		key, val, _ := strings.Cut(a, "=")
		switch {
		case a == "ip":
			spec.WantsIP = true
		case a == "sleepable":
			sleepable = true
		case a == "lsm":
			lsm = true
		case key == "ret":
			v, err := number(val)
			if err != nil {
				return nil, err
			}
			ret = &v
		case key == "func":
			if spec.Func, err = p.function(val); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("found %q, expected ret=N, func=FUNCTION, ip, sleepable or lsm", a)
		}
	}
	if ret != nil && spec.Func != 0 {
		return nil, fmt.Errorf("program %q has both ret= and func=, expected one of them", id)
	}
	spec.Variant = map[[2]bool]bpf.Variant{
		{false, false}: bpf.Recur, {true, false}: bpf.SleepableRecur, {false, true}: bpf.Plain, {true, true}: bpf.Sleepable,
	}[[2]bool{sleepable, lsm}]
	p.progs[id] = true
	return func(r *Runner) { r.loadProg(spec, ret) }, nil
}

func (r *Runner) loadProg(spec ftemu.ProgSpec, ret *uint64) {
	spec.Run = func(run *ftemu.ProgRun) {
		if ret != nil {
			run.Return = *ret
		}
		r.ran(run)
	}
	p, err := r.lab.LoadProg(spec)
	if err != nil {
		r.rc(err)
		return
	}
	r.progs = append(r.progs, prog{spec.Name, p})
}

// ran notes a run of a program.
func (r *Runner) ran(run *ftemu.ProgRun) {
	e := Event{Prog: run.Prog.Name, Args: []int64{}}
	for _, a := range run.Args {
		e.Args = append(e.Args, int64(a))
	}
	if run.Value != nil {
		v := int64(*run.Value)
		e.Value = &v
	}
	if run.Cookie != 0 {
		c := int64(run.Cookie)
		e.Cookie = &c
	}
	if run.Prog.WantsIP {
		e.IP = r.script.names.place(run.IP)
	}
	rv := int64(run.Return)
	e.RV = &rv
	r.res.EV = append(r.res.EV, e)
}

// prog checks the ID of a program.
func (p *Parser) prog(id string) error {
	if !p.progs[id] {
		return fmt.Errorf("unknown ID %q, %s", near.Short(id), near.Expected(id, p.progWords(""), "one that prog made"))
	}
	return nil
}

func parseAttach(p *Parser, args []string) (func(*Runner), error) {
	if err := p.prog(args[0]); err != nil {
		return nil, err
	}
	fn, err := p.function(args[1])
	if err != nil {
		return nil, err
	}
	var cookie uint64
	if len(args) == 3 {
		val, ok := strings.CutPrefix(args[2], "cookie=")
		if !ok {
			return nil, fmt.Errorf("found %q, expected cookie=N", args[2])
		}
		if cookie, err = number(val); err != nil {
			return nil, err
		}
	}
	return func(r *Runner) { r.attach(args[0], fn, cookie) }, nil
}

func (r *Runner) attach(id string, fn, cookie uint64) {
	i := slices.IndexFunc(r.progs, func(p prog) bool { return p.id == id })
	if i < 0 {
		// It could not be loaded, which the line that tried has said.
		r.rc(fmt.Errorf("program %q is not loaded", id))
		return
	}
	link, err := r.lab.AttachProg(r.progs[i].prog, fn, cookie)
	if r.api("bpf_trampoline_link_prog", err) == 0 {
		r.attached = append(slices.Clip(r.attached), attachment{id, fn, link})
	}
}

func parseDetach(p *Parser, args []string) (func(*Runner), error) {
	if err := p.prog(args[0]); err != nil {
		return nil, err
	}
	var fn uint64
	if len(args) == 2 {
		var err error
		if fn, err = p.function(args[1]); err != nil {
			return nil, err
		}
	}
	return func(r *Runner) { r.detach(args[0], fn) }, nil
}

// detach takes a program away from fn; 0 is the function it was attached to last.
func (r *Runner) detach(id string, fn uint64) {
	for i, a := range slices.Backward(r.attached) {
		if a.id == id && (fn == 0 || a.fn == fn) {
			r.attached = slices.Concat(r.attached[:i], r.attached[i+1:])
			r.api("bpf_trampoline_unlink_prog", r.lab.BPF.Detach(a.link))
			return
		}
	}
	r.rc(r.lab.Core.Refuse(ftracecore.ENOENT, "", "", "program %q is not attached", id))
}

// detachAll takes all programs away, the newest first.
func (r *Runner) detachAll() {
	for _, a := range slices.Backward(r.attached) {
		r.api("cleanup bpf_trampoline_unlink_prog", r.lab.BPF.Detach(a.link))
	}
	r.attached = nil
}

func parseParams(p *Parser, args []string) (func(*Runner), error) {
	fn, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	sizes := []int{}
	for _, word := range strings.Split(args[1], ",") {
		if args[1] == none {
			break
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("found %q, expected none or sizes in bytes with commas between them", args[1])
		}
		sizes = append(sizes, n)
	}
	return func(r *Runner) { r.lab.SetParams(fn, sizes) }, nil
}

func parseImage(p *Parser, args []string) (func(*Runner), error) {
	fn, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	return func(r *Runner) {
		code, ok := r.lab.ProgImage(fn)
		if !ok {
			r.show("(no BPF program is attached to %s)", args[0])
			return
		}
		for _, line := range strings.Split(strings.TrimSuffix(code.Listing(r.lab.Symbols.Name), "\n"), "\n") {
			r.show("%s", line)
		}
	}, nil
}

// bpfStates reports the BPF trampolines, by address of their functions.
func (r *Runner) bpfStates() (out []BPFState) {
	for _, tr := range r.lab.BPF.Trampolines() {
		s := BPFState{Fn: r.script.names.place(tr.Target().Addr), Flags: tr.Flags().String(), Progs: []string{}, Types: []string{}}
		if im := tr.Image(); im != nil {
			s.ImageSize, s.OrigStack, s.Addr = im.Size, tr.Flags().Has(bpf.OrigStack), im.Addr
		}
		for _, l := range tr.Links() {
			s.Progs = append(s.Progs, l.Prog.Name)
			s.Types = append(s.Types, l.Prog.Kind.String())
		}
		out = append(out, s)
	}
	return out
}

// OpsFunc implements ftemu.BPFObserver. The recordings do not have these questions.
func (r *Runner) OpsFunc(ops string, cmd ftracecore.Command, ret int) {
	r.res.Calls = append(r.res.Calls, Call{OF: &OpsAnswer{Cmd: cmd.String(), ID: ops, Ret: ret}})
}

// Rewritten implements ftemu.BPFObserver.
func (r *Runner) Rewritten(im *bpf.Image, fn uint64, before int) {
	c := ImageChange{Fn: r.script.names.place(fn), Addr: im.Addr, NewAddr: im.Addr, Size: before, NewSize: im.Size}
	r.res.Calls = append(r.res.Calls, Call{Image: &c})
}

// wantImage expects an image of a size, and whether it can share.
func wantImage(p *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) < 2 || len(args) > 3 || len(args) == 3 && args[2] != "orig_stack" {
		return nil, fmt.Errorf("want image takes FUNCTION none|SIZE [orig_stack], found %q", strings.Join(args, " "))
	}
	fn, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	if _, err := strconv.Atoi(args[1]); err != nil && args[1] != none {
		return nil, fmt.Errorf("want image takes a size in bytes or none, found %q", args[1])
	}
	return func(r *Runner) (string, string) {
		found := none
		if tr := r.lab.BPF.Trampoline(fn); tr != nil && tr.Image() != nil {
			found = strconv.Itoa(tr.Image().Size)
			if tr.Flags().Has(bpf.OrigStack) {
				found += " orig_stack"
			}
		}
		return found, strings.Join(args[1:], " ")
	}, nil
}

// wantRan expects a program to have run once, and what it saw.
func wantRan(p *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("want ran takes PROG [args=N,N...] [value=N] [cookie=N] [ip=FUNCTION] [rv=N]")
	}
	if err := p.prog(args[0]); err != nil {
		return nil, err
	}
	keys := []string{}
	for _, a := range args[1:] {
		key, _, ok := strings.Cut(a, "=")
		if _, known := (Event{}).field(key); !ok || !known {
			return nil, fmt.Errorf("found %q, expected args=N,N..., value=N, cookie=N, ip=FUNCTION or rv=N", a)
		}
		keys = append(keys, key)
	}
	return func(r *Runner) (string, string) {
		wanted := strings.Join(args, " ")
		var runs []string
		for _, e := range r.prev.EV {
			if e.Prog != args[0] {
				continue
			}
			words := []string{e.Prog}
			for _, k := range keys {
				v, _ := e.field(k)
				words = append(words, k+"="+v)
			}
			runs = append(runs, strings.Join(words, " "))
		}
		if len(runs) == 0 {
			return "no run of " + args[0], wanted
		}
		return strings.Join(runs, ", "), wanted
	}, nil
}

// field is what a program's run shows under a name; known is false for names
// that there are not.
func (e Event) field(name string) (value string, known bool) {
	num := func(v *int64) string {
		if v == nil {
			return none
		}
		return strconv.FormatInt(*v, 10)
	}
	switch name {
	case "args":
		words := make([]string, len(e.Args))
		for i, a := range e.Args {
			words[i] = strconv.FormatInt(a, 10)
		}
		return strings.Join(words, ","), true
	case "value":
		return num(e.Value), true
	case "cookie":
		return num(e.Cookie), true
	case "ip":
		return e.IP, true
	case "rv":
		return num(e.RV), true
	}
	return "", false
}
