// Package bench measures what ftemu's own work costs: on the Go interpreter, on
// Unicorn behind the same engine contract, and on Unicorn driven directly
// through its binding as well as that allows (package bench/direct, build tag
// "unicorn").
//
// Figures that are compared are taken in one process and in turn, one sample of
// each side per round, so that what else the machine does meets all of them.
// Medians are given, and ratios round by round. Every load checks what the guest
// computed, so that a side cannot be quick by doing something else.
package bench
