package tracefs

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trace"
)

const (
	outer = 0xffffffff81000100
	inner = 0xffffffff81000200
	mod   = 0xffffffffc0000000
)

func lookup(addr uint64) (Symbol, bool) {
	switch addr &^ 0xff {
	case outer &^ 0xff:
		return Symbol{Name: "outer"}, true
	case inner &^ 0xff:
		return Symbol{Name: "inner"}, true
	case mod:
		return Symbol{"tgt_b", "ftt"}, true
	}
	return Symbol{}, false
}

func note(kind trace.Kind, cpu int, time, ip, addr uint64, depth int) trace.Noted {
	return trace.Noted{Event: trace.Event{Kind: kind, CPU: cpu, IP: ip, Addr: addr, Depth: depth}, Time: time}
}

func write(t *testing.T, cpus int, notes ...trace.Noted) string {
	var out strings.Builder
	require.NoError(t, Write(&out, notes, Options{CPUs: cpus, Lookup: lookup}))
	return out.String()
}

const functionColumns = `#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`

const graphHeader = `# tracer: function_graph
#
# CPU  DURATION                  FUNCTION CALLS
# |     |   |                     |   |   |   |
`

func TestFunction(t *testing.T) {
	got := write(t, 2,
		note(trace.Func, 0, 4_143_346_999, outer, mod+5, 0),
		note(trace.Func, 1, 12_000_004_143_346, mod, 0, 0),
		note(trace.Func, 1, 12_000_004_143_346, 0x1234, 0x99, 0),
	)
	require.Equal(t, `# tracer: function
#
# entries-in-buffer/entries-written: 3/3   #P:2
`+functionColumns+`           ftemu-1       [000] ...1.     4.143347: outer <-tgt_b
           ftemu-2       [001] ...1. 12000.004143: tgt_b
           ftemu-2       [001] ...1. 12000.004143: 0x00001234 <-0x00000099
`, got)
}

func TestNothing(t *testing.T) {
	require.Equal(t, `# tracer: nop
#
# entries-in-buffer/entries-written: 0/0   #P:1
`+functionColumns, write(t, 1))
}

func TestGraph(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cpus  int
		notes []trace.Noted
		want  string
	}{
		{"nesting", 2, []trace.Noted{
			note(trace.Entry, 1, 100, outer, 0, 0),
			note(trace.Entry, 1, 200, mod, 0, 1),
			note(trace.Exit, 1, 434156, mod, 0, 1),
			note(trace.Exit, 1, 434256, outer, 0, 0),
		}, ` 1)               |  outer() {
 1) ! 433.956 us  |    tgt_b [ftt]();
 1) ! 434.156 us  |  }
`},
		{"two CPUs in turns", 12, []trace.Noted{
			note(trace.Entry, 0, 100, outer, 0, 0),
			note(trace.Entry, 11, 150, inner, 0, 0),
			note(trace.Exit, 0, 300, outer, 0, 0),
			note(trace.Exit, 11, 350, inner, 0, 0),
		}, `  0)   0.200 us    |  outer();
 11)   0.200 us    |  inner();
`},
		{"a function inside itself", 1, []trace.Noted{
			note(trace.Entry, 0, 1, outer, 0, 0),
			note(trace.Entry, 0, 2, outer, 0, 1),
			note(trace.Exit, 0, 3, outer, 0, 1),
			note(trace.Exit, 0, 4, outer, 0, 0),
		}, ` 0)               |  outer() {
 0)   0.001 us    |    outer();
 0)   0.003 us    |  }
`},
		{"a return without its entry, an entry without its return", 1, []trace.Noted{
			note(trace.Exit, 0, 5, outer, 0, 0),
			note(trace.Entry, 0, 6, 0x1234, 0, 0),
		}, ` 0)   0.000 us    |  } /* outer */
 0)               |  0x1234() {
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, graphHeader+tt.want, write(t, tt.cpus, tt.notes...))
		})
	}
}

func TestTracersInTurn(t *testing.T) {
	got := write(t, 1,
		note(trace.Entry, 0, 1, outer, 0, 0), note(trace.Exit, 0, 2, outer, 0, 0),
		note(trace.Func, 0, 3, inner, outer, 0),
	)
	require.Equal(t, graphHeader+" 0)   0.001 us    |  outer();\n\n# tracer: function\n#\n# entries-in-buffer/entries-written: 1/1   #P:1\n"+
		functionColumns+"           ftemu-1       [000] ...1.     0.000000: inner <-outer\n", got)
}

// The first ones were seen in a kernel's output.
func TestDuration(t *testing.T) {
	for ns, want := range map[uint64]string{
		50301:         "+ 50.301 us ",
		745977:        "! 745.977 us ",
		541:           "  0.541 us ",
		12345:         "+ 12.345 us ",
		10000:         "  10.000 us ",
		10001:         "+ 10.001 us ",
		0:             "  0.000 us ",
		1234567:       "# 1234.567 us ",
		12345678:      "* 12345.67 us ",
		123456789:     "@ 123456.7 us ",
		1234567890:    "$ 1234567 us ",
		9876543219999: "$ 9876543219 us ",
	} {
		require.Equal(t, want, duration(ns))
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	require.EqualError(t, Write(full{}, nil, Options{Lookup: lookup}), "disk full")
}
