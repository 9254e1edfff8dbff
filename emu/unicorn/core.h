//go:build unicorn

/* One Unicorn instance with its hooks: the part of a run that happens below Go. */
#ifndef FTEMU_CORE_H
#define FTEMU_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <unicorn/unicorn.h>

/* What a core is for; it decides which hooks it has. */
enum {
	FT_EXACT = 0,  /* a hook before every instruction */
	FT_TRACED = 1, /* and one for every memory access */
	FT_FAST = 2,   /* a hook before every translated block only */
};

/* Why ft_run came back. */
enum {
	FT_AGAIN = 1,   /* something is due before the instruction at RIP; the caller looks what */
	FT_INT3,        /* an int3 executed */
	FT_HALT,        /* hlt executed */
	FT_EXCEPTION,   /* the instruction at RIP raised the exception in vector */
	FT_INVALID,     /* the instruction at RIP is not known */
	FT_FAULT,       /* the instruction at RIP failed in memory: fault_* */
	FT_FAULT_FETCH, /* the instruction at RIP could not be fetched: fault_addr */
	FT_BROKEN,      /* Unicorn failed otherwise: error */
};

/* The registers as Go's emu.Regs has them. */
typedef struct {
	uint64_t gpr[16];
	uint64_t rip, flags, fs_base, gs_base;
} ft_regs;

/* State that the registers of emu.Regs do not show. */
typedef struct {
	uint64_t xmm[16][2];
	uint64_t mxcsr;
} ft_vector;

typedef struct {
	uint32_t kind; /* as in Go's package trace */
	uint32_t size;
	uint64_t ip, addr, value;
	uint32_t write;
} ft_event;

#define FT_EVENTS 512
#define FT_BLOCKS 4096

typedef struct {
	uint64_t addr;
	uint32_t size, icount;
	uint64_t epoch;
	bool barred; /* a gate is at its start or inside */
	bool rep;    /* it is one repeated string instruction */
} ft_block;

typedef struct ft_core {
	uc_engine *uc;
	int kind;
	uintptr_t handle; /* of the Go side */

	/* In and out of every run. */
	ft_regs regs;
	uint64_t count, limit;
	uint64_t until;
	bool use_until;
	uint64_t deadline;       /* CLOCK_MONOTONIC in ns, 0: none */
	const uint32_t *request; /* set by anybody who wants the run to stop */
	uint32_t mask;           /* events wanted */

	/* Out. */
	int why;
	int vector;
	int error;
	bool fault_write;
	uint64_t fault_addr;
	int fault_size;

	/* Gates, as an open hash table of 1<<gate_bits slots; 0 is no slot's key
	   but for gate_zero. */
	uint64_t *gates;
	int gate_bits;
	bool gate_zero;

	/* The instruction before the present one, in this run. */
	bool prev;
	bool counted; /* the present instruction is in count */
	uint64_t prev_ip;
	uint32_t prev_size;
	bool self_known, self_rep; /* whether prev is a repeated string instruction */
	uint64_t clock;

	/* A store of the present instruction into executable memory. */
	bool patched;
	uint64_t patched_regs[4];
	bool replay;
	bool code_moved; /* code or mappings changed during the hook: restart */

	/* The last store across two pages: what was in the first. */
	uint64_t split_addr;
	int split_size;
	uint8_t split_old[16];

	uint64_t wx_writes; /* stores into writable, executable memory */
	uint64_t wx_lo, wx_hi;
	uint64_t *wx; /* pages that are both, sorted */
	int wx_len;

	ft_event events[FT_EVENTS];
	int nevents;

	/* Of the fast kind. */
	ft_block *blocks;
	uint64_t epoch;
	uint64_t last_end;
} ft_core;

ft_core *ft_new(uc_engine *uc, int kind, uintptr_t handle);
void ft_free(ft_core *k);
uc_err ft_hooks(ft_core *k);
uint64_t ft_now(void); /* CLOCK_MONOTONIC in ns */
void ft_run(ft_core *k);
void ft_set_gates(ft_core *k, const uint64_t *addrs, int n);
void ft_set_wx(ft_core *k, const uint64_t *pages, int n);
void ft_remove(ft_core *k, uint64_t addr, uint64_t size);
void ft_vector_save(ft_core *k, ft_vector *v);
void ft_vector_load(ft_core *k, const ft_vector *v);

#endif
