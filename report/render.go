package report

import (
	"embed"
	"html/template"
	"io"
	"regexp"
	"strings"
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
		"whole":   whole,
		"counted": counted,
		"noun":    noun,
		"grouped": func(n uint64) string { return grouped(int(n)) },
		"add":     func(a, b float64) float64 { return a + b },
		"plus":    func(a, b int) int { return a + b },
	}).ParseFS(files, "*.tmpl")
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// dashed is a word that begins with a hyphen: an errno, a flag of a command, or an
// arrow. A longer one may break, lest it reaches out of the page.
var dashed = regexp.MustCompile(`(?:^|[^\w-])(-{1,2}(?:>|[A-Za-z][\w-]{0,30}))`)

// whole is text in which no line ends behind the hyphen that such a word begins
// with, as browsers else may do.
func whole(text string) template.HTML {
	var b strings.Builder
	done := 0
	for _, at := range dashed.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(template.HTMLEscapeString(text[done:at[2]]))
		b.WriteString(`<span class="whole">` + template.HTMLEscapeString(text[at[2]:at[3]]) + `</span>`)
		done = at[3]
	}
	b.WriteString(template.HTMLEscapeString(text[done:]))
	return template.HTML(b.String())
}

// MoreSites is how many sites have no strip for want of room.
func (p *Page) MoreSites() int { return p.moreSites }
