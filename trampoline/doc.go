// Package trampoline generates the code that patched sites call, byte for byte
// as Linux 6.1 lays it out on x86-64: ftrace_caller and ftrace_regs_caller
// ([FtraceCaller], [FtraceRegsCaller]), the copies that one ftrace_ops owns
// ([OpsTrampoline]), BPF images ([BPF]), and small direct trampolines of
// ftemu's own ([Direct]).
//
// Every layout is a function of a description: the same addresses give the same
// bytes. Code is emitted instruction by instruction with an [Asm], which knows
// the few dozen forms that the kernel uses and picks the encoding that the
// kernel's assembler or its BPF JIT would pick; other encoders choose for
// themselves and would get other lengths.
//
// The package knows nothing of who registers what.
package trampoline
