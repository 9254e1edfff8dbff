package ftracecore

import (
	"fmt"
	"strings"
)

// A Profile is how a kernel version behaves where versions differ.
type Profile struct {
	Name  string
	About string // in a line
	// SelfOnModify says that modify_ftrace_direct_multi asks the ops_func again
	// when a site has IPMODIFY (fix of November 2025, in v6.1.192).
	SelfOnModify bool
	// ResetDirectOnFailure says that a failed registration of a direct ops
	// clears its function and trampoline, so that the owner may simply retry
	// (v6.18). Before that a retry is -EINVAL until the owner has done it.
	ResetDirectOnFailure bool
	// NullFuncOnRetry says that a BPF trampoline which is told -EAGAIN clears the
	// function of its ops before it tries again, also where the ops is
	// registered and only changes its image. The next call of the traced
	// function then finds a registered ops without a function, which kills
	// ftrace (v6.1.192, see SelfOnModify; later kernels clear in the core and
	// only after a failed registration).
	NullFuncOnRetry bool
}

// V6_1 is Linux v6.1.192, the profile that was compared with a real kernel.
func V6_1() Profile {
	return Profile{Name: "v6.1", About: "Linux v6.1.192, compared with a real kernel", SelfOnModify: true, NullFuncOnRetry: true}
}

// V6_1Fixed is v6.1.192 without its bug of NullFuncOnRetry: what was meant.
func V6_1Fixed() Profile {
	return Profile{Name: "v6.1-fixed", About: "without its bug of a BPF trampoline that tries again while it is registered", SelfOnModify: true}
}

// Profiles lists the profiles there are, the default first.
func Profiles() []Profile { return []Profile{V6_1(), V6_1Fixed()} }

// ParseProfile finds a profile by name.
func ParseProfile(name string) (Profile, error) {
	var known []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return Profile{}, fmt.Errorf("unknown profile %q, expected %s", name, strings.Join(known, ", "))
}
