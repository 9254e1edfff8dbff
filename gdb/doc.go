// Package gdb lets gdb look at the run of a scenario. A [Run] executes the
// scenario and can stand before any guest instruction of it, also one that it has
// passed; a [Server] speaks gdb's remote serial protocol over it.
//
// Breakpoints and watchpoints are the run's own and change no guest byte. Going
// back is executing again: the run returns to a snapshot of its beginning, and
// executes until where it shall stand. A scenario does the same each time, and what
// the client changed is changed again.
package gdb
