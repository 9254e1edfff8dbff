package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ftemu/ftracecore"
	"ftemu/near"
)

// An expectation is what want may be followed by.
type expectation struct {
	name, usage, about string
	parse              func(p *Parser, args []string) (func(*Runner) (found, wanted string), error)
}

// wants are all of them in the order of documentation.
func wants() []expectation {
	return []expectation{
		{"rc", "0|NUMBER|-ERRNO", "what the call of the kernel's API returned, the last one if the line made several", wantRC},
		{"ret", "NUMBER", "what the function that was called returned", wantRet},
		{"callbacks", "none|NAME...", "what ran during a call, in order", wantCallbacks},
		{"target", "FUNCTION nop|NAME", "what a site calls", wantTarget},
		{"image", "FUNCTION none|SIZE [orig_stack]", "the image of a function's BPF trampoline: its size in bytes, and whether it can share with a livepatch", wantImage},
		{"ran", "PROG [args=N,N...] [value=N] [cookie=N] [ip=FUNCTION] [rv=N]", "a BPF program ran once; value is what the function returned, rv what the program did", wantRan},
		{"warn", "none|FUNC...", "the kernel functions that warned (WARN), in order", wantWarn},
		{"buf", "\"TEXT\"", "what the first buf: of a call holds, up to a zero", wantBuf},
		{"dead", "", "ftrace has killed itself", wantDead},
		{"oops", "", "the kernel crashed, or a call did not come back", wantOops},
	}
}

// wantUsage is the usage of want: those of all expectations.
func wantUsage() string {
	var forms []string
	for _, w := range wants() {
		forms = append(forms, strings.TrimSpace(w.name+" "+w.usage))
	}
	last := len(forms) - 1
	forms[last] = "or " + forms[last]
	return strings.Join(forms, ", ")
}

// none stands for an empty list of callbacks.
const none = "none"

// parseWant parses an expectation on what the line before gave. Several may
// follow one line.
func parseWant(p *Parser, args []string) (func(*Runner), error) {
	if !p.begun {
		return nil, fmt.Errorf("want needs a line before it")
	}
	what, rest := args[0], args[1:]
	i := slices.IndexFunc(wants(), func(w expectation) bool { return w.name == what })
	if i < 0 {
		var names []string
		for _, w := range wants() {
			names = append(names, w.name)
		}
		return nil, fmt.Errorf("unknown expectation %q, %s", near.Short(what), near.Expected(what, names, ""))
	}
	compare, err := wants()[i].parse(p, rest)
	if err != nil {
		return nil, err
	}
	return func(r *Runner) {
		if found, wanted := compare(r); found != wanted {
			r.res.Failed = fmt.Sprintf("found %s, wanted %s", found, wanted)
		}
	}, nil
}

func wantRC(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	rc, err := parseRC(args)
	return func(r *Runner) (string, string) {
		return ftracecore.RetName(r.prev.RC), ftracecore.RetName(rc)
	}, err
}

// parseRC reads a return value: a number, or an errno by name with or without
// the minus.
func parseRC(args []string) (int, error) {
	if len(args) == 1 {
		if v, err := strconv.ParseInt(args[0], 10, 32); err == nil {
			return int(v), nil
		}
		if e, ok := ftracecore.ErrnoByName(strings.TrimPrefix(args[0], "-")); ok {
			return -int(e), nil
		}
	}
	return 0, fmt.Errorf("want rc takes 0, a number or an errno such as -EBUSY, found %q", strings.Join(args, " "))
}

func wantRet(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("want ret takes one number, found %q", strings.Join(args, " "))
	}
	v, err := number(args[0])
	return func(r *Runner) (string, string) {
		if r.prev.Ret == nil {
			return "no return value", fmt.Sprint(int64(v))
		}
		return fmt.Sprint(*r.prev.Ret), fmt.Sprint(int64(v))
	}, err
}

func wantCallbacks(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("want callbacks takes what ran, in order, or %s", none)
	}
	wanted := strings.Join(args, " ")
	return func(r *Runner) (string, string) { return callbacks(r.prev.EV), wanted }, nil
}

// callbacks lists what ran in a call, in order: IDs of ops, direct trampolines, BPF
// programs, bodies.
func callbacks(evs []Event) string {
	var names []string
	for _, e := range evs {
		switch {
		case e.CB != "":
			names = append(names, e.CB)
		case e.Direct != "":
			names = append(names, "direct:"+e.Direct)
		case e.Prog != "":
			names = append(names, "prog:"+e.Prog)
		case e.Body != "":
			names = append(names, "body:"+e.Body)
		}
	}
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, " ")
}

func wantTarget(p *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("want target takes FUNCTION nop|NAME, found %q", strings.Join(args, " "))
	}
	a, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	s, ok := p.script.names.site(a)
	if !ok {
		return nil, fmt.Errorf("function %q has no ftrace site", args[0])
	}
	return func(r *Runner) (string, string) {
		st := r.siteState(r.lab.Core.RecordAt(s.IP))
		if st.Target != "" {
			return st.Target, args[1]
		}
		return st.Form, args[1]
	}, nil
}

func wantWarn(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("want warn takes the kernel functions that warned, in order, or %s", none)
	}
	wanted := strings.Join(args, " ")
	return func(r *Runner) (string, string) {
		if len(r.prev.Warn) == 0 {
			return none, wanted
		}
		return strings.Join(r.prev.Warn, " "), wanted
	}, nil
}

func wantDead(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) != 0 {
		return nil, fmt.Errorf("want dead takes nothing, found %q", strings.Join(args, " "))
	}
	return func(r *Runner) (string, string) {
		if r.prev.Dead == 0 {
			return "ftrace alive", "ftrace dead"
		}
		return "", ""
	}, nil
}

func wantOops(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) != 0 {
		return nil, fmt.Errorf("want oops takes nothing, found %q", strings.Join(args, " "))
	}
	return func(r *Runner) (string, string) {
		if r.prev.Oops == "" {
			return "a line that came back", "an oops"
		}
		return "", ""
	}, nil
}
