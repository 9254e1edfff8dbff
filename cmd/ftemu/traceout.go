package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"ftemu/files"
	"ftemu/ftracecore"
	"ftemu/script"
	"ftemu/script/chain"
	"ftemu/trace"
	"ftemu/trace/chrome"
	"ftemu/trace/tracedat"
	"ftemu/trace/tracefs"
)

// A traceFormat is a form of --trace-out.
type traceFormat struct {
	name  string
	exts  []string // of files that have it unless --format says otherwise
	about string
	make  func(o *traceOut) traceSink
}

// traceFormats are the forms in the order of documentation.
func traceFormats() []traceFormat {
	return append([]traceFormat{
		{"text", []string{".txt", ".trace"}, "what the scenario's tracers noted, as the file trace of tracefs", func(o *traceOut) traceSink { return &tracefsSink{trace.NewBuffer(0), o} }},
		{"json", []string{".json"}, "the whole run for the Perfetto UI and chrome://tracing", newChromeSink},
		{"dat", []string{".dat"}, "what the tracers noted, for trace-cmd and KernelShark", func(o *traceOut) traceSink { return &datSink{trace.NewBuffer(0), o} }},
	}, graphFormats()...)
}

// graphFormats are those of them that are pictures.
func graphFormats() []traceFormat {
	return []traceFormat{
		{"dot", []string{".dot", ".gv"}, "what a call of each traced function goes through, for Graphviz", func(o *traceOut) traceSink { return &chainSink{o, (*chain.Graph).Dot} }},
		{"mermaid", []string{".mmd", ".mermaid"}, "the same for Mermaid", func(o *traceOut) traceSink { return &chainSink{o, (*chain.Graph).Mermaid} }},
	}
}

// A traceSink makes the content of a file from a run.
type traceSink interface {
	trace.Tracer
	// finish writes what there is to write at the end of the run and answers how
	// many events were left out.
	finish(w *bytes.Buffer) (lost int, err error)
}

// A traceOut is the file of --trace-out.
type traceOut struct {
	file   string
	sink   traceSink
	runner *script.Runner
	last   *chain.Graph // the state before the scenario's end
}

// newTraceOut finds the form for a file, which must be one that can be written. Nil
// is returned where no file is asked for.
func newTraceOut(name *string, format string) (*traceOut, error) {
	if name == nil {
		if format != "" {
			return nil, fmt.Errorf("--format %s: expected --trace-out FILE with it", format)
		}
		return nil, nil
	}
	file := *name
	if file == "" {
		return nil, errors.New("--trace-out: expected a file name")
	}
	var names []string
	for _, f := range traceFormats() {
		if f.name == format || format == "" && f.fits(file) {
			if err := files.Check(file); err != nil {
				return nil, fmt.Errorf("--trace-out: %w", err)
			}
			o := &traceOut{file: file}
			o.sink = f.make(o)
			return o, nil
		}
		names = append(names, f.name)
	}
	if format != "" {
		return nil, fmt.Errorf("--format %q: expected %s", format, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("--trace-out %s: expected a name that ends in %s, or --format", file, strings.Join(endings(traceFormats()), ", "))
}

// fits tells whether a file of that name has the form.
func (f traceFormat) fits(file string) bool {
	return slices.Contains(f.exts, strings.ToLower(filepath.Ext(file)))
}

// endings lists how the names of files end.
func endings(formats []traceFormat) (out []string) {
	for _, f := range formats {
		out = append(out, f.exts...)
	}
	return out
}

// Mask implements trace.Tracer.
func (o *traceOut) Mask() trace.Mask { return o.sink.Mask() }

// Trace implements trace.Tracer; it drops what happens while the lab is made.
func (o *traceOut) Trace(ev *trace.Event) {
	if o.runner != nil {
		o.sink.Trace(ev)
	}
}

// A watched printer shows a traceOut the lines too.
type watched struct {
	printer
	file *traceOut
}

func (w watched) before(s script.Step) {
	w.file.before(s)
	w.printer.before(s)
}

// before looks at the state that a scenario's end is about to clear.
func (o *traceOut) before(s script.Step) {
	if s.Text == "end" {
		o.last = chain.Of(o.runner)
	}
}

// write writes the file at the end of the run.
func (o *traceOut) write(a *app) error {
	var content bytes.Buffer
	lost, err := o.sink.finish(&content)
	if err == nil {
		err = replaceFile(o.file, content.Bytes())
	}
	if err != nil {
		return fmt.Errorf("--trace-out: %w", err)
	}
	if lost > 0 {
		a.note(fmt.Errorf("%s: %d events came after the file was full", o.file, lost))
	}
	return nil
}

// replaceFile writes a file; where that fails the old one stays.
func replaceFile(file string, content []byte) error { return files.Replace(file, content) }

// A tracefsSink is the file trace of tracefs.
type tracefsSink struct {
	*trace.Buffer
	out *traceOut
}

func (s *tracefsSink) finish(w *bytes.Buffer) (int, error) {
	lab := s.out.runner.Lab()
	err := tracefs.Write(w, s.Notes(), tracefs.Options{
		CPUs: lab.Machine.NumCPU(),
		Lookup: func(addr uint64) (tracefs.Symbol, bool) {
			sym, ok := lab.Symbols.At(addr)
			return tracefs.Symbol{Name: sym.Name, Module: sym.Module}, ok
		},
	})
	return s.Lost(), err
}

// A datSink is a trace.dat.
type datSink struct {
	*trace.Buffer
	out *traceOut
}

func (s *datSink) finish(w *bytes.Buffer) (int, error) {
	lab := s.out.runner.Lab()
	err := tracedat.Write(w, s.Notes(), tracedat.Options{
		CPUs: lab.Machine.NumCPU(),
		Lookup: func(addr uint64) (tracedat.Symbol, bool) {
			sym, ok := lab.Symbols.At(addr)
			return tracedat.Symbol{Name: sym.Name, Module: sym.Module, Start: sym.Addr}, ok
		},
	})
	return s.Lost(), err
}

// A chainSink is a picture of what calls go through before the scenario ends.
type chainSink struct {
	out   *traceOut
	write func(*chain.Graph, io.Writer) error
}

// Mask implements trace.Tracer: it is the state that is drawn.
func (*chainSink) Mask() trace.Mask { return 0 }

// Trace implements trace.Tracer.
func (*chainSink) Trace(*trace.Event) {}

func (s *chainSink) finish(w *bytes.Buffer) (int, error) {
	g := s.out.last
	if g == nil { // the scenario did not come to its end
		g = chain.Of(s.out.runner)
	}
	return 0, s.write(g, w)
}

// A chromeSink is a file of Chrome trace events.
type chromeSink struct {
	*chrome.Sink
	out  *traceOut
	text bytes.Buffer
}

func newChromeSink(o *traceOut) traceSink { return &chromeSink{out: o} }

// Mask implements trace.Tracer, before the sink has begun.
func (s *chromeSink) Mask() trace.Mask { return chrome.Mask }

// Trace implements trace.Tracer.
func (s *chromeSink) Trace(ev *trace.Event) {
	s.begin()
	s.Sink.Trace(ev)
}

func (s *chromeSink) begin() {
	if s.Sink != nil {
		return
	}
	r := s.out.runner
	lab := r.Lab()
	s.Sink = chrome.New(&s.text, chrome.Options{
		Scenario: r.Script().Name, CPUs: lab.Machine.NumCPU(), End: lab.ReturnIP(), Name: r.CodeAt,
		Enabled: func() (n int) {
			lab.Core.Records(func(rec *ftracecore.Record) bool {
				if rec.Count > 0 {
					n++
				}
				return true
			})
			return n
		},
	})
}

func (s *chromeSink) finish(w *bytes.Buffer) (int, error) {
	s.begin()
	if err := s.Close(); err != nil {
		return 0, err
	}
	_, err := w.Write(s.text.Bytes())
	return s.Lost(), err
}
