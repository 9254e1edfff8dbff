package script

import (
	"errors"
	"fmt"

	"ftemu"
)

// errNoTrampolines is returned where trampolines of one's own cannot be loaded.
var errNoTrampolines = errors.New("trampolines cannot be loaded here")

// parseTramp makes the name of a direct trampoline mean one of the script's own:
// tramp NAME FILE [for FUNCTION] [redirect FUNCTION TARGET]...
func parseTramp(p *Parser, args []string) (func(*Runner), error) {
	name, file := args[0], args[1]
	if p.tramp(name) == nil {
		return nil, fmt.Errorf("trampoline %q exists already", name)
	}
	if p.opt.LoadTrampoline == nil {
		return nil, errNoTrampolines
	}
	own := ftemu.OwnTrampoline{Redirect: make(map[uint64]uint64)}
	for rest := args[2:]; len(rest) > 0; {
		switch {
		case rest[0] == "for" && len(rest) >= 2 && own.Body == 0:
			at, err := p.siteBody(rest[1])
			if err != nil {
				return nil, err
			}
			own.Body, rest = at, rest[2:]
		case rest[0] == "redirect" && len(rest) >= 3:
			from, err := p.siteBody(rest[1])
			if err != nil {
				return nil, err
			}
			to, err := p.function(rest[2])
			if err != nil {
				return nil, err
			}
			own.Redirect[from], rest = to, rest[3:]
		default:
			return nil, fmt.Errorf("found %q, expected for FUNCTION once, or redirect FUNCTION TARGET", rest[0])
		}
	}
	var err error
	if own.Maker, err = p.opt.LoadTrampoline(file); err != nil {
		return nil, err
	}
	if err := p.tryTramp(own); err != nil {
		return nil, err
	}
	p.script.tramps[name] = own
	return nil, nil
}

// siteBody is the address behind the site of a function.
func (p *Parser) siteBody(name string) (uint64, error) {
	a, err := p.function(name)
	if err != nil {
		return 0, err
	}
	s, ok := p.script.names.site(a)
	if !ok {
		return 0, fmt.Errorf("function %q has no ftrace site", name)
	}
	return body(s), nil
}

// tryTramp makes a trampoline to see whether it can be made for this guest.
func (p *Parser) tryTramp(own ftemu.OwnTrampoline) error {
	lab, err := ftemu.New(ftemu.Options{Guest: p.script.Guest})
	if err != nil {
		return err
	}
	defer lab.Close()
	_, err = lab.AddTrampoline(own.Maker.Name(), own)
	return err
}
