package graph

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNothing(t *testing.T) {
	var dot, mermaid strings.Builder
	g := &Graph{Name: "chain"}
	require.NoError(t, g.Dot(&dot))
	require.Equal(t, "digraph chain {\n\trankdir=LR;\n\tnode [fontname=monospace];\n}\n", dot.String())
	require.NoError(t, g.Mermaid(&mermaid))
	require.Equal(t, "flowchart LR\n", mermaid.String())
}

// everything is a graph with all that there is.
func everything() *Graph {
	g := &Graph{Name: "locks", Down: true, Edges: []Edge{
		{0, 1, []string{`"x"`, `\y`}, false, false},
		{1, 2, []string{"tries"}, true, false},
		{2, 0, nil, false, true},
	}}
	for s := range numShapes {
		g.Nodes = append(g.Nodes, Node{s, []string{`a "b"`, `c\d`}, s == Framed})
	}
	return g
}

func TestDot(t *testing.T) {
	var b strings.Builder
	require.NoError(t, everything().Dot(&b))
	require.Equal(t, `digraph locks {
	rankdir=TB;
	node [fontname=monospace];
	n0 [shape=box, label="a \"b\"\nc\\d"];
	n1 [shape=cds, label="a \"b\"\nc\\d"];
	n2 [shape=component, label="a \"b\"\nc\\d", color=red];
	n3 [shape=ellipse, label="a \"b\"\nc\\d"];
	n4 [shape=box3d, label="a \"b\"\nc\\d"];
	n0 -> n1 [label="\"x\"\n\\y"];
	n1 -> n2 [label="tries", style=dashed];
	n2 -> n0 [label="", color=red, fontcolor=red, penwidth=3];
}
`, b.String())
}

func TestMermaid(t *testing.T) {
	var b strings.Builder
	require.NoError(t, everything().Mermaid(&b))
	require.Equal(t, `flowchart TB
    n0["a #quot;b#quot;<br/>c#92;d"]
    n1[/"a #quot;b#quot;<br/>c#92;d"/]
    n2[["a #quot;b#quot;<br/>c#92;d"]]
    n3(["a #quot;b#quot;<br/>c#92;d"])
    n4{{"a #quot;b#quot;<br/>c#92;d"}}
    n0 -->|"#quot;x#quot;<br/>#92;y"| n1
    n1 -.->|"tries"| n2
    n2 --> n0
    style n2 stroke:red
    linkStyle 2 stroke:red,stroke-width:3px,color:red
`, b.String())
}

// TestGraphviz lets Graphviz draw.
func TestGraphviz(t *testing.T) {
	if _, err := exec.LookPath("dot"); err != nil {
		t.Skip("Graphviz is not installed")
	}
	for name, g := range map[string]*Graph{"everything": everything(), "nothing": {Name: "chain"}} {
		var text bytes.Buffer
		require.NoError(t, g.Dot(&text))
		cmd := exec.Command("dot", "-Tsvg")
		cmd.Stdin = &text
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		svg, err := cmd.Output()
		require.NoError(t, err, complaints.String())
		require.Empty(t, complaints.String(), name)
		require.Equal(t, len(g.Edges), bytes.Count(svg, []byte(`class="edge"`)))
	}
}
