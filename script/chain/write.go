package chain

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// shapes are those of the kinds in Graphviz.
var shapes = [...]string{Site: "box", Trampoline: "cds", Dispatch: "component", Callback: "ellipse", Code: "box3d"}

// Dot writes the graph for Graphviz.
func (g *Graph) Dot(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString("digraph chain {\n\trankdir=LR;\n\tnode [fontname=monospace];\n")
	for i, n := range g.Nodes {
		fmt.Fprintf(b, "\tn%d [shape=%s, label=\"%s\"];\n", i, shapes[n.Kind], strings.Join(escaped(n.Lines, `\"`, `\\`), `\n`))
	}
	for _, e := range g.Edges {
		fmt.Fprintf(b, "\tn%d -> n%d [label=\"%s\"];\n", e.From, e.To, escaped([]string{e.Label}, `\"`, `\\`)[0])
	}
	b.WriteString("}\n")
	return b.Flush()
}

// brackets are the shapes of the kinds in Mermaid.
var brackets = [...][2]string{
	Site: {"[", "]"}, Trampoline: {"[/", "/]"}, Dispatch: {"[[", "]]"}, Callback: {"([", "])"}, Code: {"{{", "}}"},
}

// Mermaid writes the graph as a flow chart for Mermaid, which Markdown of many
// sites shows.
func (g *Graph) Mermaid(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString("flowchart LR\n")
	for i, n := range g.Nodes {
		s := brackets[n.Kind]
		fmt.Fprintf(b, "    n%d%s\"%s\"%s\n", i, s[0], strings.Join(escaped(n.Lines, "#quot;", "#92;"), "<br/>"), s[1])
	}
	for _, e := range g.Edges {
		fmt.Fprintf(b, "    n%d -->|\"%s\"| n%d\n", e.From, escaped([]string{e.Label}, "#quot;", "#92;")[0], e.To)
	}
	return b.Flush()
}

// escaped replaces what would end or change a quoted label.
func escaped(lines []string, quote, backslash string) []string {
	r := strings.NewReplacer(`\`, backslash, `"`, quote)
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = r.Replace(l)
	}
	return out
}
