package bench

import (
	"fmt"
	"slices"

	"ftemu"
	"ftemu/emu"
	"ftemu/ftracecore"
	"ftemu/guest"
	"ftemu/x86"
)

// What the synthetic text is like: as many sites as the .text of Debian's 6.1
// kernel, spread over as many bytes.
const (
	SynthSites   = 38_252
	synthSpacing = 384
	synthBase    = 0xffffffffc1000000
)

// SynthImage makes an image with SynthSites functions, each a site and a ret.
func SynthImage() *guest.Image {
	text := make([]byte, SynthSites*synthSpacing)
	for i := range text {
		text[i] = x86.OpInt3
	}
	img := &guest.Image{Name: "synthetic", Symbols: &guest.Symbols{}, Sites: make([]guest.Site, SynthSites)}
	symbols := make([]guest.Symbol, SynthSites)
	for i := range img.Sites {
		off := i * synthSpacing
		copy(text[off:], x86.Nop5[:])
		text[off+x86.SiteLen] = x86.OpRet
		name, addr := fmt.Sprintf("func_%05d", i), synthBase+uint64(off)
		symbols[i] = guest.Symbol{Name: name, Addr: addr, Size: x86.SiteLen + 1, Func: true}
		img.Sites[i] = guest.Site{IP: addr, Func: name, Kind: guest.FentryNop, Bytes: x86.Nop5[:]}
	}
	img.Symbols.AddAll(symbols)
	img.Segments = []guest.Segment{{Name: ".text", Addr: synthBase, Data: text, Perm: emu.PermRX}}
	return img
}

// sitesRounds is how often sites are switched on and off.
const sitesRounds = 7

// A SitesResult tells what it takes to switch a tracer on and off on many sites.
type SitesResult struct {
	Bench  string  `json:"bench"`
	Engine string  `json:"engine"`
	Image  string  `json:"image"`
	Sites  int     `json:"sites"`
	Of     int     `json:"of"`
	All    bool    `json:"all"` // selected by an empty filter
	Rounds int     `json:"rounds"`
	MS     Spread  `json:"ms"`        // register and unregister
	Filter Spread  `json:"filter_ms"` // setting the filter before
	Plain  Spread  `json:"plain_ms"`
	Ratio  Spread  `json:"ratio"`
	NSSite float64 `json:"ns_per_site"` // the median for one site, on and off
}

// Sites switches a tracer on and off on a part of the sites of img, a share of
// them in percent evenly spread that a filter names, through hash, records,
// changes, verification and the breakpoint protocol. Share 0 is an empty filter,
// which selects all. Beside it stands a plain loop that writes the same bytes to as
// much memory laid out the same way: a call to each site, then a nop to each.
// Both find the memory cold. An image without sites is an error.
func Sites(engine emu.Engine, img *guest.Image, share int) (*SitesResult, error) {
	lab, err := ftemu.New(ftemu.Options{Engine: engine, Guest: img})
	if err != nil {
		return nil, err
	}
	defer lab.Close()
	sites := selected(img, share)
	if len(sites) == 0 {
		return nil, fmt.Errorf("%s: %d sites, of which %d%% are none", img.Name, len(img.Sites), share)
	}
	plain := newPlainSites(sites)
	r := &SitesResult{
		Bench: "sites", Engine: engine.Name(), Image: img.Name, Sites: len(sites), Of: len(img.Sites),
		All: share == 0, Rounds: sitesRounds,
	}
	cold := make([]byte, 96<<20)
	var ours, filters, theirs, ratios []float64
	for range sitesRounds {
		ops := lab.NewOps("bench", 0, nil)
		start := now()
		if !r.All {
			if err := lab.Core.SetFilterIPs(ops, sites, false, false); err != nil {
				return nil, err
			}
		}
		filters = append(filters, (now()-start).Seconds()*1e3)
		evict(cold)
		start = now()
		if err := onAndOff(lab, ops, sites); err != nil {
			return nil, err
		}
		took := now() - start
		evict(cold)
		start = now()
		plain.run()
		plainTook := now() - start
		ours = append(ours, took.Seconds()*1e3)
		theirs = append(theirs, plainTook.Seconds()*1e3)
		ratios = append(ratios, float64(took)/float64(max(plainTook, 1)))
	}
	r.MS, r.Filter, r.Plain, r.Ratio = spread(ours), spread(filters), spread(theirs), spread(ratios)
	r.NSSite = r.MS.Median * 1e6 / float64(len(sites))
	return r, nil
}

// selected returns every so many-th site, all for 0 or 100 percent.
func selected(img *guest.Image, share int) []uint64 {
	if share == 0 {
		share = 100
	}
	var ips []uint64
	for i, s := range img.Sites {
		if i*share/100 != (i+1)*share/100 {
			ips = append(ips, s.IP)
		}
	}
	return ips
}

// onAndOff registers a tracer and takes it away; sites are those it is to be on.
func onAndOff(lab *ftemu.Lab, ops *ftracecore.Ops, sites []uint64) error {
	if err := lab.Core.RegisterFtraceFunction(ops); err != nil {
		return err
	}
	for _, ip := range []uint64{sites[0], sites[len(sites)-1]} {
		if err := holds(lab, ip, x86.FormCall); err != nil {
			return err
		}
	}
	if err := lab.Core.UnregisterFtraceFunction(ops); err != nil {
		return err
	}
	return holds(lab, sites[len(sites)/2], x86.FormNop)
}

// holds tells whether a site holds an instruction of the form.
func holds(lab *ftemu.Lab, ip uint64, want x86.Form) error {
	var b x86.Bytes5
	if err := lab.Mem.Read(ip, b[:]); err != nil {
		return err
	}
	if form, _ := x86.ParseSite(b, ip); form != want {
		return fmt.Errorf("site %#x holds % x, expected a %s", ip, b, want)
	}
	return nil
}

// A plainSites is the loop to compare with.
type plainSites struct {
	mem   []byte
	at    []int
	calls []x86.Bytes5
}

func newPlainSites(sites []uint64) *plainSites {
	base := slices.Min(sites) &^ (emu.PageSize - 1)
	p := &plainSites{mem: make([]byte, slices.Max(sites)-base+emu.PageSize)}
	for _, ip := range sites {
		call, _ := x86.EncodeCall(ip, base)
		p.at = append(p.at, int(ip-base))
		p.calls = append(p.calls, call)
	}
	for i := range p.mem {
		p.mem[i] = x86.OpInt3 // so that every page is there
	}
	return p
}

func (p *plainSites) run() {
	for i, at := range p.at {
		copy(p.mem[at:at+x86.SiteLen], p.calls[i][:])
	}
	for _, at := range p.at {
		copy(p.mem[at:at+x86.SiteLen], x86.Nop5[:])
	}
}

// evict fills the processor's caches with something else.
func evict(b []byte) {
	for i := 0; i < len(b); i += 64 {
		b[i]++
	}
}
