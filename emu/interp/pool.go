package interp

import "sync"

// A pool holds what was used and can be used again. Machines of one engine may
// come and go on different goroutines.
type pool struct {
	mu      sync.Mutex
	regions map[int][][]byte // zeroed, by size
	bytes   int              // in regions
	blocks  sync.Pool        // of *[maxBlockOps]op
}

const (
	maxPooledRegion = 64 << 10 // larger ones are rare, and clearing them costs more than new ones
	maxPooled       = 4 << 20  // bytes in regions
)

// alloc returns zeroed bytes (emu.MemoryOptions.Alloc).
func (p *pool) alloc(size uint64) ([]byte, error) {
	p.mu.Lock()
	if have := p.regions[int(size)]; size <= maxPooledRegion && len(have) > 0 {
		b := have[len(have)-1]
		p.regions[int(size)] = have[:len(have)-1]
		p.bytes -= len(b)
		p.mu.Unlock()
		return b, nil
	}
	p.mu.Unlock()
	return make([]byte, size), nil
}

// free takes bytes back.
func (p *pool) free(b []byte) {
	if len(b) > maxPooledRegion {
		return
	}
	clear(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes+len(b) > maxPooled {
		return
	}
	if p.regions == nil {
		p.regions = make(map[int][][]byte)
	}
	p.regions[len(b)] = append(p.regions[len(b)], b)
	p.bytes += len(b)
}

// scratch returns room for the operations of a block.
func (p *pool) scratch() *[maxBlockOps]op {
	if ops, ok := p.blocks.Get().(*[maxBlockOps]op); ok {
		return ops
	}
	return new([maxBlockOps]op)
}

func (p *pool) giveBack(ops *[maxBlockOps]op) { p.blocks.Put(ops) }
