package ftemu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu"
	"ftemu/trampoline"
	"ftemu/trampoline/layout"
)

// seen logs what guest code logs.
type seen struct {
	lab *ftemu.Lab
	log []string
}

func (s *seen) Body(name string, a, b int64) {
	s.log = append(s.log, fmt.Sprintf("body %s(%d, %d)", name, a, b))
}

func (s *seen) Direct(name string, slot uint64, a, b int64) {
	s.log = append(s.log, fmt.Sprintf("%s(%d, %d) to %s", name, a, b, s.lab.Name(slot)))
}

func (s *seen) DirectExit(name string, ret int64) {
	s.log = append(s.log, fmt.Sprintf("%s returned %d", name, ret))
}

func (s *seen) take() string {
	text := strings.Join(s.log, "; ")
	s.log = nil
	return text
}

func parseLayout(t *testing.T, steps string) *layout.Layout {
	l, err := layout.Parse("t.layout", strings.NewReader("layout t\nargs 2\nslot rdi 8\nslot rsi 8\nslot ip 8\n"+steps))
	require.NoError(t, err)
	return l
}

// TestOwnTrampolines: layouts on a site of the built-in guest.
func TestOwnTrampolines(t *testing.T) {
	const keep = "save rdi rsi\nset ip return\n"
	s := &seen{}
	lab, err := ftemu.New(ftemu.Options{Observer: s})
	require.NoError(t, err)
	defer lab.Close()
	s.lab = lab
	addr := func(name string) uint64 {
		a, ok := lab.Guest().Symbols.Lookup("ftor_" + name)
		require.True(t, ok, name)
		return a
	}
	f0, g0 := addr("f0"), addr("g0")
	ops := lab.NewDirectOps("d", nil)
	require.NoError(t, lab.Core.SetFilterIP(ops, f0, false, false))
	for i, tt := range []struct {
		name  string
		steps string
		own   ftemu.OwnTrampoline
		ret   uint64
		log   string
	}{
		{"to the return slot", keep + "call log_entry(id, return, rdi, rsi)\nrestore rdi rsi\nleave to return", ftemu.OwnTrampoline{},
			1013, "t0(1, 2) to ftor_f0+0x5; body f0(1, 2)"},
		{"the original is called", keep + "call log_entry(id, return, rdi, rsi)\nrestore rdi rsi\ncall original\nsave result in ip\ncall log_exit(id, ip)\nrestore result from ip\nleave to parent", ftemu.OwnTrampoline{},
			1013, "t1(1, 2) to ftor_f0+0x5; body f0(1, 2); t1 returned 1013"},
		{"the body is called", keep + "call body\nleave to parent", ftemu.OwnTrampoline{Body: f0 + 5},
			1013, "body f0(1, 2)"},
		{"a jump to the body", "leave to body", ftemu.OwnTrampoline{Body: f0 + 5}, 1013, "body f0(1, 2)"},
		{"skipped", "set result 42\nleave to parent", ftemu.OwnTrampoline{}, 42, ""},
		{"a callback", keep + "call callback(id, &ip, rdi, rsi)\nset return ip\nrestore rdi rsi\nleave to return", ftemu.OwnTrampoline{},
			1013, "t5(1, 2) to ftor_f0+0x5; body f0(1, 2)"},
		{"a callback that redirects", keep + "call callback(id, &ip, rdi, rsi)\nset return ip\nrestore rdi rsi\nleave to return",
			ftemu.OwnTrampoline{Redirect: map[uint64]uint64{f0 + 5: g0}}, 100029, "t6(1, 2) to ftor_f0+0x5; body g0(1, 2)"},
		{"another function of the guest", keep + "call g1(7, 8)\nrestore rdi rsi\nleave to return", ftemu.OwnTrampoline{},
			1013, "body g1(7, 8); body f0(1, 2)"},
		{"on to another function", "leave to ftrace_stub", ftemu.OwnTrampoline{}, 1013, "body f0(1, 2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := fmt.Sprintf("t%d", i)
			tt.own.Maker = parseLayout(t, tt.steps)
			a, err := lab.AddTrampoline(name, tt.own)
			require.NoError(t, err)
			require.Equal(t, "ftor_t_"+name, lab.Name(a))
			got, ok := lab.DirectName(a)
			require.True(t, ok)
			require.Equal(t, name, got)
			require.NoError(t, lab.Core.RegisterDirectMulti(ops, a))
			ret, err := lab.Call(f0, 1, 2)
			require.NoError(t, err)
			require.Equal(t, tt.ret, ret)
			require.Equal(t, tt.log, s.take())
			require.NoError(t, lab.Core.UnregisterDirectMulti(ops, a))
			_, err = lab.AddTrampoline(name, tt.own)
			require.EqualError(t, err, fmt.Sprintf("direct trampoline %q exists already", name))
		})
	}
}

func TestOwnTrampolineErrors(t *testing.T) {
	lab, err := ftemu.New(ftemu.Options{})
	require.NoError(t, err)
	defer lab.Close()
	for _, tt := range []struct{ steps, want string }{
		{"call nosuch()\nleave to return", `t.layout:6: unknown function "nosuch", expected log_entry, log_exit, callback, or one of the guest or the kernel`},
		{"leave to body", "t.layout:6: body is meant for one function, expected to be told which"},
	} {
		_, err := lab.AddTrampoline("a", ftemu.OwnTrampoline{Maker: parseLayout(t, tt.steps)})
		require.EqualError(t, err, tt.want)
	}
	_, ok := lab.Direct("a")
	require.False(t, ok, "a failed attempt leaves nothing")
	// The area for them is bounded.
	_, err = lab.AddTrampoline("big", ftemu.OwnTrampoline{Maker: big{}})
	require.ErrorContains(t, err, "big: no room is left for trampolines")
	_, err = lab.AddTrampoline("a", ftemu.OwnTrampoline{Maker: parseLayout(t, "leave to return")})
	require.NoError(t, err)
}

// big is a trampoline that takes more memory than there is for all.
type big struct{}

func (big) Name() string                  { return "big" }
func (big) Contract() trampoline.Contract { return trampoline.Contract{} }
func (big) Frame() []trampoline.Slot      { return nil }
func (big) Make(e trampoline.Env) (trampoline.Placed, error) {
	return trampoline.Placed{
		Code:     trampoline.Code{Addr: e.Addr, Bytes: []byte{0xc3}},
		Segments: []trampoline.Segment{{Addr: e.Addr, Data: make([]byte, 17<<20)}},
	}, nil
}

// TestOwnTrampolineAndSnapshots: a lab that goes back forgets trampolines that
// were made since, and can make them again.
func TestOwnTrampolineAndSnapshots(t *testing.T) {
	lab, err := ftemu.New(ftemu.Options{})
	require.NoError(t, err)
	defer lab.Close()
	first, err := lab.AddTrampoline("first", ftemu.OwnTrampoline{Maker: parseLayout(t, "leave to return")})
	require.NoError(t, err)
	restore := lab.Snapshot()
	var addrs [2]uint64
	for i := range addrs {
		addrs[i], err = lab.AddTrampoline("second", ftemu.OwnTrampoline{Maker: parseLayout(t, "leave to return")})
		require.NoError(t, err)
		require.NoError(t, restore())
		_, ok := lab.Direct("second")
		require.False(t, ok)
	}
	require.Equal(t, addrs[0], addrs[1])
	require.NotEqual(t, first, addrs[0])
}
