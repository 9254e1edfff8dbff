// Package x86 knows facts about the x86-64 instruction set: what a patchable
// site may hold, the kernel's nops, and how to decode and print instructions.
// It knows nothing of memory or of ftrace.
package x86
