package ftemu

import (
	"fmt"
	"strings"

	"ftemu/patcher"
)

// A Mistake is a way to get it wrong that somebody made or proposed, to see what
// comes of it.
type Mistake struct {
	Name string
	Help string
	set  func(*Options)
}

// Mistakes lists the known mistakes.
func Mistakes() []Mistake {
	return []Mistake{
		{"naive", "patch with plain stores, opcode first, and no synchronisation", func(o *Options) { o.Strategy = patcher.Naive }},
		{"skip-int3", "the int3 handler goes on behind the site instead of emulating the new instruction", func(o *Options) { o.SkipTraps = true }},
		{"disable-then-enable", "change a direct function by taking the site out and putting it back", func(o *Options) { o.Mistakes.DisableThenEnable = true }},
		{"keep-entry", "a failed direct registration keeps its entries in direct_functions (v6.6 to v6.17)", func(o *Options) { o.Mistakes.KeepEntry = true }},
		{"no-self-on-modify", "modify does not ask about sharing again (v6.0 to v6.17)", func(o *Options) { o.Mistakes.NoSelfOnModify = true }},
		{"relock-direct-mutex", "modify takes direct_mutex a second time (v6.0)", func(o *Options) { o.Mistakes.RelockDirectMutex = true }},
		{"blocking-peer", "the owner of a direct function waits for its mutex when a livepatch asks, instead of trying it", func(o *Options) { o.Mistakes.BlockingPeer = true }},
		{"no-grace", "trampolines and images are freed without a grace period", func(o *Options) { o.Mistakes.NoGrace = true }},
	}
}

// Make makes the options get something wrong: a comma-separated list of the
// names of mistakes.
func (o *Options) Make(mistakes string) error {
	if mistakes == "" {
		return nil
	}
next:
	for _, name := range strings.Split(mistakes, ",") {
		var known []string
		for _, m := range Mistakes() {
			if m.Name == name {
				m.set(o)
				continue next
			}
			known = append(known, m.Name)
		}
		return fmt.Errorf("unknown mistake %q, expected one of %s", name, strings.Join(known, ", "))
	}
	return nil
}
