package guest

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/emu/interp"
)

// A runner calls functions of an image on an engine.
type runner struct {
	t   *testing.T
	img *Image
	cpu emu.CPU
}

const (
	stackTop = 0xffffc90000010000
	returnTo = 0xffffffff81000000 // where calls return: nothing is mapped there
)

func newRunner(t *testing.T, img *Image, gates *emu.Gates) *runner {
	e := interp.New()
	mem := e.NewMemory(0)
	t.Cleanup(mem.Close)
	require.NoError(t, img.Map(mem))
	require.NoError(t, mem.Map(stackTop-0x4000, 0x4000, emu.PermRW, "stack"))
	m, err := e.NewMachine(emu.Config{Memory: mem, Gates: gates})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return &runner{t: t, img: img, cpu: m.CPU(0)}
}

// addr is the address of a symbol.
func (r *runner) addr(name string) uint64 {
	a, ok := r.img.Symbols.Lookup(name)
	require.True(r.t, ok, "no symbol %s", name)
	return a
}

// call calls the function as C code does and returns what it returns.
func (r *runner) call(name string, args ...int64) int64 {
	r.t.Helper()
	regs := r.cpu.Regs()
	for i, a := range args {
		regs.GPR[emu.ArgRegs[i]] = uint64(a)
	}
	rsp := uint64(stackTop - 8)
	require.NoError(r.t, r.cpu.Memory().WriteU64(rsp, returnTo))
	regs.GPR[emu.RSP], regs.RIP = rsp, r.addr(name)
	stop := r.cpu.Run(emu.Limits{Until: returnTo, UseUntil: true, Insns: 100_000})
	require.Equal(r.t, emu.StopUntil, stop.Reason, "%s%v: %v", name, args, stop)
	require.Equal(r.t, rsp+8, regs.GPR[emu.RSP], "%s returned with its stack pointer moved", name)
	return int64(regs.GPR[emu.RAX])
}

// global reads a variable.
func (r *runner) global(name string) int64 {
	v, err := r.cpu.Memory().ReadU64(r.addr(name))
	require.NoError(r.t, err)
	return int64(v)
}

// Every shape of object computes the same once it is loaded: relocations, nops,
// padding and data are where they should be.
func TestFixturesRun(t *testing.T) {
	weights := []int64{1, 2, 4, 8, 16}
	loop := func(n int64) (sum int64) {
		for i := range n {
			sum += weights[i%5] * i
		}
		return sum
	}
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, loadFixture(t, fixture(name)), nil)
			require.EqualValues(t, 2*21-5, r.call("leaf", 21, 5))
			require.EqualValues(t, ((2*100-1)^0x55)+107, r.call("nested", 100))
			require.EqualValues(t, loop(23), r.call("loop", 23))
			require.EqualValues(t, 50, r.call("walk", int64(r.addr("second"))), "20+30 by relocated pointers")
			for what, want := range []int64{9, -9, 81, 60, loop(9), 9 ^ 0x55} {
				require.Equal(t, want, r.call("choose", int64(what), 9), "choose %d", what)
			}
			require.EqualValues(t, -1, r.call("choose", 6, 9))
			require.EqualValues(t, -1, r.call("choose", -1, 9))
			require.EqualValues(t, 7, r.call("setup", 7))
			require.EqualValues(t, 8, r.call("count"))
			require.EqualValues(t, 9, r.call("count"))
			require.EqualValues(t, 9, r.global("counter"))
			require.EqualValues(t, 8, r.global("last"))
			require.EqualValues(t, 27, r.call("untraced", 9))
		})
	}
}

// testSeed is the seed of a random test, printed when the test fails or is verbose.
func testSeed(t *testing.T) int64 {
	seed := time.Now().UnixNano()
	if s := os.Getenv("FTEMU_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseInt(s, 0, 64)
		require.NoError(t, err)
	}
	t.Logf("FTEMU_SEED=%d", seed)
	return seed
}

// oracleResult is what f0..f7 (g false) or g0..g7 return, as the recordings have it.
func oracleResult(g bool, i, a, b int64) int64 {
	if g {
		return 7*a + 11*b + 100000*(i+1)
	}
	return 3*a + 5*b + 1000*(i+1)
}

func TestOracleRuns(t *testing.T) {
	img, err := Oracle()
	require.NoError(t, err)
	var bodies []string
	var gates emu.Gates
	require.NoError(t, gates.Add(emu.Gate{Addr: OracleBodyLog, Name: "ftor_body_log", Clobber: true, Func: func(c emu.CPU) error {
		regs := c.Regs()
		bodies = append(bodies, fmt.Sprint(regs.GPR[emu.RDI], int64(regs.GPR[emu.RSI]), int64(regs.GPR[emu.RDX])))
		return nil
	}}))
	r := newRunner(t, img, &gates)
	rnd := rand.New(rand.NewSource(testSeed(t)))
	for id := range int64(16) {
		g, i := id >= 8, id%8
		name := fmt.Sprintf("ftor_%c%d", "fg"[id/8], i)
		for range 50 {
			a, b := int64(rnd.Uint64()), int64(rnd.Uint64())
			for _, direct := range []bool{true, false} {
				bodies = nil
				var ret int64
				if direct {
					ret = r.call(name, a, b)
				} else {
					ret = r.call("ftor_docall", int64(r.addr(name)), a, b)
				}
				require.Equal(t, oracleResult(g, i, a, b), ret, "%s(%d, %d)", name, a, b)
				require.Equal(t, []string{fmt.Sprint(id, a, b)}, bodies)
			}
		}
	}
}
