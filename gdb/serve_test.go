package gdb

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu"
)

// A client is a connection to a run that is served.
type client struct {
	net.Conn
	t      *testing.T
	in     *bufio.Reader
	served chan error
}

func connect(t *testing.T, run *Run) *client {
	ours, theirs := net.Pipe()
	c := &client{ours, t, bufio.NewReader(ours), make(chan error, 1)}
	go func() { c.served <- run.Serve(theirs) }()
	require.NoError(t, ours.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

func (c *client) send(packets ...string) {
	for _, p := range packets {
		_, err := c.Write(frame(p))
		require.NoError(c.t, err)
	}
}

// reply reads the next packet.
func (c *client) reply() string {
	for {
		it, err := readItem(c.in)
		require.NoError(c.t, err)
		if it.sign == 0 {
			return string(it.data)
		}
	}
}

// ends requires that the server has ended, without goroutines left behind.
func (c *client) ends() {
	select {
	case err := <-c.served:
		require.NoError(c.t, err)
	case <-time.After(10 * time.Second):
		c.t.Fatal("the server did not end")
	}
	require.Eventually(c.t, func() bool {
		stacks := make([]byte, 1<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*Run).Serve"))
	}, 5*time.Second, time.Millisecond)
}

// endless makes f0 a loop.
func endless(t *testing.T, run *Run, c *client) {
	f0, ok := run.lab().Symbols.Lookup("ftor_f0")
	require.True(t, ok)
	c.send(fmt.Sprintf("M%x,2:ebfe", f0))
	require.Equal(t, "OK", c.reply())
}

func TestInterrupt(t *testing.T) {
	run := newRun(t)
	c := connect(t, run)
	endless(t, run, c)
	for range 3 {
		c.send("c")
		// The loop does not end by itself.
		time.Sleep(20 * time.Millisecond)
		_, err := c.Write([]byte{interruptSign})
		require.NoError(t, err)
		require.Equal(t, "T02thread:1;", c.reply())
	}
	c.send("g", "D")
	require.Len(t, c.reply(), 2*(17*8+7*4+8*10+8*4+2*8))
	require.Equal(t, "OK", c.reply())
	require.NoError(t, <-c.served)
}

// TestInterruptBack: going back over much is interrupted too.
func TestInterruptBack(t *testing.T) {
	run := newRun(t)
	c := connect(t, run)
	endless(t, run, c)
	c.send("c")
	time.Sleep(300 * time.Millisecond)
	interrupt := func() {
		_, err := c.Write([]byte{interruptSign})
		require.NoError(t, err)
		require.Equal(t, "T02thread:1;", c.reply())
	}
	interrupt()
	from := run.pos
	c.send("bs")
	interrupt()
	require.Less(t, run.pos, from-1)
	c.send("D")
	require.Equal(t, "OK", c.reply())
	require.NoError(t, <-c.served)
}

func TestClientLeaves(t *testing.T) {
	run := newRun(t)
	for name, leave := range map[string]func(c *client){
		"silent":      func(*client) {},
		"in a packet": func(c *client) { _, _ = c.Write([]byte("$m0,")) },
		"while it runs": func(c *client) {
			endless(t, run, c)
			c.send("c")
		},
		"while it runs back": func(c *client) {
			c.send("bc")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, run)
			leave(c)
			c.Close()
			c.ends()
		})
	}
}

// TestGarbage: whatever comes, the server keeps no more than a packet of it.
func TestGarbage(t *testing.T) {
	run := newRun(t)
	c := connect(t, run)
	go func() { _, _ = io.Copy(io.Discard, c.in) }() // acknowledgements
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, piece := range []string{"x", "$", "$x", "$" + strings.Repeat("}", 1000)} {
		_, err := c.Write(bytes.Repeat([]byte(piece), 4<<20/len(piece)))
		require.NoError(t, err)
	}
	_, err := c.Write(append([]byte("$"), bytes.Repeat([]byte("x"), 16<<20)...))
	require.NoError(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapInuse)-int64(before.HeapInuse), int64(32<<20))
	c.Close()
	c.ends()

	it, err := readItem(bufio.NewReader(strings.NewReader("$" + strings.Repeat("x", 1<<20) + "#00")))
	require.NoError(t, err)
	require.True(t, it.long)
	require.LessOrEqual(t, cap(it.data), 2*maxPacket)
}

func TestSocketFiles(t *testing.T) {
	where := "unix:" + filepath.Join(t.TempDir(), "s")
	l, err := Listen(where)
	require.NoError(t, err)
	_, err = Listen(where)
	require.EqualError(t, err, "bind: address already in use")
	// The question did not take the place of a client.
	c, err := net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	theirs, err := l.Accept()
	require.NoError(t, err)
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	var b [1]byte
	_, err = theirs.Read(b[:])
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, theirs.Close())
	// A server that was killed leaves its file.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	l, err = Listen(where)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestFile(t *testing.T) {
	run := newRun(t)
	s := NewServer(run, &bytes.Buffer{})
	elf, err := run.ELF()
	require.NoError(t, err)
	for _, c := range []struct{ packet, want string }{
		{"qXfer:exec-file:read:1:0,100", "l" + execFile},
		{"vFile:setfs:0", "F0"},
		{"vFile:open:2f6574632f706173737764,0,0", noFile},
		{"vFile:open:2f6674656d752e656c66,1,0", readOnly},
		{"vFile:open:zz,0,0", badFile}, {"vFile:open:", badFile},
		{"vFile:pread:3,10,0", badFD}, {"vFile:unlink:2f6674656d752e656c66", ""},
		{"vFile:open:2f6674656d752e656c66,0,0", "F3"},
		{"vFile:pread:3,4,0", "F4;" + string(elf[:4])}, {"vFile:pread:3,4,fffffffff", "F0;"}, {"vFile:pread:3,4", badFile},
		{"vFile:pread:4,4,0", badFD}, {"vFile:close:3", "F0"}, {"vFile:close:3", badFD},
	} {
		require.Equal(t, []string{c.want}, answers(t, s, c.packet), c.packet)
	}
}

// TestScenarios lets gdb look at scenarios of several kinds.
func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		name, scenario, commands string
		want                     []string
	}{
		{"two CPUs", "new a plain\nfilter a f0\ncpu 0: call f0 1 2\ncpu 1: call f1 1 2\njoin", "break *ftor_f0\nbreak *ftor_f1\ncontinue\ninfo threads\ncontinue\ncontinue\nbt\nthread 1\nthread 2\n",
			[]string{`Thread 1 "cpu0" hit Breakpoint 1`, `Thread 2 "cpu1" hit Breakpoint 2`, "not in a call", "#1  0xffffffffc020194b in ftor_docall", "Switching to thread 2"}},
		{"an oops", "call f0 1 2\ncall f0 1 2", "set *(short *)ftor_f0 = 0x0b0f\ncontinue\nbt\nreverse-stepi\ncontinue\ncontinue\nmonitor script\ncontinue\n",
			[]string{"SIGILL", "#0  0xffffffffc0201540 in ftor_f0", "\nline 1  call f0 1 2: ", "all lines have run", "exited normally"}},
		{"names without a colon", "new a plain\nfilter a f0\nregister a\ncall f0 1 2", "complete break *tramp_\nbreak *tramp_a\ncontinue\n",
			[]string{"break *tramp_a\n", "Breakpoint 1, 0xffffffffc0210000 in tramp:a ()"}},
		{"code that is patched", "call f0 1 2\nnew a plain\nfilter a f0\nregister a\ncall f0 1 2", "watch *(char *)ftor_f0\ncontinue\nmonitor script\nx/i ftor_f0\ncontinue\nstepi\nx/i ftor_f0\nreverse-stepi\n",
			[]string{"Hardware watchpoint 1", "=>    4  register a", "int3", "call   0xffffffffc0210000 <tramp:a>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := runGdb(t, parse(t, c.scenario), c.commands)
			for _, want := range c.want {
				require.Contains(t, out, want)
			}
		})
	}
}

// TestNothingToStepThrough: a scenario that runs no guest code is refused.
func TestNothingToStepThrough(t *testing.T) {
	for _, text := range []string{"new a plain", "new k klp\nregister k force\ncall f0 1 2"} {
		_, err := NewRun(parse(t, text), ftemu.Options{})
		require.EqualError(t, err, "no call line runs: there is nothing to step through", text)
	}
}

// TestTold: where the run has come to, and what went wrong on the way, is said
// before the reply, and again when the run comes by again.
func TestTold(t *testing.T) {
	run, err := NewRun(parse(t, "sysctl 1\nwant rc 1\ncall f0 1 2\nwant ret 1\nnew a plain\ncall f0 1 2\ncpu 1: call f1 1 2\ncpu 0: call f2 1 2\n"), ftemu.Options{})
	require.NoError(t, err)
	defer run.Close()
	early := "line 2  want rc 1: found 0, wanted 1\n" // before there was a client
	failed := "line 4  want ret 1: found 1013, wanted 1\n"
	c := connect(t, run)
	for _, step := range []struct {
		packet string
		told   []string
		reply  string
	}{
		{"c", []string{early, failed, "line 6  call f0 1 2\n"}, "T00thread:1;"},
		{"s", nil, "T05thread:1;"},
		{"c", []string{"line 7  cpu 1: call f1 1 2\n"}, "T00thread:2;"},
		{"c", []string{"line 8  cpu 0: call f2 1 2\n"}, "T00thread:1;"},
		{"c", []string{"all lines have run, 2 not as expected\n"}, "T05thread:1;replaylog:end;"},
		{"bc", []string{"line 8  cpu 0: call f2 1 2\n"}, "T00thread:1;"},
		{"bc", []string{"line 7  cpu 1: call f1 1 2\n"}, "T00thread:2;"},
		{"bc", []string{"line 6  call f0 1 2\n"}, "T00thread:1;"},
		{"bc", []string{"line 3  call f0 1 2\n"}, "T00thread:1;"},
		{"c", []string{failed, "line 6  call f0 1 2\n"}, "T00thread:1;"},
	} {
		c.send(step.packet)
		for _, text := range step.told {
			require.Equal(t, "O"+hex.EncodeToString([]byte(text)), c.reply(), "%s: %q", step.packet, text)
		}
		require.Equal(t, step.reply, c.reply(), step.packet)
	}
	c.Close()
	c.ends()
}

// TestSurveyEnds: a scenario that does not end by itself still has its names.
func TestSurveyEnds(t *testing.T) {
	s := parse(t, "new k klp\nfilter k f0\nredirect k f0 f0\nregister k\ncall f0 1 2\n")
	run, err := NewRun(s, ftemu.Options{})
	require.NoError(t, err)
	defer run.Close()
	elf, err := run.ELF()
	require.NoError(t, err)
	require.Contains(t, string(elf), "tramp:k\x00")
}
