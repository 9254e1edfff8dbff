package main

import (
	"fmt"
	"strings"

	"ftemu/emu"
	"ftemu/trampoline"
	"ftemu/trampoline/abi"
	"ftemu/trampoline/layout"
)

type trampolineCheckCmd struct {
	variantFlags
	Engine string `default:"interp" placeholder:"NAME" help:"Engine that executes it (default ${default})."`
	Seed   uint64 `default:"1" env:"FTEMU_SEED" placeholder:"N" help:"Seed of the random states (default ${default})."`
	States int    `default:"256" placeholder:"N" help:"Random machine states for each case (default ${default})."`
	JSON   bool   `name:"json" help:"Print one JSON object for each rule, and one for the whole."`
	Name   string `arg:"" complete:"trampolines *.layout *.o" help:"Built-in trampoline, layout or object."`
}

// Help is printed by trampoline check --help.
func (trampolineCheckCmd) Help() string {
	var b strings.Builder
	b.WriteString("The trampoline is executed from random machine states. The functions that it calls change whatever a C function may change. The rules:\n\n")
	for _, r := range abi.Rules() {
		fmt.Fprintf(&b, "  %-15s %s\n", r, r.Meaning())
	}
	b.WriteString("\nThe calls of a layout and of an object must have rsp aligned to 16 bytes; those of the kernel's own code to 8, as the kernel is compiled.\n")
	b.WriteString("\nExit status: 0 it keeps all of them, 1 it breaks one, 2 the trampoline or the command line is wrong: so is a layout in which a call has a misaligned stack.")
	return b.String()
}

// asWritten makes a layout even if a call in it has a misaligned stack.
type asWritten struct{ *layout.Layout }

// Make implements trampoline.Maker.
func (l asWritten) Make(e trampoline.Env) (trampoline.Placed, error) { return l.MakeUnchecked(e) }

// Run checks.
func (c *trampolineCheckCmd) Run(a *app) error {
	engine, err := engineByName(c.Engine)
	if err != nil {
		return err
	}
	if c.States < 1 {
		return fmt.Errorf("--states %d: expected 1 or more", c.States)
	}
	m, ret, err := c.openOne(c.Name)
	if err != nil {
		return err
	}
	var misaligned error
	if l, ok := m.(*layout.Layout); ok {
		misaligned = l.CheckAlignment()
		m = asWritten{l}
	}
	rep, err := abi.Check(m, abi.CheckOptions{Engine: engine, Return: ret, Seed: c.Seed, Rounds: c.States})
	if err != nil {
		return err
	}
	if !rep.OK() {
		a.exit(statusDiff)
	}
	if c.JSON {
		err = checkJSON(a, rep)
	} else {
		checkText(a, rep)
	}
	if err != nil {
		return err
	}
	return misaligned
}

// checkText prints a report for people.
func checkText(a *app, rep *abi.Report) {
	w, s := a.stdout, style{a.colour}
	row := func(first string, cols int, text string) { hang(w, a.width, first, cols, text, s.plain) }
	a.say(fmt.Sprintf("%s: %d bytes, %s, %s in each, seed %d", rep.Name, rep.Bytes, counted(len(rep.Cases), "case"), counted(rep.Rounds, "random state"), rep.Seed), s.plain)
	for _, v := range rep.Cases {
		row("  case: ", 8, v)
	}
	a.say("it promises: "+promises(rep.Contract), s.plain)
	fmt.Fprintln(w)
	for _, r := range abi.Rules() {
		f := rep.Fault(r)
		verdict := s.good("ok   ")
		if f != nil {
			verdict = s.bad("FAULT")
		}
		row(fmt.Sprintf("%s %-15s ", verdict, r), 22, r.Meaning())
		if f == nil {
			continue
		}
		for _, l := range [][2]string{
			{"case", fmt.Sprintf("%s, state %d", f.Case, f.Round)}, {"at", f.Where}, {"expected", f.Expected}, {"found", f.Found},
		} {
			row(fmt.Sprintf("        %-9s ", l[0]), 18, strings.Join(strings.Fields(l[1]), " "))
		}
		fmt.Fprintf(w, "        on entry\n%s        then\n%s", registers(f.Entry), registers(f.Regs))
	}
	fmt.Fprintln(w)
	if len(rep.Unseen) == 0 {
		a.say("every byte of code was executed", s.plain)
	}
	for _, u := range rep.Unseen {
		a.say(fmt.Sprintf("not executed: +%#x, %s (%s)", u.Off, counted(int(u.Len), "byte"), strings.Join(strings.Fields(u.Text), " ")), s.plain)
	}
	if rep.Aligned != 0 {
		a.say(fmt.Sprintf("rsp at its calls, entered with an aligned stack: a multiple of %d", rep.Aligned), s.plain)
	}
	if len(rep.Lost) > 0 {
		a.say("not promised, and changed when the original is entered: "+strings.Join(rep.Lost, " "), s.plain)
	}
}

// promises says a contract in words.
func promises(c trampoline.Contract) string {
	words := []string{counted(c.Args, "argument register")}
	if c.RAX {
		words[0] += " and rax"
	}
	words = append(words, fmt.Sprintf("rsp a multiple of %d at calls", c.Align))
	if c.Exclusive {
		words = append(words, "exclusive: it runs the body whatever its return slot holds")
	} else {
		words = append(words, "a changed ip is honoured")
	}
	if c.WritesReturn {
		words = append(words, "it may write the return slot")
	}
	return strings.Join(words, "; ")
}

// registers lists the registers, four a line.
func registers(r emu.Regs) string {
	var b strings.Builder
	for i, v := range r.GPR {
		if i%4 == 0 {
			b.WriteString("         ")
		}
		fmt.Fprintf(&b, " %-3s %016x", emu.RegNames[i], v)
		if i%4 == 3 {
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "          flags %#x\n", r.Flags)
	return b.String()
}

// ruleJSON is one rule of a report.
type ruleJSON struct {
	Schema   int               `json:"schema"`
	Name     string            `json:"name"`
	Rule     string            `json:"rule"`
	OK       bool              `json:"ok"`
	Case     string            `json:"case,omitempty"`
	State    *int              `json:"state,omitempty"`
	At       string            `json:"at,omitempty"`
	Expected string            `json:"expected,omitempty"`
	Found    string            `json:"found,omitempty"`
	Entry    map[string]string `json:"entry,omitempty"`
	Then     map[string]string `json:"then,omitempty"`
}

// checkJSON prints an object for each rule, and one for the whole.
func checkJSON(a *app, rep *abi.Report) error {
	for _, r := range abi.Rules() {
		o := ruleJSON{Schema: trampolineSchema, Name: rep.Name, Rule: r.String(), OK: true}
		if f := rep.Fault(r); f != nil {
			o.OK, o.Case, o.State, o.At, o.Expected, o.Found = false, f.Case, &f.Round, f.Where, f.Expected, f.Found
			o.Entry, o.Then = registersJSON(f.Entry), registersJSON(f.Regs)
		}
		if err := a.encode(o); err != nil {
			return err
		}
	}
	type unseen struct {
		Off  uint64 `json:"off"`
		Len  uint64 `json:"len"`
		Text string `json:"text"`
	}
	sum := struct {
		Schema      int      `json:"schema"`
		Name        string   `json:"name"`
		OK          bool     `json:"ok"`
		Bytes       int      `json:"bytes"`
		Seed        uint64   `json:"seed"`
		States      int      `json:"states"` // in each case
		Cases       []string `json:"cases"`
		NotExecuted []unseen `json:"not_executed"`
		Aligned     uint64   `json:"aligned"`
		Lost        []string `json:"lost"`
	}{trampolineSchema, rep.Name, rep.OK(), rep.Bytes, rep.Seed, rep.Rounds, rep.Cases, []unseen{}, rep.Aligned, append([]string{}, rep.Lost...)}
	for _, u := range rep.Unseen {
		sum.NotExecuted = append(sum.NotExecuted, unseen{u.Off, u.Len, u.Text})
	}
	return a.encode(sum)
}

// registersJSON gives registers as hexadecimal strings, by name.
func registersJSON(r emu.Regs) map[string]string {
	out := map[string]string{"rip": fmt.Sprintf("%#x", r.RIP), "flags": fmt.Sprintf("%#x", r.Flags)}
	for i, v := range r.GPR {
		out[emu.RegNames[i]] = fmt.Sprintf("%#x", v)
	}
	return out
}
