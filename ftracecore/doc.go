// Package ftracecore decides who gets the five bytes of a call site. It
// re-implements how Linux ftrace keeps its records (struct dyn_ftrace), its
// ops (struct ftrace_ops), the table of direct functions, and how it arbitrates
// between function tracers, IPMODIFY users such as livepatch, and direct
// callers such as BPF trampolines.
//
// The package computes new record states and the changes of code that follow
// from them. It runs no code and writes no memory: the [Text] and
// [Trampolines] given to [New] do that.
//
// # Calls
//
// Methods of [Core] that stand for a kernel function carry its name, take what
// it takes and return what it returns: nil for 0, otherwise an error from which
// [Ret] gives the C return value (a negative errno, or the positive value of
// an ops_func that the kernel passes on). errors.Is(err, [EBUSY]) works.
//
// # Lock order
//
// Outermost first; a lock is never taken while one below it is held:
//
//	trampoline mutex (tr->mutex, owned by BPF clients)
//	direct_mutex
//	  ops->func_hash->regex_lock
//	    ftrace_lock
//	      text_mutex
//
// register_ftrace_function takes direct_mutex always, since v6.0, so that no
// direct ops can come or go between asking the direct callers and enabling an
// IPMODIFY ops. An ops_func is called with direct_mutex held, and for
// ENABLE_SHARE_IPMODIFY_SELF during a registration with ftrace_lock as well.
//
// # The kernel's oddities
//
// Where the kernel leaves something behind, forgets something or asks twice,
// this package does so too. Such places carry a comment that begins with
// "As the kernel:".
package ftracecore
