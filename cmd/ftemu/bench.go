package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"ftemu/bench"
	"ftemu/emu/interp"
	"ftemu/guest"
)

type benchCmd struct {
	Names  []string `arg:"" optional:"" name:"name" complete:"measurements" help:"What to measure; everything if left out."`
	JSON   bool     `name:"json" help:"Print one JSON object for each measurement."`
	Kernel string   `placeholder:"FILE" help:"A vmlinux or bzImage for sites and load; the installed one if left out."`
}

// Names of measurements besides those of bench.Works.
const (
	benchSites = "sites"
	benchQuiet = "quiet"
	benchLoad  = "load"
)

// Help lists what can be measured.
func (benchCmd) Help() string {
	measurements, _ := topicNamed("measurements")
	return "What can be measured:\n\n" + measurements.list()
}

// Run measures.
func (c *benchCmd) Run(a *app) error {
	measurements, _ := topicNamed("measurements")
	known := measurements.names()
	for _, name := range c.Names {
		if !slices.Contains(known, name) {
			return unknownWord("measurement", name, name, known)
		}
	}
	for _, part := range []func(*app) error{c.works, c.sites, c.quiet, c.load} {
		if err := part(a); err != nil {
			return err
		}
		a.stdout.Flush()
	}
	return nil
}

// wants tells whether a measurement is asked for.
func (c *benchCmd) wants(name string) bool {
	return len(c.Names) == 0 || slices.Contains(c.Names, name)
}

// print prints a result as JSON or a line of a table, which is made when it is
// first needed.
func (c *benchCmd) print(a *app, t *tabwriter.Writer, result any, format string, args ...any) error {
	if c.JSON {
		return a.encode(result)
	}
	_, err := fmt.Fprintf(t, format, args...)
	return err
}

// table begins a table.
func (c *benchCmd) table(a *app, title, columns string) *tabwriter.Writer {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		a.say(title, style{}.plain)
		fmt.Fprintln(a.stdout)
		fmt.Fprintln(t, columns)
	}
	return t
}

// end ends a table.
func (c *benchCmd) end(a *app, t *tabwriter.Writer) error {
	if c.JSON {
		return nil
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.stdout)
	return err
}

func (c *benchCmd) works(a *app) error {
	var works []bench.Work
	for _, w := range bench.Works() {
		if c.wants(w.Name) {
			works = append(works, w)
		}
	}
	if len(works) == 0 {
		return nil
	}
	others := taggedSubjects()
	title := fmt.Sprintf("Nanoseconds of %s, medians of %d rounds", bench.Clock, bench.Rounds)
	columns := "BENCH\tINTERP"
	if len(others) > 0 {
		title += "; ratios are Unicorn's time divided by the interpreter's, round by round: the median, the smallest and the largest"
		for _, s := range others {
			columns += "\t" + strings.ToUpper(s.Name()) + "\tRATIO"
		}
	} else {
		title += ". The comparison with Unicorn needs a build with -tags unicorn"
	}
	t := c.table(a, title+".", columns+"\tTO REACH\tPER\tWORK")
	for _, w := range works {
		r, err := bench.Compare(w, append([]bench.Subject{bench.OnEngine(interp.New())}, others...))
		if err != nil {
			return err
		}
		line := r.Bench
		for _, s := range r.Sides {
			line += fmt.Sprintf("\t%.4g", s.NS.Median)
			if s.Ratio != nil {
				line += fmt.Sprintf("\t%.3g (%.3g-%.3g)", s.Ratio.Median, s.Ratio.Min, s.Ratio.Max)
			}
		}
		if err := c.print(a, t, r, "%s\t%s\t%s\t%s\n", line, toReach(w), w.Unit, w.Text); err != nil {
			return err
		}
	}
	return c.end(a, t)
}

// toReach says what ratios a work should have.
func toReach(w bench.Work) string {
	if w.AtLeast == 0 {
		return fmt.Sprintf("stated (%g)", w.Stretch)
	}
	return fmt.Sprintf("%g (%g)", w.AtLeast, w.Stretch)
}

func (c *benchCmd) sites(a *app) error {
	if !c.wants(benchSites) {
		return nil
	}
	images := []*guest.Image{bench.SynthImage()}
	if file := c.kernel(); file != "" {
		img, err := guest.LoadFile(file, guest.LoadOptions{})
		if err != nil {
			return err
		}
		images = append(images, img)
	}
	t := c.table(a, "A tracer on and off through the full stack, beside a plain loop that writes the same bytes to cold memory: milliseconds of "+bench.Clock+".",
		"BENCH\tENGINE\tSITES\tSELECTED BY\tON AND OFF\tPLAIN\tRATIO\tNS/SITE\tSETTING THE FILTER\tIMAGE")
	for _, img := range images {
		for _, e := range engines() {
			for _, share := range []int{10, 50, 100, 0} {
				r, err := bench.Sites(e, img, share)
				if err != nil {
					return err
				}
				by := "filter"
				if r.All {
					by = "empty filter"
				}
				if err := c.print(a, t, r, "%s\t%s\t%d\t%s\t%.2f\t%.2f\t%.3g (%.3g-%.3g)\t%.0f\t%.2f\t%s\n", r.Bench, r.Engine, r.Sites, by,
					r.MS.Median, r.Plain.Median, r.Ratio.Median, r.Ratio.Min, r.Ratio.Max, r.NSSite, r.Filter.Median, r.Image); err != nil {
					return err
				}
			}
		}
	}
	return c.end(a, t)
}

// kernel is the kernel to look at, or "".
func (c *benchCmd) kernel() string {
	if c.Kernel != "" {
		return c.Kernel
	}
	file, err := guest.InstalledKernel()
	if err != nil {
		return ""
	}
	return file
}

func (c *benchCmd) quiet(a *app) error {
	if !c.wants(benchQuiet) {
		return nil
	}
	t := c.table(a, "Mixed code without a tracer and under one that asks for nothing: nanoseconds for an instruction.",
		"BENCH\tENGINE\tUNTRACED\tQUIET TRACER\tMEDIANS APART\tSPREAD")
	for _, e := range engines() {
		r, err := bench.Quiet(e)
		if err != nil {
			return err
		}
		if err := c.print(a, t, r, "%s\t%s\t%.4g\t%.4g\t%+.1f%%\t%.1f%%\n", r.Bench, r.Engine, r.Untraced.Median, r.Quiet.Median, 100*r.Apart, 100*r.Spread); err != nil {
			return err
		}
	}
	return c.end(a, t)
}

func (c *benchCmd) load(a *app) error {
	if !c.wants(benchLoad) {
		return nil
	}
	file := c.kernel()
	if file == "" {
		if slices.Contains(c.Names, benchLoad) {
			return fmt.Errorf("no kernel to load: none is installed, and there is no --kernel")
		}
		return nil
	}
	t := c.table(a, "Loading a kernel, beside a copy of its bytes and a sort of its sites: milliseconds of "+bench.Clock+"; decompression and symbols apart.",
		"BENCH\tSITES\tBYTES\tLOAD\tPLAIN\tRATIO\tUNPACK\tSYMBOLS\tIMAGE")
	r, err := bench.LoadKernel(file)
	if err != nil {
		return err
	}
	if err := c.print(a, t, r, "%s\t%d\t%d\t%.1f\t%.1f\t%.3g (%.3g-%.3g)\t%.0f\t%.0f\t%s\n", r.Bench, r.Sites, r.Bytes,
		r.MS.Median, r.Plain.Median, r.Ratio.Median, r.Ratio.Min, r.Ratio.Max, r.Unpack.Median, r.Symbols.Median, r.Image); err != nil {
		return err
	}
	return c.end(a, t)
}
