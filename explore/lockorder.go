package explore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"ftemu/ftracecore"
)

// lockClasses is the documented order, outermost first (package ftracecore).
var lockClasses = []string{"trampoline mutex", "direct_mutex", "regex_lock", "ftrace_lock", "text_mutex"}

// class is the place of a lock in the order, by its name; -1 for one that is not in it.
func class(lock string) int {
	for i, c := range lockClasses {
		if strings.HasPrefix(lock, c) {
			return i
		}
	}
	return -1
}

// guardsDispatch tells whether what the lock guards is read without it by CPUs in
// guest code: the list of ops and their hashes, the table of direct functions,
// and code.
func guardsDispatch(l *ftracecore.Lock) bool {
	switch class(l.Name) {
	case 1, 3, 4:
		return true
	}
	return false
}

// A LockGraph is which lock was taken while which was held, over all executions
// of a search.
type LockGraph struct {
	Locks []string   `json:"locks"` // in the documented order, those of one kind by name
	Edges []LockEdge `json:"edges"`
}

// A LockEdge is a lock that was asked for while another was held.
type LockEdge struct {
	Held  string `json:"held"`
	Taken string `json:"taken"`
	Try   bool   `json:"try"` // by trylock, which does not wait
	// Innermost says that no lock was taken between the two, at least once. The
	// other edges follow from these.
	Innermost bool `json:"innermost"`
	// By names the threads and the lines of the scenario that did it.
	By []string `json:"by"`
	// Inverted says that it is against the documented order.
	Inverted bool `json:"inverted"`
	// Cycle says that edges on which threads wait lead back from Taken to Held.
	Cycle bool `json:"cycle"`
}

// An edge is a lock asked for while another was held.
type edge struct {
	held, taken string
	try         bool
}

// inverted tells whether waiting for the lock is against the documented order.
func (e edge) inverted() bool {
	a, b := class(e.held), class(e.taken)
	return !e.try && a >= 0 && b >= 0 && b <= a
}

// seen is how an edge came about.
type seen struct {
	by        map[string]bool
	innermost bool
}

// lockOrder collects the edges of a search, and who made them.
type lockOrder struct {
	mu    sync.Mutex
	locks map[string]bool
	edges map[edge]*seen
}

func newLockOrder() *lockOrder {
	return &lockOrder{locks: make(map[string]bool), edges: make(map[edge]*seen)}
}

// ask records that a thread asks for l.
func (o *lockOrder) ask(t *thread, l *ftracecore.Lock, try bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.locks[l.Name] = true
	for i, h := range t.locks {
		e := edge{h.lock.Name, l.Name, try}
		if o.edges[e] == nil {
			o.edges[e] = &seen{by: make(map[string]bool)}
		}
		o.edges[e].by[t.name+" in "+t.where()] = true
		o.edges[e].innermost = o.edges[e].innermost || i == len(t.locks)-1
	}
}

// wrong says what is wrong with a thread that has waited for l, if anything is.
func (o *lockOrder) wrong(t *thread, l *ftracecore.Lock, where string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range t.locks {
		if !(edge{held: h.lock.Name, taken: l.Name}).inverted() {
			continue
		}
		text := fmt.Sprintf("%s takes %s while it holds %s (%s)", t.name, l.Name, h.lock.Name, where)
		if other := o.edges[edge{held: l.Name, taken: h.lock.Name}]; other != nil {
			return text + "; the other way round: " + slices.Sorted(maps.Keys(other.by))[0]
		}
		return text + "; the documented order is " + strings.Join(lockClasses, ", ")
	}
	return ""
}

// graph is what was collected.
func (o *lockOrder) graph() *LockGraph {
	g := &LockGraph{Locks: []string{}, Edges: []LockEdge{}}
	place := func(x, y string) int { return cmp.Or(cmp.Compare(class(x), class(y)), cmp.Compare(x, y)) }
	g.Locks = slices.AppendSeq(g.Locks, maps.Keys(o.locks))
	slices.SortFunc(g.Locks, place)
	for e, s := range o.edges {
		g.Edges = append(g.Edges, LockEdge{
			Held: e.held, Taken: e.taken, Try: e.try, Innermost: s.innermost, By: slices.Sorted(maps.Keys(s.by)),
			Inverted: e.inverted(), Cycle: !e.try && o.leads(e.taken, e.held, make(map[string]bool)),
		})
	}
	slices.SortFunc(g.Edges, func(x, y LockEdge) int {
		try := func(e LockEdge) int {
			if e.Try {
				return 1
			}
			return 0
		}
		return cmp.Or(place(x.Held, y.Held), place(x.Taken, y.Taken), try(x)-try(y))
	})
	return g
}

// leads tells whether edges on which threads wait lead from one lock to another.
func (o *lockOrder) leads(from, to string, visited map[string]bool) bool {
	if from == to {
		return true
	}
	visited[from] = true
	for e := range o.edges {
		if e.held == from && !e.try && !visited[e.taken] && o.leads(e.taken, to, visited) {
			return true
		}
	}
	return false
}
