package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// errNoKallsyms is returned for data that holds no table of symbols as
// scripts/kallsyms writes it.
var errNoKallsyms = errors.New("no kallsyms found")

const (
	kallsymsTokens = 256 // entries of kallsyms_token_table
	kallsymsMarker = 256 // symbols from one entry of kallsyms_markers to the next
	maxSymbolName  = 1024
	maxKallsyms    = 128 << 20 // bytes from kallsyms_num_syms to kallsyms_token_table
)

// A ksym is an entry of kallsyms.
type ksym struct {
	name string
	typ  byte // as nm prints it
	addr uint64
}

// decodeKallsyms finds and decodes the kernel's own table of symbols in the data
// of its image (kernel/kallsyms.c, scripts/kallsyms.c): names compressed by
// tokens, addresses as 32-bit offsets from a base.
//
// Nothing in a stripped image says where the parts are. The table of tokens is
// found by its contents: tokens of a single digit stand for themselves. The
// others lie around it in a fixed order, each aligned to 8: num_syms, names,
// markers, in some versions seqs_of_names, token_table, token_index; before them,
// or since Linux 6.4 behind them, offsets and relative_base.
func decodeKallsyms(data []byte) ([]ksym, error) {
	why := errNoKallsyms
	digits := []byte("0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00")
	for from := 0; ; {
		i := bytes.Index(data[from:], digits)
		if i < 0 {
			return nil, why
		}
		at := from + i
		from = at + 1
		k := kallsyms{data: data}
		if !k.findTokens(at) {
			continue
		}
		syms, err := k.decode()
		if err == nil {
			return syms, nil
		}
		why = err
	}
}

type kallsyms struct {
	data   []byte
	tokens [kallsymsTokens][]byte
	table  int // offset of kallsyms_token_table
	behind int // offset behind kallsyms_token_index
	num    int // kallsyms_num_syms
	start  int // its offset
	names  int // offset of kallsyms_names
}

// findTokens checks that the token of the digit 0 is at the given offset, and
// finds all tokens: kallsyms_token_index says where each begins.
func (k *kallsyms) findTokens(digit0 int) bool {
	const most = kallsymsTokens * maxSymbolName
	start := digit0
	for range '0' {
		if start < 2 {
			return false
		}
		// The token before ends with the zero before this one.
		i := bytes.LastIndexByte(k.data[max(0, start-maxSymbolName):start-1], 0)
		if i < 0 {
			return false
		}
		start = max(0, start-maxSymbolName) + i + 1
	}
	end := start
	var offsets [kallsymsTokens]int
	for i := range k.tokens {
		n := bytes.IndexByte(k.data[end:min(len(k.data), end+maxSymbolName)], 0)
		if n < 0 || end-start > most {
			return false
		}
		offsets[i] = end - start
		k.tokens[i] = k.data[end : end+n]
		end += n + 1
	}
	index := align8(end)
	if index+2*kallsymsTokens > len(k.data) {
		return false
	}
	for i, off := range offsets {
		if int(binary.LittleEndian.Uint16(k.data[index+2*i:])) != off {
			return false
		}
	}
	k.table, k.behind = start, index+2*kallsymsTokens
	return true
}

func align8(n int) int { return (n + 7) &^ 7 }

// decode finds the other parts and reads the symbols.
func (k *kallsyms) decode() ([]ksym, error) {
	if err := k.findNames(); err != nil {
		return nil, err
	}
	addrs, err := k.addresses()
	if err != nil {
		return nil, err
	}
	syms := make([]ksym, k.num)
	p := k.names
	var name []byte
	for i := range syms {
		var entry []byte
		entry, p = k.entry(p)
		name = name[:0]
		for _, t := range entry {
			name = append(name, k.tokens[t]...)
		}
		if len(name) < 2 || len(name) > maxSymbolName {
			return nil, fmt.Errorf("kallsyms: symbol %d has a name of %d characters", i, max(0, len(name)-1))
		}
		syms[i] = ksym{typ: name[0], name: string(name[1:]), addr: addrs[i]}
	}
	return syms, nil
}

// findNames finds the number of symbols, with the names behind it, in front of the
// tokens. The last number from which the names can be walked, so that the markers
// behind them say the same, is it.
func (k *kallsyms) findNames() error {
	for p := (k.table - 16) &^ 7; p >= max(0, k.table-maxKallsyms); p -= 8 {
		n := int(binary.LittleEndian.Uint32(k.data[p:]))
		if binary.LittleEndian.Uint32(k.data[p+4:]) != 0 || n == 0 || 2*n > k.table-p {
			continue
		}
		k.num, k.start, k.names = n, p, p+8
		if k.walk() {
			return nil
		}
	}
	return errors.New("kallsyms: no names in front of the tokens")
}

// walk steps over all names and looks at the markers behind them: where every
// 256th name begins.
func (k *kallsyms) walk() bool {
	p := k.names
	var markers []int
	for i := range k.num {
		if i%kallsymsMarker == 0 {
			markers = append(markers, p-k.names)
		}
		tokens, next := k.entry(p)
		if len(tokens) == 0 || next > k.table {
			return false
		}
		p = next
	}
	p = align8(p)
	if p+4*len(markers) > k.table {
		return false
	}
	for i, m := range markers {
		if binary.LittleEndian.Uint32(k.data[p+4*i:]) != uint32(m) {
			return false
		}
	}
	return true
}

// entry returns the tokens of the name at p, and where the next begins: beyond
// the data for damaged ones.
func (k *kallsyms) entry(p int) (tokens []byte, next int) {
	if p+2 > len(k.data) {
		return nil, len(k.data) + 1
	}
	n := int(k.data[p])
	p++
	if n&0x80 != 0 {
		n = n&0x7f | int(k.data[p])<<7
		p++
	}
	if p+n > len(k.data) {
		return nil, len(k.data) + 1
	}
	return k.data[p : p+n], p + n
}

// addresses reads kallsyms_offsets and kallsyms_relative_base.
func (k *kallsyms) addresses() ([]uint64, error) {
	size := align8(4 * k.num)
	for _, at := range []struct{ offsets, base int }{
		{k.start - 8 - size, k.start - 8},
		{align8(k.behind), align8(k.behind) + size},
	} {
		if at.offsets < 0 || at.base+8 > len(k.data) {
			continue
		}
		base := binary.LittleEndian.Uint64(k.data[at.base:])
		if base < KernelBase {
			continue
		}
		offsets := k.data[at.offsets : at.offsets+4*k.num]
		for _, percpu := range []bool{true, false} {
			if addrs, ok := relativeAddrs(offsets, base, percpu); ok {
				return addrs, nil
			}
		}
	}
	return nil, errors.New("kallsyms: no addresses, expected ascending offsets from a base")
}

// relativeAddrs adds offsets to the base. Where there is zero-based per-CPU data
// (CONFIG_KALLSYMS_ABSOLUTE_PERCPU), offsets from 0 up are values as they are, and
// negative ones count from the base, -1 being the base itself. Addresses ascend.
func relativeAddrs(offsets []byte, base uint64, percpu bool) ([]uint64, bool) {
	addrs := make([]uint64, 0, len(offsets)/4)
	last := uint64(0)
	for i := 0; i+4 <= len(offsets); i += 4 {
		off := binary.LittleEndian.Uint32(offsets[i:])
		a := base + uint64(off)
		if percpu {
			if a = uint64(off); int32(off) < 0 {
				a = base - 1 - uint64(int64(int32(off)))
			}
		}
		if a < last {
			return nil, false
		}
		last = a
		addrs = append(addrs, a)
	}
	// The last symbols are the kernel's in any case.
	return addrs, last >= base
}
