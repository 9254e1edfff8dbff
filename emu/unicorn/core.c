//go:build unicorn

#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "_cgo_export.h"

/* Numbers of Go's trace.Kind. */
enum { EV_INSN = 0, EV_BRANCH = 1, EV_MEM = 2 };

/* The size that Unicorn gives for an instruction that it cannot translate. */
#define UNKNOWN_SIZE 0xf1f1f1f1u

static const int batch[] = {
	UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
	UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
	UC_X86_REG_R8, UC_X86_REG_R9, UC_X86_REG_R10, UC_X86_REG_R11,
	UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15,
	UC_X86_REG_RFLAGS, UC_X86_REG_FS_BASE, UC_X86_REG_GS_BASE,
};
#define NBATCH ((int)(sizeof batch / sizeof *batch))

static void batch_refs(ft_core *k, void **refs)
{
	for (int i = 0; i < 16; i++)
		refs[i] = &k->regs.gpr[i];
	refs[16] = &k->regs.flags;
	refs[17] = &k->regs.fs_base;
	refs[18] = &k->regs.gs_base;
}

static void read_regs(ft_core *k)
{
	void *refs[NBATCH];
	batch_refs(k, refs);
	uc_reg_read_batch(k->uc, (int *)batch, refs, NBATCH);
}

static void write_regs(ft_core *k)
{
	void *refs[NBATCH];
	batch_refs(k, refs);
	uc_reg_write_batch(k->uc, (int *)batch, refs, NBATCH);
}

static uint64_t reg(ft_core *k, int id)
{
	uint64_t v = 0;
	uc_reg_read(k->uc, id, &v);
	return v;
}

uint64_t ft_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t gate_slot(const ft_core *k, uint64_t addr)
{
	return (addr * 0x9e3779b97f4a7c15u) >> (64 - k->gate_bits);
}

static inline bool is_gate(const ft_core *k, uint64_t addr)
{
	if (!k->gates)
		return false;
	if (addr == 0)
		return k->gate_zero;
	uint64_t mask = (1u << k->gate_bits) - 1;
	for (uint64_t i = gate_slot(k, addr); k->gates[i]; i = (i + 1) & mask)
		if (k->gates[i] == addr)
			return true;
	return false;
}

void ft_set_gates(ft_core *k, const uint64_t *addrs, int n)
{
	free(k->gates);
	k->gates = NULL;
	k->gate_zero = false;
	k->epoch++;
	if (n == 0)
		return;
	for (k->gate_bits = 4; (1 << k->gate_bits) < 4 * n; k->gate_bits++)
		;
	k->gates = calloc((size_t)1 << k->gate_bits, sizeof *k->gates);
	uint64_t mask = (1u << k->gate_bits) - 1;
	for (int j = 0; j < n; j++) {
		if (addrs[j] == 0) {
			k->gate_zero = true;
			continue;
		}
		uint64_t i = gate_slot(k, addrs[j]);
		while (k->gates[i])
			i = (i + 1) & mask;
		k->gates[i] = addrs[j];
	}
}

/* Whether the instruction at addr is a string instruction with a repeat prefix. */
static bool is_rep(ft_core *k, uint64_t addr, uint32_t size)
{
	uint8_t b[16];
	bool rep = false;
	if (size < 2 || size > 15 || uc_mem_read(k->uc, addr, b, size))
		return false;
	for (uint32_t i = 0; i < size; i++) {
		switch (b[i]) {
		case 0xf2: case 0xf3:
			rep = true;
			continue;
		case 0x26: case 0x2e: case 0x36: case 0x3e:
		case 0x64: case 0x65: case 0x66: case 0x67: case 0xf0:
			continue;
		}
		if ((b[i] & 0xf0) == 0x40 && i + 1 < size)
			continue;
		return rep && i + 1 == size &&
		       ((b[i] >= 0xa4 && b[i] <= 0xa7) || (b[i] >= 0xaa && b[i] <= 0xaf) ||
			(b[i] >= 0x6c && b[i] <= 0x6f));
	}
	return false;
}

/* The count register of the repeated instruction at addr, with its address size. */
static uint64_t rep_count(ft_core *k, uint64_t addr, uint32_t size)
{
	uint8_t b[16];
	uint64_t v = reg(k, UC_X86_REG_RCX);
	if (size <= 15 && !uc_mem_read(k->uc, addr, b, size))
		for (uint32_t i = 0; i + 1 < size; i++)
			if (b[i] == 0x67)
				return (uint32_t)v;
	return v;
}

static void flush_events(ft_core *k)
{
	if (k->nevents) {
		int n = k->nevents;
		k->nevents = 0;
		ftEvents(k->handle, k->events, n);
	}
}

static void event(ft_core *k, ft_event e)
{
	if (!(k->mask & (1u << e.kind)))
		return;
	if (k->nevents == FT_EVENTS)
		flush_events(k);
	k->events[k->nevents++] = e;
}

/* Says that control went from the previous instruction to addr. */
static void flush_branch(ft_core *k, uint64_t addr)
{
	if (k->prev && k->mask && addr != k->prev_ip + k->prev_size &&
	    !(addr == k->prev_ip && k->self_known && k->self_rep))
		event(k, (ft_event){.kind = EV_BRANCH, .ip = k->prev_ip, .addr = addr});
}

static void come_back(ft_core *k, int why)
{
	k->why = why;
	uc_emu_stop(k->uc);
}

static inline bool requested(const ft_core *k)
{
	return __atomic_load_n(k->request, __ATOMIC_ACQUIRE) != 0;
}

static inline bool overdue(ft_core *k)
{
	return k->deadline && (++k->clock & 1023) == 0 && ft_now() >= k->deadline;
}

/*
 * Before an instruction. Everything that the contract says about the border
 * between two instructions happens here.
 */
static void on_code(uc_engine *uc, uint64_t addr, uint32_t size, void *user)
{
	ft_core *k = user;

	if (k->why) /* a stop is under way */
		return;
	k->replay = false;
	if (k->prev && addr == k->prev_ip) {
		if (k->patched) {
			/* The store hit translated code and the instruction is begun
			   anew; had it finished, one of these would have moved, or
			   it would not be a store. */
			k->patched = false;
			if (k->patched_regs[0] == reg(k, UC_X86_REG_RCX) &&
			    k->patched_regs[1] == reg(k, UC_X86_REG_RSP) &&
			    k->patched_regs[2] == reg(k, UC_X86_REG_RDI)) {
				k->replay = true;
				return;
			}
			k->self_known = false; /* it may be another instruction now */
		}
		if (!k->self_known) {
			k->self_known = true;
			k->self_rep = is_rep(k, addr, size);
		}
		/* Unicorn comes back to a repeated instruction once more, to find
		   that nothing is left to do. */
		if (k->self_rep && rep_count(k, addr, size) == 0)
			return;
	}
	k->patched = false;
	flush_branch(k, addr);
	if (addr != k->prev_ip)
		k->self_known = false;
	k->prev = false;
	k->counted = false;
	k->split_size = 0;
	if (k->code_moved || requested(k) || k->count >= k->limit ||
	    (k->use_until && addr == k->until && k->count) || is_gate(k, addr) || overdue(k)) {
		k->regs.rip = addr;
		flush_events(k);
		come_back(k, FT_AGAIN);
		return;
	}
	k->prev_ip = addr;
	k->prev_size = size;
	if (size == UNKNOWN_SIZE) {
		flush_events(k);
		return;
	}
	k->prev = true;
	k->counted = true;
	k->count++;
	if (k->mask & (1u << EV_INSN)) {
		event(k, (ft_event){.kind = EV_INSN, .ip = addr, .size = size});
		k->regs.rip = addr;
		read_regs(k);
		flush_events(k);
	}
}

/* Whether the instruction at addr is cmps. */
static bool is_cmps(ft_core *k, uint64_t addr, uint32_t size)
{
	uint8_t op;
	return size && size <= 15 && !uc_mem_read(k->uc, addr + size - 1, &op, 1) &&
	       (op == 0xa6 || op == 0xa7);
}

static void on_mem(uc_engine *uc, uc_mem_type type, uint64_t addr, int size, int64_t value, void *user)
{
	ft_core *k = user;
	uint64_t v = (uint64_t)value;
	if (k->replay || k->why)
		return;
	if (size < 8)
		v &= ((uint64_t)1 << (8 * size)) - 1;
	ft_event e = {.kind = EV_MEM, .ip = k->prev_ip, .addr = addr, .size = (uint32_t)size,
		      .value = v, .write = type == UC_MEM_WRITE};
	ft_event *last = k->nevents ? &k->events[k->nevents - 1] : NULL;
	if (e.write || !last || last->kind != EV_MEM || last->write || last->ip != e.ip) {
		event(k, e);
	} else if (is_cmps(k, k->prev_ip, k->prev_size)) {
		/* It reads its second operand first; the manual names them the
		   other way round. */
		ft_event second = *last;
		*last = e;
		event(k, second);
	} else if (last->addr != addr || last->size != e.size) {
		event(k, e);
	} /* else it is lock neg, which Unicorn does with a load and a compare and exchange */
}

/* Whether a page, by its number, is writable and executable. */
static bool is_wx(const ft_core *k, uint64_t page)
{
	int lo = 0, hi = k->wx_len;
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (k->wx[mid] < page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < k->wx_len && k->wx[lo] == page;
}

/* Before a store. */
static void on_store(uc_engine *uc, uc_mem_type type, uint64_t addr, int size, int64_t value, void *user)
{
	ft_core *k = user;
	uint64_t last = addr + (uint64_t)size - 1;

	if ((addr ^ last) >> 12) {
		/* Unicorn writes what is in the first page, and then perhaps finds
		   that it may not write what is in the second. */
		k->split_addr = addr;
		k->split_size = size;
		if (size > (int)sizeof k->split_old ||
		    uc_mem_read(uc, addr, k->split_old, 4096 - addr % 4096))
			k->split_size = 0;
	}
	if (!k->wx_len || (!is_wx(k, addr >> 12) && !is_wx(k, last >> 12)))
		return;
	k->patched = true;
	k->patched_regs[0] = reg(k, UC_X86_REG_RCX);
	k->patched_regs[1] = reg(k, UC_X86_REG_RSP);
	k->patched_regs[2] = reg(k, UC_X86_REG_RDI);
	if (k->wx_writes++ == 0) {
		k->wx_lo = addr;
		k->wx_hi = last;
	}
	if (addr < k->wx_lo)
		k->wx_lo = addr;
	if (last > k->wx_hi)
		k->wx_hi = last;
}

static bool on_fault(uc_engine *uc, uc_mem_type type, uint64_t addr, int size, int64_t value, void *user)
{
	ft_core *k = user;
	if (k->why)
		return false;
	k->fault_addr = addr;
	k->fault_size = size;
	k->fault_write = type == UC_MEM_WRITE_UNMAPPED || type == UC_MEM_WRITE_PROT;
	if (k->fault_write && k->split_size && addr % 4096 == 0 && addr - k->split_addr < (uint64_t)k->split_size) {
		uc_mem_write(uc, k->split_addr, k->split_old, addr - k->split_addr);
		k->fault_size = k->split_size;
	}
	k->why = type == UC_MEM_FETCH_UNMAPPED || type == UC_MEM_FETCH_PROT ? FT_FAULT_FETCH : FT_FAULT;
	return false;
}

static void on_exception(uc_engine *uc, uint32_t vector, void *user)
{
	ft_core *k = user;
	uint8_t op = 0;
	if (k->why)
		return;
	k->vector = (int)vector;
	uc_mem_read(uc, k->prev_ip, &op, 1);
	if (op == 0xcd || op == 0xf1) /* int n, int1: there is no table of handlers */
		come_back(k, FT_INVALID);
	else
		come_back(k, vector == 3 ? FT_INT3 : FT_EXCEPTION);
}

static ft_block *look_up(ft_core *k, uint64_t addr, uint32_t size)
{
	ft_block *b = &k->blocks[(addr ^ addr >> 12) % FT_BLOCKS];
	if (b->addr == addr && b->size == size && b->epoch == k->epoch)
		return b;
	uc_tb tb = {0};
	if (uc_ctl_request_cache(k->uc, addr, &tb) || tb.pc != addr || tb.size != size)
		return NULL;
	*b = (ft_block){.addr = addr, .size = size, .icount = tb.icount, .epoch = k->epoch};
	b->rep = tb.icount == 1 && is_rep(k, addr, size);
	for (uint64_t a = addr; a - addr < size && !b->barred; a++)
		b->barred = is_gate(k, a);
	return b;
}

/* Before a block, on the fast kind: counts it, or comes back to have it done
   by an exact core where anything could be due inside. */
static void on_block(uc_engine *uc, uint64_t addr, uint32_t size, void *user)
{
	ft_core *k = user;
	if (k->why)
		return;
	ft_block *b = look_up(k, addr, size);
	uint64_t from = k->last_end;
	k->last_end = addr + size;
	if (b && b->rep && from == addr + size && rep_count(k, addr, size) == 0)
		return; /* as in on_code */
	if (!b || b->barred || b->icount > k->limit - k->count || requested(k) ||
	    (k->use_until && k->until - addr < size) || overdue(k)) {
		k->regs.rip = addr;
		come_back(k, FT_AGAIN);
		return;
	}
	k->count += b->icount;
}

ft_core *ft_new(uc_engine *uc, int kind, uintptr_t handle)
{
	ft_core *k = calloc(1, sizeof *k);
	if (!k)
		return NULL;
	k->uc = uc;
	k->kind = kind;
	k->handle = handle;
	k->epoch = 1;
	if (kind == FT_FAST && !(k->blocks = calloc(FT_BLOCKS, sizeof *k->blocks))) {
		free(k);
		return NULL;
	}
	return k;
}

void ft_free(ft_core *k)
{
	free(k->gates);
	free(k->wx);
	free(k->blocks);
	free(k);
}

/* Hooks are put in before anything is translated: translated code never calls
   one that was added later. */
uc_err ft_hooks(ft_core *k)
{
	uc_hook h;
	uc_err err = uc_ctl_exits_enable(k->uc); /* and none is set: runs end by hooks alone */
	if (!err)
		err = uc_hook_add(k->uc, &h, UC_HOOK_MEM_INVALID, (void *)on_fault, k, 1, 0);
	if (!err)
		err = uc_hook_add(k->uc, &h, UC_HOOK_INTR, (void *)on_exception, k, 1, 0);
	if (!err && k->kind == FT_FAST)
		return uc_hook_add(k->uc, &h, UC_HOOK_BLOCK, (void *)on_block, k, 1, 0);
	if (!err)
		err = uc_hook_add(k->uc, &h, UC_HOOK_CODE, (void *)on_code, k, 1, 0);
	if (!err && k->kind == FT_TRACED)
		err = uc_hook_add(k->uc, &h, UC_HOOK_MEM_READ_AFTER | UC_HOOK_MEM_WRITE, (void *)on_mem, k, 1, 0);
	if (!err)
		err = uc_hook_add(k->uc, &h, UC_HOOK_MEM_WRITE, (void *)on_store, k, 1, 0);
	return err;
}

void ft_set_wx(ft_core *k, const uint64_t *pages, int n)
{
	free(k->wx);
	k->wx = NULL;
	k->wx_len = n;
	if (n) {
		k->wx = malloc(n * sizeof *pages);
		memcpy(k->wx, pages, n * sizeof *pages);
	}
}

void ft_remove(ft_core *k, uint64_t addr, uint64_t size)
{
	k->epoch++;
	k->code_moved = true;
	while (size) {
		uint64_t n = 4096 - addr % 4096;
		if (n > size)
			n = size;
		uc_ctl_remove_cache(k->uc, addr, addr + n);
		addr += n;
		size -= n;
	}
}

/* Drops the effect of an instruction that did not execute. */
static void undo_count(ft_core *k)
{
	if (k->counted)
		k->count--;
	k->counted = false;
	k->prev = false;
}

/*
 * Unicorn translates whole blocks, and where one runs into memory that cannot be
 * fetched nothing of it executes. Here its first instruction does: translation
 * ends before any of the addresses that may be the second's.
 */
static uc_err step(ft_core *k, uint64_t rip)
{
	uint64_t n = k->fault_addr - rip;
	uint64_t *exits = malloc(n * sizeof *exits);
	if (!exits)
		return UC_ERR_NOMEM;
	for (uint64_t i = 0; i < n; i++)
		exits[i] = rip + 1 + i;
	uc_err err = uc_ctl_set_exits(k->uc, exits, n);
	free(exits);
	if (err)
		return err;
	k->why = 0;
	err = uc_emu_start(k->uc, rip, 0, 0, 0);
	uc_ctl_set_exits(k->uc, NULL, 0);
	uc_ctl_remove_cache(k->uc, rip, k->fault_addr);
	return err;
}

/* Whether the instruction that executed last is hlt. */
static bool halted(ft_core *k)
{
	uint8_t b[16];
	return k->prev && k->prev_size <= sizeof b && !uc_mem_read(k->uc, k->prev_ip, b, k->prev_size) &&
	       b[k->prev_size - 1] == 0xf4;
}

static uc_err start(ft_core *k)
{
	uint64_t rip = k->regs.rip;
	for (;;) {
		uc_err err = uc_emu_start(k->uc, rip, 0, 0, 0);
		if (k->kind == FT_FAST || k->why != FT_FAULT_FETCH)
			return err;
		rip = reg(k, UC_X86_REG_RIP);
		if (k->fault_addr - rip - 1 >= 4096)
			return err;
		err = step(k, rip);
		uint64_t next = reg(k, UC_X86_REG_RIP);
		if (err || k->why || next == rip || halted(k))
			return err;
		rip = next;
	}
}

void ft_run(ft_core *k)
{
	k->why = 0;
	k->prev = k->counted = k->patched = k->replay = k->code_moved = k->self_known = false;
	k->last_end = 0;
	k->nevents = 0;
	k->wx_writes = 0;
	k->split_size = 0;
	write_regs(k);
	uc_err err = start(k);
	int why = k->why;
	if (!why)
		why = err == UC_ERR_INSN_INVALID ? FT_INVALID : err ? FT_BROKEN : FT_HALT;
	k->error = err;
	read_regs(k);
	if (why != FT_AGAIN)
		k->regs.rip = reg(k, UC_X86_REG_RIP);
	if (k->kind != FT_FAST)
		switch (why) {
		case FT_FAULT:
			/* The store that failed was announced before it did. */
			if (k->fault_write && k->nevents && k->events[k->nevents - 1].kind == EV_MEM &&
			    k->events[k->nevents - 1].write)
				k->nevents--;
			/* fallthrough */
		case FT_EXCEPTION:
		case FT_INVALID:
			k->regs.rip = k->prev_ip;
			undo_count(k);
			break;
		case FT_FAULT_FETCH:
			flush_branch(k, k->regs.rip);
			break;
		}
	k->why = why;
	flush_events(k);
}

static const int vector_ids[] = {
	UC_X86_REG_XMM0, UC_X86_REG_XMM1, UC_X86_REG_XMM2, UC_X86_REG_XMM3,
	UC_X86_REG_XMM4, UC_X86_REG_XMM5, UC_X86_REG_XMM6, UC_X86_REG_XMM7,
	UC_X86_REG_XMM8, UC_X86_REG_XMM9, UC_X86_REG_XMM10, UC_X86_REG_XMM11,
	UC_X86_REG_XMM12, UC_X86_REG_XMM13, UC_X86_REG_XMM14, UC_X86_REG_XMM15,
	UC_X86_REG_MXCSR,
};

static void vector_refs(ft_vector *v, void **refs)
{
	for (int i = 0; i < 16; i++)
		refs[i] = v->xmm[i];
	refs[16] = &v->mxcsr;
}

void ft_vector_save(ft_core *k, ft_vector *v)
{
	void *refs[17];
	vector_refs(v, refs);
	uc_reg_read_batch(k->uc, (int *)vector_ids, refs, 17);
}

void ft_vector_load(ft_core *k, const ft_vector *v)
{
	void *refs[17];
	vector_refs((ft_vector *)v, refs);
	uc_reg_write_batch(k->uc, (int *)vector_ids, refs, 17);
}
