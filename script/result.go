package script

import (
	"ftemu/ftracecore"
	"ftemu/x86"
)

// A Result is what one line of a script gave, in the form of the recordings of
// a real kernel: as JSON it has their keys, in their order.
type Result struct {
	API           []APICall   `json:"api,omitempty"`    // every call of the kernel's API and its return value, in the order they finished
	BPF           []BPFState  `json:"bpf,omitempty"`    // the BPF trampolines, by address of their functions
	Bufs          []string    `json:"bufs,omitempty"`   // what the buffers of a call hold, up to the first zero
	Dead          int         `json:"dead"`             // 1 once ftrace has killed itself
	EF            []string    `json:"ef"`               // the lines of enabled_functions, normalised; null where empty
	EV            []Event     `json:"ev,omitempty"`     // what ran, for a call
	Failed        string      `json:"failed,omitempty"` // how an expectation was not met
	FtraceEnabled *int        `json:"ftrace_enabled,omitempty"`
	Left          *[]LeftSite `json:"left,omitempty"` // sites that are not clean after end
	OF            []OpsAnswer `json:"of,omitempty"`   // what ops_funcs were asked and answered
	Oops          string      `json:"oops,omitempty"` // why nothing can run after this line: the kernel crashed, or a call did not come back
	More          int         `json:"more,omitempty"` // how many sites in use are neither in sites nor in ef, because they are too many
	Op            string      `json:"op"`             // the line
	Ops           []OpsState  `json:"ops"`            // in order of creation
	RC            int         `json:"rc"`             // the last API call's return value
	Ret           *int64      `json:"ret,omitempty"`  // what the function returned, for a call
	Sites         []SiteState `json:"sites"`
	Text          []string    `json:"text,omitempty"` // what a line that asks to see something shows
	Unclean       *int        `json:"unclean,omitempty"`
	Warn          []string    `json:"warn,omitempty"` // the kernel functions that warned

	// Line is the number of the line in its file; 0 for a begin or end that the
	// file leaves out.
	Line int `json:"-"`
	// Calls are the elements of API and OF together, in the order they finished,
	// with what BPF trampolines were asked and did.
	Calls []Call `json:"-"`
	// Why are the errors behind return values other than 0.
	Why []error `json:"-"`
	// Warnings are the warnings in full.
	Warnings []ftracecore.Warning `json:"-"`
	// Before is what the sites were like before the line, BeforeBPF what BPF was.
	Before    []SiteState `json:"-"`
	BeforeBPF []BPFState  `json:"-"`
	// BeforeMore is what More was before the line.
	BeforeMore int `json:"-"`
	// Want is what an expectation was about: rc, ret, ...; "" for other lines.
	Want string `json:"-"`
	// Decisions tell how the line's calls of the API came to their results;
	// calls made inside others are in those.
	Decisions []*ftracecore.Decision `json:"-"`
}

// Return values of calls that were not made because they would have crashed
// the kernel.
const (
	SkippedWouldOops = -9999 // an IPMODIFY ops whose hash pointer is NULL
	SkippedNullFunc  = -9998 // an ops without a function
)

// notEmpty is what end returns when sites are not clean afterwards (-ENOTEMPTY).
const notEmpty = -39

// An APICall is one call of the kernel's API.
type APICall struct {
	Fn string `json:"fn"`
	RC int    `json:"rc"`
}

// A Call is a call of the kernel's API, with the error behind its return value,
// or a question to an ops_func, or the image of a BPF trampoline that was written
// again.
type Call struct {
	API   *APICall
	Why   error
	OF    *OpsAnswer
	Image *ImageChange
}

// An ImageChange is a change of the image of a BPF trampoline: another one took its
// place, or, where the addresses are the same, it was written again before anyone
// entered it, to share the function. Sizes are in bytes.
type ImageChange struct {
	Fn            string
	Addr, NewAddr uint64
	Size, NewSize int
}

// An OpsAnswer is one question to an ops_func.
type OpsAnswer struct {
	Cmd string `json:"cmd"`
	ID  string `json:"id"`
	Ret int    `json:"ret"`
}

// An Event is one thing that ran during a call. Which fields are there depends
// on what it was: a callback (cb), a function's body, a direct trampoline, or
// its exit, or a BPF program, which is noted when it returns.
type Event struct {
	A          *int64  `json:"a,omitempty"`
	Args       []int64 `json:"args,omitempty"` // the function's argument registers as a program saw them
	B          *int64  `json:"b,omitempty"`
	Body       string  `json:"body,omitempty"`
	CB         string  `json:"cb,omitempty"`
	Cookie     *int64  `json:"cookie,omitempty"` // of a program's link, unless it is 0
	Direct     string  `json:"direct,omitempty"`
	DirectExit string  `json:"directexit,omitempty"`
	IP         string  `json:"ip,omitempty"`
	Parent     string  `json:"parent,omitempty"`
	Prog       string  `json:"prog,omitempty"` // a BPF program
	Regs       *int    `json:"regs,omitempty"` // 1 if the callback saw full registers
	RetSlot    *string `json:"retslot,omitempty"`
	RV         *int64  `json:"rv,omitempty"`    // what a direct trampoline or program returned
	Value      *int64  `json:"value,omitempty"` // the function's return value as a program saw it
}

// A BPFState is a BPF trampoline after a line.
type BPFState struct {
	Flags     string   `json:"fl"`
	Fn        string   `json:"fn"`
	ImageSize int      `json:"image_size"`
	OrigStack bool     `json:"orig_stack"` // the image can share the function with a livepatch
	Progs     []string `json:"progs"`      // in the order in which they were attached
	Types     []string `json:"types"`

	Addr uint64 `json:"-"` // of the image; 0: there is none
}

// An OpsState is an ops after a line. Cur, Func, OrigStack and Share are those of
// direct ops.
type OpsState struct {
	Cur       string `json:"cur,omitempty"` // the direct trampoline in use
	Flags     string `json:"fl"`
	Func      *int   `json:"func,omitempty"` // 1 if ops->func is set
	ID        string `json:"id"`
	OrigStack *int   `json:"orig_stack,omitempty"`
	Share     *int   `json:"share,omitempty"`
	Tramp     string `json:"tramp"` // none, own, or ftrace_regs_caller
}

// A SiteState is a site after a line.
type SiteState struct {
	Count  int    `json:"cnt"`
	Direct string `json:"direct,omitempty"` // its entry in direct_functions
	Flags  string `json:"fl"`
	Form   string `json:"form"`
	Raw    string `json:"raw"` // the bytes, a call's displacement masked by dots
	Site   string `json:"s"`
	Target string `json:"tgt,omitempty"` // what it calls

	Bytes x86.Bytes5 `json:"-"`
	IP    uint64     `json:"-"`
}

// Disasm returns the instruction at the site, what it calls named as in Target.
func (s SiteState) Disasm() string {
	text, _, err := x86.Disasm(s.Bytes[:], s.IP, func(uint64) (string, uint64, bool) { return s.Target, 0, s.Target != "" })
	if err != nil {
		return err.Error()
	}
	return text
}

// A LeftSite is a site that is not clean after end.
type LeftSite struct {
	Count  int    `json:"cnt"`
	Flags  string `json:"fl"`
	Nop    int    `json:"nop"`
	Site   string `json:"s"`
	Direct string `json:"stale_direct,omitempty"`
}
