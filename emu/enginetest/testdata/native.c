// Runs one assembled program on the processor: code from the file named, the
// registers and data as programs.go has them. Prints what it leaves.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CODE 0x10000000UL
#define DATA 0x20000000UL
#define STACK 0x30000000UL

uint64_t regs[16], flags, host_sp;

void enter(void);
__asm__(
	".text\nenter:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, host_sp(%rip)\n"
	"mov regs+32(%rip), %rsp\n"
	"lea 1f(%rip), %rax; mov %rax, (%rsp)\n"
	"mov regs(%rip), %rax; mov regs+8(%rip), %rcx; mov regs+16(%rip), %rdx; mov regs+24(%rip), %rbx\n"
	"mov regs+40(%rip), %rbp; mov regs+48(%rip), %rsi; mov regs+56(%rip), %rdi\n"
	"mov regs+64(%rip), %r8; mov regs+72(%rip), %r9; mov regs+80(%rip), %r10; mov regs+88(%rip), %r11\n"
	"mov regs+96(%rip), %r12; mov regs+104(%rip), %r13; mov regs+112(%rip), %r14; mov regs+120(%rip), %r15\n"
	"pushq $2; popfq\n"
	"mov $0x10000000, %eax; push %rax; mov regs(%rip), %rax; ret\n"
	"1: mov %rax, regs(%rip); pushfq; pop %rax; mov %rax, flags(%rip)\n"
	"mov %rcx, regs+8(%rip); mov %rdx, regs+16(%rip); mov %rbx, regs+24(%rip); mov %rsp, regs+32(%rip)\n"
	"mov %rbp, regs+40(%rip); mov %rsi, regs+48(%rip); mov %rdi, regs+56(%rip)\n"
	"mov %r8, regs+64(%rip); mov %r9, regs+72(%rip); mov %r10, regs+80(%rip); mov %r11, regs+88(%rip)\n"
	"mov %r12, regs+96(%rip); mov %r13, regs+104(%rip); mov %r14, regs+112(%rip); mov %r15, regs+120(%rip)\n"
	"mov host_sp(%rip), %rsp; cld\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n");

static void *at(uint64_t a, size_t n)
{
	return mmap((void *)a, n, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

int main(int argc, char **argv)
{
	uint8_t *code = at(CODE, 0x1000), *data = at(DATA, 0x2000);
	at(STACK, 0x2000);
	FILE *f = fopen(argv[1], "rb");
	if (!f || !fread(code, 1, 0x1000, f))
		return 1;
	for (int i = 0; i < 0x2000; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + 3);
	for (int i = 0; i < 16; i++)
		regs[i] = 0x0123456789abcdefUL * (uint64_t)(2 * i + 1) ^ 0xf0f0UL << 4 * i;
	regs[4] = STACK + 0x1ff8;
	regs[6] = DATA + 0x400;
	regs[7] = regs[15] = DATA;
	enter();
	uint32_t sum = 0;
	for (int i = 0; i < 0x2000; i++)
		sum = sum * 31 + data[i];
	for (int i = 0; i < 16; i++)
		printf("%lx ", regs[i]);
	printf("%lx %x\n", flags & 0x8d5, sum);
	return 0;
}
