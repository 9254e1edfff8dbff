package report_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/ftracecore"
)

// A browser shows pages and hears what goes wrong in them.
type browser struct {
	t        *testing.T
	ctx      context.Context
	dir      string
	heard    sync.Mutex // guards what follows
	requests []string
	errors   []string
}

// newBrowser starts a Chromium without a network of its own.
func newBrowser(t *testing.T) *browser {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium to look at the page with")
	}
	dir := t.TempDir()
	alloc, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(filepath.Join(dir, "profile")))
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, dir: dir}
	require.NoError(t, chromedp.Do(ctx)) // starts it
	b.ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		b.heard.Lock()
		defer b.heard.Unlock()
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, ev.Request.URL)
		case *log.EventEntryAdded:
			b.errors = append(b.errors, ev.Entry.Text)
		case *runtime.EventExceptionThrown:
			b.errors = append(b.errors, ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.errors = append(b.errors, fmt.Sprint(ev.Type))
		}
	}))
	command(b, network.Enable, network.EnableParams{})
	command(b, log.Enable, cdp.Empty{})
	command(b, runtime.Enable, cdp.Empty{})
	return b
}

// command sends the browser a command of its protocol.
func command[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, c, params)
	require.NoError(b.t, err)
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// eval evaluates an expression in the page. Scripts of the page's own are
// forbidden by its policy; the debugger is not the page.
func eval[T any](b *browser, expr string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expr))
	require.NoError(b.t, err)
	return v
}

// complaints returns what was heard since the last time.
func (b *browser) complaints() (requests, errors []string) {
	b.heard.Lock()
	defer b.heard.Unlock()
	requests, errors = b.requests, b.errors
	b.requests, b.errors = nil, nil
	return requests, errors
}

// open shows a page.
func (b *browser) open(page string) {
	file := filepath.Join(b.dir, "page.html")
	require.NoError(b.t, os.WriteFile(file, []byte(page), 0o666))
	b.do(chromedp.Navigate("file://" + file))
}

// media chooses what the page is shown on.
func (b *browser) media(kind, scheme string) {
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: kind, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

func (b *browser) size(width int64) { b.do(chromedp.EmulateViewport(width, 900)) }

// shown are the pages that are looked at.
func shown(t *testing.T) map[string]string {
	design, err := ftracecore.ParseDesign("rinse-repeat")
	require.NoError(t, err)
	var mistaken ftemu.Options
	require.NoError(t, mistaken.Make("blocking-peer"))
	pages := make(map[string]string)
	for name, opt := range map[string]ftemu.Options{
		"livepatch-first.ft": {}, "fexit-bpf-first.ft": {}, "traces/graph.ft": {}, "own-layout.ft": {}, "share/livepatch-first.ft": {Design: &design},
		"explore/livepatch-meets-bpf.ft": mistaken,
	} {
		file, text := example(t, name)
		pages[name] = html(t, pageOf(t, file, text, opt))
	}
	return pages
}

// paperWidth is that of A4 between usual margins, in pixels.
const paperWidth = 718

const (
	// widest answers by how much the page is wider than its window.
	widest = `document.documentElement.scrollWidth - document.documentElement.clientWidth`

	// cut lists tables that reach out of their boxes.
	cut = `[...document.querySelectorAll('table')].filter(e => e.checkVisibility()).filter(e => e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right + 1).map(e => e.className + ' ' + e.closest('[id]').id)`

	// scrolled lists the names of lanes that are out of sight when time lines are
	// scrolled to their ends.
	scrolled = `(() => {
		const bad = [];
		for (const box of document.querySelectorAll('.call .scroll')) {
			box.scrollLeft = box.scrollWidth;
			if (box.scrollLeft < 100) bad.push('a time line does not scroll');
			const left = box.getBoundingClientRect().left;
			for (const name of box.querySelectorAll('.lane-name')) {
				const at = name.getBoundingClientRect();
				if (at.left < left || at.right > left + box.clientWidth) bad.push(name.textContent);
			}
			box.scrollLeft = 0;
		}
		return bad;
	})()`

	// columns are the places at which the flags of tables of ops begin.
	columns = `[...new Set([...document.querySelectorAll('.ops')].map(e => e.querySelector('.flag')).filter(e => e).map(e => Math.round(e.getBoundingClientRect().left)))]`

	// broken lists errnos that stand on two lines.
	broken = `(() => {
		const bad = [];
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (walk.nextNode()) {
			for (const m of walk.currentNode.textContent.matchAll(/-E[A-Z]+/g)) {
				const r = document.createRange();
				r.setStart(walk.currentNode, m.index);
				r.setEnd(walk.currentNode, m.index + m[0].length);
				if (new Set([...r.getClientRects()].map(x => x.top)).size > 1) bad.push(m[0] + ' in ' + walk.currentNode.parentElement.closest('[id]').id);
			}
		}
		return bad;
	})()`

	// struck lists texts that the bar of a refused line goes through.
	struck = `(() => {
		const bad = [];
		for (const step of document.querySelectorAll('.failed')) {
			const edge = step.getBoundingClientRect().left + 3;
			const walk = document.createTreeWalker(step, NodeFilter.SHOW_TEXT);
			while (walk.nextNode()) {
				if (!walk.currentNode.textContent.trim()) continue;
				const r = document.createRange();
				r.selectNodeContents(walk.currentNode);
				if ([...r.getClientRects()].some(x => x.width > 0 && x.left < edge)) bad.push(walk.currentNode.textContent);
			}
		}
		return bad;
	})()`

	// overlaps lists the texts of pictures that overlap others of the same picture,
	// or reach out of it.
	overlaps = `(() => {
		const bad = [];
		for (const svg of document.querySelectorAll('svg')) {
			const box = svg.viewBox.baseVal;
			const all = [...svg.querySelectorAll('text')].filter(e => e.textContent.trim()).map(e => [e.textContent, e.getBBox()]);
			for (let i = 0; i < all.length; i++) {
				const [name, a] = all[i];
				if (a.x < box.x - 1 || a.x + a.width > box.x + box.width + 1 || a.y + a.height > box.height + 1) bad.push('out: ' + name);
				for (let k = 0; k < i; k++) {
					const b = all[k][1];
					if (a.x < b.x + b.width && b.x < a.x + a.width && a.y + 2 < b.y + b.height && b.y + 2 < a.y + a.height) bad.push(name + ' / ' + all[k][0]);
				}
			}
		}
		return bad;
	})()`

	// faint lists texts whose colour is too close to what they stand on.
	faint = `(() => {
		const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
		const lum = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
		const bad = new Set();
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (walk.nextNode()) {
			const e = walk.currentNode.parentElement;
			if (!walk.currentNode.textContent.trim() || e.closest('svg') || e.closest('.skip')) continue;
			const style = getComputedStyle(e);
			if (style.visibility === 'hidden' || style.opacity === '0') continue;
			let back = [0, 0, 0, 0];
			for (let p = e; p; p = p.parentElement) {
				back = parse(getComputedStyle(p).backgroundColor);
				if (back[3] > 0) break;
			}
			if (back[3] === 0) back = [255, 255, 255, 1];
			const x = lum(parse(style.color)), y = lum(back);
			const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
			if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + style.color + ' on ' + back + ': ' + ratio.toFixed(2));
		}
		return [...bad];
	})()`

	background = `getComputedStyle(document.body).backgroundColor`
	textOf     = `document.body.textContent`

	// hidden lists what is inside of details and has no size.
	hidden = `[...document.querySelectorAll('details > :not(summary)')].filter(e => e.getBoundingClientRect().height === 0).map(e => e.outerHTML.slice(0, 80))`
)

func TestBrowser(t *testing.T) {
	b := newBrowser(t)
	for name, page := range shown(t) {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.complaints() // of the page before
			b.size(1200)
			b.media("screen", "light")
			b.open(page)
			for _, width := range []int64{1200, 800, 400, 380} {
				b.size(width)
				require.LessOrEqual(t, eval[float64](b, widest), 0.0, "at %d", width)
				require.Empty(t, eval[[]string](b, broken), "at %d", width)
				require.Empty(t, eval[[]string](b, struck), "at %d", width)
			}
			require.Empty(t, slices.DeleteFunc(eval[[]string](b, cut), func(s string) bool { return strings.HasPrefix(s, "moves ") }), "on a telephone only executions scroll")
			require.LessOrEqual(t, len(eval[[]float64](b, columns)), 1, "on a telephone")
			require.Empty(t, eval[[]string](b, scrolled))
			b.size(1200)
			require.LessOrEqual(t, len(eval[[]float64](b, columns)), 1)
			require.Empty(t, eval[[]string](b, cut))
			require.Empty(t, eval[[]string](b, overlaps))

			var backs []string
			for _, scheme := range []string{"light", "dark"} {
				b.media("screen", scheme)
				backs = append(backs, eval[string](b, background))
				require.Empty(t, eval[[]string](b, faint), scheme)
			}
			require.NotEqual(t, backs[0], backs[1])

			require.NotEmpty(t, eval[[]string](b, hidden), "details are closed on a screen")
			b.media("print", "dark")
			require.Empty(t, eval[[]string](b, hidden), "and open on paper")
			b.size(paperWidth)
			require.LessOrEqual(t, eval[float64](b, widest), 0.0, "on paper")
			require.Empty(t, eval[[]string](b, cut), "on paper")
			require.Empty(t, eval[[]string](b, broken), "on paper")
			require.Equal(t, backs[0], eval[string](b, background), "paper is light")

			requests, errors := b.complaints()
			require.Empty(t, errors)
			require.Len(t, requests, 1)
			require.True(t, strings.HasPrefix(requests[0], "file://"), requests[0])
		})
	}
}

// The tab key reaches what can be followed, opened and scrolled, in the order of
// the page.
func TestKeyboard(t *testing.T) {
	b := newBrowser(t)
	file, text := example(t, "livepatch-first.ft")
	b.open(html(t, pageOf(t, file, text, ftemu.Options{})))
	type focused struct {
		Tag, Outline string
		Index        int
	}
	const active = `(() => { const e = document.activeElement; return {Tag: e.tagName, Outline: getComputedStyle(e).outlineStyle, Index: [...document.querySelectorAll('*')].indexOf(e)}; })()`
	var seen []focused
	for range 60 {
		b.do(chromedp.KeyEvent(kb.Tab))
		f := eval[focused](b, active)
		require.NotEqual(t, "none", f.Outline, "the focus shows at %v", f)
		if len(seen) > 0 {
			require.Greater(t, f.Index, seen[len(seen)-1].Index, "in the order of the page")
		}
		seen = append(seen, f)
	}
	var tags []string
	for _, f := range seen {
		tags = append(tags, f.Tag)
	}
	require.Contains(t, tags, "SUMMARY")
	require.Contains(t, tags, "A")

	b.do(chromedp.Focus(chromedp.CSS(`details.aslist summary`)), chromedp.KeyEvent(kb.Enter))
	require.True(t, eval[bool](b, `document.querySelector('details.aslist').open`), "a summary opens by the keyboard")

	b.do(chromedp.Click(chromedp.CSS(`.jumps a[href="#line-37"]`)))
	require.Equal(t, "line-37", eval[string](b, `document.querySelector(':target').id`))
	require.InDelta(t, 0, eval[float64](b, `document.querySelector('#line-37').getBoundingClientRect().top`), 600, "an anchor leads to its line")
}

// Without scripts the page is the same.
func TestWithoutScripts(t *testing.T) {
	b := newBrowser(t)
	file, text := example(t, "fexit-bpf-first.ft")
	page := html(t, pageOf(t, file, text, ftemu.Options{}))
	b.open(page)
	with := eval[string](b, textOf)
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open(page)
	without, err := chromedp.Run(b.ctx, chromedp.TextContent(chromedp.CSS("body")))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(with), strings.TrimSpace(without))
	require.Contains(t, with, "100029")
}
