// SPDX-License-Identifier: GPL-2.0-only
//
// One source for every shape of patchable site: build.sh compiles it with each
// set of flags. Every function computes something that can be checked.

#define notrace __attribute__((no_instrument_function))
#ifdef __clang__
#define noinline __attribute__((noinline))
#else
#define noinline __attribute__((noinline, noclone))
#endif

struct node {
	long value;
	struct node *next;
};

static struct node third = { 30, 0 };
static struct node second = { 20, &third };
struct node first = { 10, &second };

long counter;
long last __attribute__((common));
static long calls[4];
const long weights[5] = { 1, 2, 4, 8, 16 };

// No calls, no memory.
long leaf(long a, long b)
{
	return 2 * a - b;
}

// Its address is never taken: with branch protection it has no endbr64.
static noinline long hidden(long a)
{
	calls[0]++;
	return a ^ 0x55;
}

// Its address is taken.
static noinline long indirect(long a)
{
	calls[1]++;
	return a + 7;
}

long (*const hook)(long) = indirect;

long nested(long a)
{
	return hidden(leaf(a, 1)) + hook(a);
}

long loop(long n)
{
	long sum = 0;

	for (long i = 0; i < n; i++)
		sum += weights[i % 5] * i;
	return sum;
}

long walk(const struct node *p)
{
	long sum = 0;

	for (; p; p = p->next)
		sum += p->value;
	return sum;
}

long choose(int what, long a)
{
	switch (what) {
	case 0: return a;
	case 1: return -a;
	case 2: return a * a;
	case 3: return walk(&first);
	case 4: return loop(a);
	case 5: return hidden(a);
	}
	return -1;
}

long count(void)
{
	last = counter;
	return ++counter;
}

notrace long untraced(long a)
{
	return a * 3;
}

__attribute__((section(".init.text"))) long setup(long a)
{
	counter = a;
	return leaf(a, a);
}
