// SPDX-License-Identifier: GPL-2.0-only
//
// What calls the functions of kernel.c, and what they are redirected to.
// Neither has a site. Built by the Makefile beside this file; the object is part of the tree.

// A gate: tells that the body of function id ran.
void ftor_body_log(long id, long a, long b);

#define GALT 16

__attribute__((no_instrument_function))
long ftor_galt(long a, long b)
{
	ftor_body_log(GALT, a, b);
	return -77;
}

// The parent of every recorded call. It must be on the stack while fn runs:
// the Makefile switches tail calls off.
__attribute__((no_instrument_function))
long ftor_docall(long (*fn)(long, long, long, long, long, long), long a, long b, long c, long d, long e, long f)
{
	return fn(a, b, c, d, e, f);
}
