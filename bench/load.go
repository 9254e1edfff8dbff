package bench

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"time"

	"ftemu/guest"
)

// loadRounds is how often a kernel is loaded.
const loadRounds = 7

// A LoadResult tells how long loading a kernel takes, in milliseconds.
type LoadResult struct {
	Bench  string `json:"bench"`
	Image  string `json:"image"`
	Bytes  int    `json:"bytes"` // of the segments
	Sites  int    `json:"sites"`
	Rounds int    `json:"rounds"`
	// MS is for laying out the decompressed image, finding its sites and turning
	// them into nops.
	MS Spread `json:"ms"`
	// Plain is for a copy of the segments' bytes and a sort of the sites' addresses.
	Plain Spread `json:"plain_ms"`
	Ratio Spread `json:"ratio"` // of the two
	// What stands apart: decompression, 0 for a vmlinux, and symbols, which
	// includes kallsyms.
	Unpack  Spread `json:"unpack_ms"`
	Symbols Spread `json:"symbols_ms"`
}

// LoadKernel loads the kernel in a file.
func LoadKernel(file string) (*LoadResult, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &LoadResult{Bench: "load", Image: file, Rounds: loadRounds}
	times := make(map[string][]float64)
	for range loadRounds {
		runtime.GC() // of the round before
		last, took := now(), make(map[string]time.Duration)
		img, err := guest.Load(bytes.NewReader(data), guest.LoadOptions{Name: file, Progress: func(step string) {
			t := now()
			took[step] += t - last
			last = t
		}})
		if err != nil {
			return nil, err
		}
		runtime.GC()
		load := took["segments"] + took["sites"]
		plain, size := copyAndSort(img)
		for name, d := range map[string]time.Duration{"load": load, "plain": plain, "unpack": took["unpack"], "symbols": took["symbols"]} {
			times[name] = append(times[name], d.Seconds()*1e3)
		}
		times["ratio"] = append(times["ratio"], float64(load)/float64(max(plain, 1)))
		r.Bytes, r.Sites = size, len(img.Sites)
	}
	r.MS, r.Plain, r.Ratio = spread(times["load"]), spread(times["plain"]), spread(times["ratio"])
	r.Unpack, r.Symbols = spread(times["unpack"]), spread(times["symbols"])
	return r, nil
}

// copyAndSort is the least that loading could be.
func copyAndSort(img *guest.Image) (took time.Duration, size int) {
	start := now()
	sites := make([]uint64, len(img.Sites))
	for _, s := range img.Segments {
		size += len(slices.Clone(s.Data))
	}
	for i, s := range img.Sites {
		sites[i] = s.IP
	}
	slices.Sort(sites)
	return now() - start, size
}
