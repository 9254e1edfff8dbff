package ftracecore

import "math/bits"

// Sizes of hashes, as logarithms of the number of buckets.
const (
	hashDefaultBits = 10 // of a working copy (FTRACE_HASH_DEFAULT_BITS)
	hashMaxBits     = 12 // of an installed hash (FTRACE_HASH_MAX_BITS)
)

// A Hash is a set of site addresses, with a direct function each where it is
// the table of those (struct ftrace_hash). Its order of iteration is the
// kernel's, because it can be seen: the owners of direct functions are asked
// in that order.
type Hash struct {
	bits    int
	buckets [][]hashEntry // within a bucket, the first is the oldest; the kernel inserts at the head
	count   int
}

type hashEntry struct {
	ip     uint64
	direct uint64
}

func newHash(bits int) *Hash {
	return &Hash{bits: bits, buckets: make([][]hashEntry, 1<<bits)}
}

// emptyHash stands for EMPTY_HASH: a hash that exists and holds nothing.
func emptyHash() *Hash { return newHash(0) }

// bucket computes the bucket of ip (hash_long of the kernel: multiplication by
// the golden ratio, the upper bits of the product).
func (h *Hash) bucket(ip uint64) int {
	if h.bits == 0 {
		return 0
	}
	return int(ip * 0x61C8864680B583EB >> (64 - h.bits))
}

// Empty tells whether the hash selects nothing in particular: ftrace_hash_empty.
// For a filter that means all functions.
func (h *Hash) Empty() bool { return h == nil || h.count == 0 }

// Count is the number of entries.
func (h *Hash) Count() int {
	if h == nil {
		return 0
	}
	return h.count
}

func (h *Hash) find(ip uint64) *hashEntry {
	if h.Empty() {
		return nil
	}
	b := h.buckets[h.bucket(ip)]
	for i := range b {
		if b[i].ip == ip {
			return &b[i]
		}
	}
	return nil
}

// Has tells whether ip is in the set.
func (h *Hash) Has(ip uint64) bool { return h.find(ip) != nil }

func (h *Hash) add(ip, direct uint64) {
	b := h.bucket(ip)
	h.buckets[b] = append(h.buckets[b], hashEntry{ip, direct})
	h.count++
}

func (h *Hash) remove(ip uint64) {
	b := h.buckets[h.bucket(ip)]
	for i := range b {
		if b[i].ip == ip {
			h.buckets[h.bucket(ip)] = append(b[:i:i], b[i+1:]...)
			h.count--
			return
		}
	}
}

// each calls fn for every entry in the kernel's order until it returns false.
func (h *Hash) each(fn func(e hashEntry) bool) {
	if h == nil {
		return
	}
	for _, b := range h.buckets {
		for i := len(b) - 1; i >= 0; i-- {
			if !fn(b[i]) {
				return
			}
		}
	}
}

// IPs lists the addresses in the order in which the kernel walks them.
func (h *Hash) IPs() []uint64 {
	var ips []uint64
	h.each(func(e hashEntry) bool { ips = append(ips, e.ip); return true })
	return ips
}

// resized returns a copy with 1<<bits buckets, entered in the order of
// iteration, each at the head of its bucket.
func (h *Hash) resized(bits int) *Hash {
	n := newHash(bits)
	h.each(func(e hashEntry) bool { n.add(e.ip, e.direct); return true })
	return n
}

// installed returns the hash that takes the place of an ops' when the working
// copy h is put in force: about two entries a bucket (__ftrace_hash_move).
func (h *Hash) installed() *Hash {
	if h.count == 0 {
		return emptyHash()
	}
	return h.resized(min(bits.Len(uint(h.count/2)), hashMaxBits))
}
