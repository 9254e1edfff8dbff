package patcher

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ftemu/emu"
	"ftemu/trace"
	"ftemu/x86"
)

// target is a function that sites call in these tests.
const target = textBase + 0x8000

// TestPhases is the table of what memory holds at each step and what a CPU that
// runs into the site does then.
func TestPhases(t *testing.T) {
	const ip = textBase + 0x100
	call := callTo(t, ip, target)
	call2 := callTo(t, ip, target+0x40)
	jmp := jmpTo(t, ip, target)
	for _, tt := range []struct {
		name     string
		old, new x86.Bytes5
	}{
		{"nop to call", x86.Nop5, call},
		{"call to nop", call, x86.Nop5},
		{"call to call", call, call2},
		{"nop to jmp", x86.Nop5, jmp},
		{"jmp to nop", jmp, x86.Nop5},
		{"call to itself", call, call},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := newMemory(t)
			p := NewPoker(mem)
			c := Change{IP: ip, Old: tt.old, New: tt.new}
			put(t, mem, c)
			var got []string
			look := func(when string) {
				got = append(got, fmt.Sprintf("%s: % x, %s", when, site(t, mem, ip), execute(t, p, mem, ip)))
			}
			p.Observer = observer{done: func(s Step) { look(s.Phase.String()) }}
			look("before")
			require.NoError(t, p.Apply([]Change{c}))
			look("after")
			o, n := tt.old, tt.new
			oldDoes, newDoes := expected(o, ip), expected(n, ip)
			require.Equal(t, []string{
				fmt.Sprintf("before: % x, %s", o, oldDoes),
				fmt.Sprintf("int3: cc % x, %s", o[1:], newDoes),
				fmt.Sprintf("tail: cc % x, %s", n[1:], newDoes),
				fmt.Sprintf("first: % x, %s", n, newDoes),
				fmt.Sprintf("after: % x, %s", n, newDoes),
			}, got)
		})
	}
}

// TestModifyDirect is the byte history of a site whose direct trampoline is
// exchanged: away through ftrace_regs_caller, and back.
func TestModifyDirect(t *testing.T) {
	const (
		ip = textBase + 0x200
		t1 = textBase + 0x1000
		t2 = textBase + 0x1100
		rc = textBase + 0x9000
	)
	mem := newMemory(t)
	p := NewPoker(mem)
	old, via, next := callTo(t, ip, t1), callTo(t, ip, rc), callTo(t, ip, t2)
	put(t, mem, Change{IP: ip, Old: old})
	var got []string
	p.Observer = observer{done: func(Step) { got = append(got, fmt.Sprintf("% x", site(t, mem, ip))) }}
	require.NoError(t, p.Apply([]Change{{ip, old, via}}))
	require.NoError(t, p.Apply([]Change{{ip, via, next}}))
	require.Equal(t, []string{
		fmt.Sprintf("cc % x", old[1:]), fmt.Sprintf("cc % x", via[1:]), fmt.Sprintf("% x", via),
		fmt.Sprintf("cc % x", via[1:]), fmt.Sprintf("cc % x", next[1:]), fmt.Sprintf("% x", next),
	}, got)
}

// TestNeverTorn lets a CPU run into every site of random batches after every
// single write.
func TestNeverTorn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := newMemory(t)
		p := NewPoker(mem)
		p.Strategy = rapid.SampledFrom([]Strategy{Breakpoint, StopMachine}).Draw(t, "strategy")
		var changes []Change
		ip := uint64(textBase)
		for i := range rapid.IntRange(1, 12).Draw(t, "sites") {
			ip += x86.SiteLen + rapid.Uint64Range(0, 70).Draw(t, "gap")
			draw := func(name string) x86.Bytes5 {
				to := rapid.Uint64Range(textBase, textBase+textSize).Draw(t, name+" target")
				return rapid.SampledFrom([]x86.Bytes5{x86.Nop5, callTo(t, ip, to), jmpTo(t, ip, to)}).Draw(t, fmt.Sprint(name, i))
			}
			changes = append(changes, Change{IP: ip, Old: draw("old"), New: draw("new")})
		}
		changes = rapid.Permutation(changes).Draw(t, "order")
		put(t, mem, changes...)
		before := make([]byte, textSize)
		require.NoError(t, mem.Read(textBase, before))

		turned := map[uint64]bool{} // sites that behaved as new: there is no way back
		check := func() {
			for _, c := range changes {
				does := execute(t, p, mem, c.IP)
				oldDoes, newDoes := expected(c.Old, c.IP), expected(c.New, c.IP)
				if does == newDoes {
					turned[c.IP] = true
					continue
				}
				require.Equal(t, oldDoes, does, "site %#x is torn", c.IP)
				require.False(t, turned[c.IP], "site %#x went back", c.IP)
			}
		}
		p.Observer = observer{
			wrote: func(Step, int) { check() },
			done: func(s Step) {
				for _, c := range s.Sites {
					require.Equal(t, expected(c.New, c.IP), execute(t, p, mem, c.IP), "after a sync")
				}
			},
		}
		require.NoError(t, p.Apply(changes))

		after := make([]byte, textSize)
		require.NoError(t, mem.Read(textBase, after))
		for _, c := range changes {
			copy(before[c.IP-textBase:], c.New[:])
		}
		require.Equal(t, before, after, "only the sites changed")
	})
}

// TestNaiveTears shows what the other strategies are for.
func TestNaiveTears(t *testing.T) {
	const ip = textBase + 0x300
	mem := newMemory(t)
	p := NewPoker(mem)
	p.Strategy = Naive
	c := Change{IP: ip, Old: x86.Nop5, New: callTo(t, ip, target)}
	put(t, mem, c)
	var seen []string
	p.Observer = observer{wrote: func(Step, int) { seen = append(seen, execute(t, p, mem, ip)) }}
	require.NoError(t, p.Apply([]Change{c}))
	// A call with the displacement of the nop's last four bytes, 0x0000441f.
	wild := fmt.Sprintf("to %#x returning to %#x", uint64(ip+5+0x441f), uint64(ip+5))
	require.Equal(t, []string{wild, expected(c.New, ip)}, seen)
}

// picky refuses to read or write single addresses.
type picky struct {
	*emu.Memory
	noRead, noWrite uint64
}

func (m picky) Read(addr uint64, b []byte) error {
	if m.noRead == addr {
		return errors.New("no")
	}
	return m.Memory.Read(addr, b)
}

func (m picky) Gather(addrs []uint64, n int, b []byte) int {
	for i, a := range addrs {
		if m.Read(a, b[i*n:(i+1)*n]) != nil {
			return i
		}
	}
	return len(addrs)
}

func (m picky) Write(addr uint64, b []byte) error {
	if m.noWrite == addr {
		return errors.New("no")
	}
	return m.Memory.Write(addr, b)
}

// TestRefusals checks that memory is untouched by what cannot be done, and that
// the first site to blame is named.
func TestRefusals(t *testing.T) {
	const a, b, c = textBase + 0x10, textBase + 0x20, textBase + 0x30
	call := func(ip uint64) x86.Bytes5 { return callTo(t, ip, target) }
	good := func(ip uint64) Change { return Change{IP: ip, Old: x86.Nop5, New: call(ip)} }
	for _, tt := range []struct {
		name            string
		strategy        Strategy
		changes         []Change
		noRead, noWrite uint64
		want            string
		reason          Reason
	}{
		{name: "mismatch", changes: []Change{good(a), {b, call(b), x86.Nop5}, {c, call(c), x86.Nop5}}, reason: Mismatch,
			want: "site 0xffffffff81000020: found 0f 1f 44 00 00, expected e8 db 7f 00 00"},
		{name: "unreadable", changes: []Change{good(a), good(b)}, noRead: b, reason: Unreadable,
			want: "site 0xffffffff81000020: cannot be read"},
		{name: "unwritable first byte", changes: []Change{good(a), good(b)}, noWrite: b, reason: Unwritable,
			want: "site 0xffffffff81000020: cannot be written"},
		{name: "unwritable tail", changes: []Change{good(a), good(b)}, noWrite: b + 1, reason: Unwritable,
			want: "site 0xffffffff81000020: cannot be written"},
		{name: "unwritable in a later batch", changes: []Change{good(b), good(a)}, noWrite: a + 1, reason: Unwritable,
			want: "site 0xffffffff81000010: cannot be written"},
		{name: "unwritable, naive", strategy: Naive, changes: []Change{good(a), good(b)}, noWrite: b + 1, reason: Unwritable,
			want: "site 0xffffffff81000020: cannot be written"},
		{name: "twice", changes: []Change{good(a), good(a)},
			want: "sites 0xffffffff81000010 and 0xffffffff81000010: sites overlap"},
		{name: "overlap, out of order", changes: []Change{good(b), good(a), good(b + 4)},
			want: "sites 0xffffffff81000020 and 0xffffffff81000024: sites overlap"},
		{name: "not an instruction of a site", changes: []Change{{a, x86.Nop5, x86.Bytes5{0x90, 0x90, 0x90, 0x90, 0x90}}},
			want: "site 0xffffffff81000010: new bytes 90 90 90 90 90: not an instruction that the int3 handler can stand in for"},
		{name: "something behind a ret", changes: []Change{{a, x86.Nop5, x86.Bytes5{0xc3, 0, 0, 0, 0}}},
			want: "site 0xffffffff81000010: new bytes c3 00 00 00 00: not an instruction that the int3 handler can stand in for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := newMemory(t)
			for _, ip := range []uint64{a, b, c} {
				put(t, mem, Change{IP: ip, Old: x86.Nop5})
			}
			before := make([]byte, textSize)
			require.NoError(t, mem.Read(textBase, before))
			p := NewPoker(picky{mem, tt.noRead, tt.noWrite})
			p.Strategy = tt.strategy
			err := p.Apply(tt.changes)
			require.EqualError(t, err, tt.want)
			var bug *Bug
			if require.Equal(t, tt.reason != 0, errors.As(err, &bug)); tt.reason != 0 {
				require.Equal(t, tt.reason, bug.Reason)
			}
			after := make([]byte, textSize)
			require.NoError(t, mem.Read(textBase, after))
			require.Equal(t, before, after)
			require.Equal(t, emu.StopInt3.String(), execute(t, p, mem, textBase), "no batch is left in progress")
		})
	}
}

func TestUnmapped(t *testing.T) {
	mem := newMemory(t)
	p := NewPoker(mem)
	edge := uint64(textBase + textSize - 3) // its tail is not mapped
	for _, ip := range []uint64{0, edge, textBase + textSize} {
		var bug *Bug
		require.ErrorAs(t, p.Apply([]Change{{IP: ip, Old: x86.Nop5, New: x86.Nop5}}), &bug)
		require.Equal(t, Unreadable, bug.Reason)
	}
	require.Error(t, p.WriteEarly(edge, make([]byte, 5)))
	require.Error(t, p.Retarget(edge, target))
}

func TestBusy(t *testing.T) {
	mem := newMemory(t)
	p := NewPoker(mem)
	c := Change{IP: textBase, Old: x86.Nop5, New: x86.Nop5}
	put(t, mem, c)
	var nested error
	p.Observer = observer{done: func(Step) { nested = p.Apply([]Change{c}) }}
	require.NoError(t, p.Apply([]Change{c}))
	require.ErrorIs(t, nested, ErrBusy)
	p.Observer = nil
	require.NoError(t, p.Apply([]Change{c}), "and is free again")
}

func TestRetarget(t *testing.T) {
	mem := newMemory(t)
	p := NewPoker(mem)
	const ip = textBase + 0x7e
	require.NoError(t, p.WriteEarly(ip, []byte{0xe8, 0, 0, 0, 0}))
	var phases []Phase
	p.Observer = observer{done: func(s Step) {
		phases = append(phases, s.Phase)
		require.Equal(t, expected(callTo(t, ip, target), ip), execute(t, p, mem, ip))
	}}
	require.NoError(t, p.Retarget(ip, target))
	require.Equal(t, []Phase{PhaseInt3, PhaseTail, PhaseFirst}, phases)
	require.Equal(t, callTo(t, ip, target), site(t, mem, ip))

	require.EqualError(t, p.Retarget(ip, 0xffff888000000000), "call at 0xffffffff8100007e: target 0xffff888000000000 is out of reach")
	require.EqualError(t, p.Retarget(textBase, target), "address 0xffffffff81000000: found cc cc cc cc cc, expected a call")
}

// recorder keeps events of some kinds as text.
type recorder struct {
	mask  trace.Mask
	lines []string
}

func (r *recorder) Mask() trace.Mask { return r.mask }
func (r *recorder) Trace(ev *trace.Event) {
	r.lines = append(r.lines, fmt.Sprintf("%#x %s at %#x: % x -> % x", ev.IP, ev.Text, ev.Addr, ev.Old, ev.New))
}

func TestTrace(t *testing.T) {
	mem := newMemory(t)
	p := NewPoker(mem)
	rec := &recorder{mask: trace.MaskOf(trace.Poke)}
	p.Tracer = rec
	const ip = textBase + 0x40
	require.NoError(t, p.WriteEarly(ip, x86.Nop5[:]))
	require.NoError(t, p.Apply([]Change{{ip, x86.Nop5, callTo(t, ip, target)}}))
	require.Equal(t, []string{
		"0xffffffff81000040 early at 0xffffffff81000040: cc cc cc cc cc -> 0f 1f 44 00 00",
		"0xffffffff81000040 int3 at 0xffffffff81000040: 0f -> cc",
		"0xffffffff81000040 tail at 0xffffffff81000041: 1f 44 00 00 -> bb 7f 00 00",
		"0xffffffff81000040 first at 0xffffffff81000040: cc -> e8",
	}, rec.lines)

	quiet := &recorder{}
	p.Tracer = quiet
	require.NoError(t, p.Retarget(ip, target+1))
	require.Empty(t, quiet.lines)
}
