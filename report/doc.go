// Package report draws the run of a scenario as one page that needs nothing but
// a browser: the script with what each line gave, sites over time, calls as time
// lines, the frames of trampolines, and what an exploration found.
//
// A [Recorder] watches the run and builds a [Page], which is data only; the page
// writes itself by templates. It is bounded whatever the run is: what does not
// fit is left out, and the page says so.
package report

// Bounds of a page. They keep the largest below two megabytes.
const (
	maxLines      = 1000 // lines of the scenario
	maxDetailed   = 300  // of those, lines with everything that they did
	maxRows       = 40   // rows of text below a line
	maxText       = 400  // bytes of such a row, or of a line
	maxSlices     = 120  // slices of one time line
	maxAllSlices  = 1500 // of all
	maxSites      = 24   // sites with a strip
	maxSiteRows   = 40   // changes of one site
	maxAllChanges = 600  // rows of sites below lines
	maxTramps     = 16   // trampolines
	maxOps        = 32   // ops in a table
	maxAllOps     = 500  // rows of all those tables
	maxDecision   = 120  // lines of a decision
	maxAllSteps   = 2500 // of all decisions
	maxMoves      = 400  // steps of an execution
	maxJumps      = 60   // entries of the list of what went wrong
	maxListed     = 200  // lines of enabled_functions
)

// A budget counts what may still be drawn.
type budget struct{ left, lost int }

// take tells whether n more may be drawn, and counts them.
func (b *budget) take(n int) bool {
	if n > b.left {
		b.lost += n
		return false
	}
	b.left -= n
	return true
}
