package main

import (
	"errors"
	"fmt"
	"strings"

	"ftemu/emu"
	"ftemu/emu/interp"
)

// engines lists the engines of this build, the default first. Which there are
// besides the interpreter depends on build tags.
func engines() []emu.Engine {
	return append([]emu.Engine{interp.New()}, taggedEngines()...)
}

// engineByName finds an engine of this build.
func engineByName(name string) (emu.Engine, error) {
	var known []string
	for _, e := range engines() {
		if e.Name() == name {
			return e, nil
		}
		known = append(known, e.Name())
	}
	hint := ""
	if name == "unicorn" {
		hint = `; it takes cgo, libunicorn and -tags unicorn`
	}
	return nil, fmt.Errorf("no engine %q in this build, expected %s%s", name, strings.Join(known, " or "), hint)
}

// defaultSection is the default of --section.
const defaultSection = ".text"

type enginesCmd struct {
	JSON     bool   `name:"json" help:"Print one JSON object for each engine, or one with the coverage."`
	Coverage bool   `help:"List the instructions that the interpreter knows and, of a file, how much of its code it executes."`
	Section  string `default:".text" placeholder:"NAME" help:"Section of the file to look at (default ${default}); an empty name means all with code."`
	File     string `arg:"" optional:"" complete:"*.o *.ko vmlinu*" help:"Kernel (vmlinuz, vmlinux), object or module for --coverage."`
}

// Run lists the engines, or what the interpreter covers.
func (c *enginesCmd) Run(a *app) error {
	switch {
	case c.Coverage:
		return c.coverage(a)
	case c.File != "":
		return errors.New("a file is for --coverage")
	case c.Section != defaultSection:
		return errors.New("--section is for --coverage")
	}
	for i, e := range engines() {
		if c.JSON {
			if err := a.encode(struct {
				Engine  string `json:"engine"`
				Default bool   `json:"default"`
			}{e.Name(), i == 0}); err != nil {
				return err
			}
			continue
		}
		if i == 0 {
			fmt.Fprintf(a.stdout, "%s (default)\n", e.Name())
		} else {
			fmt.Fprintln(a.stdout, e.Name())
		}
	}
	return nil
}
