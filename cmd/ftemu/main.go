// Command ftemu is a laboratory for Linux code patching: it runs guest functions
// whose call sites tracers, livepatches and direct callers fight over.
package main

import (
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command line: one field for each verb. A group's key is its place in the overview.
type cli struct {
	Version versionFlag `help:"Print the version."`

	Run        runCmd        `cmd:"" group:"run" help:"Run a scenario."`
	Shell      shellCmd      `cmd:"" group:"run" help:"Run a scenario line by line as it is typed, and take lines back."`
	Report     reportCmd     `cmd:"" group:"run" help:"Draw the run of a scenario as one page for a browser."`
	Gdb        gdbCmd        `cmd:"" group:"run" help:"Let gdb look at the run of a scenario, forward and back."`
	Sites      sitesCmd      `cmd:"" group:"look" help:"List the patchable sites of an object."`
	Disasm     disasmCmd     `cmd:"" group:"look" help:"Disassemble an object, sites and relocations marked."`
	Why        whyCmd        `cmd:"" group:"why" help:"Say what one more user of a function would get, by a real machine's enabled_functions."`
	Explore    exploreCmd    `cmd:"" group:"explore" help:"Run a scenario's threads in every order and look for one that breaks a property."`
	Conform    conformCmd    `cmd:"" group:"compare" help:"Compare with recordings of a real kernel."`
	Trampoline trampolineCmd `cmd:"" group:"trampolines" help:"Show, check, measure and keep trampolines: the kernel's, and those of one's own."`
	Bench      benchCmd      `cmd:"" group:"engines" help:"Measure the interpreter, beside Unicorn where this build has it."`
	Engines    enginesCmd    `cmd:"" group:"engines" help:"List the engines of this build."`

	HelpVerb    helpCmd       `cmd:"" name:"help" group:"program" help:"Explain a verb or a topic: the language, designs, mistakes and more."`
	Completion  completionCmd `cmd:"" group:"program" help:"Print a script that completes words in a shell."`
	Complete    completeCmd   `cmd:"" hidden:"" help:"List the words that the last one may become."`
	Man         manCmd        `cmd:"" group:"program" help:"Print the manual page."`
	ShowVersion versionCmd    `cmd:"" name:"version" group:"program" help:"Print the version, and the engines of this build."`
}

// groups are the verbs by what one wants to do, in the order of the overview.
func groups() []kong.Group {
	return []kong.Group{
		{Key: "run", Title: "run"},
		{Key: "look", Title: "look at an object or a kernel"},
		{Key: "why", Title: "ask why"},
		{Key: "explore", Title: "explore every order"},
		{Key: "compare", Title: "compare with a kernel"},
		{Key: "trampolines", Title: "trampolines"},
		{Key: "engines", Title: "engines"},
		{Key: "program", Title: "the program itself"},
	}
}

const description = `ftemu is a laboratory for Linux code patching: ftrace sites, livepatches, BPF-like direct callers, no kernel needed.`

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the program and returns its exit status.
func run(args []string, stdin io.Reader, stdout, stderr *os.File) int {
	a := newApp(stdin, stdout, stderr)
	exited := false
	parser, err := newParser(a, func(int) { exited = true })
	if err != nil {
		a.fail(err)
		return a.status
	}
	if len(args) == 0 {
		newHelp(a).overview(parser.Model)
		a.exit(statusBad)
		return a.close()
	}
	ctx, err := parser.Parse(args)
	switch {
	case exited: // --help or --version has printed itself
	case err != nil:
		a.fail(usageError(err))
	default:
		if err := ctx.Run(a); err != nil {
			a.fail(err)
		}
	}
	return a.close()
}

// newParser makes the parser of the command line. exit is called behind what
// --help and --version print.
func newParser(a *app, exit func(int)) (*kong.Kong, error) {
	return kong.New(&cli{},
		kong.Name("ftemu"), kong.Description(description), kong.ExplicitGroups(groups()),
		kong.Help(newHelp(a).print), kong.Writers(a.stdout, a.stderr), kong.Exit(exit),
	)
}
