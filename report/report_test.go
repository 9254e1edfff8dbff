package report_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/emu/interp"
	"ftemu/explore"
	"ftemu/ftracecore"
	"ftemu/guest"
	"ftemu/patcher"
	"ftemu/report"
	"ftemu/script"
	"ftemu/trampoline"
	"ftemu/trampoline/layout"
)

// maxPage is how large a page may be, in bytes.
const maxPage = 2_000_000

// engines are those that pages must not differ by.
var engines = map[string]func() emu.Engine{"interp": func() emu.Engine { return interp.New() }}

// parse reads a scenario; files that it names are beside file.
func parse(t *testing.T, file, text string) *script.Script {
	beside := func(path string) string { return filepath.Join(filepath.Dir(file), path) }
	s, err := script.Parse(file, strings.NewReader(text), script.Options{
		LoadGuest: func(path string) (*guest.Image, error) {
			return guest.LoadFile(beside(path), guest.LoadOptions{})
		},
		LoadTrampoline: func(path string) (trampoline.Maker, error) { return layout.Open(beside(path)) },
	})
	require.NoError(t, err)
	return s
}

// record runs a scenario to its end.
func record(t *testing.T, s *script.Script, text string, opt ftemu.Options) *report.Page {
	rec := report.NewRecorder(report.Options{
		File: s.File, Source: text, Command: "ftemu run " + s.File,
		Facts: []report.Fact{{Name: "seed", Value: "1"}},
	})
	opt.Tracer, opt.Explain = rec, true
	r, err := script.NewRunner(s, opt)
	require.NoError(t, err)
	defer r.Close()
	rec.Start(r)
	failures := 0
	for _, st := range s.Steps {
		rec.Before(st)
		res := r.Run(st)
		rec.After(st, res)
		if res.Failed != "" {
			failures++
		}
		if res.Oops != "" {
			break
		}
	}
	return rec.Page(failures)
}

// pageOf is the page of a scenario, its threads explored.
func pageOf(t *testing.T, file, text string, opt ftemu.Options) *report.Page {
	s := parse(t, file, text)
	p := record(t, s, text, opt)
	if len(s.Threads()) > 0 {
		e, err := report.Explore(context.Background(), s, explore.Options{Lab: opt, MaxStates: 2_000},
			func(schedule string) string { return "ftemu explore --replay " + schedule + " " + file })
		require.NoError(t, err)
		p.Explored(e)
	}
	return p
}

func html(t *testing.T, p *report.Page) string {
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	return b.String()
}

func example(t *testing.T, name string) (file, text string) {
	file = filepath.Join("..", "examples", filepath.FromSlash(name))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return file, string(data)
}

// examples are all scenarios of the folder but those that need a kernel.
func examples(t *testing.T) (names []string) {
	for _, pattern := range []string{"*.ft", "explore/*.ft", "share/*.ft", "traces/*.ft", "conflict/*.ft"} {
		found, err := filepath.Glob(filepath.Join("..", "examples", filepath.FromSlash(pattern)))
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		for _, f := range found {
			name, err := filepath.Rel(filepath.Join("..", "examples"), f)
			require.NoError(t, err)
			names = append(names, filepath.ToSlash(name))
		}
	}
	return names
}

// A document is what there is in a page.
type document struct {
	ids, links []string
	elements   map[string]int
	text       string
}

// read takes a page apart. It is written so that it is XML, too.
func read(t *testing.T, page string) document {
	d := document{elements: make(map[string]int)}
	dec := xml.NewDecoder(strings.NewReader(page))
	dec.Entity = xml.HTMLEntity
	var text strings.Builder
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch tok := tok.(type) {
		case xml.StartElement:
			d.elements[tok.Name.Local]++
			for _, a := range tok.Attr {
				switch a.Name.Local {
				case "id":
					d.ids = append(d.ids, a.Value)
				case "href":
					d.links = append(d.links, a.Value)
				}
				require.False(t, strings.HasPrefix(a.Name.Local, "on"), "no event handlers: %s", a.Name.Local)
				require.NotEqual(t, "src", a.Name.Local, "nothing is loaded")
			}
		case xml.CharData:
			text.Write(tok)
		}
	}
	d.text = text.String()
	return d
}

// Every example gives a page that holds together.
func TestExamples(t *testing.T) {
	for _, name := range examples(t) {
		t.Run(name, func(t *testing.T) {
			file, text := example(t, name)
			page := html(t, pageOf(t, file, text, ftemu.Options{}))
			require.Less(t, len(page), maxPage)
			d := read(t, page)
			seen := make(map[string]bool)
			for _, id := range d.ids {
				require.False(t, seen[id], "two elements are #%s", id)
				seen[id] = true
			}
			for _, l := range d.links {
				require.True(t, strings.HasPrefix(l, "#") && seen[l[1:]], "the link %s leads nowhere", l)
			}
			require.Zero(t, d.elements["script"])
			require.Equal(t, 1, d.elements["h1"])
			require.Equal(t, 1, d.elements["main"])
			for _, word := range []string{"ZgotmplZ", "&lt;no value&gt;", "%!"} {
				require.NotContains(t, page, word)
			}
			last := -1
			for i, line := range strings.Split(text, "\n") { // no line of the script is missing, and they are in their order
				line = strings.TrimSpace(line)
				if line == "" || line[0] == '#' {
					continue
				}
				at := slices.Index(d.ids, fmt.Sprintf("line-%d", i+1))
				require.Greater(t, at, last, "line %d: %s", i+1, line)
				last = at
				code, _, _ := strings.Cut(line, " #")
				require.Contains(t, d.text, strings.TrimSpace(code))
			}
			if end := slices.Index(d.ids, "line-end"); end >= 0 {
				require.Greater(t, end, last)
			}
		})
	}
}

// The same run gives the same page, on every engine.
func TestDeterministic(t *testing.T) {
	for _, name := range []string{"livepatch-first.ft", "fexit-bpf-first.ft", "traces/graph.ft", "own-layout.ft", "explore/nop-to-call-1.ft"} {
		file, text := example(t, name)
		want := html(t, pageOf(t, file, text, ftemu.Options{}))
		for engine, make := range engines {
			t.Run(name+"/"+engine, func(t *testing.T) {
				got := strings.Split(html(t, pageOf(t, file, text, ftemu.Options{Engine: make()})), "\n")
				for i, line := range strings.Split(want, "\n") {
					require.Less(t, i, len(got))
					require.Equal(t, line, got[i])
				}
			})
		}
	}
}

func step(t *testing.T, p *report.Page, id string) *report.Step {
	for _, s := range p.Steps {
		if s.ID == id {
			return s
		}
	}
	require.FailNow(t, "no step", id)
	return nil
}

// What a reader looks for is where it belongs.
func TestLivepatchFirst(t *testing.T) {
	file, text := example(t, "livepatch-first.ft")
	p := pageOf(t, file, text, ftemu.Options{})
	require.Equal(t, "livepatch-first", p.Title)
	require.NotEqual(t, "bad", p.Tone)
	require.Equal(t, []report.Jump{
		{ID: "line-23", Line: "23", Text: "direct_register_retry bpf orig0 share", Answer: "-EAGAIN, then 0"},
		{ID: "line-37", Line: "37", Text: "register klp2", Answer: "-EBUSY"},
	}, p.Jumps)

	begin := step(t, p, "line-begin")
	require.Equal(t, "A livepatch is on f0 when a BPF-like direct caller comes.", begin.Comment[0])
	require.Equal(t, "3a + 5b + 1000", step(t, p, "line-11").Note)

	register := step(t, p, "line-15")
	require.Equal(t, "0", register.Answer)
	require.Len(t, register.Changes, 1)
	c := register.Changes[0]
	require.Equal(t, []report.Cell{{Hex: "e8", Class: "new"}, {Hex: "bb", Class: "new"}, {Hex: "ea", Class: "new"}, {Hex: "00"}, {Hex: "00"}}, c.After.Cells)
	require.Equal(t, "klp", c.After.Kind)
	require.Equal(t, "klp", register.Ops.Rows[0].Name)
	require.Equal(t, "1", register.Ops.Rows[0].Place)

	refused := step(t, p, "line-37")
	require.Equal(t, "bad", refused.Tone)
	require.Contains(t, refused.Why.Paragraphs[0], `owned by "klp"`)
	require.NotEmpty(t, refused.Why.Decisions)
	require.True(t, step(t, p, "line-23").Why.Open, "the first refusal")
	require.False(t, refused.Why.Open)

	// The site on its way from a nop to a call, as another CPU could fetch it.
	require.Equal(t, "f0", p.Sites[0].Name)
	var ways []string
	for _, poke := range p.Sites[0].Rows[1].Pokes {
		bytes := ""
		for _, c := range poke.Cells {
			bytes += c.Hex
		}
		ways = append(ways, poke.Step+" "+bytes)
	}
	require.Equal(t, []string{"int3 cc1f440000", "tail ccbbea0000", "first e8bbea0000"}, ways)
	require.Equal(t, []string{"ftor_f0 [ftoracle] (1) R   D\ttramp: ftrace_regs_caller+0x0/0x58 (call_direct_funcs+0x0/0x30)", "\tdirect-->ftor_t_orig0+0x0/0x80 [ftoracle]"}, p.End.Enabled)
}

// Code has the colour of whose it is wherever it stands; what serves all has one
// of its own.
func TestColours(t *testing.T) {
	for name, kinds := range map[string]map[string]string{ // of a trampoline, by its name
		"livepatch-first.ft": {"trampoline of klp": "klp", "ftrace_regs_caller": "shared", "direct trampoline share": "direct", "share": "direct"},
		"traces/graph.ft":    {"trampoline of function_graph": "tracer", "ftrace_caller": "shared", "ftrace_regs_caller": "shared", "return_to_handler": "shared"},
	} {
		file, text := example(t, name)
		p := pageOf(t, file, text, ftemu.Options{})
		seen := make(map[string]bool)
		check := func(what, kind string) {
			if want, ok := kinds[what]; ok {
				require.Equal(t, want, kind, "%s: %s", name, what)
				seen[what] = true
			}
		}
		for _, tr := range p.Tramps {
			check(tr.Name, tr.Kind)
		}
		for _, s := range p.Steps {
			if s.Call != nil {
				for _, b := range s.Call.Bars {
					check(b.Label, b.Kind)
				}
			}
		}
		require.Len(t, seen, len(kinds), name)
		calls := 0
		for _, site := range p.Sites {
			for _, row := range site.Rows {
				_, target, ok := strings.Cut(row.Strip.Text, "<")
				if !ok {
					require.Equal(t, "nop", row.Kind)
					continue
				}
				calls++
				target = strings.TrimSuffix(target, ">")
				if id, own := strings.CutPrefix(target, "tramp:"); own {
					target = "trampoline of " + id
				} else if id, direct := strings.CutPrefix(target, "direct:"); direct {
					require.Equal(t, "direct", row.Kind, id)
				}
				check(target, row.Kind)
			}
		}
		require.Greater(t, calls, 2, name)
	}
}

// All tables of ops of a page have the same columns, so that flags can be
// followed down the page.
func TestColumns(t *testing.T) {
	file, text := example(t, "livepatch-first.ft")
	p := pageOf(t, file, text, ftemu.Options{})
	want := []string{"ENABLED", "DYNAMIC", "SAVE_REGS", "INITIALIZED", "ADDING", "ALLOC_TRAMP", "IPMODIFY", "PERMANENT", "DIRECT"}
	tables := 0
	for _, s := range p.Steps {
		if s.Ops == nil {
			continue
		}
		tables++
		require.Equal(t, want, s.Ops.Flags, s.ID)
		for _, row := range s.Ops.Rows {
			require.Len(t, row.Cells, len(want), s.ID)
		}
	}
	require.Greater(t, tables, 5)
	plus := report.OpsCell{Mark: "+", Class: "new"}
	has := report.OpsCell{Mark: "●"}
	require.Equal(t, []report.OpsCell{plus, has, {}, has, {}, plus, has, has, {}}, step(t, p, "line-15").Ops.Rows[0].Cells)
}

// Names and texts of a scenario are text.
func TestEscapes(t *testing.T) {
	const evil = `<script>alert("1")</script>`
	text := "# " + evil + " & </style>\n" +
		"new <script>alert(1)</script> plain\nfilter <script>alert(1)</script> f0\nregister <script>alert(1)</script>\n" +
		"call f0 1 str:\"</title><script>alert(1)</script>\"\nwant ret 5\n"
	p := pageOf(t, `<img src=x onerror=alert(1)>.ft`, text, ftemu.Options{})
	d := read(t, html(t, p))
	require.Zero(t, d.elements["script"])
	require.Zero(t, d.elements["img"])
	require.Contains(t, d.text, evil)
	require.Contains(t, d.text, `str:"</title><script>`)
	require.Equal(t, "bad", p.Tone)
	require.Equal(t, "Not as expected: 1 line.", p.Verdict)
}

// A page is bounded however long the run is, and says what is missing.
func TestBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("guest ../examples/own/own.o\nnew a plain\nfilter a gcd\nregister a\n")
	for range 3000 {
		b.WriteString("call gcd 832040 1346269\n")
	}
	p := pageOf(t, "./million.ft", b.String(), ftemu.Options{})
	require.Greater(t, p.Insns, uint64(500_000))
	page := html(t, p)
	require.Less(t, len(page), maxPage)
	require.Less(t, len(p.Steps), 1100)
	said := strings.Join(p.LeftOut, " ")
	require.Regexp(t, `^2,00[0-9] more lines of the scenario ran and are not shown`, said)
	require.Regexp(t, `lines are shown with the answer alone`, said)
	require.Regexp(t, `slices are left out of the time lines`, said)
	require.Contains(t, read(t, page).text, said)
}

func TestManyOfEverything(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "new o%d plain\nfilter o%d all\nregister o%d\n", i, i, i)
	}
	b.WriteString("call f0 1 2\n")
	p := pageOf(t, "many.ft", b.String(), ftemu.Options{})
	page := html(t, p)
	require.Less(t, len(page), maxPage)
	require.NotEmpty(t, p.LeftOut)
}

// A finding is drawn with the locks that threads hold.
func TestFinding(t *testing.T) {
	file, text := example(t, "share/livepatch-first.ft")
	design, err := ftracecore.ParseDesign("rinse-repeat")
	require.NoError(t, err)
	p := pageOf(t, file, text, ftemu.Options{Design: &design})
	e := p.Exploration
	require.Equal(t, "alive", e.Property)
	require.Equal(t, "bad", p.Tone)
	require.Contains(t, e.Command, e.Schedule)
	require.Equal(t, []string{"bpf", "klp", "cpu1"}, []string{e.Threads[0].Name, e.Threads[1].Name, e.Threads[2].Name})
	last := e.Moves[len(e.Moves)-1]
	require.True(t, last.Bad)
	require.Equal(t, "WARN in ftrace_verify_code", last.Threads[0].What)
	var held []string
	for _, bar := range last.Threads[0].Bars {
		if bar.Held {
			held = append(held, bar.Letter)
		}
	}
	require.Equal(t, []string{"T", "D", "L", "X"}, held)
	for _, m := range e.Moves[:len(e.Moves)-1] {
		require.False(t, m.Bad)
	}
	require.Regexp(t, regexp.MustCompile(`held l-D first`), html(t, p))
	require.Equal(t, "As expected: 2 expectations met. In some order of its threads the property alive does not hold.", p.Verdict)
	require.Equal(t, report.Jump{ID: "exploration", Text: "some order of the threads", Answer: "alive"}, p.Jumps[0])
	text = read(t, html(t, p)).text
	require.Less(t, strings.Index(text, e.Command), strings.Index(text, "ftemu run "+file), "what shows the finding stands first")
}

// What is said at the top is what matters most, in a tone that fits.
func TestHeadline(t *testing.T) {
	const threads = "new a plain\nfilter a f0\nthread t\nregister a\ncpu 1: call f0 1 2\n"
	const holds = "Every property holds in every order of its threads."
	const short = "Not every order of its threads was searched: the bound of 1 state; raise --max-states."
	for _, tt := range []struct {
		name, text    string
		states        int
		verdict, tone string
	}{
		{"nothing is expected", "call f0 1 2\n", 0, "The scenario expects nothing.", ""},
		{"an expectation", "call f0 1 2\nwant ret 1013\n", 0, "As expected: 1 expectation met.", "good"},
		{"threads", threads, 0, holds, "good"},
		{"threads and an expectation", threads + "join\nwant target f0 tramp:a\n", 0, "As expected: 1 expectation met. " + holds, "good"},
		{"too many states", threads, 1, short, ""},
		{"too many states, and an expectation", threads + "join\nwant target f0 tramp:a\n", 1, "As expected: 1 expectation met. " + short, ""},
		{"it fails", threads + "join\nwant target f0 nop\n", 0, "Not as expected: 1 line. In some order of its threads the property wants does not hold.", "bad"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, "test.ft", tt.text)
			p := record(t, s, tt.text, ftemu.Options{})
			if len(s.Threads()) > 0 {
				e, err := report.Explore(context.Background(), s, explore.Options{MaxStates: tt.states}, func(string) string { return "" })
				require.NoError(t, err)
				p.Explored(e)
			}
			require.Equal(t, tt.verdict, p.Verdict)
			require.Equal(t, tt.tone, p.Tone)
			require.Contains(t, html(t, p), `<p class="verdict `+tt.tone+`">`+tt.verdict)
		})
	}
}

// An ops is made, comes to the list, leaves it, and is gone.
func TestOpsStates(t *testing.T) {
	const text = "new a plain\nfilter a f0\nregister a\ncall f0 1 2\nunregister a\n"
	p := record(t, parse(t, "test.ft", text), text, ftemu.Options{})
	var states []string
	for _, s := range p.Steps {
		if s.Ops != nil {
			for _, row := range s.Ops.Rows {
				states = append(states, s.Text+": "+row.State)
			}
		}
	}
	require.Equal(t, []string{"new a plain: new", "filter a f0: ", "register a: listed", "unregister a: off the list", "end: gone"}, states)
	d := read(t, html(t, p))
	require.Contains(t, d.text, "1 call\n")
	require.Contains(t, d.text, "0 expectations met")
}

func TestMistake(t *testing.T) {
	file, text := example(t, "explore/nop-to-call-1.ft")
	p := pageOf(t, file, text, ftemu.Options{Strategy: patcher.Naive})
	require.Equal(t, "torn", p.Exploration.Property)
	require.Equal(t, "good", pageOf(t, file, text, ftemu.Options{}).Exploration.Tone)
}
