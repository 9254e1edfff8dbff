package ftracecore

import "fmt"

// A Sched takes control at the points where another thread could run: the
// explorer's way in. A core without one runs straight through.
type Sched interface {
	// Lock returns when l belongs to the calling thread.
	Lock(l *Lock)
	// TryLock takes l if it is free and tells whether it did.
	TryLock(l *Lock) bool
	// Unlock gives l back.
	Unlock(l *Lock)
	// Point announces a step that others may run before: a callback, a poke, a sleep.
	Point(what string)
	// Grace returns when every CPU that is in guest code now has left it, so
	// that nobody can still be in what was taken out of use before
	// (synchronize_rcu_tasks).
	Grace(what string)
}

// A Lock is a mutex of the model.
type Lock struct {
	Name string // the kernel's name
	held bool
}

// Held tells whether somebody has the lock.
func (l *Lock) Held() bool { return l.held }

// deadlocked is the panic with which a thread that waits for itself leaves the
// core; it is caught where the thread entered.
type deadlocked struct{ lock *Lock }

// A Deadlock is a call that waited for a lock its own thread holds. It never
// returns, nor does any later call of the core: all of them give this error.
type Deadlock struct{ Lock string }

// Error names the lock.
func (d *Deadlock) Error() string {
	return fmt.Sprintf("self-deadlock: the calling thread already holds %s", d.Lock)
}

// Acquire takes l for the calling thread.
func (c *Core) Acquire(l *Lock) {
	if c.sched != nil {
		c.sched.Lock(l)
	} else if l.held {
		panic(deadlocked{l})
	}
	l.held = true
}

// TryAcquire takes l if it is free.
func (c *Core) TryAcquire(l *Lock) bool {
	if c.sched != nil && !c.sched.TryLock(l) || c.sched == nil && l.held {
		return false
	}
	l.held = true
	return true
}

// Release gives l back.
func (c *Core) Release(l *Lock) {
	l.held = false
	if c.sched != nil {
		c.sched.Unlock(l)
	}
}

func (c *Core) point(what string) {
	if c.sched != nil {
		c.sched.Point(what)
	}
}

// Grace waits until nobody can still be in code that was taken out of use.
// Without a Sched there is nobody.
func (c *Core) Grace(what string) {
	if c.sched != nil && !c.mistakes.NoGrace {
		c.sched.Grace(what)
	}
}

// Sleep lets the others run, as msleep does.
func (c *Core) Sleep(what string) { c.point("msleep " + what) }
