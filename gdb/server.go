package gdb

import (
	"bufio"
	"errors"
	"io"
)

// A Server answers one client about one run.
type Server struct {
	run    *Run
	out    *bufio.Writer
	noAck  bool
	sent   []byte // the last packet, in case the client wants it again
	cpu    int    // which registers are asked about
	last   stopped
	told   told
	closed bool
	opened bool // the file of names
}

// told is what the client was told about where the run is.
type told struct {
	line, cpu int
	news      int // how much of it
}

// NewServer makes a server that writes its packets to w.
func NewServer(run *Run, w io.Writer) *Server {
	return &Server{
		run: run, out: bufio.NewWriter(w), last: stopped{signal: sigTrap, cpu: run.here.cpu}, cpu: run.here.cpu,
		told: told{line: run.line, cpu: run.here.cpu},
	}
}

// Serve answers the client behind c until it leaves. A client that breaks off is no
// error.
func (r *Run) Serve(c io.ReadWriteCloser) error {
	s := NewServer(r, c)
	items, done := make(chan item), make(chan struct{})
	go func() {
		defer close(items)
		in := bufio.NewReader(c)
		for {
			it, err := readItem(in)
			if err != nil {
				// Nobody waits any more for a run that moves.
				r.Interrupt()
				return
			}
			if it.sign == interruptSign {
				r.Interrupt()
				continue
			}
			select {
			case items <- it:
			case <-done:
				return
			}
		}
	}()
	defer func() {
		close(done)
		c.Close()
		for range items { // until the reader has ended
		}
	}()
	for it := range items {
		if err := s.take(it); err != nil {
			return err
		}
		if s.closed {
			return nil
		}
	}
	return nil
}

// take answers one item. The error is of the run, not of the client.
func (s *Server) take(it item) error {
	switch {
	case it.sign == '-':
		_, _ = s.out.Write(s.sent)
	case it.sign != 0:
		return nil
	case it.bad && !s.noAck:
		_ = s.out.WriteByte('-')
	default:
		if !s.noAck {
			_ = s.out.WriteByte('+')
		}
		if err := s.answer(it); err != nil {
			return err
		}
	}
	// A client that does not read has left, or is about to: reading tells.
	_ = s.out.Flush()
	return nil
}

func (s *Server) answer(it item) error {
	switch {
	case it.bad:
		return nil // lost on the way, and there is no way to ask for it again
	case it.long:
		s.send(errInvalid)
		return nil
	}
	reply, err := s.handle(string(it.data))
	var p *packetError
	switch {
	case errors.As(err, &p):
		s.send(p.reply)
	case err != nil:
		return err
	case !s.closed || reply != "":
		s.send(reply)
	}
	return nil
}

func (s *Server) send(reply string) {
	s.sent = frame(reply)
	_, _ = s.out.Write(s.sent)
}

// Replies that say what is wrong with a packet, in errno numbers.
const (
	errInvalid = "E16" // malformed, or about something that does not exist
	errFault   = "E0e" // memory that is not there
	errRoom    = "E1c" // more than the server keeps
)

// A packetError is the reply to a packet that cannot be done.
type packetError struct{ reply string }

func (e *packetError) Error() string { return "packet refused with " + e.reply }

var (
	invalid = &packetError{errInvalid}
	fault   = &packetError{errFault}
	noRoom  = &packetError{errRoom}
)
