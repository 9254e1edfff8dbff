// A guest of one's own: compiled as the kernel compiles, every function that is
// not static begins with a site. The Makefile beside it has the command.

// As a sysctl would be.
int limit = 100;

__attribute__((noinline)) int clamp_value(int v)
{
	if (v > limit)
		return limit;
	return v < 0 ? 0 : v;
}

// Sums the clamped squares of 1..n.
int sum_squares(int n)
{
	int sum = 0;

	for (int i = 1; i <= n; i++)
		sum += clamp_value(i * i);
	return sum;
}

// What a livepatch puts in the place of clamp_value: it forgets the limit.
int patched_clamp_value(int v)
{
	return v < 0 ? 0 : v;
}

// Greatest common divisor, by recursion.
unsigned long gcd(unsigned long a, unsigned long b)
{
	return b ? gcd(b, a % b) : a;
}
