package tracedat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
)

const fn = 0xffffffff81000100

func lookup(addr uint64) (Symbol, bool) {
	switch {
	case addr >= fn && addr < fn+0x100:
		return Symbol{Name: "fn", Start: fn}, true
	case addr >= 0xffffffffc0000000 && addr < 0xffffffffc0000100:
		return Symbol{"tgt", "ftt", 0xffffffffc0000000}, true
	}
	return Symbol{}, false
}

// many are notes on two CPUs that fill several pages, with times apart by more
// than an entry's header can say.
func many() []trace.Noted {
	var notes []trace.Noted
	now := uint64(5)
	for i := range 1000 {
		now += []uint64{1, 1000, 1<<27 - 1, 1 << 27, 1 << 33}[i%5]
		e := trace.Event{Kind: trace.Func, CPU: i / 7 % 2, IP: fn + 4, Addr: 0xffffffffc0000040}
		if i%3 == 0 {
			e.Addr = 0x1234 // has no symbol
		}
		notes = append(notes, trace.Noted{Event: e, Time: now})
	}
	return notes
}

// TestRing takes pages apart again.
func TestRing(t *testing.T) {
	for cpu := range 2 {
		pages := ring(many(), cpu)
		require.Zero(t, len(pages)%pageSize)
		require.Greater(t, len(pages), 2*pageSize)
		var got []trace.Noted
		le := binary.LittleEndian
		for ; len(pages) > 0; pages = pages[pageSize:] {
			now := le.Uint64(pages)
			data := pages[pageHeader : pageHeader+le.Uint64(pages[8:])]
			for extra := uint64(0); len(data) > 0; {
				h := le.Uint32(data)
				delta := uint64(h >> lengthBits)
				if h&(1<<lengthBits-1) == typeExtend {
					extra = delta | uint64(le.Uint32(data[4:]))<<deltaBits
					data = data[8:]
					continue
				}
				now += delta + extra
				extra = 0
				n := int(h&(1<<lengthBits-1)) * 4
				p := data[4 : 4+n]
				require.Equal(t, []byte{idFunction, 0, 0, preempt, byte(cpu + 1), 0, 0, 0}, p[:8])
				got = append(got, trace.Noted{Event: trace.Event{Kind: trace.Func, CPU: cpu, IP: le.Uint64(p[8:]), Addr: le.Uint64(p[16:])}, Time: now})
				data = data[4+n:]
			}
		}
		var want []trace.Noted
		for _, e := range many() {
			if e.CPU == cpu {
				want = append(want, e)
			}
		}
		require.Equal(t, want, got)
	}
}

// TestTraceCmd: trace-cmd prints each event with its time in nanoseconds.
func TestTraceCmd(t *testing.T) {
	if _, err := exec.LookPath("trace-cmd"); err != nil {
		t.Skip("trace-cmd is not installed")
	}
	var b bytes.Buffer
	require.NoError(t, Write(&b, many(), Options{CPUs: 2, Lookup: lookup}))
	file := filepath.Join(t.TempDir(), "trace.dat")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o666))
	out, err := exec.Command("trace-cmd", "report", "-t", "-O", "parent=1", "-i", file).Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")[1:] // without cpus=2
	require.Len(t, lines, len(many()))
	for i, e := range many() {
		comm, pid := trace.Task(e.CPU)
		parent := "tgt"
		if e.Addr == 0x1234 {
			parent = "0x00001234"
		}
		want := fmt.Sprintf("%s-%d [%03d] %d.%09d: function: fn <-- %s", comm, pid, e.CPU, e.Time/1e9, e.Time%1e9, parent)
		require.Equal(t, want, strings.Join(strings.Fields(lines[i]), " "))
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	require.EqualError(t, Write(full{}, many(), Options{CPUs: 2, Lookup: lookup}), "disk full")
}
