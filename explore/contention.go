package explore

import (
	"slices"

	"ftemu/ftracecore"
)

// A use is one acquisition of a lock: by which thread, and what it held. held is
// nil for a trylock, which looks at the lock whoever has it.
type use struct {
	lock   string
	thread int
	held   []string
	try    bool
}

// contention knows which locks two threads can want at the same time. A lock
// that only one thread uses, or that is taken only by who holds some other
// lock, is not worth a point of choice.
type contention struct {
	user   map[string]int      // the only thread to use the lock so far
	guard  map[string][]string // held at every use of the lock so far
	wanted map[string]bool     // by two threads at once
	tried  map[string]bool     // by a trylock
}

func newContention() *contention {
	return &contention{user: make(map[string]int), guard: make(map[string][]string), wanted: make(map[string]bool), tried: make(map[string]bool)}
}

// is tells whether the lock is known to be wanted by two threads at once. It
// changes only between rounds.
func (c *contention) is(l *ftracecore.Lock) bool { return c.wanted[l.Name] }

// isTried tells whether some thread tries the lock: it can tell whether another
// has it. It changes only between rounds.
func (c *contention) isTried(l *ftracecore.Lock) bool { return c.tried[l.Name] }

// learn takes uses into account. It tells whether a lock turned out to be wanted
// by two at once that was thought not to be: what was searched so far then
// lacks points of choice.
func (c *contention) learn(uses []use) (wrong bool) {
	for _, u := range uses {
		if u.try && !c.tried[u.lock] {
			c.tried[u.lock] = true
			wrong = true
		}
		if c.wanted[u.lock] {
			continue
		}
		first, known := c.user[u.lock]
		if !known {
			c.user[u.lock], c.guard[u.lock] = u.thread, slices.Clone(u.held)
			continue
		}
		c.guard[u.lock] = slices.DeleteFunc(c.guard[u.lock], func(g string) bool { return !slices.Contains(u.held, g) })
		if first != u.thread {
			c.user[u.lock] = -1
		}
		if c.user[u.lock] == -1 && len(c.guard[u.lock]) == 0 {
			c.wanted[u.lock] = true
			wrong = true
		}
	}
	return wrong
}
