package script

import (
	"fmt"
	"strconv"
	"strings"

	"ftemu/ftracecore"
	"ftemu/guest"
)

func parseBegin(p *Parser, args []string) (func(*Runner), error) {
	list, ok := strings.CutPrefix(args[1], "sites=")
	if !ok {
		return nil, fmt.Errorf("found %q, expected sites=", args[1])
	}
	p.script.Name = args[0]
	var sites []uint64
	for _, name := range strings.Split(list, ",") {
		if name == "" {
			continue
		}
		a, err := p.function(name)
		if err != nil {
			return nil, err
		}
		s, ok := p.script.names.site(a)
		if !ok {
			return nil, fmt.Errorf("function %q has no ftrace site", name)
		}
		sites = append(sites, s.IP)
	}
	return func(r *Runner) { r.sites = sites }, nil
}

func parseNew(p *Parser, args []string) (func(*Runner), error) {
	id := args[0]
	if p.ids[id] != nil || p.progs[id] {
		return nil, fmt.Errorf("ID %q exists already", id)
	}
	k, err := parseKind(args[1])
	if err != nil {
		return nil, err
	}
	mode := ModeNone
	for _, a := range args[2:] {
		if m, ok := strings.CutPrefix(a, "of="); ok {
			if mode, err = parseMode(m); err != nil {
				return nil, err
			}
			continue
		}
		more, ok := strings.CutPrefix(a, "+")
		if !ok {
			return nil, fmt.Errorf("found %q, expected of=MODE or +KIND", a)
		}
		extra, err := parseKind(more)
		if err != nil {
			return nil, err
		}
		k.flags |= extra.flags
	}
	p.ids[id] = &declared{kind: k}
	return func(r *Runner) { r.newOps(id, k, mode) }, nil
}

// remove and reset are the words behind a filter.
type filterWords struct{ remove, reset bool }

// filterWords checks the ID that a filter line begins with and reads the words
// behind the functions.
func (p *Parser) filterWords(args []string) (w filterWords, err error) {
	if _, err := p.id(args[0]); err != nil {
		return w, err
	}
	for _, a := range args[2:] {
		switch a {
		case "remove":
			w.remove = true
		case "reset":
			w.reset = true
		default:
			return w, fmt.Errorf("found %q, expected remove or reset", a)
		}
	}
	return w, nil
}

func parseFilter(p *Parser, args []string) (func(*Runner), error) {
	w, err := p.filterWords(args)
	if err != nil {
		return nil, err
	}
	if args[1] == "all" {
		return func(r *Runner) { r.api("set_filter", r.lab.Core.SetFilter(r.ops(args[0]), "", true)) }, nil
	}
	ips, err := p.addrs(args[1])
	if err != nil {
		return nil, err
	}
	return func(r *Runner) {
		if len(ips) == 1 {
			r.api("set_filter_ip", r.lab.Core.SetFilterIP(r.ops(args[0]), ips[0], w.remove, w.reset))
		} else {
			r.api("set_filter_ips", r.lab.Core.SetFilterIPs(r.ops(args[0]), ips, w.remove, w.reset))
		}
	}, nil
}

// pattern is the word for set_ftrace_filter that a name and remove amount to.
func (p *Parser) pattern(word string, remove bool) string {
	// The script's short names of functions are known here, not in the kernel.
	if a, ok := p.script.names.addr(word); ok {
		if s, ok := p.script.Guest.Symbols.At(a); ok {
			word = s.Name
		}
	}
	if remove {
		return "!" + word
	}
	return word
}

func parseFilterName(p *Parser, args []string) (func(*Runner), error) {
	w, err := p.filterWords(args)
	if err != nil {
		return nil, err
	}
	// The pattern goes to the kernel as it is, so that it is about the names
	// there: ftor_f0 in the built-in guest.
	pattern := args[1]
	if w.remove {
		pattern = "!" + pattern
	}
	return func(r *Runner) {
		r.api("set_filter_name", r.lab.Core.SetFilter(r.ops(args[0]), pattern, w.reset))
	}, nil
}

func parseNotrace(p *Parser, args []string) (func(*Runner), error) {
	w, err := p.filterWords(args)
	if err != nil {
		return nil, err
	}
	pattern := p.pattern(args[1], w.remove)
	return func(r *Runner) {
		r.api("set_notrace", r.lab.Core.SetNotrace(r.ops(args[0]), pattern, w.reset))
	}, nil
}

func parseRegister(p *Parser, args []string) (func(*Runner), error) {
	if _, err := p.id(args[0]); err != nil {
		return nil, err
	}
	if len(args) == 2 && args[1] != "force" {
		return nil, fmt.Errorf("found %q, expected force", args[1])
	}
	return func(r *Runner) { r.register(r.ops(args[0]), len(args) == 2) }, nil
}

func parseUnregister(p *Parser, args []string) (func(*Runner), error) {
	if _, err := p.id(args[0]); err != nil {
		return nil, err
	}
	return func(r *Runner) { r.unregister(r.ops(args[0])) }, nil
}

func parseIPMod(p *Parser, args []string) (func(*Runner), error) {
	if _, err := p.id(args[0]); err != nil {
		return nil, err
	}
	if args[1] != "on" && args[1] != "off" {
		return nil, fmt.Errorf("found %q, expected on or off", args[1])
	}
	return func(r *Runner) { r.client(args[0]).redirecting = args[1] == "on" }, nil
}

func parseCall(p *Parser, args []string) (func(*Runner), error) {
	fn, err := p.function(args[0])
	if err != nil {
		return nil, err
	}
	vals, err := parseArgs(args[1:])
	if err != nil {
		return nil, err
	}
	return func(r *Runner) { r.call(fn, vals) }, nil
}

func parseSysctl(_ *Parser, args []string) (func(*Runner), error) {
	v, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("found %q, expected a number of 32 bits", args[0])
	}
	return func(r *Runner) { r.rc(r.lab.Core.SetEnabled(v != 0)) }, nil
}

// idAndTramps checks the arguments of the API for direct callers: the ID of an
// ops, and trampolines.
func (p *Parser) idAndTramps(args []string) error {
	if _, err := p.id(args[0]); err != nil {
		return err
	}
	return p.tramps(args[1:])
}

func (p *Parser) tramps(names []string) error {
	for _, t := range names {
		if err := p.tramp(t); err != nil {
			return err
		}
	}
	return nil
}

func parseDirectRegister(p *Parser, args []string) (func(*Runner), error) {
	if err := p.idAndTramps(args); err != nil {
		return nil, err
	}
	return func(r *Runner) {
		o := r.client(args[0]).owner
		if r.api("register_direct_multi", r.lab.Core.RegisterDirectMulti(o.ops, r.tramp(args[1]))) == 0 {
			o.alone, o.cur = args[1], args[1]
		}
	}, nil
}

func parseDirectRetry(p *Parser, args []string) (func(*Runner), error) {
	if err := p.idAndTramps(args); err != nil {
		return nil, err
	}
	shared := defaultShared
	if len(args) == 3 {
		shared = args[2]
	}
	return func(r *Runner) { r.client(args[0]).owner.register(args[1], shared) }, nil
}

func parseDirectModify(p *Parser, args []string) (func(*Runner), error) {
	if err := p.idAndTramps(args); err != nil {
		return nil, err
	}
	return func(r *Runner) {
		o := r.client(args[0]).owner
		if r.api("modify_direct_multi", r.lab.Core.ModifyDirectMulti(o.ops, r.tramp(args[1]))) == 0 {
			o.cur = args[1]
		}
	}, nil
}

func parseDirectUnregister(p *Parser, args []string) (func(*Runner), error) {
	if err := p.idAndTramps(args); err != nil {
		return nil, err
	}
	return func(r *Runner) {
		o := r.client(args[0]).owner
		addr := uint64(0)
		switch {
		case len(args) == 2:
			addr = r.tramp(args[1])
		case o.cur != "":
			addr = r.tramp(o.cur)
		}
		if !o.ops.Has(ftracecore.OpsInit) {
			r.skip("SKIPPED_WOULD_OOPS", SkippedWouldOops, "ops "+o.ops.Name+" never had a filter: the kernel would dereference NULL")
			return
		}
		r.api("unregister_direct_multi", r.lab.Core.UnregisterDirectMulti(o.ops, addr))
	}, nil
}

// sdirect parses the arguments of the single-ip API: a site and trampolines.
func (p *Parser) sdirect(args []string) (ip uint64, err error) {
	if ip, err = p.addr(args[0]); err != nil {
		return 0, err
	}
	return ip, p.tramps(args[1:])
}

func parseSDirectRegister(p *Parser, args []string) (func(*Runner), error) {
	ip, err := p.sdirect(args)
	if err != nil {
		return nil, err
	}
	return func(r *Runner) {
		if r.api("register_ftrace_direct", r.lab.Core.RegisterDirect(ip, r.tramp(args[1]))) == 0 {
			r.singles = append(r.singles, single{ip, args[1]})
		}
	}, nil
}

func parseSDirectModify(p *Parser, args []string) (func(*Runner), error) {
	ip, err := p.sdirect(args)
	if err != nil {
		return nil, err
	}
	return func(r *Runner) {
		if r.api("modify_ftrace_direct", r.lab.Core.ModifyDirect(ip, r.tramp(args[1]), r.tramp(args[2]))) == 0 {
			for i := range r.singles {
				if r.lab.Core.Location(r.singles[i].ip) == r.lab.Core.Location(ip) {
					r.singles[i].tramp = args[2]
				}
			}
		}
	}, nil
}

func parseSDirectUnregister(p *Parser, args []string) (func(*Runner), error) {
	ip, err := p.sdirect(args)
	if err != nil {
		return nil, err
	}
	return func(r *Runner) {
		if r.api("unregister_ftrace_direct", r.lab.Core.UnregisterDirect(ip, r.tramp(args[1]))) == 0 {
			r.dropSingle(ip)
		}
	}, nil
}

func parseGuest(p *Parser, args []string) (func(*Runner), error) {
	if p.script.Guest != nil {
		return nil, fmt.Errorf("guest must come first, and once")
	}
	img, err := p.loadGuest(args[0])
	if err != nil {
		return nil, err
	}
	if err := img.RequireSites(); err != nil {
		return nil, err
	}
	p.setGuest(img)
	return nil, nil
}

// BPFTestsGuest is the name by which the guest verb knows guest.BPFTests.
const BPFTestsGuest = "builtin:bpf_fentry_test"

// InstalledGuest is the name by which the guest verb knows guest.InstalledKernel.
const InstalledGuest = "host:vmlinuz"

func (p *Parser) loadGuest(name string) (*guest.Image, error) {
	switch {
	case name == BPFTestsGuest:
		return guest.BPFTests()
	case p.opt.LoadGuest == nil:
		return nil, fmt.Errorf("objects cannot be loaded here")
	case name == InstalledGuest:
		path, err := guest.InstalledKernel()
		if err != nil {
			return nil, err
		}
		return p.opt.LoadGuest(path)
	}
	return p.opt.LoadGuest(name)
}

func parseRedirect(p *Parser, args []string) (func(*Runner), error) {
	d, err := p.id(args[0])
	if err != nil {
		return nil, err
	}
	if d.kind.flags&ftracecore.OpsIPModify == 0 {
		return nil, fmt.Errorf("%q is of kind %s, expected one with IPMODIFY", args[0], d.kind.name)
	}
	from, err := p.function(args[1])
	if err != nil {
		return nil, err
	}
	site, ok := p.script.names.site(from)
	if !ok {
		return nil, fmt.Errorf("function %q has no ftrace site", args[1])
	}
	to, err := p.function(args[2])
	if err != nil {
		return nil, err
	}
	return func(r *Runner) { r.client(args[0]).redirect[site.IP] = to }, nil
}
