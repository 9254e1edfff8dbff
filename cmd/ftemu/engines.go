package main

import (
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

type enginesCmd struct{}

// Run lists the engines.
func (enginesCmd) Run(a *app) error {
	for i, e := range engines() {
		if i == 0 {
			fmt.Fprintf(a.stdout, "%s (default)\n", e.Name())
		} else {
			fmt.Fprintln(a.stdout, e.Name())
		}
	}
	return nil
}
