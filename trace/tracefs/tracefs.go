// Package tracefs writes what the function tracers noted as the file trace of a
// kernel's tracefs shows it.
// Source: kernel/trace/trace_output.c and trace_functions_graph.c of Linux 6.1.
package tracefs

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"ftemu/trace"
)

// A Symbol is a function with the module it belongs to, "" for the core kernel.
type Symbol struct{ Name, Module string }

// Options say what the notes do not.
type Options struct {
	CPUs int // how many there are
	// Lookup finds the symbol that covers an address.
	Lookup func(addr uint64) (s Symbol, ok bool)
}

// Write writes notes, with a header in front of those of each tracer. Where there
// are none at all it is the header that a kernel without a tracer shows.
func Write(w io.Writer, notes []trace.Noted, opt Options) error {
	p := &printer{w: bufio.NewWriter(w), opt: opt}
	if len(notes) == 0 {
		p.functionHeader("nop", 0)
	}
	for len(notes) > 0 {
		if n := run(notes, func(k trace.Kind) bool { return k == trace.Func }); n > 0 {
			p.functions(notes[:n])
			notes = notes[n:]
		}
		if n := run(notes, func(k trace.Kind) bool { return k != trace.Func }); n > 0 {
			p.graph(notes[:n])
			notes = notes[n:]
		}
	}
	return p.w.Flush()
}

// run counts the notes at the beginning whose kind is of one tracer.
func run(notes []trace.Noted, of func(trace.Kind) bool) int {
	n := slices.IndexFunc(notes, func(e trace.Noted) bool { return !of(e.Kind) })
	if n < 0 {
		return len(notes)
	}
	return n
}

// A printer writes lines; the error of a write is seen at the end.
type printer struct {
	w       *bufio.Writer
	opt     Options
	started bool
}

// header begins the part of a tracer.
func (p *printer) header(tracer string) {
	if p.started {
		fmt.Fprintln(p.w)
	}
	p.started = true
	fmt.Fprintf(p.w, "# tracer: %s\n#\n", tracer)
}

func (p *printer) functionHeader(tracer string, entries int) {
	p.header(tracer)
	fmt.Fprintf(p.w, "# entries-in-buffer/entries-written: %d/%d   #P:%d\n#\n", entries, entries, p.opt.CPUs)
	p.w.WriteString(`#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`)
}

// flags are what an ordinary function is seen with: while the callback runs,
// preemption is off.
const flags = "...1."

func (p *printer) functions(notes []trace.Noted) {
	p.functionHeader("function", len(notes))
	for _, e := range notes {
		comm, pid := trace.Task(e.CPU)
		us := (e.Time + 500) / 1000
		fmt.Fprintf(p.w, "%16s-%-7d [%03d] %s %5d.%06d: %s", comm, pid, e.CPU, flags, us/1e6, us%1e6, p.bare(e.IP))
		if e.Addr != 0 {
			fmt.Fprintf(p.w, " <-%s", p.bare(e.Addr))
		}
		fmt.Fprintln(p.w)
	}
}

// bare names an address as lines of the function tracer do: without the module.
func (p *printer) bare(addr uint64) string {
	if s, ok := p.opt.Lookup(addr); ok {
		return s.Name
	}
	return fmt.Sprintf("0x%08x", addr)
}

// qualified names an address with its module.
func (p *printer) qualified(addr uint64) string {
	switch s, ok := p.opt.Lookup(addr); {
	case !ok:
		return fmt.Sprintf("0x%x", addr)
	case s.Module != "":
		return s.Name + " [" + s.Module + "]"
	default:
		return s.Name
	}
}

// graph writes lines of function_graph. A function that calls none of those
// traced takes one line.
func (p *printer) graph(notes []trace.Noted) {
	p.header("function_graph")
	p.w.WriteString(`# CPU  DURATION                  FUNCTION CALLS
# |     |   |                     |   |   |   |
`)
	type open struct{ fn, since uint64 }
	stacks := make(map[int]map[int]open) // by CPU and depth
	done := make(map[int]bool)           // exits that stand on the line of their entry
	next := following(notes)
	for i, e := range notes {
		if done[i] {
			continue
		}
		if stacks[e.CPU] == nil {
			stacks[e.CPU] = make(map[int]open)
		}
		at := stacks[e.CPU]
		indent := strings.Repeat("  ", e.Depth)
		switch {
		case e.Kind == trace.Exit:
			o, matches := at[e.Depth]
			delete(at, e.Depth)
			matches = matches && o.fn == e.IP
			if !matches {
				o.since = e.Time // not known
			}
			p.graphLine(e.CPU, duration(e.Time-o.since), indent+"}")
			if !matches {
				fmt.Fprintf(p.w, " /* %s */", p.qualified(e.IP))
			}
			fmt.Fprintln(p.w)
		case next[i] > 0 && notes[next[i]].Kind == trace.Exit && notes[next[i]].IP == e.IP:
			done[next[i]] = true
			p.graphLine(e.CPU, duration(notes[next[i]].Time-e.Time), indent+p.qualified(e.IP)+"();\n")
		default:
			at[e.Depth] = open{e.IP, e.Time}
			p.graphLine(e.CPU, "", indent+p.qualified(e.IP)+"() {\n")
		}
	}
}

// following gives for each note the index of the next one of its CPU, 0 if there
// is none.
func following(notes []trace.Noted) []int {
	next := make([]int, len(notes))
	last := make(map[int]int)
	for i, e := range notes {
		if j, ok := last[e.CPU]; ok {
			next[j] = i
		}
		last[e.CPU] = i
	}
	return next
}

func (p *printer) graphLine(cpu int, took, text string) {
	fmt.Fprintf(p.w, " %*d) %-14s|  %s", len(fmt.Sprint(p.opt.CPUs-1)), cpu, took, text)
}

// marks are those in front of durations longer than so many nanoseconds.
var marks = [...]struct {
	over uint64
	mark byte
}{{1e9, '$'}, {1e8, '@'}, {1e7, '*'}, {1e6, '#'}, {1e5, '!'}, {1e4, '+'}}

// duration writes nanoseconds as microseconds, in no more than seven characters
// and a point where they fit.
func duration(ns uint64) string {
	mark := byte(' ')
	for _, m := range marks {
		if ns > m.over {
			mark = m.mark
			break
		}
	}
	text := fmt.Sprint(ns / 1000)
	if room := 7 - len(text); room > 0 {
		text += "." + fmt.Sprintf("%03d", ns%1000)[:min(room, 3)]
	}
	return fmt.Sprintf("%c %s us ", mark, text)
}
