// Functions that do not come back. Built as examples/own/Makefile builds own.c:
// gcc -O2 -pg -mfentry -mrecord-mcount -ffreestanding -mcmodel=kernel -mno-red-zone -fno-pic -c bad.c -o bad.o

int fine(int v)
{
	return v + 1;
}

// Loops for ever.
void spin(void)
{
	for (;;)
		asm volatile("");
}

// Recurses without end.
__attribute__((optimize("no-optimize-sibling-calls"))) int recurse(int v)
{
	volatile int room[16];

	room[0] = v;
	return recurse(v + 1) + room[0];
}

// Jumps to nowhere.
void nowhere(void)
{
	void (*volatile fn)(void) = (void (*)(void))0x1234;

	fn();
	asm volatile("");
}

// Writes to its own code.
void selfwrite(void)
{
	*(volatile char *)selfwrite = 0;
}

// Executes an instruction (of AVX-512) that no engine has.
void unknown(void)
{
	asm volatile("vpaddd %zmm0, %zmm0, %zmm0");
}

// Reads through a null pointer.
int null_read(void)
{
	int *volatile p = 0;

	return *p;
}

// Divides by its argument.
unsigned divide(unsigned v)
{
	return 100 / v;
}

// Hits a BUG().
void bug(void)
{
	asm volatile("ud2");
}
