package gdb

import (
	"fmt"

	"ftemu/emu"
)

// Signals, as the protocol numbers them.
const (
	sigNone = 0
	sigInt  = 2
	sigIll  = 4
	sigTrap = 5
	sigAbrt = 6
	sigFPE  = 8
	sigSegv = 11
	sigXCPU = 24
)

// A stopped says why a run stands where it stands.
type stopped struct {
	signal int
	cpu    int
	detail string // "" or more of the reply, with its semicolon
	exited bool
	status int // of what exited
}

// reply is the packet that tells it.
func (s stopped) reply() string {
	if s.exited {
		return fmt.Sprintf("W%02x", s.status)
	}
	return fmt.Sprintf("T%02xthread:%x;%s", s.signal, s.cpu+1, s.detail)
}

// signalOf is the signal that a process would have got.
func signalOf(stop emu.Stop) int {
	switch stop.Reason {
	case emu.StopRead, emu.StopWrite, emu.StopFetch, emu.StopNoExec, emu.StopGeneral:
		return sigSegv
	case emu.StopUnknown, emu.StopUD:
		return sigIll
	case emu.StopInt3:
		return sigTrap
	case emu.StopDivide:
		return sigFPE
	case emu.StopInsns:
		return sigXCPU
	}
	return sigAbrt
}

var watchNames = [numPointKinds]string{writeWatch: "watch", readWatch: "rwatch", accessWatch: "awatch"}

func (h *hit) detail() string { return fmt.Sprintf("%s:%x;", watchNames[h.kind], h.addr) }

// attention tells whether a run that continues stops at a point, and why.
func (r *Run) attention(p point) (stopped, bool) {
	s := stopped{signal: sigTrap, cpu: p.cpu}
	switch b := r.points.breaks[r.regs(p.cpu).RIP]; {
	case p.kind == atPoke:
		return s, false
	case p.kind == atEnd:
		s.detail = "replaylog:end;"
	case p.kind == atFault:
		s.signal = signalOf(p.why)
	case b[softwareBreak]:
		s.detail = "swbreak:;"
	case b[hardwareBreak]:
		s.detail = "hwbreak:;"
	case p.kind == atCall:
		s.signal = sigNone
	default:
		return s, false
	}
	return s, true
}

// forward goes on. With step >= 0 it stops when the CPU of that number has
// executed an instruction. Behind the end of the scenario the run has exited, with
// status 1 if an expectation was not met.
func (r *Run) forward(step int) stopped {
	var s stopped
	cpu := r.here.cpu
	if !r.over {
		r.move(func(p point, h *hit) bool {
			last := cpu
			if p.kind == atPoke {
				last = -1
			} else {
				cpu = p.cpu
			}
			var stop bool
			s, stop = r.attention(p)
			switch {
			case h != nil && p.kind != atFault:
				s.signal, s.detail = sigTrap, h.detail()
			case step >= 0 && step == last && p.kind != atFault:
				s.signal = sigTrap
			case stop:
			case r.interrupted.Load():
				s.signal = sigInt
			default:
				return false
			}
			return true
		})
	}
	r.interrupted.Store(false)
	if r.over {
		return stopped{exited: true, status: min(r.failures, 1)}
	}
	return s
}

// back goes one instruction back.
func (r *Run) back() (stopped, error) {
	if r.pos <= r.first {
		return r.atBegin(), nil
	}
	if err := r.seek(r.pos - 1); err != nil {
		return stopped{}, err
	}
	if r.here.kind == atPoke && !r.interrupted.Load() {
		if err := r.seek(r.before); err != nil {
			return stopped{}, err
		}
	}
	if r.interrupted.Swap(false) {
		return r.atInterrupt(), nil
	}
	s, _ := r.attention(r.here)
	s.signal = sigTrap
	return s, nil
}

// backward goes back to the last point at which a run that continues would have
// stopped, or to the beginning. An access that is watched stops it before the
// access.
func (r *Run) backward() (stopped, error) {
	end := r.pos
	if end <= r.first {
		return r.atBegin(), nil
	}
	var found *stopped
	at := r.first
	// From checkpoint to checkpoint, the last one first.
	for to := end; found == nil && to > r.first; {
		if err := r.rewind(to - 1); err != nil {
			return stopped{}, err
		}
		from := r.pos
		r.move(func(p point, h *hit) bool {
			if h != nil && r.pos > r.first {
				found, at = &stopped{signal: sigTrap, detail: h.detail()}, r.pos-1
			}
			if r.pos == to {
				return true
			}
			if s, stop := r.attention(p); stop && r.pos >= r.first {
				found, at = &s, r.pos
			}
			return r.interrupted.Load()
		})
		if r.interrupted.Swap(false) {
			return r.atInterrupt(), nil
		}
		to = from
	}
	if err := r.seek(at); err != nil {
		return stopped{}, err
	}
	switch {
	case r.interrupted.Swap(false):
		return r.atInterrupt(), nil
	case found == nil:
		return r.atBegin(), nil
	}
	found.cpu = r.here.cpu
	return *found, nil
}

// atInterrupt is where a run that goes back is interrupted: somewhere on the way.
func (r *Run) atInterrupt() stopped { return stopped{signal: sigInt, cpu: r.here.cpu} }

func (r *Run) atBegin() stopped {
	return stopped{signal: sigTrap, cpu: r.here.cpu, detail: "replaylog:begin;"}
}
