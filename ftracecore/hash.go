package ftracecore

import (
	"math/bits"
	"slices"
)

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
	entries []hashEntry // in the order in which they were entered
	index   hashIndex   // of entries by ip; nil as long as there are few
}

type hashEntry struct {
	ip     uint64
	direct uint64
}

// fewEntries is how many entries are looked through one by one.
const fewEntries = 8

func newHash(bits int) *Hash { return &Hash{bits: bits} }

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
func (h *Hash) Empty() bool { return h.Count() == 0 }

// Count is the number of entries.
func (h *Hash) Count() int {
	if h == nil {
		return 0
	}
	return len(h.entries)
}

// at returns the place of ip in entries, or -1.
func (h *Hash) at(ip uint64) int {
	if h.index != nil {
		return int(*h.index.slot(h.entries, ip)) - 1
	}
	for i := range h.entries {
		if h.entries[i].ip == ip {
			return i
		}
	}
	return -1
}

func (h *Hash) find(ip uint64) *hashEntry {
	if h == nil {
		return nil
	}
	if i := h.at(ip); i >= 0 {
		return &h.entries[i]
	}
	return nil
}

// Has tells whether ip is in the set.
func (h *Hash) Has(ip uint64) bool { return h.find(ip) != nil }

func (h *Hash) add(ip, direct uint64) {
	h.entries = append(h.entries, hashEntry{ip, direct})
	switch {
	case 3*len(h.entries) > 2*len(h.index) && len(h.entries) > fewEntries:
		h.reindex()
	case h.index != nil:
		*h.index.slot(h.entries, ip) = int32(len(h.entries))
	}
}

func (h *Hash) reindex() {
	h.index = make(hashIndex, 1<<bits.Len(uint(2*len(h.entries))))
	for i, e := range h.entries {
		*h.index.slot(h.entries, e.ip) = int32(i + 1)
	}
}

// A hashIndex is an open hash table, a power of two long and never full, of
// places in a list of entries, counted from 1; 0 is no place.
type hashIndex []int32

// slot returns where the place of the entry with ip is or would be.
func (x hashIndex) slot(entries []hashEntry, ip uint64) *int32 {
	mask := uint64(len(x) - 1)
	for i := ip * 0x9e3779b97f4a7c15 >> 32 & mask; ; i = (i + 1) & mask {
		if p := &x[i]; *p == 0 || entries[*p-1].ip == ip {
			return p
		}
	}
}

func (h *Hash) remove(ip uint64) {
	i := h.at(ip)
	if i < 0 {
		return
	}
	h.entries = slices.Delete(h.entries, i, i+1)
	h.index = nil
	if len(h.entries) > fewEntries {
		h.reindex()
	}
}

// order lists the entries as the kernel walks them: bucket by bucket, in each
// the newest first, because it inserts at the head.
func (h *Hash) order() []hashEntry {
	n := len(h.entries)
	out := make([]hashEntry, n)
	if n <= fewEntries {
		for i, e := range h.entries {
			out[n-1-i] = e
		}
		slices.SortStableFunc(out, func(a, b hashEntry) int { return h.bucket(a.ip) - h.bucket(b.ip) })
		return out
	}
	end := make([]int, 1<<h.bits) // of each bucket in out
	for _, e := range h.entries {
		end[h.bucket(e.ip)]++
	}
	for i := 1; i < len(end); i++ {
		end[i] += end[i-1]
	}
	for _, e := range h.entries {
		b := h.bucket(e.ip)
		end[b]--
		out[end[b]] = e
	}
	return out
}

// each calls fn for every entry in the kernel's order until it returns false.
func (h *Hash) each(fn func(e hashEntry) bool) {
	if h.Empty() {
		return
	}
	for _, e := range h.order() {
		if !fn(e) {
			return
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
	if !h.Empty() {
		n.entries = h.order()
		if len(n.entries) > fewEntries {
			n.reindex()
		}
	}
	return n
}

// installed returns the hash that takes the place of an ops' when the working
// copy h is put in force: about two entries a bucket (__ftrace_hash_move).
func (h *Hash) installed() *Hash {
	if h.Empty() {
		return emptyHash()
	}
	return h.resized(min(bits.Len(uint(h.Count()/2)), hashMaxBits))
}
