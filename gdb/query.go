package gdb

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// query answers q and Q packets.
func (s *Server) query(p string) (string, error) {
	name, args, _ := strings.Cut(p, ":")
	switch name {
	case "qSupported":
		return fmt.Sprintf("PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;qXfer:exec-file:read+;"+
			"swbreak+;hwbreak+;vContSupported+;ReverseStep+;ReverseContinue+", maxPacket), nil
	case "QStartNoAckMode":
		s.noAck = true
		return "OK", nil
	case "qC":
		return fmt.Sprintf("QC%x", s.run.here.cpu+1), nil
	case "qAttached":
		return "1", nil
	case "qfThreadInfo":
		var ids []string
		for i := range s.run.lab().Machine.NumCPU() {
			ids = append(ids, fmt.Sprintf("%x", i+1))
		}
		return "m" + strings.Join(ids, ","), nil
	case "qsThreadInfo":
		return "l", nil
	case "qXfer":
		return s.transfer(args)
	}
	if id, ok := strings.CutPrefix(p, "qThreadExtraInfo,"); ok {
		cpu, err := s.thread(id)
		if err != nil || cpu < 0 {
			return "", invalid
		}
		return hex.EncodeToString([]byte(s.state(cpu))), nil
	}
	if cmd, ok := strings.CutPrefix(p, "qRcmd,"); ok {
		text, err := unhex(cmd)
		if err != nil {
			return "", err
		}
		s.print(s.run.monitor(string(text)))
		return "OK", nil
	}
	return "", nil
}

// state says what a CPU does.
func (s *Server) state(cpu int) string {
	lab := s.run.lab()
	switch rip := s.run.regs(cpu).RIP; {
	case rip == 0 || rip == lab.ReturnIP():
		return "not in a call"
	case cpu != s.run.here.cpu:
		return "has its turn later"
	}
	return "runs"
}

// print shows text on the client's console.
func (s *Server) print(text string) {
	const piece = (maxPacket - 16) / 2
	for len(text) > 0 {
		n := min(len(text), piece)
		s.send("O" + hex.EncodeToString([]byte(text[:n])))
		text = text[n:]
	}
}

// transfer answers qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH.
func (s *Server) transfer(args string) (string, error) {
	f := strings.Split(args, ":")
	if len(f) != 4 || f[1] != "read" {
		return "", nil
	}
	var text string
	switch {
	case f[0] == "features" && f[2] == "target.xml":
		text = targetXML
	case f[0] == "threads" && f[2] == "":
		text = s.threads()
	case f[0] == "exec-file":
		text = execFile
	case f[0] == "features" || f[0] == "threads":
		return "E00", nil // the protocol's word for an annex that is not there
	default:
		return "", nil
	}
	off, size, err := numbers(f[3])
	if err != nil || off > uint64(len(text)) {
		return "", invalid
	}
	// Any byte may become two.
	rest := text[off:]
	if n := min(size, maxPacket/2-8); n < uint64(len(rest)) {
		return "m" + rest[:n], nil
	}
	return "l" + rest, nil
}

func (s *Server) threads() string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\"?>\n<threads>\n")
	for i := range s.run.lab().Machine.NumCPU() {
		fmt.Fprintf(&b, "<thread id=\"%x\" core=\"%d\" name=\"cpu%d\">%s</thread>\n", i+1, i, i, s.state(i))
	}
	b.WriteString("</threads>\n")
	return b.String()
}
