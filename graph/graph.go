// Package graph writes pictures of nodes and arrows for Graphviz and for Mermaid.
package graph

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A Shape is how a node is drawn.
type Shape uint8

// The shapes.
const (
	Box Shape = iota
	Slanted
	Framed
	Round
	Body
	numShapes
)

// shapes are the names in Graphviz and what stands around a label in Mermaid.
var shapes = [numShapes]struct{ dot, open, close string }{
	Box:     {"box", "[", "]"},
	Slanted: {"cds", "[/", "/]"},
	Framed:  {"component", "[[", "]]"},
	Round:   {"ellipse", "([", "])"},
	Body:    {"box3d", "{{", "}}"},
}

// A Node has lines written in it.
type Node struct {
	Shape Shape
	Lines []string
	Bad   bool // red
}

// An Edge leads from one node to another, by their indexes.
type Edge struct {
	From, To int
	Lines    []string // written beside it
	Dashed   bool
	Bad      bool // red and bold
}

// A Graph is drawn in the order of its nodes and edges.
type Graph struct {
	Name  string // in Graphviz; an identifier
	Down  bool   // from top to bottom instead of from left to right
	Nodes []Node
	Edges []Edge
}

// Dot writes the graph for Graphviz.
func (g *Graph) Dot(w io.Writer) error {
	b := bufio.NewWriter(w)
	direction := "LR"
	if g.Down {
		direction = "TB"
	}
	fmt.Fprintf(b, "digraph %s {\n\trankdir=%s;\n\tnode [fontname=monospace];\n", g.Name, direction)
	for i, n := range g.Nodes {
		bad := ""
		if n.Bad {
			bad = ", color=red"
		}
		fmt.Fprintf(b, "\tn%d [shape=%s, label=\"%s\"%s];\n", i, shapes[n.Shape].dot, label(n.Lines, `\"`, `\\`, `\n`), bad)
	}
	for _, e := range g.Edges {
		style := ""
		if e.Dashed {
			style += ", style=dashed"
		}
		if e.Bad {
			style += ", color=red, fontcolor=red, penwidth=3"
		}
		fmt.Fprintf(b, "\tn%d -> n%d [label=\"%s\"%s];\n", e.From, e.To, label(e.Lines, `\"`, `\\`, `\n`), style)
	}
	b.WriteString("}\n")
	return b.Flush()
}

// Mermaid writes the graph as a flow chart for Mermaid, which Markdown of many
// sites shows.
func (g *Graph) Mermaid(w io.Writer) error {
	b := bufio.NewWriter(w)
	direction := "LR"
	if g.Down {
		direction = "TB"
	}
	fmt.Fprintf(b, "flowchart %s\n", direction)
	for i, n := range g.Nodes {
		s := shapes[n.Shape]
		fmt.Fprintf(b, "    n%d%s\"%s\"%s\n", i, s.open, label(n.Lines, "#quot;", "#92;", "<br/>"), s.close)
	}
	for _, e := range g.Edges {
		arrow := "-->"
		if e.Dashed {
			arrow = "-.->"
		}
		if len(e.Lines) > 0 {
			arrow += fmt.Sprintf("|\"%s\"|", label(e.Lines, "#quot;", "#92;", "<br/>"))
		}
		fmt.Fprintf(b, "    n%d %s n%d\n", e.From, arrow, e.To)
	}
	for i, n := range g.Nodes {
		if n.Bad {
			fmt.Fprintf(b, "    style n%d stroke:red\n", i)
		}
	}
	for i, e := range g.Edges {
		if e.Bad {
			fmt.Fprintf(b, "    linkStyle %d stroke:red,stroke-width:3px,color:red\n", i)
		}
	}
	return b.Flush()
}

// label joins lines, with what would end or change a quoted label replaced.
func label(lines []string, quote, backslash, newline string) string {
	r := strings.NewReplacer(`\`, backslash, `"`, quote)
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = r.Replace(l)
	}
	return strings.Join(out, newline)
}
