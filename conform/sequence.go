package conform

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"ftemu/guest"
	"ftemu/script"
)

// A Sequence is a recorded sequence on one of the functions bpf_fentry_testN: BPF
// programs attached and detached, livepatches and tracers coming and going. It
// is run as a scenario; after each step the function is called once, with
// arguments 1, 2, 3, ...
type Sequence struct {
	name   string
	status string
	fn     string
	params int
	site   string // the recordings' name of the function's site
	steps  []seqStep
	alias  *strings.Replacer // from the scenario's IDs to the recording's
	parsed *script.Script
}

// A seqStep is one recorded step. first and last are its lines in the
// scenario, of which the last but one does what the step is, and the last calls.
type seqStep struct {
	kernel      line
	op          string
	first, last int
}

// sequenceKeys and stepKeys are the keys that such a recording may have.
var (
	sequenceKeys = map[string]bool{"name": true, "status": true, "fn": true, "steps": true}
	stepKeys     = map[string]bool{
		"n": true, "op": true, "kind": true, "id": true, "detached": true, "rc": true, "progs": true, "site": true, "ef": true,
		"image_size": true, "orig_stack": true, "ret": true, "ev": true, "warn": true, "dead": true,
	}
)

// stepFields are the keys that are compared, in the order in which differences
// are reported. The others say what was done.
var stepFields = []string{"rc", "progs", "site", "ef", "image_size", "orig_stack", "ret", "ev", "warn", "dead"}

// seqPrefix is what the functions of sequences begin with; their sites are
// recorded as k1, k2, ...
const seqPrefix = "bpf_fentry_test"

// Name is the name of the recording.
func (s *Sequence) Name() string { return s.name }

func parseSequence(raw map[string]json.RawMessage) (Case, error) {
	s := &Sequence{}
	var steps []line
	err := fields(raw, sequenceKeys, field{"name", &s.name}, field{"status", &s.status}, field{"fn", &s.fn}, field{"steps", &steps})
	if err == nil {
		err = s.translate(steps)
	}
	if err != nil && s.name != "" {
		err = fmt.Errorf("sequence %s: %w", s.name, err)
	}
	return s, err
}

// translate makes the scenario.
func (s *Sequence) translate(steps []line) error {
	img, err := guest.BPFTests()
	if err != nil {
		return err
	}
	params, ok := img.Params[s.fn]
	num, isTest := strings.CutPrefix(s.fn, seqPrefix)
	if !ok || !isTest {
		return fmt.Errorf("function %q, expected %s1 to 6", s.fn, seqPrefix)
	}
	if s.status != StatusOK && s.status != StatusDead && s.status != StatusCrash {
		return fmt.Errorf("status %q, expected ok, dead or crash", s.status)
	}
	s.params, s.site = len(params), "k"+num
	w := seqWriter{fn: s.fn, ids: make(map[string]string), uses: make(map[string]int)}
	w.add("guest " + script.BPFTestsGuest)
	w.add("begin %s sites=%s", strings.Join(strings.Fields(strings.ReplaceAll(s.name, "#", " ")), "_"), s.fn)
	call := "call " + s.fn
	for i := range params {
		call += fmt.Sprintf(" %d", i+1)
	}
	for i, l := range steps {
		st := seqStep{kernel: l, first: len(w.lines)}
		if st.op, err = w.step(l); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		st.last = len(w.lines)
		w.add("%s", call)
		s.steps = append(s.steps, st)
	}
	s.alias = w.replacer()
	s.parsed, err = script.Parse(s.name, strings.NewReader(strings.Join(w.lines, "\n")), script.Options{})
	return err
}

// A seqWriter writes the scenario of a sequence.
type seqWriter struct {
	fn       string
	lines    []string
	ids      map[string]string // the scenario's ID of each ops of the recording
	uses     map[string]int    // how often the recording has used an ID
	names    []string          // pairs of scenario and recorded IDs that differ
	attached []string          // programs, in the order in which they were attached
	progs    int
}

func (w *seqWriter) add(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// step adds the lines of one step and returns what it does, for messages.
func (w *seqWriter) step(l line) (op string, err error) {
	if k := unknownKey(l, stepKeys); k != "" {
		return "", fmt.Errorf("unknown key %q", k)
	}
	var kind, id string
	var rc, detached int
	for _, f := range []struct {
		key string
		to  any
	}{{"op", &op}, {"kind", &kind}, {"id", &id}, {"rc", &rc}, {"detached", &detached}} {
		if v, ok := l[f.key]; ok {
			if err := json.Unmarshal(v, f.to); err != nil {
				return "", fmt.Errorf("key %q: %w", f.key, err)
			}
		}
	}
	verb, arg, _ := strings.Cut(op, " ")
	switch verb {
	case "patch", "tracer":
		ops := w.newID(id)
		w.add("new %s %s", ops, kind)
		w.add("filter %s %s", ops, w.fn)
		if verb == "patch" {
			w.add("redirect %s %s galt", ops, w.fn)
		}
		w.add("register %s", ops)
		return op + " " + kind + " " + id, nil
	case "unpatch", "untracer":
		w.add("unregister %s", w.ids[id])
		return op + " " + id, nil
	case "attach":
		w.progs++
		prog := fmt.Sprintf("prog.%d", w.progs)
		w.add("prog %s %s", prog, arg)
		w.add("attach %s %s", prog, w.fn)
		if rc == 0 {
			w.attached = append(w.attached, prog)
		}
	case "detach":
		if detached < 0 || detached >= len(w.attached) {
			return "", fmt.Errorf("key \"detached\": %d, where %d programs are attached", detached, len(w.attached))
		}
		w.add("detach %s", w.attached[detached])
		w.attached = slices.Delete(w.attached, detached, detached+1)
	case "call":
		w.add("dump")
	default:
		return "", fmt.Errorf("unknown op %q, expected patch, unpatch, tracer, untracer, attach, detach or call", op)
	}
	return op, nil
}

// newID gives an ops an ID of its own, though a recording may use one again
// for another ops when the first is gone.
func (w *seqWriter) newID(id string) string {
	w.uses[id]++
	own := id
	if n := w.uses[id]; n > 1 {
		own = fmt.Sprintf("%s.%d", id, n)
		w.names = append(w.names, own)
	}
	w.ids[id] = own
	return own
}

func (w *seqWriter) replacer() *strings.Replacer {
	// The longest first, as one may begin with another.
	sort.SliceStable(w.names, func(i, j int) bool { return len(w.names[i]) > len(w.names[j]) })
	var pairs []string
	for _, own := range w.names {
		pairs = append(pairs, own, own[:strings.LastIndexByte(own, '.')])
	}
	return strings.NewReplacer(pairs...)
}

// Run runs the sequence step by step. One that killed ftrace is compared to the
// first step with a WARNING.
func (s *Sequence) Run(opt Options) (Report, error) {
	r, err := script.NewRunner(s.parsed, opt.Lab)
	if err != nil {
		return Report{}, err
	}
	defer r.Close()
	// The guest line is not a step.
	steps := s.parsed.Steps
	var rep Report
	r.Run(steps[0])
	next := 1
	for i, st := range s.steps {
		var did *script.Result
		for range st.last - st.first {
			did = r.Run(steps[next])
			next++
		}
		called := r.Run(steps[next])
		next++
		ours, text, err := s.ours(did, called)
		if err != nil {
			return rep, err
		}
		rep.step(opt, i, st.op, st.kernel.text(), text)
		for _, res := range []*script.Result{did, called} {
			if res.Oops != "" {
				rep.Diffs = append(rep.Diffs, Diff{Line: i + 1, Op: st.op, Field: "oops", Ftemu: quote(res.Oops)})
				return rep, nil
			}
		}
		rep.Diffs = append(rep.Diffs, compareLines(stepFields, Diff{Line: i + 1, Op: st.op}, st.kernel, ours)...)
		if s.status != StatusOK && hasFatalWarning(st.kernel) {
			break
		}
	}
	return rep, nil
}

// ours is a step in the form of the recordings: what was done and the state
// after it, then what came of the call.
func (s *Sequence) ours(did, called *script.Result) (line, string, error) {
	site := did.Sites[0]
	site.Site = s.site
	o := struct {
		RC        int              `json:"rc"`
		Progs     []string         `json:"progs"`
		Site      script.SiteState `json:"site"`
		EF        []string         `json:"ef"`
		ImageSize *int             `json:"image_size"`
		OrigStack *bool            `json:"orig_stack"`
		Ret       *int64           `json:"ret"`
		EV        []script.Event   `json:"ev"`
		Warn      []string         `json:"warn"`
		Dead      int              `json:"dead"`
	}{
		RC: did.RC, Progs: []string{}, Site: site, EF: did.EF, Ret: called.Ret, EV: []script.Event{},
		Warn: append(append([]string{}, did.Warn...), called.Warn...), Dead: called.Dead,
	}
	for _, b := range did.BPF {
		if b.Fn == s.fn && b.ImageSize != 0 {
			o.Progs, o.ImageSize, o.OrigStack = b.Types, &b.ImageSize, &b.OrigStack
		}
	}
	for _, e := range called.EV {
		switch {
		case e.Prog != "":
			// The recorded programs did nothing, and left no event.
			continue
		case e.Body != "" && s.params < 2:
			// galt then logs a register that nobody has set; it was not recorded.
			e.B = nil
		case e.IP != "":
			e.IP = strings.Replace(e.IP, s.fn, s.site, 1)
		}
		o.EV = append(o.EV, e)
	}
	b, err := marshal(o)
	if err != nil {
		return nil, "", err
	}
	text := s.alias.Replace(string(b))
	var l line
	return l, text, json.Unmarshal([]byte(text), &l)
}
