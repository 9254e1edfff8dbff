// Package bpf is the client of ftrace that attaches BPF programs to kernel
// functions: for each traced function one [Trampoline] with an image, a piece
// of code that runs the programs around the function. It re-implements
// kernel/bpf/trampoline.c of Linux v6.0 to v6.x: how images are replaced when
// programs come and go, and how a trampoline that calls the function's body
// makes way for a livepatch.
//
// The package decides; images are made by the [Kernel] given to [NewTable].
//
// # Locks
//
// Each trampoline has a mutex (tr->mutex), taken before every lock of ftrace
// when programs come and go. An ops_func that ftrace calls for a livepatch has
// direct_mutex held already, so that it only tries the mutex, and answers
// -EAGAIN when that is taken.
package bpf

import (
	"fmt"
	"strings"

	"ftemu/near"
)

// A Kind says when a program runs.
type Kind uint8

// The kinds of programs.
const (
	Fentry  Kind = iota // before the function
	FmodRet             // before the function, with the power to replace it by a return value (fmod_ret)
	Fexit               // behind the function
	numKinds
)

var kindNames = [numKinds]string{"fentry", "fmod_ret", "fexit"}

// String returns the name as the sections of BPF objects spell it.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind finds a kind by name.
func ParseKind(s string) (Kind, error) {
	for i, n := range kindNames {
		if n == s {
			return Kind(i), nil
		}
	}
	return 0, fmt.Errorf("unknown kind of program %q, %s", near.Short(s), near.Expected(s, kindNames[:], ""))
}

// A Variant says which pair of __bpf_prog_enter and __bpf_prog_exit guards a
// program.
type Variant uint8

// The variants.
const (
	Recur          Variant = iota // tracing programs: one at a time on each CPU
	SleepableRecur                // those that may sleep
	Plain                         // LSM programs
	Sleepable                     // those that may sleep
	NumVariants
)

var variantSuffixes = [NumVariants]string{"_recur", "_sleepable_recur", "", "_sleepable"}

// Functions are the names of the kernel functions.
func (v Variant) Functions() (enter, exit string) {
	if v >= NumVariants {
		return "", ""
	}
	return "__bpf_prog_enter" + variantSuffixes[v], "__bpf_prog_exit" + variantSuffixes[v]
}

func (v Variant) recur() bool { return v == Recur || v == SleepableRecur }

// A Prog is a loaded program.
type Prog struct {
	Name    string
	Kind    Kind
	Variant Variant
	Addr    uint64 // struct bpf_prog
	Func    uint64 // its code
	// WantsIP says that the program calls bpf_get_func_ip, so that its image
	// keeps the address of the function.
	WantsIP bool

	misses int
	active map[int]int // by CPU
}

// Misses is how often the program was skipped because it was already running
// on the CPU.
func (p *Prog) Misses() int { return p.misses }

// A Link attaches a program to a function.
type Link struct {
	Prog   *Prog
	Cookie uint64 // for bpf_get_attach_cookie

	tr *Trampoline // nil: not attached
}

// Trampoline is where the link is attached; nil if it is not.
func (l *Link) Trampoline() *Trampoline { return l.tr }

// Flags say what an image does and what its trampoline has to respect
// (BPF_TRAMP_F_*).
type Flags uint16

// The flags, with the kernel's values.
const (
	RestoreRegs   Flags = 1 << iota // load the arguments again before returning into the body
	CallOrig                        // call the body of the function
	SkipFrame                       // return to the function's caller
	IPArg                           // keep the function's address
	RetFentryRet                    // return what the fentry program returned (struct_ops)
	OrigStack                       // call what the return slot holds instead of the body
	ShareIPModify                   // an IPMODIFY ops shares the function, or is about to
	TailCallCtx                     // hand the tail call counter on
)

var flagNames = [...]string{
	"RESTORE_REGS", "CALL_ORIG", "SKIP_FRAME", "IP_ARG", "RET_FENTRY_RET", "ORIG_STACK", "SHARE_IPMODIFY", "TAIL_CALL_CTX",
}

// String lists the names from the low bit to the high, joined by "|".
func (f Flags) String() string {
	var names []string
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, "|")
}

// Has tells whether all of the given flags are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// A Target is a function that programs can be attached to.
type Target struct {
	Name   string
	Addr   uint64
	Module string // "" for the core kernel
	Params []int  // sizes of the parameters in bytes
}

// A Description is what an image is made from (arch_prepare_bpf_trampoline).
type Description struct {
	Target Target
	Flags  Flags
	Links  [numKinds][]*Link // by Kind, each in the order in which they run
}

// An Image is the code of a trampoline (struct bpf_tramp_image).
type Image struct {
	Addr   uint64 // its code
	Object uint64 // struct bpf_tramp_image, which __bpf_tramp_enter and _exit get
	Size   int    // of the code, in bytes

	refs int // tasks inside the function's body (pcref)
}

// Busy tells whether a task that the image called into the body for has not
// come back yet.
func (im *Image) Busy() bool { return im.refs > 0 }
