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
// A step that nobody else can notice, and that notices nobody, is run together
// with the one before it:
//
//   - guest instructions that touch nothing but the CPU's own registers and
//     stack;
//   - what a thread does between two locks, callbacks included;
//   - the release of a lock, unless somebody tries that lock instead of waiting
//     for it;
//   - taking a lock that only one thread uses, or that is only taken by who
//     holds some other lock, unless it guards what CPUs read without it. Which
//     locks these are is learned; when a search learns that it was wrong, it
//     begins anew;
//   - stores to code that no CPU can reach before the thread that stores gives
//     its locks back.
//
// [Options.Full] makes all of these points of choice again.
//
// A state that was seen before is not explored again. States are told apart by
// a digest of 64 bits: two different ones that share a digest would be taken for
// one, which for a million states has a chance of about one in thirty million.
//
// # Order of the search
//
// The first execution lets each thread run on for as long as it can. The next
// round tries every execution that differs from one of the last round in one
// more choice. So a finding is made by a schedule that differs from running on
// in few choices: as few as possible, but that an execution which comes to a
// state of an earlier one ends there, though another thread ran last. A search
// that ends by itself has been exhaustive: no schedule breaks a property.
//
// # Memory model
//
// Data is sequentially consistent. Code is not: until a CPU synchronises, its
// fetch of a byte that was stored since may give the old byte or the new one,
// but stores are seen in their order.
package explore
