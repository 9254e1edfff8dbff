package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ftemu"
	"ftemu/guest"
	"ftemu/script"
)

type runCmd struct {
	Engine string `default:"interp" help:"Engine that executes the guest; see 'ftemu engines'." placeholder:"NAME"`
	JSON   bool   `name:"json" help:"Print one JSON object for each line of the scenario, with the keys of the recordings."`
	File   string `arg:"" help:"Scenario, or - for standard input."`
}

// Run runs a scenario.
func (c *runCmd) Run(a *app) error {
	engine, err := engineByName(c.Engine)
	if err != nil {
		return err
	}
	s, err := parseScenario(a, c.File)
	if err != nil {
		return err
	}
	r, err := script.NewRunner(s, ftemu.Options{Engine: engine})
	if err != nil {
		return err
	}
	defer r.Close()
	for _, step := range s.Steps {
		res := r.Run(step)
		if res.Failed != "" || res.Oops != "" {
			a.exit(statusDiff)
		}
		if c.JSON {
			if err := json.NewEncoder(a.stdout).Encode(res); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(a.stdout, "%s\n", res.Op)
		}
		if res.Oops != "" {
			break
		}
	}
	return nil
}

// parseScenario reads the scenario in a file, or from standard input for "-".
// Objects that it names are looked for beside it.
func parseScenario(a *app, file string) (*script.Script, error) {
	var in io.Reader = a.stdin
	name, dir := "<stdin>", "."
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in, name, dir = f, file, filepath.Dir(file)
	}
	return script.Parse(name, in, script.Options{LoadGuest: func(path string) (*guest.Image, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return guest.LoadFile(path, guest.LoadOptions{})
	}})
}
