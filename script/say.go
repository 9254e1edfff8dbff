package script

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ftemu/ftracecore"
	"ftemu/x86"
)

// A Tone says how an answer is meant.
type Tone uint8

// The tones.
const (
	Silent Tone = iota // there is no answer
	Good
	Bad
	Value // of a call into the guest
)

// Answer is what a line gave in a few words.
func (res *Result) Answer() (string, Tone) {
	switch {
	case res.Want != "" && res.Failed != "":
		return "FAILED: " + res.Failed, Bad
	case res.Want != "":
		return "ok", Good
	case res.Ret != nil:
		return fmt.Sprintf("= %d", *res.Ret), Value
	case res.RC != 0:
		return RetText(res.RC), Bad
	case len(res.API) > 0 || res.Left != nil || strings.HasPrefix(res.Op, "sysctl "):
		return "0", Good
	}
	return "", Silent
}

// RetText names a return value, those of calls that were not made included.
func RetText(rc int) string {
	if rc == SkippedWouldOops || rc == SkippedNullFunc {
		return "not made"
	}
	return ftracecore.RetName(rc)
}

// Reason is the error behind a return value, beginning with that.
func Reason(rc int, why error) string {
	ret := RetText(rc)
	switch {
	case why == nil:
		return ret
	case strings.HasPrefix(why.Error(), ret):
		return why.Error()
	}
	return ret + ": " + why.Error()
}

// Paragraphs tells for each refusal of a line which function, owner and rule it
// was about.
func (res *Result) Paragraphs() []string {
	var out []string
	for _, err := range res.Why {
		var e *ftracecore.Error
		if errors.As(err, &e) {
			out = append(out, e.Explain())
		}
	}
	return out
}

// Say tells what was called, asked or made: what kind of thing, its name, and what
// came of it.
func (c Call) Say() (what, name, text string, tone Tone) {
	switch {
	case c.OF != nil:
		return "ops_func", c.OF.ID, "is asked " + c.OF.Cmd + ", answers " + RetText(c.OF.Ret), Silent
	case c.Image != nil:
		return "image", c.Image.Fn, c.Image.String(), Silent
	case c.API.RC == 0:
		return "api", c.API.Fn, "= 0", Silent
	}
	return "api", c.API.Fn, "= " + Reason(c.API.RC, c.Why), Bad
}

// String says what was there before and what is there now.
func (c ImageChange) String() string {
	if c.Addr == c.NewAddr {
		return fmt.Sprintf("%d bytes -> %d bytes at %#x, made again so that it can share", c.Size, c.NewSize, c.NewAddr)
	}
	return fmt.Sprintf("%d bytes at %#x -> %d bytes at %#x", c.Size, c.Addr, c.NewSize, c.NewAddr)
}

// Images are the images of BPF trampolines that the line replaced.
func (res *Result) Images() []ImageChange {
	var out []ImageChange
	for _, now := range res.BPF {
		for _, was := range res.BeforeBPF {
			if was.Fn == now.Fn && was.Addr != now.Addr && was.Addr != 0 && now.Addr != 0 {
				out = append(out, ImageChange{now.Fn, was.Addr, now.Addr, was.ImageSize, now.ImageSize})
			}
		}
	}
	return out
}

// Say tells what ran: what kind of thing, its name, and what it saw.
func (e Event) Say() (what, name, text string) {
	switch {
	case e.CB != "":
		regs := "arguments only"
		if e.Regs != nil && *e.Regs != 0 {
			regs = "all registers"
		}
		return "callback", e.CB, fmt.Sprintf("at %s, called from %s, has %s", e.IP, e.Parent, regs)
	case e.Direct != "":
		return "direct", e.Direct, fmt.Sprintf("(%d, %d), return slot %s", *e.A, *e.B, *e.RetSlot)
	case e.Prog != "":
		return "program", e.Prog, e.program()
	case e.Body != "":
		return "body", e.Body, fmt.Sprintf("(%d, %d)", *e.A, *e.B)
	case e.DirectExit != "":
		return "exit", e.DirectExit, fmt.Sprintf("what it called returned %d", *e.RV)
	}
	return "", "", ""
}

// program says what a BPF program saw and returned.
func (e Event) program() string {
	args := make([]string, len(e.Args))
	for i, a := range e.Args {
		args[i] = fmt.Sprint(a)
	}
	text := "(" + strings.Join(args, ", ") + ")"
	if e.Value != nil {
		text += fmt.Sprintf(", the function returned %d", *e.Value)
	}
	if e.Cookie != nil {
		text += fmt.Sprintf(", cookie %d", *e.Cookie)
	}
	if e.IP != "" {
		text += ", at " + e.IP
	}
	if e.RV != nil {
		text += fmt.Sprintf(", returns %d", *e.RV)
	}
	return text
}

// A SiteChange is a site that a line changed. Before is nil where too many sites
// were in use before the line to list them.
type SiteChange struct {
	Before, After *SiteState
}

// unused is a site that is not in use: only such a one is not listed.
func unused(s SiteState) *SiteState {
	return &SiteState{Form: x86.FormNop.String(), Raw: hex.EncodeToString(x86.Nop5[:]), Site: s.Site, Bytes: x86.Nop5, IP: s.IP}
}

// Changes are the sites that the line changed, in the order of Sites, and behind
// them those that were in use before and are not any more, if all are listed that
// are.
func (res *Result) Changes() []SiteChange {
	var out []SiteChange
	for i := range res.Sites {
		now := &res.Sites[i]
		k := slices.IndexFunc(res.Before, func(s SiteState) bool { return s.IP == now.IP })
		var was *SiteState
		switch {
		case k >= 0:
			was = &res.Before[k]
		case res.BeforeMore == 0:
			was = unused(*now)
		}
		if was == nil || *was != *now {
			out = append(out, SiteChange{was, now})
		}
	}
	if res.More > 0 {
		return out
	}
	for i := range res.Before {
		was := &res.Before[i]
		if inUse(*was) && !slices.ContainsFunc(res.Sites, func(s SiteState) bool { return s.IP == was.IP }) {
			out = append(out, SiteChange{was, unused(*was)})
		}
	}
	return out
}

// String says what is not clean about the site.
func (l LeftSite) String() string {
	text := fmt.Sprintf("count %d, flags %s", l.Count, OrNone(l.Flags))
	if l.Nop == 0 {
		text += ", not a nop"
	}
	if l.Direct != "" {
		text += ", stale direct function " + l.Direct
	}
	return text
}

// OrNone is the flags, or a word for none of them.
func OrNone(flags string) string {
	if flags == "" {
		return "none"
	}
	return flags
}

// CodeAt names code for slices of time: the function or trampoline that the
// address is part of, what kind of code it is (function, gate or trampoline),
// and where it begins.
func (r *Runner) CodeAt(addr uint64) (name, category string, start uint64) {
	name, off, ok := r.SymbolAt(addr)
	start = addr - off
	// The labels inside of the static trampolines are symbols too.
	if whole, inside := r.lab.StaticTrampoline(addr); inside {
		name, _, ok = r.SymbolAt(whole)
		start = whole
	}
	switch {
	case !ok:
		return fmt.Sprintf("%#x", addr), "function", addr
	case r.lab.IsGate(addr):
		return name, "gate", start
	case r.lab.IsTrampoline(start):
		return name, "trampoline", start
	}
	return name, "function", start
}
