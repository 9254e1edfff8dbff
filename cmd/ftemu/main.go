// Command ftemu is a laboratory for Linux code patching: it runs guest functions
// whose call sites tracers, livepatches and direct callers fight over.
package main

import (
	"errors"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command line: one field for each verb.
type cli struct {
	Run        runCmd        `cmd:"" help:"Run a scenario."`
	Conform    conformCmd    `cmd:"" help:"Compare with recordings of a real kernel."`
	Sites      sitesCmd      `cmd:"" help:"List the patchable sites of an object."`
	Disasm     disasmCmd     `cmd:"" help:"Disassemble an object, sites and relocations marked."`
	Trampoline trampolineCmd `cmd:"" help:"Show, check, measure and keep trampolines: the kernel's, and those of one's own."`
	Explore    exploreCmd    `cmd:"" help:"Run a scenario's threads in every order and look for one that breaks a property."`
	Why        whyCmd        `cmd:"" help:"Say what one more user of a function would get, by a real machine's enabled_functions."`
	Gdb        gdbCmd        `cmd:"" help:"Let gdb look at the run of a scenario, forward and back."`
	Bench      benchCmd      `cmd:"" help:"Measure the interpreter, beside Unicorn where this build has it."`
	Engines    enginesCmd    `cmd:"" help:"List the engines of this build."`
}

const description = `A laboratory for Linux code patching: ftrace sites, livepatches, BPF-like direct callers, no kernel needed.

Exit status: 0 as expected; 1 an expectation of a scenario failed, a guest did not come back, or a difference was found; 2 the input or the call is wrong (2 wins over 1).`

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the program and returns its exit status.
func run(args []string, stdin io.Reader, stdout, stderr *os.File) int {
	a := newApp(stdin, stdout, stderr)
	exited := false
	parser, err := kong.New(&cli{},
		kong.Name("ftemu"), kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
		kong.Writers(a.stdout, a.stderr), kong.Exit(func(int) { exited = true }),
	)
	if err != nil {
		a.fail(err)
		return a.status
	}
	ctx, err := parser.Parse(args)
	switch {
	case exited: // --help has printed itself
	case err != nil:
		a.fail(err)
	default:
		if err := ctx.Run(a); err != nil {
			a.fail(err)
		}
	}
	if err := a.stdout.Flush(); err != nil && !errors.Is(err, os.ErrClosed) {
		a.fail(err)
	}
	return a.status
}
