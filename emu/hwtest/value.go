package hwtest

import "math/rand/v2"

// edges are numbers around which instructions change their behaviour.
var edges = [...]uint64{
	0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000,
	0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(1),
	0x8000000080000000, 0x8080808080808080, 0xffffffff80000000, 0xffffffff00000000, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa,
}

// value returns a 64-bit number, more often an edge than chance would have it.
func value(rng *rand.Rand) uint64 {
	switch rng.IntN(8) {
	case 0, 1:
		return edges[rng.IntN(len(edges))]
	case 2:
		return uint64(int64(int8(rng.Uint32())))
	case 3:
		v := uint64(1) << rng.IntN(64)
		switch rng.IntN(4) {
		case 0:
			v--
		case 1:
			v = -v
		}
		return v
	case 4:
		// Each half by itself: an edge for narrow operands.
		return edges[rng.IntN(len(edges))]<<32 | edges[rng.IntN(len(edges))]&0xffffffff
	}
	return rng.Uint64()
}
