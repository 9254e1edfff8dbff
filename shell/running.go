package shell

import (
	"sync"

	"ftemu/emu"
)

// running is the CPU that a line runs guest code on, for who wants to stop it.
type running struct {
	mu      sync.Mutex
	cpu     emu.CPU // nil: no line runs
	stopped bool
}

func (r *running) begin(cpu emu.CPU) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cpu, r.stopped = cpu, false
}

// end tells whether the line was asked to stop.
func (r *running) end() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		// The request may have come behind the last instruction. It would stop
		// the next call; what runs instead is taken back with the line.
		r.cpu.Run(emu.Limits{Insns: 1})
	}
	r.cpu = nil
	return r.stopped
}

// Interrupt stops the line that runs, which is then taken back; if none runs
// nothing happens. It may be called at any time from any goroutine.
func (s *Session) Interrupt() {
	s.running.mu.Lock()
	defer s.running.mu.Unlock()
	if s.running.cpu != nil {
		s.running.stopped = true
		s.running.cpu.Interrupt()
	}
}
