package report

import (
	"fmt"
	"strings"

	"ftemu/script"
	"ftemu/trace"
)

// Options say what run it is.
type Options struct {
	File    string
	Source  string // text of the scenario
	Facts   []Fact
	Command string // makes the run again
}

// A Recorder watches a run: Start, then Before and After each line, and Page
// at the end. It is the tracer of the run.
type Recorder struct {
	opt     Options
	run     *script.Runner
	page    *Page
	source  []string
	next    int // the first line of the source that is not on the page
	ids     map[string]int
	running bool
	was     []opsState // after the line before
	enabled []string   // enabled_functions before the scenario's end

	clock   trace.Clock
	calls   trace.Calls
	last    trace.Kind // of the event that is looked at
	call    *recording
	pokes   map[uint64][]Poke // of this line, by site
	poked   int
	frames  frames
	sites   map[uint64]*Site
	opened  bool // a refusal has been shown open
	budgets struct{ lines, detailed, slices, changes, ops, steps budget }
}

// NewRecorder returns a recorder for one run.
func NewRecorder(opt Options) *Recorder {
	r := &Recorder{
		opt: opt, page: &Page{File: opt.File, Facts: opt.Facts, Command: opt.Command},
		ids: make(map[string]int), sites: make(map[uint64]*Site), pokes: make(map[uint64][]Poke),
	}
	r.source = strings.Split(strings.TrimRight(opt.Source, "\n"), "\n")
	b := &r.budgets
	b.lines.left, b.detailed.left, b.slices.left = maxLines, maxDetailed, maxAllSlices
	b.changes.left, b.ops.left, b.steps.left = maxAllChanges, maxAllOps, maxAllSteps
	return r
}

// Mask implements trace.Tracer.
func (r *Recorder) Mask() trace.Mask { return trace.CallsMask | trace.MaskOf(trace.Mem, trace.Poke) }

// Trace implements trace.Tracer. What happens while the lab is made is left out.
func (r *Recorder) Trace(ev *trace.Event) {
	if !r.running {
		return
	}
	r.frames.trace(ev)
	r.clock.Tick(ev)
	r.last = ev.Kind
	switch ev.Kind {
	case trace.Poke:
		r.poke(ev)
	case trace.Mem:
	default:
		r.calls.Trace(ev)
	}
}

// maxPokes is how many stores to sites one line is shown with.
const maxPokes = 64

// poke notes what a site is like behind a store to it.
func (r *Recorder) poke(ev *trace.Event) {
	lab := r.run.Lab()
	if lab.Core.RecordAt(ev.IP) == nil {
		return // a call in a trampoline
	}
	if r.poked++; r.poked > maxPokes {
		return
	}
	var b [siteLen]byte
	// A site's bytes are mapped for as long as the lab lives.
	_ = lab.Mem.Read(ev.IP, b[:])
	var cells []Cell
	at := int(ev.Addr - ev.IP)
	for i, v := range b {
		c := Cell{Hex: fmt.Sprintf("%02x", v)}
		if i >= at && i < at+ev.Size {
			c.Class = "new"
		}
		if i == 0 && v == opInt3 {
			c.Class = "trap"
		}
		cells = append(cells, c)
	}
	r.pokes[ev.IP] = append(r.pokes[ev.IP], Poke{ev.Text, cells})
}

// Start is called when the lab is made.
func (r *Recorder) Start(run *script.Runner) {
	r.run, r.running = run, true
	r.page.Title = run.Script().Name
	r.calls = trace.Calls{Name: r.codeAt, End: run.Lab().ReturnIP(), Out: (*slicer)(r)}
	r.frames = frames{run: run, cpus: make(map[int][]*watch), known: make(map[string]*Tramp)}
}

// Before is called before a line runs.
func (r *Recorder) Before(st script.Step) {
	if st.Text == "end" {
		r.enabled = r.run.Lab().Core.EnabledFunctions()
	}
	r.call = &recording{from: r.clock.Now()}
	clear(r.pokes)
	r.poked = 0
	r.frames.begin()
}

// After is called with what a line gave.
func (r *Recorder) After(st script.Step, res *script.Result) {
	r.page.Lines++
	if res.Ret != nil || res.Oops != "" {
		r.calls.Close() // whatever was given up
	}
	tone := r.count(st, res)
	s := r.line(st, tone != "" || res.Want == "")
	if s != nil {
		r.fill(s, res)
	}
	r.follow(s, st, res)
	if tone != "" && len(r.page.Jumps) < maxJumps {
		j := Jump{ID: "script", Line: fmt.Sprint(st.Line), Text: cut(st.Text)}
		if s != nil {
			j.ID = s.ID
		}
		j.Answer = cut(trouble(res))
		r.page.Jumps = append(r.page.Jumps, j)
	}
	for _, t := range r.frames.trim() {
		if s != nil {
			t.Line, t.LineID = s.Number, s.ID
		}
	}
}

// trouble says in a few words what is to be looked at.
func trouble(res *script.Result) string {
	switch answer, _ := res.Answer(); {
	case res.Oops != "":
		return "oops"
	case res.Want != "" || res.RC < 0:
		return answer
	case len(res.Warnings) > 0:
		return "warning in " + res.Warnings[0].Func
	}
	var rcs []string
	for _, c := range res.API {
		rcs = append(rcs, script.RetText(c.RC))
	}
	return strings.Join(rcs, ", then ")
}

// count counts a line, and answers "bad" where something is to be looked at.
func (r *Recorder) count(st script.Step, res *script.Result) (tone string) {
	p := r.page
	refused := res.RC < 0 && res.Want == "" && res.Left == nil
	for _, c := range res.Calls {
		refused = refused || c.API != nil && c.API.RC < 0
	}
	if refused {
		p.Refused++
		tone = "bad"
	}
	switch {
	case res.Want != "" && res.Failed != "":
		p.Missed++
		tone = "bad"
	case res.Want != "":
		p.Met++
	case res.Ret != nil:
		p.Calls++
	}
	if res.Oops != "" || len(res.Warnings) > 0 || res.Left != nil && len(*res.Left) > 0 {
		tone = "bad"
	}
	e := &p.End
	e.Dead = res.Dead != 0
	if res.Oops != "" {
		e.Oops = res.Oops
	}
	if res.Left != nil {
		e.Left, e.Known = *res.Left, true
	}
	return tone
}

// Page returns what was recorded. failures is how many lines were not as expected.
func (r *Recorder) Page(failures int) *Page {
	r.rest(len(r.source)+1, true)
	p := r.page
	p.columns()
	p.Insns = r.clock.Now()
	switch {
	case failures > 0:
		p.Tone, p.Verdict = "bad", "Not as expected: "+counted(failures, "line")+"."
	case p.Met > 0:
		p.Tone, p.Verdict = "good", "As expected: "+counted(p.Met, "expectation")+" met."
	default:
		p.Verdict = "The scenario expects nothing."
	}
	p.Tramps = r.frames.tramps
	if !p.End.Known {
		r.enabled = r.run.Lab().Core.EnabledFunctions()
	}
	p.End.Enabled = r.enabled
	if n := len(r.enabled); n > maxListed {
		p.End.Enabled, p.End.More = r.enabled[:maxListed], n-maxListed
	}
	r.leftOut()
	return p
}

// leftOut says what did not fit.
func (r *Recorder) leftOut() {
	say := func(n int, format string, args ...any) {
		if n > 0 {
			r.page.LeftOut = append(r.page.LeftOut, fmt.Sprintf(format, args...))
		}
	}
	b := r.budgets
	say(b.lines.lost, "%s of the scenario ran and %s shown: the page has room for %s.", counted(b.lines.lost, "more line"), isNot(b.lines.lost), grouped(maxLines))
	say(b.detailed.lost, "%s shown with the answer alone.", counted(b.detailed.lost, "line")+isAre(b.detailed.lost))
	say(b.slices.lost, "%s left out of the time lines; %s were executed.", counted(b.slices.lost, "slice")+isAre(b.slices.lost), counted(int(r.clock.Now()), "instruction"))
	say(b.changes.lost, "%s left out below lines.", counted(b.changes.lost, "site change")+isAre(b.changes.lost))
	say(b.ops.lost, "%s left out of the tables.", counted(b.ops.lost, "ops row")+isAre(b.ops.lost))
	say(b.steps.lost, "%s left out.", counted(b.steps.lost, "decision step")+isAre(b.steps.lost))
	say(r.frames.lost, "%s used and not drawn.", counted(r.frames.lost, "more trampoline")+" was")
}
