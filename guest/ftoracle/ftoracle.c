// SPDX-License-Identifier: GPL-2.0-only
//
// The guest of the recorded scripts: eight functions that get patched (f0..f7),
// eight that they are redirected to (g0..g7, without a site), and the one that
// calls them.
// Built by the Makefile beside this file; the object is part of the tree.

// A gate: tells that the body of function id ran (0..7: f, 8..15: g).
void ftor_body_log(long id, long a, long b);

#define PAIR(i)								\
	long ftor_f##i(long a, long b)					\
	{								\
		ftor_body_log(i, a, b);					\
		return 3 * a + 5 * b + 1000 * (i + 1);			\
	}								\
	__attribute__((no_instrument_function))				\
	long ftor_g##i(long a, long b)					\
	{								\
		ftor_body_log(8 + i, a, b);				\
		return 7 * a + 11 * b + 100000 * (i + 1);		\
	}

PAIR(0)
PAIR(1)
PAIR(2)
PAIR(3)
PAIR(4)
PAIR(5)
PAIR(6)
PAIR(7)

// The parent of every recorded call. It is not traced, and it must be on the
// stack while fn runs: the Makefile switches tail calls off.
__attribute__((no_instrument_function))
long ftor_docall(long (*fn)(long, long), long a, long b)
{
	return fn(a, b);
}
