package script

import (
	"maps"
	"slices"
	"strings"
)

// A verb is one word of the language.
type verb struct {
	group    string
	usage    string // its arguments: see Verb.Usage
	min, max int    // how many
	help     string
	example  string // lines, of which one has the verb
	parse    func(p *Parser, args []string) (func(*Runner), error)
}

// The groups of verbs, in the order of documentation.
const (
	groupScenario = "scenario"
	groupOps      = "users of ftrace"
	groupRun      = "run and look"
	groupDirect   = "direct callers"
	groupBPF      = "BPF programs"
	groupThreads  = "side by side"
	groupExpect   = "expectations"
)

// Groups lists the groups that verbs are in, in the order of documentation.
func Groups() []string {
	return []string{groupScenario, groupOps, groupRun, groupDirect, groupBPF, groupThreads, groupExpect}
}

// language is all verbs.
var language = map[string]verb{
	"begin": {groupScenario, "NAME sites=FUNCTION,...", 2, 2, "start, and say which sites to report after each line",
		"begin lesson sites=f0,f1\nnew a plain\ndump", parseBegin},
	"end": {groupScenario, "", 0, 0, "unregister everything and report what is left",
		"new a plain\nfilter a f0\nregister a\nend", always((*Runner).end)},
	"guest": {groupScenario, "FILE|" + InstalledGuest + "|" + BPFTestsGuest, 1, 1, "run the functions of an object, a kernel, the one that is installed, or the kernel's bpf_fentry_test1 to 6, instead of the built-in ones",
		"guest examples/own/own.o\ncall gcd 1071 462\nwant ret 21", parseGuest},
	"sysctl": {groupScenario, "NUMBER", 1, 1, "write kernel.ftrace_enabled: 0 is off",
		"new a plain\nfilter a f0\nregister a\nsysctl 0\ncall f0 1 2\nwant callbacks body:f0", parseSysctl},

	"new": {groupOps, "NAME KIND [of=MODE] [+KIND...]", 2, 16, "make an ops, a user of ftrace; 'ftemu help kinds' lists the kinds, 'help modes' the answers of its ops_func",
		"new klp1 klp\nnew bpf1 direct of=bpf\nnew t plain +recur", parseNew},
	"filter": {groupOps, "ID FUNCTION[+OFF],...|all [remove] [reset]", 2, 4, "change the filter of an ops",
		"new a plain\nfilter a f0,f1\nfilter a f1 remove", parseFilter},
	"filtername": {groupOps, "ID PATTERN [remove] [reset]", 2, 4, "the same by name, with globs",
		"new a plain\nfiltername a ftor_f[01]", parseFilterName},
	"notrace": {groupOps, "ID FUNCTION [remove] [reset]", 2, 4, "change the notrace hash of an ops",
		"new a plain\nfilter a all\nnotrace a f1\nregister a\ncall f1 1 2\nwant callbacks body:f1", parseNotrace},
	"register": {groupOps, "ID [force]", 1, 2, "register_ftrace_function; force: even where that crashes the kernel",
		"new a plain\nfilter a f0\nregister a\ncall f0 1 2\nwant callbacks a body:f0", parseRegister},
	"unregister": {groupOps, "ID", 1, 1, "unregister_ftrace_function",
		"new a plain\nfilter a f0\nregister a\nunregister a\nwant target f0 nop", parseUnregister},
	"ipmod": {groupOps, "ID on|off", 2, 2, "whether the callback of an IPMODIFY ops redirects",
		"new a klp\nfilter a f0\nregister a\nipmod a off\ncall f0 1 2\nwant callbacks a body:f0", parseIPMod},
	"redirect": {groupOps, "ID FUNCTION TARGET", 3, 3, "where an IPMODIFY ops takes a function to",
		"new a klp\nfilter a f0\nredirect a f0 g3\nregister a\ncall f0 1 2\nwant callbacks a body:g3", parseRedirect},
	"tracer": {groupOps, "function|function_graph FUNCTION[+OFF],...|all, or off", 1, 2, "let one of ftrace's own tracers note functions; its ops gets its name as ID",
		"tracer function_graph f0\ncall f0 1 2\ntracer off", parseTracer},

	"call": {groupRun, "FUNCTION [ARG...]", 1, 64, "call a function; ARG: a number, buf:SIZE or str:\"TEXT\" for the address of a buffer or text",
		"call f0 1 2\nwant ret 1013", parseCall},
	"dump": {groupRun, "", 0, 0, "report the state",
		"new a plain\nfilter a f0\nregister a\ndump", always(func(*Runner) {})},
	"bytes": {groupRun, "FUNCTION", 1, 1, "show the bytes of a function's site",
		"bytes f0", parseBytes},
	"disasm": {groupRun, "FUNCTION|TRAMP|ID", 1, 1, "show a function, a direct trampoline, or the trampoline of an ops",
		"new a plain\nfilter a f0\nregister a\ndisasm a", parseDisasm},
	"enabled_functions": {groupRun, "", 0, 0, "show the listing of that name",
		"new a plain\nfilter a f0\nregister a\nenabled_functions", always((*Runner).showEnabled)},

	"direct_register": {groupDirect, "ID TRAMP", 2, 2, "register_ftrace_direct_multi",
		"new d direct\nfilter d f0\ndirect_register d pass\nwant target f0 direct:pass", parseDirectRegister},
	"direct_register_retry": {groupDirect, "ID TRAMP [SHARETRAMP]", 2, 3, "the same as its owner does it, with retries",
		"new k klp\nfilter k f0\nregister k\nnew d direct of=bpf\nfilter d f0\ndirect_register_retry d orig0 share\nwant rc 0", parseDirectRetry},
	"direct_modify": {groupDirect, "ID TRAMP", 2, 2, "modify_ftrace_direct_multi",
		"new d direct\nfilter d f0\ndirect_register d pass\ndirect_modify d passB\nwant target f0 direct:passB", parseDirectModify},
	"direct_unregister": {groupDirect, "ID [TRAMP]", 1, 2, "unregister_ftrace_direct_multi",
		"new d direct\nfilter d f0\ndirect_register d pass\ndirect_unregister d\nwant target f0 nop", parseDirectUnregister},
	"sdirect_register": {groupDirect, "FUNCTION TRAMP", 2, 2, "register_ftrace_direct",
		"sdirect_register f0 pass\ncall f0 1 2\nwant callbacks direct:pass body:f0", parseSDirectRegister},
	"sdirect_modify": {groupDirect, "FUNCTION OLDTRAMP NEWTRAMP", 3, 3, "modify_ftrace_direct",
		"sdirect_register f0 pass\nsdirect_modify f0 pass skip\nwant rc 0", parseSDirectModify},
	"sdirect_unregister": {groupDirect, "FUNCTION TRAMP", 2, 2, "unregister_ftrace_direct",
		"sdirect_register f0 pass\nsdirect_unregister f0 pass\nwant target f0 nop", parseSDirectUnregister},
	"tramp": {groupDirect, "NAME FILE [for FUNCTION] [redirect FUNCTION TARGET]...", 2, 16, "give a layout or an assembled object of one's own a name, to be used where TRAMP stands; for: the function whose body it may call; redirect: where its callback takes calls to",
		"tramp mine examples/layouts/lean.layout\nnew d direct\nfilter d f0\ndirect_register d mine\ncall f0 1 2", parseTramp},

	"prog": {groupBPF, "NAME fentry|fmod_ret|fexit [ret=N|func=FUNCTION] [ip] [sleepable] [lsm]", 2, 6, "load a BPF program that returns N (0) or is a guest function; ip: it asks for the traced function's address",
		"prog p fexit\nprog q fmod_ret ret=7", parseProg},
	"attach": {groupBPF, "PROG FUNCTION [cookie=N]", 2, 3, "attach a BPF program to a function",
		"prog p fexit\nattach p f0 cookie=7\ncall f0 1 2\nwant ran p args=1,2 value=1013 cookie=7", parseAttach},
	"detach": {groupBPF, "PROG [FUNCTION]", 1, 2, "take a BPF program away from the function named, or from the one it was attached to last",
		"prog p fentry\nattach p f0\ndetach p\nwant image f0 none", parseDetach},
	"params": {groupBPF, "FUNCTION none|SIZE,...", 2, 2, "declare the sizes of a function's parameters in bytes, which BPF trampolines go by",
		"params f0 8,4\nprog p fentry\nattach p f0", parseParams},
	"image": {groupBPF, "FUNCTION", 1, 1, "show the image of a function's BPF trampoline",
		"prog p fentry\nattach p f0\nimage f0", parseImage},

	"thread": {groupThreads, "NAME", 1, 1, "begin the lines of a thread, which run beside those of others where the scenario is explored",
		"new a klp\nfilter a f0\nnew b plain\nfilter b f0\nthread one\nregister a\nthread two\nregister b\njoin\ndump", parseThread},
	"cpu": {groupThreads, "N: call FUNCTION [ARG...] [times K]", 3, 64, "let a CPU call a function beside the threads",
		"new a plain\nfilter a f0\nthread one\nregister a\ncpu 1: call f0 1 2 times 3\njoin", parseCPU},
	"join": {groupThreads, "", 0, 0, "end what runs side by side",
		"new a plain\nfilter a f0\nthread one\nregister a\njoin\nwant target f0 tramp:a", parseJoin},
	"property": {groupThreads, "PROPERTY[,PROPERTY...]", 1, 1, "check only these properties when the scenario is explored",
		"property deadlock,lock-order\ndump", parseProperty},

	"want": {groupExpect, wantUsage(), 1, 16, "what the line before must have given; 'ftemu help want' says what may be named",
		"new a klp\nfilter a f0\nregister a\nwant rc 0\nnew b klp\nfilter b f0\nwant rc 0\nregister b\nwant rc -EBUSY", parseWant},
}

// always is the parser of a verb without arguments.
func always(run func(*Runner)) func(*Parser, []string) (func(*Runner), error) {
	return func(*Parser, []string) (func(*Runner), error) { return run, nil }
}

// Verb describes a verb for help texts.
type Verb struct {
	Name string
	// Usage is its arguments: words that stand for themselves, and in capitals
	// what they are. a|b is one of them, [a] may be left out, a... may stand
	// several times, a,... with commas between. A comma behind a word begins
	// another form.
	Usage   string
	Help    string
	Group   string
	Example string // lines of a scenario that use it
}

// Verbs lists the language by name.
func Verbs() []Verb {
	var out []Verb
	for n, v := range language {
		out = append(out, Verb{n, v.usage, v.help, v.group, v.example})
	}
	slices.SortFunc(out, func(a, b Verb) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func verbNames() []string { return slices.Collect(maps.Keys(language)) }
