// Package unicorn is the execution engine made of Unicorn 2 (QEMU's translator
// as a library). It is built with the tag "unicorn" only and needs cgo and the
// system's libunicorn; without the tag the package is empty.
//
// It fulfils the contract of package emu exactly, so that it can check the
// interpreter, and is quick where that costs nothing in exactness.
//
// # How it runs
//
// CPUs of one machine never run at the same time, so they share Unicorn
// instances ("cores") and only registers change places. There are up to three
// cores over the same memory, made when first needed, because a hook that is
// added after code was translated is never called by that code:
//
//   - exact: a hook written in C before every instruction. It counts, ends the
//     run at limits, gates and requests, and makes the instruction pointer
//     exact at faults, which Unicorn 2.0.1 otherwise reports as the start of the
//     translated block.
//   - traced: the same with hooks for memory accesses; used while a tracer wants
//     instructions, branches or accesses.
//   - fast: a hook per translated block. It is used when a run has gone on for a
//     while without a gate or a trap and nobody traces. The state is copied
//     first; should a block end in any other way than between two instructions, the
//     copy is put back and the exact core repeats what the fast one did.
//
// A run never uses Unicorn's instruction count or end address: the first throws
// away all translations at the next plain start, the second is not looked at by
// code translated before.
//
// Gates and traps are called outside of Unicorn, so that they may run the CPU
// again, change mappings, and take any time.
//
// # What differs from the interpreter
//
//   - Unicorn 2.0.1 computes these wrongly: pdep and pext, the flags of lock neg,
//     CF of shrd of memory by CL, the upper half of a register that a 32-bit
//     cmpxchg compares with and leaves alone.
//   - It does not know popcnt, movbe, 256-bit vectors (AVX2), xsave,
//     xgetbv and serialize: the run stops with emu.StopUnknown. It knows x87 and 128-bit vectors, which the interpreter
//     does not.
//   - Privileged instructions execute, as at privilege level 0; changing control
//     registers, segments or model-specific registers is not kept apart for the
//     CPUs of a machine. The x87 state is not, either.
//   - syscall and sysenter execute and jump where the machine's registers say.
//   - Flags that the manual leaves undefined, cpuid and rdtsc are QEMU's.
//   - cmps reads [RDI] before [RSI], which shows where one of them faults.
//   - While a tracer is called, general registers may already hold what the
//     instruction changed when the event is a Mem or Branch.
//   - The last page of the address space cannot be mapped.
package unicorn
