package report

import (
	"fmt"
	"strings"

	"ftemu/ftracecore"
	"ftemu/script"
	"ftemu/x86"
)

const (
	siteLen = x86.SiteLen
	opInt3  = 0xcc
)

// follow notes what the line changed: sites and ops. s is nil where the line is
// not on the page.
func (r *Recorder) follow(s *Step, st script.Step, res *script.Result) {
	if res.Want != "" {
		return
	}
	changes := res.Changes()
	if strings.HasPrefix(res.Op, "begin ") {
		changes = nil
		for i := range res.Sites {
			changes = append(changes, script.SiteChange{After: &res.Sites[i]})
		}
	}
	for _, c := range changes {
		change := Change{Site: c.After.Site, After: r.strip(*c.After, c.Before)}
		if c.Before != nil {
			change.Before = r.strip(*c.Before, nil)
		}
		r.site(s, st, c.After.IP, change)
		if s != nil && !s.Brief && r.budgets.changes.take(1) {
			s.Changes = append(s.Changes, change)
		}
	}
	r.ops(s, res)
}

// site notes a change in the strip of its site.
func (r *Recorder) site(s *Step, st script.Step, ip uint64, change Change) {
	site := r.sites[ip]
	if site == nil {
		site = &Site{ID: r.id("site-" + className(change.Site)), Name: change.Site}
		r.sites[ip] = site
		if len(r.page.Sites) == maxSites {
			r.page.moreSites++
		} else {
			r.page.Sites = append(r.page.Sites, site)
		}
	}
	if len(site.Rows) == maxSiteRows {
		site.LeftOut++
		return
	}
	row := SiteRow{Strip: change.After, Pokes: r.pokes[ip]}
	if s != nil {
		row.ID, row.Line = s.ID, s.Number
	}
	if row.Line == "" {
		row.Line, _, _ = strings.Cut(st.Text, " ")
	}
	row.Text = cutTo(st.Text, 60)
	if len(row.Pokes) == 1 {
		row.Pokes = nil // the change itself
	}
	site.Rows = append(site.Rows, row)
}

// strip draws a site; was is what it is compared with, nil for nothing.
func (r *Recorder) strip(s script.SiteState, was *script.SiteState) *Strip {
	out := &Strip{Text: s.Disasm(), Count: s.Count, Flags: strings.ReplaceAll(s.Flags, "|", " "), Direct: strings.TrimPrefix(s.Direct, "direct:")}
	out.Kind = kindOf(s)
	for i, b := range s.Bytes {
		c := Cell{Hex: fmt.Sprintf("%02x", b)}
		switch {
		case was != nil && was.Bytes[i] != b:
			c.Class = "new"
		case s.Bytes == x86.Nop5:
			c.Class = "nop"
		}
		out.Cells = append(out.Cells, c)
	}
	return out
}

// kindOf says whose code a site calls: that of one user, or what serves all.
func kindOf(s script.SiteState) string {
	has := func(flag ftracecore.RecFlags) bool {
		return strings.Contains("|"+s.Flags+"|", "|"+flag.String()+"|")
	}
	switch {
	case s.Target == "":
		return "nop"
	case has(ftracecore.RecDirectEn):
		return kindDirect
	case !strings.HasPrefix(s.Target, "tramp:"):
		return kindShared
	case has(ftracecore.RecIPModify):
		return kindKlp
	}
	return kindTracer
}
