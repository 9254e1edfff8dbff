package ftracecore

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func hashOf(ips ...uint64) *Hash {
	h := newHash(hashDefaultBits)
	for _, ip := range ips {
		h.add(ip, 0)
	}
	return h
}

func TestHashOrder(t *testing.T) {
	h := hashOf(f(0), f(1), f(2), f(3)).installed()
	require.Equal(t, 2, h.bits, "four entries, four buckets")
	for i, bucket := range []int{0, 3, 3, 2} {
		require.Equal(t, bucket, h.bucket(f(i)), "f%d", i)
	}
	require.Equal(t, []uint64{f(0), f(3), f(1), f(2)}, h.IPs(), "as a kernel walked it")
	require.Equal(t, h.IPs(), hashOf(f(3), f(2), f(1), f(0)).installed().IPs(), "whatever the order of insertion")
}

// Entries of one bucket of the working copy come out newest first, and the
// installed hash turns them over once more.
func TestHashOrderWithinABucket(t *testing.T) {
	a := uint64(f0Addr)
	b := a + 1
	for hashOf().bucket(b) != hashOf().bucket(a) {
		b++
	}
	require.Equal(t, []uint64{b, a}, hashOf(a, b).IPs())
	require.Equal(t, []uint64{a, b}, hashOf(a, b).installed().IPs())
	require.Equal(t, []uint64{b, a}, hashOf(b, a).installed().IPs())
}

func TestHashSizes(t *testing.T) {
	for _, tt := range []struct{ count, bits int }{
		{1, 0}, {2, 1}, {3, 1}, {4, 2}, {7, 2}, {8, 3}, {15, 3}, {16, 4}, {4095, 11}, {4096, 12}, {100000, 12},
	} {
		h := newHash(hashDefaultBits)
		for i := range tt.count {
			h.add(f0Addr+uint64(i)*16, 0)
		}
		require.Equal(t, tt.bits, h.installed().bits, "%d entries", tt.count)
		require.Equal(t, tt.count, h.installed().Count())
	}
	empty := newHash(hashDefaultBits).installed()
	require.True(t, empty.Empty())
	require.Zero(t, empty.Count())
	require.Empty(t, empty.IPs())
	require.Zero(t, (*Hash)(nil).Count())
	require.True(t, (*Hash)(nil).Empty())
	require.False(t, (*Hash)(nil).Has(1))
}

func TestDirectTableGrows(t *testing.T) {
	k := newKernel(t)
	k.addDirect(1, 1)
	require.Equal(t, 5, k.Core.direct.bits)
	for i := range 70 {
		k.addDirect(uint64(100+i), 1)
	}
	require.Equal(t, 6, k.Core.direct.bits, "more than two entries a bucket: larger")
	require.Equal(t, 71, k.Core.direct.Count())
}

// A hash is a set, whatever is done to it.
func TestHashIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHash(rapid.IntRange(0, 4).Draw(t, "bits"))
		model := map[uint64]bool{}
		ip := rapid.Custom(func(t *rapid.T) uint64 { return f0Addr + rapid.Uint64Range(0, 20).Draw(t, "n")*16 })
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if ip := ip.Draw(t, "ip"); !h.Has(ip) {
					h.add(ip, ip)
					model[ip] = true
				}
			},
			"remove":  func(t *rapid.T) { ip := ip.Draw(t, "ip"); h.remove(ip); delete(model, ip) },
			"install": func(*rapid.T) { h = h.installed() },
			"": func(t *rapid.T) {
				ips := h.IPs()
				require.Len(t, ips, len(model))
				require.Equal(t, len(model), h.Count())
				for ip := range model {
					require.True(t, h.Has(ip))
					require.True(t, slices.Contains(ips, ip))
				}
			},
		})
	})
}
