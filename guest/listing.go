package guest

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// A SiteInfo is a line of the list of an image's sites and padding.
type SiteInfo struct {
	IP     string `json:"ip"` // hexadecimal, 0x in front: numbers of JSON do not reach that far
	Func   string `json:"func"`
	Offset int64  `json:"offset"`
	Kind   string `json:"kind"`
	Ftrace bool   `json:"ftrace"` // an ftrace site, not padding
	Bytes  string `json:"bytes"`  // hexadecimal, as in the file, relocated
}

// SiteList lists sites and padding together, ascending by address.
func (img *Image) SiteList() []SiteInfo {
	out := make([]SiteInfo, 0, len(img.Sites)+len(img.Padding))
	sites, padding := img.Sites, img.Padding
	for len(sites)+len(padding) > 0 {
		from := &sites
		if len(sites) == 0 || len(padding) > 0 && padding[0].IP < sites[0].IP {
			from = &padding
		}
		s := (*from)[0]
		*from = (*from)[1:]
		out = append(out, SiteInfo{
			IP: fmt.Sprintf("%#x", s.IP), Func: s.Name(), Offset: s.Offset, Kind: s.Kind.String(),
			Ftrace: from == &sites, Bytes: hex.EncodeToString(s.Bytes),
		})
	}
	return out
}

// WriteSites writes the list of [Image.SiteList] as a table and a line with the
// totals.
func (img *Image) WriteSites(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, s := range img.SiteList() {
		if i == 0 {
			fmt.Fprintln(tw, "ADDRESS\tFUNCTION\tOFFSET\tKIND\tFTRACE\tBYTES")
		}
		name, ftrace := s.Func, "no"
		if name == "" {
			name = "?"
		}
		if s.Ftrace {
			ftrace = "yes"
		}
		fmt.Fprintf(tw, "%s\t%s\t%+d\t%s\t%s\t%s\n", s.IP, name, s.Offset, s.Kind, ftrace, spaced(s.Bytes))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %d sites, %d other patchable places\n", img.Name, len(img.Sites), len(img.Padding))
	return err
}

// spaced puts a space after each byte of a hexadecimal string; long runs of the same
// byte are counted.
func spaced(h string) string {
	b, err := hex.DecodeString(h)
	if err != nil || len(b) == 0 {
		return h
	}
	if len(b) > 8 && len(slices.Compact(slices.Clone(b))) == 1 {
		return fmt.Sprintf("%d x %02x", len(b), b[0])
	}
	return fmt.Sprintf("% x", b)
}
