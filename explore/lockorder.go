package explore

import (
	"fmt"
	"strings"
	"sync"

	"ftemu/ftracecore"
)

// lockClasses is the documented order, outermost first (package ftracecore).
var lockClasses = []string{"trampoline mutex", "direct_mutex", "regex_lock", "ftrace_lock", "text_mutex"}

// class is the place of a lock in the order; -1 for one that is not in it.
func class(l *ftracecore.Lock) int {
	for i, c := range lockClasses {
		if strings.HasPrefix(l.Name, c) {
			return i
		}
	}
	return -1
}

// guardsDispatch tells whether what the lock guards is read without it by CPUs in
// guest code: the list of ops and their hashes, the table of direct functions,
// and code.
func guardsDispatch(l *ftracecore.Lock) bool {
	switch class(l) {
	case 1, 3, 4:
		return true
	}
	return false
}

// lockOrder collects which lock was taken while which was held, over all
// executions of a search.
type lockOrder struct {
	mu    sync.Mutex
	edges map[[2]string]string // held, taken: where first
}

func newLockOrder() *lockOrder { return &lockOrder{edges: make(map[[2]string]string)} }

// note records that a thread takes l, and returns what is wrong with that, if
// anything.
func (o *lockOrder) note(t *thread, l *ftracecore.Lock, where string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range t.locks {
		key := [2]string{h.lock.Name, l.Name}
		if _, ok := o.edges[key]; !ok {
			o.edges[key] = fmt.Sprintf("%s in %s", t.name, where)
		}
		if a, b := class(h.lock), class(l); a >= 0 && b >= 0 && b <= a {
			text := fmt.Sprintf("%s takes %s while it holds %s (%s)", t.name, l.Name, h.lock.Name, where)
			if other, ok := o.edges[[2]string{l.Name, h.lock.Name}]; ok {
				return text + "; the other way round: " + other
			}
			return text + "; the documented order is " + strings.Join(lockClasses, ", ")
		}
	}
	return ""
}
