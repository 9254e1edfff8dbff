//go:build unicorn

package conform_test

import (
	"testing"

	"ftemu"
	"ftemu/emu/unicorn"
)

// Every recording, on Unicorn.
func TestRecordingsUnicorn(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			replay(t, readRecordings(t, s.name), ftemu.Options{Engine: unicorn.New()})
		})
	}
}

// Every recorded sequence of BPF programs, on Unicorn.
func TestSequencesUnicorn(t *testing.T) {
	replay(t, readRecordings(t, "sequences"), ftemu.Options{Engine: unicorn.New()})
}
