// Package chain draws what a call of a traced function goes through: from its
// site over trampolines and callbacks to the code that runs at last.
package chain

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/script"
	"ftemu/x86"
)

// A Kind says what a node is.
type Kind uint8

// The kinds of nodes.
const (
	Site Kind = iota
	Trampoline
	Dispatch // the kernel function that calls callbacks
	Callback // of an ops
	Code     // the function's body, or what takes its place
)

// A Node is a station of a call.
type Node struct {
	Kind  Kind
	Lines []string // what is written in it
}

// An Edge leads from one node to another, by their indexes.
type Edge struct {
	From, To int
	Label    string
}

// A Graph is the stations of the functions whose sites are in use.
type Graph struct {
	Nodes []Node
	Edges []Edge
}

// Of draws the state that a scenario is in.
func Of(r *script.Runner) *Graph {
	g := &Graph{}
	r.Lab().Core.Records(func(rec *ftracecore.Record) bool {
		if rec.Count > 0 {
			g.site(r, rec)
		}
		return true
	})
	return g
}

func (g *Graph) node(k Kind, lines ...string) int {
	g.Nodes = append(g.Nodes, Node{k, lines})
	return len(g.Nodes) - 1
}

func (g *Graph) edge(from, to int, label string) {
	g.Edges = append(g.Edges, Edge{from, to, label})
}

// site draws one function.
func (g *Graph) site(r *script.Runner, rec *ftracecore.Record) {
	lab := r.Lab()
	var b x86.Bytes5
	// A site's bytes are mapped for as long as the lab lives.
	_ = lab.Mem.Read(rec.IP, b[:])
	name := r.SiteName(rec.IP)
	site := g.node(Site, name, fmt.Sprintf("count %d", rec.Count), rec.Flags.String(), fmt.Sprintf("% x", b))
	form, target := x86.ParseSite(b, rec.IP)
	if form != x86.FormCall {
		g.edge(site, g.node(Code, "body of "+name), form.String())
		return
	}
	tramp := g.node(Trampoline, nameOf(r, target))
	g.edge(site, tramp, "calls")
	if lab.IsDirectFunction(target) {
		g.edge(tramp, g.node(Code, "body of "+name), "leads to")
		return
	}
	from := tramp
	ops := covering(lab.Core, rec.IP)
	if _, static := lab.StaticTrampoline(target); static {
		from = g.node(Dispatch, nameOf(r, lab.StaticCall(target)))
		g.edge(tramp, from, "calls")
	} else {
		ops = owners(ops, target)
	}
	end, label := "body of "+name, "goes on to"
	for i, op := range ops {
		cb := g.node(Callback, op.Name, op.Flags.String())
		g.edge(from, cb, fmt.Sprintf("%d", i+1))
		if to, ok := r.Redirect(op.Name, rec.IP); ok && op.Has(ftracecore.OpsIPModify) {
			end, label = nameOf(r, to), fmt.Sprintf("%s redirects to", op.Name)
		}
	}
	if direct, ok := lab.Core.DirectFunction(rec.IP); ok && rec.Flags&ftracecore.RecDirect != 0 && rec.Flags&ftracecore.RecRegs != 0 {
		d := g.node(Trampoline, nameOf(r, direct))
		g.edge(tramp, d, "jumps to")
		tramp = d
	}
	g.edge(tramp, g.node(Code, end), label)
}

// covering lists the ops that are registered for a site in the order in which
// their callbacks run.
func covering(c *ftracecore.Core, ip uint64) (out []*ftracecore.Ops) {
	for _, op := range c.Ops() {
		if op.Covers(ip) && !op.Has(ftracecore.OpsStub) {
			out = append(out, op)
		}
	}
	return out
}

// owners keeps the ops that a trampoline belongs to.
func owners(ops []*ftracecore.Ops, tramp uint64) (out []*ftracecore.Ops) {
	for _, op := range ops {
		if op.Trampoline == tramp {
			out = append(out, op)
		}
	}
	return out
}

// nameOf names code as results of scenarios do.
func nameOf(r *script.Runner, addr uint64) string {
	name, off, ok := r.SymbolAt(addr)
	switch {
	case !ok:
		return fmt.Sprintf("%#x", addr)
	case off != 0:
		return fmt.Sprintf("%s+%#x", name, off)
	}
	if id, tramp := strings.CutPrefix(name, "tramp:"); tramp {
		return "trampoline of " + id
	}
	return name
}
