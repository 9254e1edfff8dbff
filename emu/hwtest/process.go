//go:build linux && amd64

package hwtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process is a traced child that does nothing but what its tracer says. All
// methods must be called from the thread that started it.
type process struct {
	pid      int
	watch    *time.Timer   // kills the child
	patience time.Duration // how long it may run without a stop
}

// The child's program is one page: a system call and an int3.
const (
	programBase = 0x2b6c5e9a3000
	programCode = 0x78 // behind the ELF and program headers
)

// program returns a static ELF executable.
func program() []byte {
	var b []byte
	u16 := func(v uint16) { b = binary.LittleEndian.AppendUint16(b, v) }
	u32 := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	u64 := func(v uint64) { b = binary.LittleEndian.AppendUint64(b, v) }
	b = append(b, "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	u16(2)                         // ET_EXEC
	u16(62)                        // EM_X86_64
	u32(1)                         // version
	u64(programBase + programCode) // entry
	u64(64)                        // program headers
	u64(0)                         // no section headers
	u32(0)                         // flags
	u16(64)                        // size of this header
	u16(56)                        // size of a program header
	u16(1)                         // how many
	u16(0)
	u16(0)
	u16(0)
	u32(1) // PT_LOAD
	u32(5) // readable, executable
	u64(0)
	u64(programBase)
	u64(programBase)
	u64(programCode + 3)
	u64(programCode + 3)
	u64(0x1000)
	return append(b, 0x0f, 0x05, 0xcc)
}

// startProcess starts the child, stopped, with the file shared as descriptor 3.
// It locks the calling goroutine to its thread until close.
func startProcess(shared *os.File) (*process, error) {
	fd, err := unix.MemfdCreate("hwtest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	exe := os.NewFile(uintptr(fd), "hwtest")
	defer exe.Close()
	if _, err := exe.Write(program()); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	child, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", fd), []string{"hwtest"}, &os.ProcAttr{
		Files: []*os.File{nil, nil, nil, shared},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("start a process traced by ptrace: %w", err)
	}
	defer child.Release()
	p := &process{pid: child.Pid, patience: 20 * time.Second}
	p.watch = time.AfterFunc(p.patience, func() { unix.Kill(p.pid, unix.SIGKILL) })
	sig, err := p.wait()
	if err == nil && sig != unix.SIGTRAP {
		err = fmt.Errorf("the traced process stopped with %v, expected SIGTRAP of its exec", sig)
	}
	if err == nil {
		err = unix.PtraceSetOptions(p.pid, unix.PTRACE_O_EXITKILL)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close ends the child.
func (p *process) close() {
	p.watch.Stop()
	unix.Kill(p.pid, unix.SIGKILL)
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(p.pid, &ws, unix.WALL, nil)
		if err == unix.EINTR || err == nil && pid == p.pid && ws.Stopped() {
			continue
		}
		break
	}
	runtime.UnlockOSThread()
}

// wait returns the signal the child stopped with.
func (p *process) wait() (unix.Signal, error) {
	p.watch.Reset(p.patience)
	defer p.watch.Stop()
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(p.pid, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, fmt.Errorf("wait for the traced process: %w", err)
		case ws.Stopped():
			return ws.StopSignal(), nil
		case ws.Signaled():
			return 0, fmt.Errorf("the traced process was killed by %v (it may run for %v)", ws.Signal(), p.patience)
		}
		return 0, fmt.Errorf("the traced process ended with status %#x", uint32(ws))
	}
}

// cont lets the child go on, with a signal or 0, until it stops again.
func (p *process) cont(sig unix.Signal) (unix.Signal, error) {
	if err := unix.PtraceCont(p.pid, int(sig)); err != nil {
		return 0, fmt.Errorf("continue the traced process: %w", err)
	}
	return p.wait()
}

// step executes one instruction.
func (p *process) step() (unix.Signal, error) {
	if err := unix.PtraceSingleStep(p.pid); err != nil {
		return 0, fmt.Errorf("step the traced process: %w", err)
	}
	return p.wait()
}

func (p *process) regs() (r unix.PtraceRegs, err error) {
	err = unix.PtraceGetRegs(p.pid, &r)
	return r, err
}

// setRegs sets the registers. The child is never inside a system call that
// could be started over.
func (p *process) setRegs(r *unix.PtraceRegs) error {
	r.Orig_rax = ^uint64(0)
	return unix.PtraceSetRegs(p.pid, r)
}

// siginfo tells the code and the address of the signal the child stopped with.
func (p *process) siginfo() (code int32, addr uint64, err error) {
	var info struct {
		signo, errno, code, _ int32
		addr                  uint64
		_                     [104]byte
	}
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(p.pid), 0, uintptr(unsafe.Pointer(&info)), 0, 0)
	if e != 0 {
		return 0, 0, fmt.Errorf("siginfo of the traced process: %w", e)
	}
	return info.code, info.addr, nil
}

// syscall makes the child execute a system call.
func (p *process) syscall(nr uint64, args ...uint64) (uint64, error) {
	r, err := p.regs()
	if err != nil {
		return 0, err
	}
	r.Rax, r.Rip = nr, programBase+programCode
	for i, reg := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9} {
		*reg = 0
		if i < len(args) {
			*reg = args[i]
		}
	}
	if err := p.setRegs(&r); err != nil {
		return 0, err
	}
	sig, err := p.cont(0)
	if err != nil {
		return 0, err
	}
	if sig != unix.SIGTRAP {
		return 0, fmt.Errorf("the traced process stopped with %v in system call %d", sig, nr)
	}
	if r, err = p.regs(); err != nil {
		return 0, err
	}
	if e := -int64(r.Rax); e > 0 && e < 4096 {
		return 0, fmt.Errorf("system call %d in the traced process: %w", nr, unix.Errno(e))
	}
	return r.Rax, nil
}

// unmapRest unmaps all that keep does not want.
func (p *process) unmapRest(keep func(start, end uint64) bool) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
	if err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(maps)), "\n") {
		var start, end uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			return fmt.Errorf("map of the traced process: %q: %w", line, err)
		}
		if keep(start, end) || start >= 1<<47 { // the vsyscall page cannot go
			continue
		}
		if _, err := p.syscall(unix.SYS_MUNMAP, start, end-start); err != nil {
			return err
		}
	}
	return nil
}
