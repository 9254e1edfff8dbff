package ftemu

import (
	"fmt"

	"ftemu/emu"
)

// Where data lies that arguments of calls point to: in the kernel's direct map,
// as what kmalloc returns.
const (
	dataBase  = 0xffff888007000000
	dataSize  = 1 << 20
	dataAlign = 64 // with at least as much between two pieces
)

// PlaceData puts data for arguments of the next call into memory that the guest
// may read and write, and returns the address of each piece. It takes the place
// of what was put there before.
func (l *Lab) PlaceData(data ...[]byte) ([]uint64, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if l.Mem.Page(dataBase) == nil {
		if err := l.Mem.Map(dataBase, dataSize, emu.PermRW, "data of calls"); err != nil {
			return nil, err
		}
	}
	addrs := make([]uint64, len(data))
	next := uint64(dataBase)
	for i, d := range data {
		size := uint64(len(d))
		if next > dataBase+dataSize || size > dataBase+dataSize-next {
			return nil, fmt.Errorf("data of calls: more than %d bytes", dataSize)
		}
		if err := l.Mem.Write(next, d); err != nil {
			return nil, err
		}
		addrs[i] = next
		next += (size + 2*dataAlign - 1) &^ (dataAlign - 1)
	}
	return addrs, nil
}
