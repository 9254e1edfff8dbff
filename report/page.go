package report

import (
	"ftemu/ftracecore"
	"ftemu/script"
)

// A Page is what is drawn of one run.
type Page struct {
	Title       string // the scenario's name
	File        string
	Facts       []Fact
	Command     string // makes the same run again
	Verdict     string
	Tone        string // class of the verdict: bad where something was not as expected, good where all was
	Lines       int    // that ran
	Calls       int    // into the guest
	Refused     int    // lines
	Met         int    // expectations
	Missed      int
	Insns       uint64 // executed
	Jumps       []Jump // to what was refused or failed
	Steps       []*Step
	Sites       []*Site
	Tramps      []*Tramp
	Exploration *Exploration // nil where nothing was explored; see Explored
	End         End
	LeftOut     []string // sentences about what was left out
	wasDead     bool
	moreSites   int
}

// A Fact is a setting of the run.
type Fact struct{ Name, Value string }

// A Jump leads to a line.
type Jump struct{ ID, Line, Text, Answer string }

// A Step is one line of the scenario.
type Step struct {
	ID      string
	Number  string
	Comment []string // paragraphs that stand above it
	Text    string
	Note    string // the comment behind it
	Answer  string
	Tone    string // class of the answer
	Want    bool   // the line is an expectation
	Rows    []Row
	Changes []Change
	Ops     *Ops
	AsWas   bool // the line called ftrace and changed no ops
	Call    *Timeline
	Why     *Why
	Brief   bool // it did more than is drawn
}

// A Row is one thing that a line did or said.
type Row struct{ Label, Name, Text, Tone string }

// Why tells how the result of a line came about.
type Why struct {
	Paragraphs []string
	Decisions  []string // one step a line
	Open       bool
	LeftOut    int // steps
}

// A Change is a site before and after a line.
type Change struct {
	Site          string
	Before, After *Strip
}

// A Strip is the bytes of a site and what they say.
type Strip struct {
	Cells                 []Cell
	Text                  string // disassembly
	Count                 int
	Flags, Direct, Target string
	Kind                  string // class: whom the site leads to
}

// A Cell is a byte.
type Cell struct{ Hex, Class string }

// A Site is one site over time.
type Site struct {
	ID, Name string
	Rows     []SiteRow
	LeftOut  int
}

// A SiteRow is a site from one line on.
type SiteRow struct {
	ID, Line, Text string // the line
	*Strip
	Pokes []Poke // how it came to that
}

// A Poke is a store to a site on the way.
type Poke struct {
	Step  string
	Cells []Cell
}

// Ops is the list of ops after a line.
type Ops struct {
	Flags   []string // heads of the columns
	Rows    []OpsRow
	LeftOut int
}

// An OpsRow is one ops.
type OpsRow struct {
	Name, Tramp, Kind string
	Place             string // on the list; "" where it is not on it
	State             string // what has come to it: new, gone, listed or off the list
	Cells             []OpsCell
	flags, was        ftracecore.OpsFlags
}

// An OpsCell tells whether an ops has a flag.
type OpsCell struct{ Mark, Class string }

// End is the state behind the last line.
type End struct {
	Enabled []string // the lines of enabled_functions
	More    int
	Left    []script.LeftSite
	Known   bool // the scenario came to its end
	Dead    bool // ftrace had killed itself
	Oops    string
}
