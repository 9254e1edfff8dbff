package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"ftemu/bench"
	"ftemu/emu/interp"
)

type benchCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"What to measure; everything if left out."`
	JSON  bool     `name:"json" help:"Print one JSON object for each measurement."`
}

// Help lists what can be measured.
func (benchCmd) Help() string {
	var b strings.Builder
	for _, w := range bench.Works() {
		fmt.Fprintf(&b, "%s: %s\n\n", w.Name, w.Text)
	}
	return b.String()
}

// Run measures.
func (c *benchCmd) Run(a *app) error {
	works := bench.Works()
	for _, name := range c.Names {
		if !slices.ContainsFunc(works, func(w bench.Work) bool { return w.Name == name }) {
			return fmt.Errorf("no measurement %q, expected one of %s", name, bench.Names(works))
		}
	}
	subjects := append([]bench.Subject{bench.OnEngine(interp.New())}, taggedSubjects()...)
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "BENCH")
	for _, s := range subjects {
		fmt.Fprintf(table, "\t%s", strings.ToUpper(s.Name()))
	}
	fmt.Fprintln(table, "\tRATIO\tMIN..MAX\tAT LEAST\tSTRETCH\tWORK")
	for _, w := range works {
		if len(c.Names) > 0 && !slices.Contains(c.Names, w.Name) {
			continue
		}
		r, err := bench.Compare(w, subjects)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := json.NewEncoder(a.stdout).Encode(r); err != nil {
				return err
			}
			continue
		}
		fmt.Fprint(table, w.Name)
		for _, s := range r.Sides {
			fmt.Fprintf(table, "\t%.4g ns", s.NS.Median)
		}
		ratio, _ := r.Ratio()
		fmt.Fprintf(table, "\t%.3g\t%.3g..%.3g\t%g\t%g\t%s\n", ratio.Median, ratio.Min, ratio.Max, w.AtLeast, w.Stretch, w.Text)
	}
	return table.Flush()
}
