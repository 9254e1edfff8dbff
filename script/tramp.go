package script

import (
	"fmt"
	"slices"
	"strings"

	"ftemu/near"
	"ftemu/trampoline"
)

// defaultShared is the trampoline that an owner switches to when it must share
// and none was named.
const defaultShared = "share"

// trampKinds are the direct trampolines of the language. Besides them there is
// orig for each function: origN for fN of the built-in guest, orig:NAME in
// any guest.
var trampKinds = map[string]trampoline.DirectKind{
	"pass": trampoline.Pass, "passB": trampoline.Pass, "passC": trampoline.Pass,
	"share": trampoline.Share, "shareB": trampoline.Share,
	"skip": trampoline.Skip,
}

// tramps describes them in the order of documentation.
func tramps() []Term {
	return []Term{
		{"pass", "", "goes on to what its return slot holds: the body, or where a livepatch takes the call"},
		{"passB, passC", "", "the same, at other addresses"},
		{"share", "", "calls what its return slot holds and returns to the function's caller, as the image of fexit programs that can share with a livepatch (ORIG_STACK)"},
		{"shareB", "", "the same, at another address"},
		{"skip", "", fmt.Sprintf("returns %d to the function's caller; the body does not run", trampoline.SkipValue)},
		{"origN", "", "calls the body of fN whatever a livepatch wants and returns to the function's caller, as the image of fexit programs that are alone; N is a number from 0 to 7, of a function of the built-in guest"},
		{"orig:FUNCTION", "", "the same for a function of any guest"},
		{"NAME", "", "one that tramp has given that name"},
	}
}

// tramp checks the name of a direct trampoline.
func (p *Parser) tramp(name string) error {
	if _, ok := trampKinds[name]; ok {
		return nil
	}
	if _, ok := p.script.names.origBody(name); ok {
		return nil
	}
	if _, ok := p.script.tramps[name]; ok {
		return nil
	}
	known := slices.DeleteFunc(p.trampWords(""), func(w string) bool { return w == "orig:" })
	return fmt.Errorf("unknown trampoline %q, %s", near.Short(name), near.Expected(name, known,
		"pass, passB, passC, share, shareB, skip, origN, orig:FUNCTION, or one that tramp has named"))
}

// origBody finds the body that the trampoline of an orig name calls.
func (n names) origBody(name string) (uint64, bool) {
	fn, ok := strings.CutPrefix(name, "orig:")
	if !ok {
		num, found := strings.CutPrefix(name, "orig")
		if !found || n.prefix == "" {
			return 0, false
		}
		fn = "f" + num
	}
	a, ok := n.addr(fn)
	if !ok {
		return 0, false
	}
	s, ok := n.site(a)
	return body(s), ok
}

// tramp returns the address of a direct trampoline, which is made when it is
// first used. Its name was checked when the script was parsed.
func (r *Runner) tramp(name string) uint64 {
	if a, ok := r.lab.Direct(name); ok {
		return a
	}
	if own, ok := r.script.tramps[name]; ok {
		a, err := r.lab.AddTrampoline(name, own)
		if err != nil {
			r.res.Why = append(r.res.Why, err)
		}
		return a
	}
	kind, ok := trampKinds[name]
	var target uint64
	if !ok {
		kind = trampoline.Orig
		target, _ = r.script.names.origBody(name)
	}
	a, err := r.lab.AddDirect(name, kind, target)
	if err != nil {
		r.res.Why = append(r.res.Why, err)
	}
	return a
}
