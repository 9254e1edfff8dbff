package chain

import (
	"io"

	"ftemu/graph"
)

// shapes are those of the kinds.
var shapes = [...]graph.Shape{
	Site: graph.Box, Trampoline: graph.Slanted, Dispatch: graph.Framed, Callback: graph.Round, Code: graph.Body,
}

// picture is the graph as it is drawn.
func (g *Graph) picture() *graph.Graph {
	p := &graph.Graph{Name: "chain"}
	for _, n := range g.Nodes {
		p.Nodes = append(p.Nodes, graph.Node{Shape: shapes[n.Kind], Lines: n.Lines})
	}
	for _, e := range g.Edges {
		p.Edges = append(p.Edges, graph.Edge{From: e.From, To: e.To, Lines: []string{e.Label}})
	}
	return p
}

// Dot writes the graph for Graphviz.
func (g *Graph) Dot(w io.Writer) error { return g.picture().Dot(w) }

// Mermaid writes the graph as a flow chart for Mermaid.
func (g *Graph) Mermaid(w io.Writer) error { return g.picture().Mermaid(w) }
