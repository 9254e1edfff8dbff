package gdb

import (
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// handle answers a packet. An unknown one is answered with nothing, as the
// protocol wants it.
func (s *Server) handle(p string) (string, error) {
	if p == "" {
		return "", nil
	}
	switch rest := p[1:]; p[0] {
	case '?':
		return s.last.reply(), nil
	case 'g':
		return s.readAll(), nil
	case 'G':
		return s.writeAll(rest)
	case 'p':
		return s.readOne(rest)
	case 'P':
		return s.writeOne(rest)
	case 'm':
		return s.readMemory(rest)
	case 'M', 'X':
		return s.writeMemory(rest, p[0] == 'X')
	case 'H':
		return s.choose(rest)
	case 'T':
		if _, err := s.thread(rest); err != nil {
			return "", err
		}
		return "OK", nil
	case 'Z', 'z':
		return s.point(rest, p[0] == 'Z')
	case 's', 'c':
		return s.resumeAt(rest, p[0] == 's')
	case 'S', 'C':
		_, at, _ := strings.Cut(rest, ";")
		return s.resumeAt(at, p[0] == 'S')
	case 'b':
		return s.reverse(rest)
	case 'v':
		return s.multi(rest)
	case 'q', 'Q':
		return s.query(p)
	case 'D':
		s.closed = true
		return "OK", nil
	case 'k':
		s.closed = true
	}
	return "", nil
}

// number reads a hexadecimal number.
func number(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		return 0, invalid
	}
	return n, nil
}

// numbers reads two hexadecimal numbers with a comma between them.
func numbers(text string) (a, b uint64, err error) {
	first, second, ok := strings.Cut(text, ",")
	if !ok {
		return 0, 0, invalid
	}
	if a, err = number(first); err != nil {
		return 0, 0, err
	}
	b, err = number(second)
	return a, b, err
}

func unhex(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, invalid
	}
	return b, nil
}

// thread reads the number of a thread: that of its CPU and one. 0 and -1 are any
// thread, -1 here.
func (s *Server) thread(text string) (cpu int, err error) {
	if text == "-1" || text == "0" {
		return -1, nil
	}
	n, err := number(text)
	if err != nil || n < 1 || n > uint64(s.run.lab().Machine.NumCPU()) {
		return 0, invalid
	}
	return int(n) - 1, nil
}

func (s *Server) choose(rest string) (string, error) {
	if rest == "" {
		return "", invalid
	}
	cpu, err := s.thread(rest[1:])
	switch {
	case err != nil:
		return "", err
	case rest[0] == 'g' && cpu >= 0:
		s.cpu = cpu
	case rest[0] == 'g':
		s.cpu = s.run.here.cpu
	case rest[0] != 'c':
		return "", invalid
	}
	return "OK", nil
}

func (s *Server) readAll() string {
	var b []byte
	for n := range numRegs {
		b = append(b, readReg(s.run.regs(s.cpu), n)...)
	}
	return hex.EncodeToString(b)
}

func (s *Server) writeAll(text string) (string, error) {
	b, err := unhex(text)
	if err != nil {
		return "", err
	}
	regs := *s.run.regs(s.cpu)
	for n := range numRegs {
		size := regSize(n)
		if len(b) < size {
			return "", invalid
		}
		writeReg(&regs, n, b[:size]) // those that do not change are in the packet too
		b = b[size:]
	}
	return s.edit(edit{cpu: s.cpu, regs: &regs})
}

func (s *Server) readOne(text string) (string, error) {
	n, err := number(text)
	if err != nil || n >= numRegs {
		return "", invalid
	}
	return hex.EncodeToString(readReg(s.run.regs(s.cpu), int(n))), nil
}

func (s *Server) writeOne(text string) (string, error) {
	num, value, _ := strings.Cut(text, "=")
	n, err := number(num)
	if err != nil || n >= numRegs {
		return "", invalid
	}
	b, err := unhex(value)
	if err != nil {
		return "", err
	}
	regs := *s.run.regs(s.cpu)
	if !writeReg(&regs, int(n), b) {
		return "", invalid
	}
	return s.edit(edit{cpu: s.cpu, regs: &regs})
}

// readMemory reads as much as there is of what was asked for.
func (s *Server) readMemory(text string) (string, error) {
	addr, size, err := numbers(text)
	if err != nil {
		return "", err
	}
	size = min(size, maxPacket/2)
	b := make([]byte, size)
	for n := size; ; n /= 2 {
		if s.run.read(addr, b[:n]) == nil {
			// The rest, byte by byte: what follows is less than was left off.
			for n < size && s.run.read(addr+n, b[n:n+1]) == nil {
				n++
			}
			b = b[:n]
			break
		}
		if n == 0 {
			return "", fault
		}
	}
	if len(b) == 0 && size > 0 {
		return "", fault
	}
	return hex.EncodeToString(b), nil
}

func (s *Server) writeMemory(text string, binary bool) (string, error) {
	where, data, ok := strings.Cut(text, ":")
	if !ok {
		return "", invalid
	}
	addr, size, err := numbers(where)
	if err != nil {
		return "", err
	}
	var b []byte
	if binary {
		b, err = unescape([]byte(data))
	} else {
		b, err = unhex(data)
	}
	switch {
	case err != nil || uint64(len(b)) != size:
		return "", invalid
	case size == 0: // a client that tries whether X is known
		return "OK", nil
	}
	return s.edit(edit{addr: addr, data: slices.Clone(b)})
}

func (s *Server) edit(e edit) (string, error) {
	err := s.run.edit(e)
	switch {
	case errors.Is(err, errTooMany):
		return "", noRoom
	case err != nil:
		return "", fault
	}
	return "OK", nil
}

func (s *Server) point(text string, set bool) (string, error) {
	kind, where, _ := strings.Cut(text, ",")
	where, _, _ = strings.Cut(where, ";") // conditions are the client's to look at
	k, err := number(kind)
	if err != nil {
		return "", err
	}
	if k >= numPointKinds {
		return "", nil
	}
	addr, size, err := numbers(where)
	if err != nil {
		return "", err
	}
	w := watch{int(k), addr, size}
	if !set {
		s.run.points.clear(w)
		return "OK", nil
	}
	switch err := s.run.points.set(w); {
	case errors.Is(err, errTooMany):
		return "", noRoom
	case err != nil:
		return "", invalid
	}
	return "OK", nil
}

// resumeAt is s and c, with or without an address to go on at.
func (s *Server) resumeAt(at string, step bool) (string, error) {
	if at != "" {
		rip, err := number(at)
		if err != nil {
			return "", err
		}
		regs := *s.run.regs(s.run.here.cpu)
		regs.RIP = rip
		if _, err := s.edit(edit{cpu: s.run.here.cpu, regs: &regs}); err != nil {
			return "", err
		}
	}
	cpu := -1
	if step {
		cpu = s.run.here.cpu
	}
	return s.stood(s.run.forward(cpu), nil)
}

// stood notes where the run stands now.
func (s *Server) stood(now stopped, err error) (string, error) {
	if err != nil {
		return "", err
	}
	s.last, s.cpu = now, s.run.here.cpu
	s.tell()
	return now.reply(), nil
}

// tell shows what went wrong on the way to where the run stands now, and which line
// that is unless the client knows. Only before the reply that says that the run has
// stopped does a client take text.
func (s *Server) tell() {
	run := s.run
	for _, text := range run.news[min(s.told.news, len(run.news)):] {
		s.print(text + "\n")
	}
	now := told{run.line, run.here.cpu, len(run.news)}
	if now.line != s.told.line || now.cpu != s.told.cpu || run.here.kind == atCall && s.last.signal == sigNone {
		s.print(run.where() + "\n")
	}
	s.told = now
}

func (s *Server) reverse(how string) (string, error) {
	switch how {
	case "s":
		return s.stood(s.run.back())
	case "c":
		return s.stood(s.run.backward())
	}
	return "", nil
}

// multi answers v packets.
func (s *Server) multi(p string) (string, error) {
	switch {
	case p == "Cont?":
		return "vCont;c;C;s;S", nil
	case strings.HasPrefix(p, "Cont;"):
		return s.vCont(strings.Split(p[len("Cont;"):], ";"))
	case strings.HasPrefix(p, "File:"):
		return s.file(p[len("File:"):])
	case strings.HasPrefix(p, "Kill;"):
		s.closed = true
		return "OK", nil
	}
	return "", nil
}

// vCont resumes. Which CPU executes is the scenario's to say, so that to step
// one that others come before is to go on until it has had its turn.
func (s *Server) vCont(actions []string) (string, error) {
	step := -1
	for _, a := range actions {
		what, who, named := strings.Cut(a, ":")
		cpu := s.run.here.cpu
		if named {
			n, err := s.thread(who)
			if err != nil {
				return "", err
			}
			if n >= 0 {
				cpu = n
			}
		}
		if what == "" || !strings.ContainsRune("cCsS", rune(what[0])) {
			return "", invalid
		}
		if (what[0] == 's' || what[0] == 'S') && step < 0 {
			step = cpu
		}
	}
	return s.stood(s.run.forward(step), nil)
}
