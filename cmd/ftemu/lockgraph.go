package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"ftemu/explore"
	"ftemu/graph"
)

// maxAskers is how many threads and lines stand beside an arrow.
const maxAskers = 3

// checkLockGraph says whether a file can be one of --lock-graph by its name.
func checkLockGraph(file string) error {
	if slices.ContainsFunc(graphFormats(), func(f traceFormat) bool { return f.fits(file) }) {
		return nil
	}
	return fmt.Errorf("--lock-graph %s: expected a name that ends in %s", file, strings.Join(endings(graphFormats()), ", "))
}

// writeLockGraph writes which lock was asked for while which was held.
func writeLockGraph(file string, locks *explore.LockGraph) error {
	var text bytes.Buffer
	picture, write := lockPicture(locks), (*graph.Graph).Dot
	for _, f := range graphFormats() {
		if f.fits(file) && f.name == "mermaid" {
			write = (*graph.Graph).Mermaid
		}
	}
	err := write(picture, &text)
	if err == nil {
		err = replaceFile(file, text.Bytes())
	}
	if err != nil {
		return fmt.Errorf("--lock-graph: %w", err)
	}
	return nil
}

// lockPicture draws the outermost lock on top. An arrow leads from a lock that is
// held to one that is asked for; it is dashed where the thread only tries, red
// where it is against the documented order or part of a cycle. Black
// ones lead from the innermost lock only: the others follow from these.
func lockPicture(locks *explore.LockGraph) *graph.Graph {
	g := &graph.Graph{Name: "locks", Down: true}
	for _, l := range locks.Locks {
		g.Nodes = append(g.Nodes, graph.Node{Lines: []string{l}})
	}
	for _, e := range locks.Edges {
		bad := e.Inverted || e.Cycle
		if !e.Innermost && !bad {
			continue
		}
		lines := slices.Clone(e.By[:min(len(e.By), maxAskers)])
		if more := len(e.By) - maxAskers; more > 0 {
			lines = append(lines, fmt.Sprintf("and %d more", more))
		}
		if e.Try {
			lines[0] = "trylock: " + lines[0]
		}
		g.Edges = append(g.Edges, graph.Edge{
			From: slices.Index(locks.Locks, e.Held), To: slices.Index(locks.Locks, e.Taken),
			Lines: lines, Dashed: e.Try, Bad: bad,
		})
	}
	return g
}
