package gdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxPacket is the longest packet that the server takes, in bytes, as it says in
// its answer to qSupported.
const maxPacket = 0x4000

// An item is what a client sent: a packet, or a sign between packets.
type item struct {
	sign byte   // '+', '-', 0x03; 0 for a packet
	data []byte // of the packet, escapes as they came
	bad  bool   // the checksum is wrong
	long bool   // there was more than maxPacket
}

const interruptSign = 0x03

// readItem reads the next item. What belongs to none is passed over.
func readItem(r *bufio.Reader) (item, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return item{}, err
		}
		switch b {
		case '+', '-', interruptSign:
			return item{sign: b}, nil
		case '$':
			return readPacket(r)
		}
	}
}

// readPacket reads what follows the $ of a packet. Another $ begins it anew, as it
// does where the end of a packet was lost.
func readPacket(r *bufio.Reader) (item, error) {
	var it item
	sum := byte(0)
	for {
		b, err := r.ReadByte()
		if err != nil {
			return item{}, err
		}
		if b == '$' {
			it, sum = item{}, 0
			continue
		}
		if b == '#' {
			break
		}
		sum += b
		if len(it.data) < maxPacket {
			it.data = append(it.data, b)
		} else {
			it.long = true
		}
	}
	var hex [2]byte
	if _, err := io.ReadFull(r, hex[:]); err != nil {
		return item{}, err
	}
	want, err := strconv.ParseUint(string(hex[:]), 16, 8)
	it.bad = err != nil || byte(want) != sum
	return it, nil
}

const escape = '}'

var errEscape = errors.New("an escape at the end")

// unescape undoes the escapes of binary data.
func unescape(b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == escape {
			if i++; i == len(b) {
				return nil, errEscape
			}
			out = append(out, b[i]^0x20)
			continue
		}
		out = append(out, b[i])
	}
	return out, nil
}

// frame makes a packet of a reply.
func frame(reply string) []byte {
	out := make([]byte, 0, len(reply)+4)
	out = append(out, '$')
	sum := byte(0)
	for i := range len(reply) {
		b := reply[i]
		if b == '$' || b == '#' || b == escape || b == '*' {
			out, sum = append(out, escape), sum+escape
			b ^= 0x20
		}
		out, sum = append(out, b), sum+b
	}
	return fmt.Appendf(out, "#%02x", sum)
}
