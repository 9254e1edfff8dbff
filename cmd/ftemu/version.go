package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// A version is what is known about this build.
type version struct {
	Schema  int      `json:"schema"`
	Version string   `json:"version"`
	Go      string   `json:"go"`
	Engines []string `json:"engines"`
}

// thisVersion reads it from the binary. A build that is not of a tagged module is "devel".
func thisVersion() version {
	v := version{1, "devel", runtime.Version(), nil}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, e := range engines() {
		v.Engines = append(v.Engines, e.Name())
	}
	return v
}

func (v version) String() string {
	return fmt.Sprintf("ftemu %s, %s, engines: %s", v.Version, v.Go, strings.Join(v.Engines, ", "))
}

type versionCmd struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

// Run prints the version.
func (c *versionCmd) Run(a *app) error {
	if c.JSON {
		return a.encode(thisVersion())
	}
	a.say(thisVersion().String(), style{}.plain)
	return nil
}

// A versionFlag is --version of the program itself.
type versionFlag bool

// BeforeReset prints the version instead of anything else, as --help does.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	_, err := fmt.Fprintln(k.Stdout, thisVersion())
	k.Exit(statusOK)
	return err
}
