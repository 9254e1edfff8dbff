// Package chrome writes a run as Chrome trace events, the JSON that Perfetto and
// chrome://tracing open: a process for the scenario, a thread for each CPU with
// slices for functions, trampolines, the kernel functions that gates stand for,
// and callbacks; instants for what changes code and who registers; a counter of
// the sites in use.
package chrome

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"ftemu/trace"
)

// Options say how a run is shown.
type Options struct {
	Scenario string // its name
	CPUs     int
	// Name names code by address: the function or trampoline that it is part of,
	// where that begins, and what kind of code it is.
	Name func(addr uint64) (name, category string, start uint64)
	// End is the address to which calls into the guest return at last.
	End uint64
	// Enabled counts the sites that are in use; it is asked after registrations.
	Enabled func() int
	// Max bounds the events written; 0 means MaxEvents.
	Max int
}

// MaxEvents is how many events are written unless told otherwise.
const MaxEvents = 1 << 20

// A Sink writes events. Its tracks are right only if it sees all events of its
// mask from the first call into the guest on. Close ends the file.
type Sink struct {
	w       *bufio.Writer
	opt     Options
	clock   trace.Clock
	calls   trace.Calls
	written int
	lost    int
	enabled int
	open    map[int][]event // slices of each CPU that have begun, the innermost last
}

// New begins a file.
func New(w io.Writer, opt Options) *Sink {
	if opt.Max == 0 {
		opt.Max = MaxEvents
	}
	s := &Sink{w: bufio.NewWriter(w), opt: opt, enabled: -1, open: make(map[int][]event)}
	s.calls = trace.Calls{Name: opt.Name, End: opt.End, Out: s}
	s.w.WriteString(`{"displayTimeUnit":"ns","traceEvents":[` + "\n")
	s.put(event{Name: "process_name", Phase: "M", Args: args{"name": opt.Scenario}}, false)
	for cpu := range opt.CPUs {
		s.put(event{Name: "thread_name", Phase: "M", CPU: cpu, Args: args{"name": fmt.Sprintf("CPU %d", cpu)}}, false)
	}
	s.count()
	return s
}

// Mask is the kinds of events that a Sink wants, those of a clock among them.
const Mask = trace.CallsMask | 1<<trace.Poke | 1<<trace.Reg | 1<<trace.OpsFunc | 1<<trace.Warn

// Mask implements trace.Tracer.
func (s *Sink) Mask() trace.Mask { return Mask }

type args map[string]any

// An event is one of the format's.
type event struct {
	Name     string      `json:"name,omitempty"`
	Category string      `json:"cat,omitempty"`
	Phase    string      `json:"ph"`
	Time     json.Number `json:"ts"` // in microseconds
	Process  int         `json:"pid"`
	CPU      int         `json:"tid"`
	Scope    string      `json:"s,omitempty"`
	Args     args        `json:"args,omitempty"`
}

// put writes an event, unless it is one that may be left out and there are too
// many. It tells whether it did.
func (s *Sink) put(e event, bounded bool) bool {
	if bounded && s.written >= s.opt.Max {
		s.lost++
		return false
	}
	e.Process = 1
	e.Time = json.Number(fmt.Sprintf("%d.%03d", s.clock.Now()/1000, s.clock.Now()%1000))
	line, err := json.Marshal(e)
	if err != nil {
		return false // strings and numbers always can be written
	}
	if s.written > 0 {
		s.w.WriteString(",\n")
	}
	s.w.Write(line)
	s.written++
	return true
}

// Lost is how many events were left out.
func (s *Sink) Lost() int { return s.lost }

// Close ends the slices that are open and the file, and returns the first error
// of a write.
func (s *Sink) Close() error {
	s.calls.Close()
	s.w.WriteString("\n]}\n")
	return s.w.Flush()
}

// Trace implements trace.Tracer.
func (s *Sink) Trace(ev *trace.Event) {
	s.clock.Tick(ev)
	s.calls.Trace(ev)
	switch ev.Kind {
	case trace.Trap:
		s.instant(ev.CPU, "t", fmt.Sprintf("trap %d", ev.Vector), "trap", args{"at": s.hex(ev.IP)})
	case trace.Poke:
		name, _, _ := s.opt.Name(ev.IP)
		a := args{"at": s.hex(ev.IP), "step": ev.Text}
		if len(ev.New) <= 16 {
			a["old"], a["new"] = fmt.Sprintf("% x", ev.Old), fmt.Sprintf("% x", ev.New)
		}
		s.instant(ev.CPU, "g", "poke "+name, "poke", a)
	case trace.Reg:
		s.instant(ev.CPU, "g", ev.Name, "registration", args{"ops": ev.Text, "ret": ev.Ret})
		s.count()
	case trace.OpsFunc:
		s.instant(ev.CPU, "g", "ops_func "+ev.Name, "ops_func", args{"command": ev.Text, "ret": ev.Ret})
	case trace.Warn:
		s.instant(ev.CPU, "g", "WARNING in "+ev.Name, "warning", args{"text": ev.Text})
	}
}

func (s *Sink) hex(addr uint64) string { return fmt.Sprintf("%#x", addr) }

func (s *Sink) instant(cpu int, scope, name, category string, a args) {
	s.put(event{Name: name, Category: category, Phase: "i", CPU: cpu, Scope: scope, Args: a}, true)
}

// count writes how many sites are in use where that has changed.
func (s *Sink) count() {
	if n := s.opt.Enabled(); n != s.enabled {
		s.enabled = n
		s.put(event{Name: "records enabled", Phase: "C", Args: args{"records": n}}, true)
	}
}

// Begin implements trace.Slices.
func (s *Sink) Begin(cpu int, name, category string) bool {
	e := event{Name: name, Category: category, Phase: "B", CPU: cpu}
	if !s.put(e, true) {
		return false
	}
	s.open[cpu] = append(s.open[cpu], e)
	return true
}

// End implements trace.Slices. The format lets the name of what ends be left
// out, but speedscope goes by it.
func (s *Sink) End(cpu int) {
	last := len(s.open[cpu]) - 1
	e := s.open[cpu][last]
	s.open[cpu] = s.open[cpu][:last]
	e.Phase = "E"
	s.put(e, false)
}
