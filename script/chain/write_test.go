package chain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLabelsAreEscaped(t *testing.T) {
	g := &Graph{
		Nodes: []Node{{Site, []string{`a "b"`, `c\d`}}, {Code, []string{"e"}}},
		Edges: []Edge{{0, 1, `"x"`}},
	}
	var dot, mermaid strings.Builder
	require.NoError(t, g.Dot(&dot))
	require.NoError(t, g.Mermaid(&mermaid))
	require.Contains(t, dot.String(), `[shape=box, label="a \"b\"\nc\\d"]`)
	require.Contains(t, dot.String(), `n0 -> n1 [label="\"x\""]`)
	require.Contains(t, mermaid.String(), `n0["a #quot;b#quot;<br/>c#92;d"]`)
	require.Contains(t, mermaid.String(), `n0 -->|"#quot;x#quot;"| n1`)
}

func TestNothingInUse(t *testing.T) {
	var dot, mermaid strings.Builder
	require.NoError(t, (&Graph{}).Dot(&dot))
	require.Equal(t, "digraph chain {\n\trankdir=LR;\n\tnode [fontname=monospace];\n}\n", dot.String())
	require.NoError(t, (&Graph{}).Mermaid(&mermaid))
	require.Equal(t, "flowchart LR\n", mermaid.String())
}
