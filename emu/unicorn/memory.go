//go:build unicorn

package unicorn

import (
	"fmt"
	"syscall"

	"ftemu/emu"
)

// newMemory returns memory outside of the Go heap, which Unicorn maps and
// stores into by itself.
func newMemory(limit uint64) *emu.Memory {
	return emu.NewMemory(emu.MemoryOptions{Limit: limit, Alloc: alloc, Free: free, Direct: true})
}

func alloc(size uint64) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap of %d bytes: %w", size, err)
	}
	return b, nil
}

func free(b []byte) {
	// The only error is that b is no mapping, and it came from alloc.
	_ = syscall.Munmap(b)
}

// A pageSet is the pages (by address) that are both writable and executable.
type pageSet map[uint64]struct{}

// set enters the pages of a range with permissions perm and tells whether the
// set changed.
func (s pageSet) set(addr, size uint64, perm emu.Perm) bool {
	n := len(s)
	const wx = emu.PermW | emu.PermX
	if perm&wx != wx && n == 0 {
		return false
	}
	changed := false
	for off := uint64(0); off < size; off += emu.PageSize {
		_, had := s[addr+off]
		if has := perm&wx == wx; has != had {
			changed = true
			if has {
				s[addr+off] = struct{}{}
			} else {
				delete(s, addr+off)
			}
		}
	}
	return changed
}
