package gdb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/emu"
	"ftemu/script"
)

const scenario = `new a regs
filter a f0
call f0 1 2
register a
call f0 1 2
want ret 1013
`

func newRun(t testing.TB) *Run {
	s, err := script.Parse("test.ft", strings.NewReader(scenario), script.Options{})
	require.NoError(t, err)
	r, err := NewRun(s, ftemu.Options{})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// answers gives the replies to packets.
func answers(t *testing.T, s *Server, packets ...string) []string {
	var out []string
	for _, p := range packets {
		require.NoError(t, s.take(item{data: []byte(p)}))
		got, err := readItem(bufio.NewReader(bytes.NewReader(s.sent)))
		require.NoError(t, err)
		require.False(t, got.bad, "checksum of %q", s.sent)
		out = append(out, string(got.data))
	}
	return out
}

func TestPackets(t *testing.T) {
	run := newRun(t)
	s := NewServer(run, &bytes.Buffer{})
	for _, c := range []struct{ packet, want string }{
		{"?", "T05thread:1;"}, {"vMustReplyEmpty", ""}, {"qC", "QC1"}, {"Hg1", "OK"}, {"Hg2", errInvalid}, {"H", errInvalid},
		{"T1", "OK"}, {"T9", errInvalid}, {"p99", errInvalid}, {"p", errInvalid}, {"P0", errInvalid}, {"P12=10000000", errInvalid},
		{"P0=0100000000000000", "OK"}, {"p0", "0100000000000000"}, {"G00", errInvalid},
		{"m0,8", errFault}, {"m", errInvalid}, {"m0", errInvalid}, {"M0,1:00", errFault}, {"M0,2:00", errInvalid}, {"X0,0:", "OK"},
		{"Z0,zz,1", errInvalid}, {"Z9,0,1", ""}, {"Z2,0,0", errInvalid}, {"vCont?", "vCont;c;C;s;S"}, {"vCont;x", errInvalid},
		{"vCont;s:7", errInvalid}, {"qXfer:features:read:none:0,10", "E00"}, {"qXfer:features:read:target.xml:fffff,10", errInvalid},
		{"qRcmd,zz", errInvalid}, {"bs", "T05thread:1;replaylog:begin;"}, {"bc", "T05thread:1;replaylog:begin;"}, {"b", ""},
	} {
		require.Equal(t, []string{c.want}, answers(t, s, c.packet), c.packet)
	}
}

// TestForwardAndBack: each position has the same registers however it was come to.
func TestForwardAndBack(t *testing.T) {
	for _, every := range []uint64{1, 60, checkpointEvery} {
		t.Run(fmt.Sprint(every), func(t *testing.T) { forwardAndBack(t, every) })
	}
}

func forwardAndBack(t *testing.T, every uint64) {
	run := newRun(t)
	run.every = every
	s := NewServer(run, &bytes.Buffer{})
	var seen []string
	for {
		seen = append(seen, answers(t, s, "g")[0])
		if strings.Contains(answers(t, s, "s")[0], "replaylog:end") {
			break
		}
	}
	require.Greater(t, len(seen), 50)
	for i := len(seen) - 1; i >= 0; i-- {
		require.Equal(t, "T05thread:1;", strings.Split(answers(t, s, "bs")[0], "swbreak")[0])
		require.Equal(t, seen[i], answers(t, s, "g")[0], "position %d", i)
	}
	require.Equal(t, []string{"T05thread:1;replaylog:begin;", "T00thread:1;", "T05thread:1;replaylog:end;", "W00", "W00"},
		answers(t, s, "bs", "c", "c", "c", "c"))
}

// TestBackward: from wherever it starts, going back stops where going forward
// stopped before, however many checkpoints there are.
func TestBackward(t *testing.T) {
	var all [][]string
	for _, every := range []uint64{1, 60, checkpointEvery} {
		run := newRun(t)
		run.every = every
		s := NewServer(run, &bytes.Buffer{})
		f0, ok := run.lab().Symbols.Lookup("ftor_f0")
		require.True(t, ok)
		sp := run.regs(0).GPR[emu.RSP]
		answers(t, s, fmt.Sprintf("Z0,%x,1", f0), fmt.Sprintf("Z2,%x,5", f0), fmt.Sprintf("Z3,%x,8", sp), "c", "c")
		var stops []string
		for n := 0; answers(t, s, "c")[0] != "W00"; n++ {
			require.Less(t, n, 200)
		}
		for run.pos > 0 {
			require.Less(t, len(stops), 200)
			a := answers(t, s, "bc")[0]
			stops = append(stops, fmt.Sprintf("%d %s", run.pos, a))
		}
		require.Greater(t, len(stops), 4)
		all = append(all, stops)
	}
	require.Equal(t, all[0], all[1])
	require.Equal(t, all[0], all[2])
}

// TestPoints: break- and watchpoints stop the run both ways, and no byte changes.
func TestPoints(t *testing.T) {
	run := newRun(t)
	s := NewServer(run, &bytes.Buffer{})
	f0, ok := run.lab().Symbols.Lookup("ftor_f0")
	require.True(t, ok)
	code := answers(t, s, fmt.Sprintf("m%x,20", f0))[0]
	brk := fmt.Sprintf("0,%x,1", f0)
	require.Equal(t, []string{"OK", "T05thread:1;swbreak:;"}, answers(t, s, "Z"+brk, "c"))
	require.Equal(t, f0, run.regs(0).RIP)
	require.Equal(t, code, answers(t, s, fmt.Sprintf("m%x,20", f0))[0])
	at := run.pos
	require.Equal(t, []string{"T05thread:1;", "T05thread:1;swbreak:;"}, answers(t, s, "s", "bc"))
	require.Equal(t, at, run.pos)
	// The site is patched before the second call: that is a store to code.
	require.Equal(t, []string{"OK", "OK", fmt.Sprintf("T05thread:1;watch:%x;", f0)}, answers(t, s, "z"+brk, fmt.Sprintf("Z2,%x,5", f0), "c"))
}

func TestListenIsLocal(t *testing.T) {
	for _, where := range []string{"0.0.0.0:0", "192.0.2.1:1", "example.org:1", "", "127.0.0.1", ":1234"} {
		_, err := Listen(where)
		require.ErrorContains(t, err, "expected 127.0.0.1:PORT", where)
	}
}

// runGdb lets the real gdb execute commands, connected to the run of a scenario,
// and returns what it prints.
func runGdb(t *testing.T, s *script.Script, commands string) string {
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		t.Skip("gdb is not installed")
	}
	run, err := NewRun(s, ftemu.Options{})
	require.NoError(t, err)
	defer run.Close()
	dir := t.TempDir()
	l, err := Listen("unix:" + filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = run.Serve(c)
		}
		served <- err
	}()
	file := filepath.Join(dir, "commands")
	require.NoError(t, os.WriteFile(file, []byte("target remote "+l.Addr().String()+"\n"+commands), 0o666))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, _ := exec.CommandContext(ctx, gdb, "-nx", "-batch", "-x", file).CombinedOutput()
	l.Close()
	require.NoError(t, <-served, "%s", out)
	return string(out)
}

// TestGdb lets the real gdb go to a trampoline and back to the site.
func TestGdb(t *testing.T) {
	text := runGdb(t, parse(t, scenario), `break *ftor_f0
continue
continue
continue
x/i $pc
stepi
info registers rip
reverse-stepi
monitor enabled_functions
continue
kill
`)
	require.Contains(t, text, "Breakpoint 1, 0x")
	require.Contains(t, text, "<ftor_f0>:\tcall ")
	require.Contains(t, text, "ftor_f0 [ftoracle] (1) R")
	require.Contains(t, text, "No more reverse-execution history")
}

// FuzzPackets: nothing that a client sends ends the server or the run.
func FuzzPackets(f *testing.F) {
	for _, s := range []string{"+$g#67", "$m0,8#01$s#73$bs#d5\x03", "$Z2,0,8#00-", "$$$#", "$X0,1:}#00"} {
		f.Add([]byte(s))
	}
	s, err := script.Parse("test.ft", strings.NewReader(scenario), script.Options{})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		run, err := NewRun(s, ftemu.Options{Limits: emu.Limits{Insns: 10_000}})
		require.NoError(t, err)
		defer run.Close()
		srv := NewServer(run, &bytes.Buffer{})
		srv.noAck = true // so that packets with any checksum are
		in := bufio.NewReader(bytes.NewReader(data))
		for n := 0; n < 50 && !srv.closed; n++ {
			it, err := readItem(in)
			if err != nil {
				return
			}
			it.bad = false
			require.NoError(t, srv.take(it))
		}
	})
}
