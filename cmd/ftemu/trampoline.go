package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"ftemu/trampoline"
	"ftemu/trampoline/abi"
	"ftemu/trampoline/golden"
	"ftemu/trampoline/layout"
)

// trampolineCmd is the verbs about trampolines.
type trampolineCmd struct {
	List    trampolineListCmd    `cmd:"" help:"List the built-in trampolines with the options that they take."`
	Show    trampolineShowCmd    `cmd:"" help:"Show a trampoline's code: bytes, instructions, comments."`
	Frame   trampolineFrameCmd   `cmd:"" help:"Show a trampoline's stack frame."`
	Check   trampolineCheckCmd   `cmd:"" help:"Prove by execution that a trampoline keeps its contract."`
	Compare trampolineCompareCmd `cmd:"" help:"Compare what trampolines cost."`
	Golden  trampolineGoldenCmd  `cmd:"" help:"Write a trampoline as files that a test can compare with."`
}

// Help is printed by trampoline --help.
func (trampolineCmd) Help() string {
	return `A trampoline is a built-in one by name, a layout file, or an assembled object. An object is entered at the symbol "` +
		layout.DefaultEntry + `", or at the one behind a colon: FILE:SYMBOL.`
}

// variantFlags say which variant of a built-in trampoline is meant.
type variantFlags struct {
	Args        *int     `placeholder:"N" help:"Number of arguments of the traced function, for BPF images (default 2)."`
	Progs       []string `placeholder:"TYPE" help:"Programs of the BPF image: fentry, fmod_ret, fexit, in the order of attachment."`
	Mitigations string   `default:"none" placeholder:"NAME,..." complete:"mitigations" help:"Mitigations in force (default ${default}); 'ftemu help mitigations' lists them."`
}

// returns reads the mitigations.
func (v variantFlags) returns() (ret trampoline.Return, ibt bool, err error) {
	for _, m := range strings.Split(v.Mitigations, ",") {
		switch m {
		case "none", "retpoline":
		case "sls":
			ret.SLS = true
		case "rethunk":
			ret.Thunk = trampoline.SampleThunk
		case "ibt":
			ibt = true
		default:
			return ret, false, fmt.Errorf("--mitigations: found %q, expected %s", m, strings.Join(mitigations().names(), ", "))
		}
	}
	return ret, ibt, nil
}

// mitigations are the words that returns reads.
func mitigations() topic {
	return topic{name: "mitigations", about: "against speculation and jumps to anywhere, as far as they change trampolines (trampoline --mitigations)", entries: []entry{
		{name: "none", text: "a plain ret"},
		{name: "sls", text: "an int3 behind each ret"},
		{name: "rethunk", text: "returns jump to a thunk"},
		{name: "ibt", text: "BPF images begin with endbr64"},
		{name: "retpoline", text: "changes no code here: there are no indirect branches"},
	}}
}

// open finds trampolines by name. A flag must concern one of them at least.
func (v variantFlags) open(names ...string) ([]trampoline.Maker, trampoline.Return, error) {
	ret, ibt, err := v.returns()
	if err != nil {
		return nil, ret, err
	}
	given := map[string]bool{"--args": v.Args != nil, "--progs": v.Progs != nil, "ibt": ibt}
	used := make(map[string]bool)
	var out []trampoline.Maker
	for _, name := range names {
		info, ok := builtinInfo(name)
		if !ok {
			m, err := openOwn(name)
			if err != nil {
				return nil, ret, err
			}
			out = append(out, m)
			continue
		}
		var opt trampoline.BuiltinOptions
		for _, flag := range strings.Fields(info.Options) {
			used[flag] = true
			switch {
			case flag == "--args" && v.Args != nil:
				opt.Args, opt.HasArgs = *v.Args, true
				// The images with --args are those that may have landing pads.
				opt.IBT, used["ibt"] = ibt, true
			case flag == "--args":
				opt.IBT, used["ibt"] = ibt, true
			case flag == "--progs":
				opt.Progs = v.Progs
			}
		}
		m, err := trampoline.NewBuiltin(name, opt)
		if err != nil {
			return nil, ret, err
		}
		out = append(out, m)
	}
	for _, flag := range []string{"--args", "--progs", "ibt"} {
		if given[flag] && !used[flag] {
			return nil, ret, fmt.Errorf("%s is for BPF images, see 'ftemu trampoline list'; found %s", flag, strings.Join(names, " "))
		}
	}
	return out, ret, nil
}

// openOne is open for one trampoline.
func (v variantFlags) openOne(name string) (trampoline.Maker, trampoline.Return, error) {
	ms, ret, err := v.open(name)
	if err != nil {
		return nil, ret, err
	}
	return ms[0], ret, nil
}

func builtinInfo(name string) (trampoline.BuiltinInfo, bool) {
	all := trampoline.Builtins()
	i := slices.IndexFunc(all, func(b trampoline.BuiltinInfo) bool { return b.Name == name })
	if i < 0 {
		return trampoline.BuiltinInfo{}, false
	}
	return all[i], true
}

// openOwn opens a layout or an object.
func openOwn(name string) (trampoline.Maker, error) {
	if err := noDirectory(name); err != nil {
		return nil, err
	}
	m, err := layout.Open(name)
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(name, "./:") {
		return nil, fmt.Errorf("no built-in trampoline and no file %q; 'ftemu trampoline list' lists the built-in ones", name)
	}
	return m, err
}

// made is a trampoline in sample surroundings, to look at.
type made struct {
	code    trampoline.Code
	env     trampoline.Env
	sample  *trampoline.Sample
	symbols map[string]uint64
}

func makeSample(m trampoline.Maker, ret trampoline.Return) (*made, error) {
	s := &trampoline.Sample{}
	env := s.Env(ret)
	p, err := m.Make(env)
	if err != nil {
		return nil, err
	}
	out := &made{code: p.Code, env: env, sample: s, symbols: make(map[string]uint64)}
	for _, name := range s.Names() {
		if out.symbols[name], err = s.Symbol(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m *made) golden() *golden.File { return golden.New(m.code, m.env, m.symbols) }

// trampolineSchema is the version of the JSON that these verbs print.
const trampolineSchema = 1

type trampolineListCmd struct {
	JSON bool `name:"json" help:"Print one JSON object for each."`
}

// Run lists the built-in trampolines.
func (c *trampolineListCmd) Run(a *app) error {
	for _, b := range trampoline.Builtins() {
		if !c.JSON {
			const cols = 21
			hang(a.stdout, a.width, fmt.Sprintf("%-*s", cols, b.Name), cols, b.Help, style{}.plain)
			hang(a.stdout, a.width, strings.Repeat(" ", cols), cols, "options: "+b.Options, style{}.plain)
			continue
		}
		err := a.encode(struct {
			Schema  int      `json:"schema"`
			Name    string   `json:"name"`
			Help    string   `json:"help"`
			Options []string `json:"options"`
		}{trampolineSchema, b.Name, b.Help, strings.Fields(b.Options)})
		if err != nil {
			return err
		}
	}
	return nil
}

type trampolineShowCmd struct {
	variantFlags
	JSON bool   `name:"json" help:"Print one JSON object."`
	Name string `arg:"" complete:"trampolines *.layout *.o" help:"Built-in trampoline, layout or object."`
}

// Run shows the code.
func (c *trampolineShowCmd) Run(a *app) error {
	m, ret, err := c.openOne(c.Name)
	if err != nil {
		return err
	}
	t, err := makeSample(m, ret)
	if err != nil {
		return err
	}
	listing := t.code.Listing(t.sample.Name)
	if !c.JSON {
		_, err := a.stdout.WriteString(listing)
		return err
	}
	return a.encode(struct {
		*golden.File
		Listing []string `json:"listing"`
	}{t.golden(), strings.Split(strings.TrimSuffix(listing, "\n"), "\n")})
}

type trampolineFrameCmd struct {
	variantFlags
	Engine string `default:"interp" placeholder:"NAME" help:"Engine that executes it (default ${default})."`
	JSON   bool   `name:"json" help:"Print one JSON object for each part of the frame."`
	Name   string `arg:"" complete:"trampolines *.layout *.o" help:"Built-in trampoline, layout or object."`
}

// Run shows the frame.
func (c *trampolineFrameCmd) Run(a *app) error {
	engine, err := engineByName(c.Engine)
	if err != nil {
		return err
	}
	m, ret, err := c.openOne(c.Name)
	if err != nil {
		return err
	}
	f, err := abi.FrameOf(m, engine, ret)
	if err != nil {
		return err
	}
	if c.JSON {
		return frameJSON(a, f)
	}
	frameText(a, f)
	return nil
}

type trampolineCompareCmd struct {
	variantFlags
	Engine string   `default:"interp" placeholder:"NAME" help:"Engine that executes them (default ${default})."`
	JSON   bool     `name:"json" help:"Print one JSON object for each trampoline."`
	Names  []string `arg:"" complete:"trampolines *.layout *.o" help:"Built-in trampolines, layouts or objects."`
}

// Help is printed by trampoline compare --help.
func (trampolineCompareCmd) Help() string {
	return `Each trampoline is executed once: entered from the site, with callbacks that ask for nothing and programs that run and return 0. Counted are its own instructions, not those of functions that it calls.`
}

// Run measures and compares.
func (c *trampolineCompareCmd) Run(a *app) error {
	engine, err := engineByName(c.Engine)
	if err != nil {
		return err
	}
	ms, ret, err := c.open(c.Names...)
	if err != nil {
		return err
	}
	var costs []*abi.Cost
	for _, m := range ms {
		cost, err := abi.Measure(m, engine, ret)
		if err != nil {
			return err
		}
		costs = append(costs, cost)
	}
	if c.JSON {
		return costsJSON(a, costs)
	}
	costsText(a, costs)
	return nil
}

type trampolineGoldenCmd struct {
	variantFlags
	Out  string `short:"o" required:"" placeholder:"DIR" complete:"*/" help:"Directory to write to; made if need be."`
	JSON bool   `name:"json" help:"Print one JSON object for each file written."`
	Name string `arg:"" complete:"trampolines *.layout *.o" help:"Built-in trampoline, layout or object."`
}

// Help is printed by trampoline golden --help.
func (trampolineGoldenCmd) Help() string {
	return `NAME.json holds the bytes and the addresses that they were made for; the package ftemu/trampoline/golden reads it and compares. NAME.lst is the listing, for readers.`
}

// Run writes the golden.
func (c *trampolineGoldenCmd) Run(a *app) error {
	m, ret, err := c.openOne(c.Name)
	if err != nil {
		return err
	}
	t, err := makeSample(m, ret)
	if err != nil {
		return err
	}
	paths, err := t.golden().Write(c.Out, t.code.Listing(t.sample.Name))
	for _, p := range paths {
		if !c.JSON {
			fmt.Fprintln(a.stdout, p)
			continue
		}
		if err := a.encode(struct {
			Schema int    `json:"schema"`
			File   string `json:"file"`
		}{trampolineSchema, p}); err != nil {
			return err
		}
	}
	return err
}
