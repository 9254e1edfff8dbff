//go:build linux && amd64

package hwtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"ftemu/emu"
)

// A Processor runs cases on the processor. It must be used by one goroutine
// only, which is tied to its thread until Close.
type Processor struct {
	p      *process
	shared []byte // all that is mapped into the child, in the order of mappings
	ctl    *control
	recs   []record
	regs   unix.PtraceRegs // as the child started: segment registers
}

// control is what the driver keeps at controlBase.
type control struct {
	cur    uint64 // the address of the current record
	left   uint64 // how many records are left, the current one included
	target uint64 // where the case's code is
	rsp    uint64 // RSP at the case's exit
	how    uint64 // 1 or 2 if it left by a branch, by which of the exits
}

// A record is one case for the driver. Registers are in the order in which the
// kernel puts them into a signal frame (struct sigcontext).
type record struct {
	in     [18]uint64 // R8-R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, flags
	pokes  [maxPokes]Poke
	out    [23]uint64 // the same; the next ones are below
	signal uint64     // 0 if the case came to an exit
}

// Indexes into record.in and out.
const (
	frameRIP    = 16
	frameFlags  = 17
	frameError  = 19
	frameTrap   = 20
	frameCR2    = 22
	recordBytes = 400
)

// frameOrder holds the general registers in the order of a frame.
var frameOrder = [...]int{
	emu.R8, emu.R9, emu.R10, emu.R11, emu.R12, emu.R13, emu.R14, emu.R15,
	emu.RDI, emu.RSI, emu.RBP, emu.RBX, emu.RDX, emu.RAX, emu.RCX, emu.RSP,
}

// mapping is a part of the shared file in the child.
type mapping struct {
	addr, size uint64
	prot       uint64
}

var mappings = [...]mapping{
	{codeBase, codeSize, unix.PROT_READ | unix.PROT_EXEC},
	{dataBase, dataSize, unix.PROT_READ | unix.PROT_WRITE},
	{roBase, roSize, unix.PROT_READ},
	{farBase, farSize, unix.PROT_READ | unix.PROT_WRITE},
	{controlBase, emu.PageSize, unix.PROT_READ | unix.PROT_WRITE},
	{stubBase, emu.PageSize, unix.PROT_READ | unix.PROT_EXEC},
	{recordBase, recordSize, unix.PROT_READ | unix.PROT_WRITE},
}

// NewProcessor starts the traced process. An error means that it cannot be had
// here: it says why.
func NewProcessor() (*Processor, error) {
	fd, err := unix.MemfdCreate("hwtest-memory", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "hwtest-memory")
	defer file.Close()
	var size uint64
	for _, m := range mappings {
		size += m.size
	}
	if err := file.Truncate(int64(size)); err != nil {
		return nil, err
	}
	shared, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	p, err := startProcess(file)
	if err != nil {
		unix.Munmap(shared)
		return nil, err
	}
	h := &Processor{p: p, shared: shared}
	h.ctl = (*control)(unsafe.Pointer(&h.at(controlBase)[0]))
	h.recs = unsafe.Slice((*record)(unsafe.Pointer(&h.at(recordBase)[0])), maxBatch)
	copy(h.at(stubBase), driver[:])
	if err := h.setUp(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Close ends the traced process.
func (h *Processor) Close() {
	h.p.close()
	unix.Munmap(h.shared)
}

// at returns the shared memory from addr to the end of its mapping.
func (h *Processor) at(addr uint64) []byte {
	var off uint64
	for _, m := range mappings {
		if addr >= m.addr && addr-m.addr < m.size {
			return h.shared[off+addr-m.addr : off+m.size]
		}
		off += m.size
	}
	return nil
}

// Windows is the data that cases may access: dataBase, roBase, farBase.
func (h *Processor) Windows() []byte { return h.shared[codeSize : codeSize+windowsSize] }

// setUp gives the child its memory and signal handlers, and takes everything
// else away: other memory, and system calls, which random bytes might be.
func (h *Processor) setUp() (err error) {
	call := func(nr uint64, args ...uint64) {
		if err == nil {
			_, err = h.p.syscall(nr, args...)
		}
	}
	var off uint64
	for _, m := range mappings {
		// Populated, since an instruction that has stored something before a
		// page fault of the kernel's own begins again when that is served.
		call(unix.SYS_MMAP, m.addr, m.size, m.prot, unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE|unix.MAP_POPULATE, 3, off)
		off += m.size
	}
	// struct sigaltstack and struct sigaction, in a place that is free as yet.
	scratch := h.at(recordBase)
	words := func(v ...uint64) {
		for i, w := range v {
			binary.LittleEndian.PutUint64(scratch[8*i:], w)
		}
	}
	words(stackBase, 0, stackSize)
	call(unix.SYS_SIGALTSTACK, recordBase, 0)
	// Always the alternate stack, nothing blocked, three arguments; the
	// restorer, which the kernel insists on, is never returned to.
	const flags = 0x08000000 | 0x40000000 | 4 | 0x04000000
	words(stubBase+driverHandler, flags, stubBase, 0)
	for _, sig := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS} {
		call(unix.SYS_RT_SIGACTION, uint64(sig), recordBase, 0, 8)
	}
	if err != nil {
		return err
	}
	if err := h.p.unmapRest(func(start, _ uint64) bool {
		return h.at(start) != nil || start == programBase
	}); err != nil {
		return err
	}
	// From here on every system call is a SIGSYS: a filter program of one
	// instruction, its descriptor (struct sock_fprog) behind it.
	const ret, trap = 0x06, 0x00030000
	words(ret|trap<<32, 1, recordBase)
	call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	call(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, recordBase+8)
	if err == nil {
		h.regs, err = h.p.regs()
	}
	return err
}

// Run executes cases in order over the memory as it is; results must have room
// for them. All cases share the segment bases of the first.
func (h *Processor) Run(cases []Case, results []Result) error {
	if len(cases) == 0 || len(cases) > maxBatch {
		return fmt.Errorf("a batch of %d cases, expected 1 to %d", len(cases), maxBatch)
	}
	for i := range cases {
		c, r := &cases[i], &h.recs[i]
		base := slotBase(c.Slot) - codeBase
		fillSlot(h.at(codeBase)[base:base+slotSize], c.Code)
		fillExits(h.at(codeBase)[base:base+slotSize], c)
		for j, reg := range frameOrder {
			r.in[j] = c.Regs.GPR[reg]
		}
		r.in[frameRIP] = entry(c.Slot)
		r.in[frameFlags] = c.Regs.Flags
		for j := range r.pokes {
			r.pokes[j] = Poke{Addr: stackBase} // of no effect
		}
		copy(r.pokes[:], c.Pokes)
		r.signal = 0
	}
	*h.ctl = control{cur: recordBase}
	atomic.StoreUint64(&h.ctl.left, uint64(len(cases)))
	regs := h.regs
	regs.Rip = stubBase + driverLoop
	regs.Eflags = emu.FlagsReset
	regs.Fs_base, regs.Gs_base = cases[0].Regs.FSBase, cases[0].Regs.GSBase
	if err := h.p.setRegs(&regs); err != nil {
		return err
	}
	var sig unix.Signal
	for {
		var err error
		if sig, err = h.p.cont(sig); err != nil {
			return err
		}
		if sig == unix.SIGTRAP && atomic.LoadUint64(&h.ctl.left) == 0 {
			break
		}
	}
	for i := range cases {
		results[i] = h.recs[i].result(&cases[i])
	}
	return nil
}

// fillExits puts code at the exits of a slot: at those for branches
// "mov $number, control.how; jmp leave", behind the code only the jump.
func fillExits(image []byte, c *Case) {
	const how = controlBase + uint64(unsafe.Offsetof(control{}.how))
	relative := func(at int, target, next uint64) int {
		binary.LittleEndian.PutUint32(image[at:], uint32(target-next))
		return at + 4
	}
	exit := func(at int, number byte) {
		if number != 0 {
			at += copy(image[at:], []byte{0xc6, 0x05}) // movb $number, how(%rip)
			at = relative(at, how, slotBase(c.Slot)+uint64(at)+5)
			image[at] = number
			at++
		}
		image[at] = 0xe9
		relative(at+1, stubBase+driverLeave, slotBase(c.Slot)+uint64(at)+exitSize)
	}
	exit(0, 1)
	exit(slotCode+len(c.Code), 0)
	exit(slotAhead, 2)
}

// result reads what the driver left in a record.
func (r *record) result(c *Case) Result {
	res := Result{Trap: noTrap, Regs: emu.Regs{Flags: r.out[frameFlags], FSBase: c.Regs.FSBase, GSBase: c.Regs.GSBase}}
	for j, reg := range frameOrder {
		res.Regs.GPR[reg] = r.out[j]
	}
	switch {
	case r.signal != 0:
		res.Regs.RIP = r.out[frameRIP]
		res.Trap, res.Code, res.Addr = int(r.out[frameTrap]), r.out[frameError], r.out[frameCR2]
	case r.out[frameRIP] != 0: // control.how
		res.Regs.RIP = exits(c.Slot)[r.out[frameRIP]-1]
	default:
		res.Regs.RIP = entry(c.Slot) + uint64(len(c.Code))
	}
	return res
}

// A Step is what one instruction did, or the signal it got.
type Step struct {
	RIP    uint64
	Signal unix.Signal // SIGTRAP if it executed
	Addr   uint64      // of a page fault: the address
}

// Step executes one instruction, at ip in the memory that Bytes returns.
func (h *Processor) Step(ip uint64, state *emu.Regs) (Step, error) {
	r := h.regs
	for i, p := range [...]*uint64{
		&r.Rax, &r.Rcx, &r.Rdx, &r.Rbx, &r.Rsp, &r.Rbp, &r.Rsi, &r.Rdi, &r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15,
	} {
		*p = state.GPR[i]
	}
	r.Rip, r.Eflags, r.Fs_base, r.Gs_base = ip, state.Flags, state.FSBase, state.GSBase
	if err := h.p.setRegs(&r); err != nil {
		return Step{}, err
	}
	sig, err := h.p.step()
	if err != nil {
		return Step{}, err
	}
	after, err := h.p.regs()
	if err != nil {
		return Step{}, err
	}
	s := Step{RIP: after.Rip, Signal: sig}
	if sig == unix.SIGSEGV || sig == unix.SIGBUS {
		_, s.Addr, err = h.p.siginfo()
	}
	return s, err
}

// Bytes is the memory for code: codeSize bytes, behind which nothing is mapped.
func (h *Processor) Bytes() []byte { return h.at(codeBase) }
