package gdb

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// gdb asks which file it looks at, and reads it through the server. There is that
// one file, made for the run, and it can only be read: the server touches no
// file of the host.
const (
	execFile = "/ftemu.elf"
	execFD   = 3
)

// Replies to requests for files that cannot be done, in errno numbers of the protocol.
const (
	noFile   = "F-1,2"  // ENOENT
	badFD    = "F-1,9"  // EBADF
	badFile  = "F-1,16" // EINVAL
	readOnly = "F-1,1e" // EROFS
)

// file answers vFile:OPERATION:ARGUMENTS.
func (s *Server) file(request string) (string, error) {
	op, args, _ := strings.Cut(request, ":")
	switch op {
	case "setfs":
		return "F0", nil
	case "open":
		return s.open(args), nil
	case "close", "fstat", "pread":
	default:
		return "", nil
	}
	fd, where, _ := strings.Cut(args, ",")
	if n, err := number(fd); err != nil || n != execFD || !s.opened {
		return badFD, nil
	}
	elf, err := s.run.ELF()
	if err != nil {
		return "", err
	}
	switch op {
	case "fstat":
		return "F40;" + status(len(elf)), nil
	case "pread":
		return pread(elf, where), nil
	}
	s.opened = false
	return "F0", nil
}

func (s *Server) open(args string) string {
	f := strings.Split(args, ",")
	if len(f) != 3 {
		return badFile
	}
	name, err := unhex(f[0])
	flags, err2 := number(f[1])
	switch {
	case err != nil || err2 != nil:
		return badFile
	case string(name) != execFile:
		return noFile
	case flags != 0:
		return readOnly
	}
	s.opened = true
	return fmt.Sprintf("F%x", execFD)
}

func pread(file []byte, where string) string {
	count, off, err := numbers(where)
	if err != nil {
		return badFile
	}
	rest := file[min(off, uint64(len(file))):]
	// Any byte may become two.
	rest = rest[:min(count, uint64(len(rest)), maxPacket/2-16)]
	return fmt.Sprintf("F%x;%s", len(rest), rest)
}

// status is the protocol's struct stat of a file that anyone may read.
func status(size int) string {
	const regular = 0o100444
	var b []byte
	for _, v := range []uint32{0, 1, regular, 1, 0, 0, 0} { // device, inode, mode, links, owner, group, special
		b = binary.BigEndian.AppendUint32(b, v)
	}
	const block = 512
	for _, v := range []uint64{uint64(size), block, uint64(size+block-1) / block} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return string(append(b, make([]byte, 3*4)...)) // times
}
