package report

import (
	"embed"
	"html/template"
	"io"
)

//go:embed page.html.tmpl parts.html.tmpl pictures.html.tmpl style.css
var files embed.FS

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	style, err := files.ReadFile("style.css")
	if err != nil {
		return err
	}
	t, err := template.New("page.html.tmpl").Funcs(template.FuncMap{
		"style":   func() template.CSS { return template.CSS(style) }, // the package's own
		"counted": counted,
		"grouped": func(n uint64) string { return grouped(int(n)) },
		"add":     func(a, b float64) float64 { return a + b },
		"plus":    func(a, b int) int { return a + b },
	}).ParseFS(files, "*.tmpl")
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// MoreSites is how many sites have no strip for want of room.
func (p *Page) MoreSites() int { return p.moreSites }
