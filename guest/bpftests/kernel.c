// SPDX-License-Identifier: GPL-2.0-only
//
// The functions of the core kernel that BPF programs were attached to in the
// recordings: bpf_fentry_testN takes N integers and returns their sum, the first
// one its argument plus 1. They lie where they lay in the recorded kernel.
// Built by the Makefile beside this file; the object is part of the tree.

typedef unsigned long u64;

// Moves to an offset from bpf_fentry_test1; what is left out is filled with int3.
#define PLACE(offset) asm(".org " #offset ", 0xcc")

int bpf_fentry_test1(int a)
{
	return a + 1;
}

PLACE(0x1640);
int bpf_fentry_test2(int a, u64 b)
{
	return a + b;
}

int bpf_fentry_test3(char a, int b, u64 c)
{
	return a + b + c;
}

PLACE(0x1670);
int bpf_fentry_test4(void *a, char b, int c, u64 d)
{
	return (u64)a + b + c + d;
}

int bpf_fentry_test5(u64 a, void *b, short c, int d, u64 e)
{
	return a + (u64)b + c + d + e;
}

int bpf_fentry_test6(u64 a, void *b, short c, int d, void *e, u64 f)
{
	return a + (u64)b + c + d + (u64)e + f;
}
