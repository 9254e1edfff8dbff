// Package gdb lets gdb look at the run of a scenario. A [Run] executes the
// scenario and can stand before any guest instruction of it, also one that it has
// passed; a [Server] speaks gdb's remote serial protocol over it.
//
// Breakpoints and watchpoints are the run's own and change no guest byte. Going
// back is executing again: the run returns to a snapshot of the state before a line, and
// executes until where it shall stand. A scenario does the same each time, and what
// the client changed is changed again.
//
// What gdb knows of names and frames it has from an ELF file without contents
// ([Run.ELF]). A run of the whole scenario finds what code there will be, and
// following each piece of it instruction by instruction tells where callers and
// their registers are found.
package gdb
