// Package explore runs a scenario's threads and CPUs in every order and looks
// for one that breaks a property.
//
// A scenario with threads (see package script) is run under a scheduler that
// takes over wherever another thread could run: before every lock, trylock,
// sleep and callback, after every store to code and every synchronisation of
// CPUs, and before every guest instruction whose effect depends on what others
// do. At such a point one of several things can happen next; an execution is
// one sequence of such choices, and a schedule says which were made.
//
// # What is reduced, and why nothing is lost
//
// Guest instructions that touch nothing but the CPU's own registers and stack are
// run together with the one before them, and so is the release of a lock with
// what precedes it, unless somebody tries the lock instead of waiting for it:
// nobody can tell the difference. A state that was seen before is not explored
// again. [Options.Full] switches the first off.
//
// # Order of the search
//
// The first execution lets each thread run on for as long as it can. The next
// round tries every execution that differs from one of the last round in one
// more choice. So a finding is made by a schedule that differs from running on
// in as few choices as possible. A search that ends by itself has been
// exhaustive: no schedule breaks a property.
//
// # Memory model
//
// Data is sequentially consistent. Code is not: until a CPU synchronises, its
// fetch of a byte that was stored since may give the old byte or the new one,
// but stores are seen in their order.
package explore
