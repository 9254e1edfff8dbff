package main

import (
	"fmt"
	"strings"

	"ftemu/trampoline/abi"
)

// frameText draws a frame, the highest address first.
func frameText(a *app, f *abi.Frame) {
	w := a.stdout
	a.say(fmt.Sprintf("%s: %#x bytes below the return slot, %#x with its calls", f.Name, f.Size, f.Deep), style{}.plain)
	fmt.Fprintln(w)
	width := len("slot")
	for _, p := range f.Parts {
		width = max(width, len(p.Name))
	}
	line := func(note string) {
		fmt.Fprintf(w, "%s+%s+%s\n", strings.Repeat(" ", frameMargin(f)), strings.Repeat("-", width+2), note)
	}
	if f.RBP {
		fmt.Fprintf(w, " rsp+    rbp   size ")
	} else {
		fmt.Fprintf(w, " rsp+   size ")
	}
	fmt.Fprintf(w, "  %-*s   content\n", width, "slot")
	for _, p := range f.Parts {
		if p.Slot == -p.Size || f.Size == 0 && p.Slot == 0 {
			line(" rsp on entry")
		}
		fmt.Fprintf(w, "%#5x", p.Off)
		if f.RBP {
			fmt.Fprintf(w, "%+#7x", p.Slot-f.RBPOff)
		}
		content := "not written"
		if len(p.Content) > 0 {
			content = strings.Join(p.Content, ", then ")
		}
		fmt.Fprintf(w, " %6d | %-*s | %s\n", p.Size, width, p.Name, content)
	}
	line(" rsp at its calls")
}

// frameMargin is the width of the columns left of the box.
func frameMargin(f *abi.Frame) int {
	if f.RBP {
		return 20
	}
	return 13
}

// frameJSON prints an object for each part of a frame.
func frameJSON(a *app, f *abi.Frame) error {
	for _, p := range f.Parts {
		if err := a.encode(struct {
			Schema  int      `json:"schema"`
			Name    string   `json:"name"`
			Off     int64    `json:"off"`  // from rsp at the first call
			Slot    int64    `json:"slot"` // from the return slot
			Size    int64    `json:"size"`
			Part    string   `json:"part"`
			Content []string `json:"content"` // in the order in which it was stored
		}{trampolineSchema, f.Name, p.Off, p.Slot, p.Size, p.Name, append([]string{}, p.Content...)}); err != nil {
			return err
		}
	}
	return nil
}

// costsText prints a table, a column for each trampoline.
func costsText(a *app, costs []*abi.Cost) {
	w := a.stdout
	rows := []struct {
		name string
		cell func(c *abi.Cost) string
	}{
		{"", func(c *abi.Cost) string { return c.Name }},
		{"bytes of code", func(c *abi.Cost) string { return fmt.Sprint(c.Bytes) }},
		{"instructions executed", func(c *abi.Cost) string { return fmt.Sprint(c.Insns) }},
		{"bytes of stack", func(c *abi.Cost) string { return fmt.Sprint(c.Stack) }},
		{"memory reads (bytes)", func(c *abi.Cost) string { return fmt.Sprintf("%d (%d)", c.Reads, c.ReadBytes) }},
		{"memory writes (bytes)", func(c *abi.Cost) string { return fmt.Sprintf("%d (%d)", c.Writes, c.WriteBytes) }},
		{"calls", func(c *abi.Cost) string { return fmt.Sprint(c.Calls) }},
		{"indirect branches", func(c *abi.Cost) string { return fmt.Sprint(c.Indirect) }},
		{"returns mispredicted", func(c *abi.Cost) string { return fmt.Sprint(c.Mispredicted) }},
		{"left on the return stack", func(c *abi.Cost) string { return fmt.Sprint(c.StackLeft) }},
		{"registers saved", func(c *abi.Cost) string { return fmt.Sprint(len(c.Saved)) }},
	}
	first := 0
	for _, r := range rows {
		first = max(first, len(r.name))
	}
	widths := make([]int, len(costs))
	for i, c := range costs {
		for _, r := range rows {
			widths[i] = max(widths[i], len(r.cell(c)))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%-*s", first, r.name)
		for i, c := range costs {
			fmt.Fprintf(w, "  %*s", widths[i], r.cell(c))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for _, c := range costs {
		saved := strings.Join(c.Saved, " ")
		if saved == "" {
			saved = "nothing"
		}
		a.say(c.Name+" saves "+saved, style{}.plain)
	}
}

// costsJSON prints an object for each trampoline.
func costsJSON(a *app, costs []*abi.Cost) error {
	for _, c := range costs {
		if err := a.encode(struct {
			Schema       int      `json:"schema"`
			Name         string   `json:"name"`
			Bytes        int      `json:"bytes"`
			Insns        int      `json:"instructions"`
			Stack        int      `json:"stack_bytes"`
			Reads        int      `json:"reads"`
			ReadBytes    int      `json:"read_bytes"`
			Writes       int      `json:"writes"`
			WriteBytes   int      `json:"write_bytes"`
			Calls        int      `json:"calls"`
			Indirect     int      `json:"indirect_branches"`
			Mispredicted int      `json:"returns_mispredicted"`
			StackLeft    int      `json:"left_on_return_stack"`
			Saved        []string `json:"registers_saved"`
		}{trampolineSchema, c.Name, c.Bytes, c.Insns, c.Stack, c.Reads, c.ReadBytes, c.Writes, c.WriteBytes, c.Calls, c.Indirect,
			c.Mispredicted, c.StackLeft, append([]string{}, c.Saved...)}); err != nil {
			return err
		}
	}
	return nil
}
