package explore

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ftemu"
	"ftemu/emu/interp"
	"ftemu/ftracecore"
	"ftemu/patcher"
	"ftemu/script"

	"github.com/stretchr/testify/require"
)

// scenario reads one of the examples by its name.
func scenario(t testing.TB, name string) *script.Script {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "examples", name+".ft"))
	require.NoError(t, err)
	return parse(t, string(text))
}

func parse(t testing.TB, text string) *script.Script {
	t.Helper()
	s, err := script.Parse("test.ft", strings.NewReader(text), script.Options{})
	require.NoError(t, err)
	return s
}

// options are those for a profile, with mistakes separated by commas.
func options(t testing.TB, profile, mistakes string) Options {
	t.Helper()
	p, err := ftracecore.ParseProfile(profile)
	require.NoError(t, err)
	o := Options{Lab: ftemu.Options{Engine: interp.New(), Profile: &p}}
	require.NoError(t, o.Lab.Make(mistakes))
	return o
}

func search(t testing.TB, s *script.Script, o Options) *Report {
	t.Helper()
	r, err := Explore(context.Background(), s, o)
	require.NoError(t, err)
	return r
}

// slowly skips what takes long, where tests are to be short.
func slowly(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds, and many under the race detector")
	}
}

// asJSON is a value as text, to compare byte for byte.
func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// mistakes are the known ones, each with a scenario that shows it, what must be
// found first, and the step in which that breaks, with the locks held.
var mistakes = []struct {
	name, scenario string
	property       Property
	step, locks    string
}{
	{"naive", "explore/call-to-call-1", Torn, "cpu1: execute ftor_f0", ""},
	{"skip-int3", "explore/call-to-call-1", LostCall, "cpu1: execute ftor_f0", ""},
	{"disable-then-enable", "explore/direct-modify", Direct, "cpu1: return from ftor_f0", ""},
	{"keep-entry", "explore/livepatch-meets-bpf", Leftovers, "bpf: return -EBUSY", ""},
	{"no-self-on-modify", "explore/fexit-joins-fentry", Livepatch, "cpu1: return from ftor_f0", ""},
	{"relock-direct-mutex", "explore/direct-modify", Deadlock, "modify: waits for direct_mutex", "D"},
	{"blocking-peer", "explore/livepatch-meets-bpf", LockOrder, "klp: trampoline mutex of ftor_f0", "D"},
	{"no-grace", "explore/call-to-nop-1", Freed, "leave: free 0xffffffffc0210000", "L"},
}

func TestMistakes(t *testing.T) {
	known := make(map[string]bool)
	proved := make(map[string]bool) // scenarios in which nothing is found without a mistake
	for _, tt := range mistakes {
		known[tt.name] = true
		t.Run(tt.name, func(t *testing.T) {
			s := scenario(t, tt.scenario)
			with := options(t, "v6.1-fixed", tt.name)
			r := search(t, s, with)
			require.NotNil(t, r.Found, "%+v", r.Stats)
			require.Equal(t, tt.property, r.Found.Property, r.Found.Text)
			require.False(t, r.Exhaustive)
			t.Logf("%d executions, %d states: %s", r.Executions, r.States, r.Found.Schedule)

			sched, err := ParseSchedule(r.Found.Schedule, s)
			require.NoError(t, err)
			require.LessOrEqual(t, len(sched), 40)
			first, err := Replay(s, with, sched)
			require.NoError(t, err)
			require.Equal(t, &r.Found.Violation, first.Found)
			require.Equal(t, []string{tt.step + " " + tt.locks}, broken(first))
			again, err := Replay(s, with, sched)
			require.NoError(t, err)
			require.Equal(t, asJSON(t, first), asJSON(t, again))

			if proved[tt.scenario] {
				return
			}
			proved[tt.scenario] = true
			without := search(t, s, options(t, "v6.1-fixed", ""))
			require.Nil(t, without.Found)
			require.True(t, without.Exhaustive)
		})
	}
	for _, m := range ftemu.Mistakes() {
		require.True(t, known[m.Name], "no scenario shows the mistake %s", m.Name)
	}
}

// broken are the steps of an execution in which the property breaks, with the
// locks held; they are its last ones.
func broken(tr *Trace) (out []string) {
	for i, m := range tr.Moves {
		if m.Breaks {
			row := tr.Columns()[i+1]
			out = append(out, m.Thread+": "+m.What+" "+row[len(row)-2])
		} else if len(out) > 0 {
			return nil
		}
	}
	return out
}

// TestBroken is where a property breaks when that is not by a mistake, and what
// schedules there are for.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		properties []Property
		mistake    string
		profile    string
		steps      []string
	}{
		{
			"two threads wait", scenarioText(t, "explore/livepatch-leaves"), []Property{Deadlock}, "blocking-peer", "v6.1-fixed",
			[]string{"klp: waits for trampoline mutex of ftor_f0 D", "bpf: waits for direct_mutex T"},
		},
		{
			"an expectation in a thread", "new a plain\nfilter a f0\nthread t\nregister a\nwant rc -EBUSY\n", nil, "", "v6.1",
			[]string{"t: want rc -EBUSY "},
		},
		{
			"an expectation behind the threads", "new a plain\nfilter a f0\nthread t\nregister a\njoin\nwant target f0 nop\n", nil, "", "v6.1",
			[]string{": after the threads: want target f0 nop "},
		},
		{
			"a warning in the middle of a step", "new a plain\nfilter a f0\nthread t\nunregister a\n", nil, "", "v6.1",
			[]string{"t: WARN in __unregister_ftrace_function L"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.text)
			o := options(t, tt.profile, tt.mistake)
			o.Properties = tt.properties
			r := search(t, s, o)
			require.NotNil(t, r.Found)
			sched, err := ParseSchedule(r.Found.Schedule, s)
			require.NoError(t, err)
			tr, err := Replay(s, o, sched)
			require.NoError(t, err)
			require.Equal(t, tt.steps, broken(tr))
		})
	}
	s := scenario(t, "explore/nop-to-call-1")
	tr, err := Replay(s, options(t, "v6.1", ""), nil)
	require.NoError(t, err)
	require.NotEmpty(t, tr.Moves)
	require.Empty(t, broken(tr))
}

// TestBlockingPeerDeadlocks looks behind the inversion of locks, which is seen
// first, for the deadlock that it leads to.
func TestBlockingPeerDeadlocks(t *testing.T) {
	s := scenario(t, "explore/livepatch-leaves")
	o := options(t, "v6.1-fixed", "blocking-peer")
	o.Properties = []Property{Deadlock}
	r := search(t, s, o)
	require.NotNil(t, r.Found)
	require.Equal(t, "klp waits for trampoline mutex of ftor_f0, held by bpf since line 13 (detach p); "+
		"bpf waits for direct_mutex, held by klp since line 11 (unregister a)", r.Found.Text)
}

// TestKernelBug is what v6.1.192 does where modify does not respect a livepatch.
func TestKernelBug(t *testing.T) {
	s := scenario(t, "explore/fexit-joins-fentry")
	o := options(t, "v6.1", "")
	o.All = true
	r := search(t, s, o)
	require.True(t, r.Exhaustive)
	require.Positive(t, r.Counts[Livepatch], "%v", r.Counts)
	o.Properties = []Property{Alive}
	r = search(t, s, o)
	require.Positive(t, r.Counts[Alive], "%v", r.Counts)
}

// TestLivepatchReplaced is the same bug where no program is attached or detached:
// one livepatch leaves while another comes.
func TestLivepatchReplaced(t *testing.T) {
	slowly(t)
	s := scenario(t, "explore/livepatch-replaced")
	r := search(t, s, options(t, "v6.1", ""))
	require.NotNil(t, r.Found)
	t.Logf("%+v %s", r.Found, r.Found.Schedule)
	r = search(t, s, options(t, "v6.1-fixed", ""))
	require.Nil(t, r.Found)
	require.True(t, r.Exhaustive)
}

// TestStrategies: the counts are exact, because a search is deterministic. They
// change when the points of choice do.
func TestStrategies(t *testing.T) {
	for _, tt := range []struct {
		scenario                   string
		states, executions         int // int3 protocol
		stopStates, stopExecutions int // stop_machine
	}{
		{"nop-to-call-1", 273, 432, 41, 58},
		{"nop-to-call-3", 451, 720, 41, 58},
		{"call-to-call-1", 970, 1604, 123, 181},
		{"call-to-call-3", 1592, 2684, 123, 181},
		{"call-to-nop-1", 409, 651, 108, 154},
		{"call-to-nop-3", 675, 1095, 108, 154},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			if strings.HasSuffix(tt.scenario, "-3") {
				slowly(t)
			}
			s := scenario(t, "explore/"+tt.scenario)
			run := func(st patcher.Strategy) *Report {
				o := options(t, "v6.1", "")
				o.Lab.Strategy = st
				r := search(t, s, o)
				t.Logf("%v: exhaustive %t, %+v", st, r.Exhaustive, r.Stats)
				return r
			}
			r := run(patcher.Breakpoint)
			require.Nil(t, r.Found)
			require.True(t, r.Exhaustive)
			require.Equal(t, [2]int{tt.states, tt.executions}, [2]int{r.States, r.Executions})

			r = run(patcher.StopMachine)
			require.Nil(t, r.Found)
			require.True(t, r.Exhaustive)
			require.Equal(t, [2]int{tt.stopStates, tt.stopExecutions}, [2]int{r.States, r.Executions})

			r = run(patcher.Naive)
			require.NotNil(t, r.Found)
			require.Equal(t, Torn, r.Found.Property)
		})
	}
}

// small are scenarios with few enough orders to try all of them without
// reduction.
const (
	smallPoke = `begin small sites=f0
new a plain
filter a f0

thread enable
register a
cpu 1: call f0 1 2
join
want target f0 tramp:a
`
	smallJoin = `begin small sites=f0
new a plain
new b plain
filter a f0
filter b f0
register a

thread join
register b
cpu 1: call f0 1 2
join
want target f0 ftrace_caller
`
	smallLeave = `begin small sites=f0
new a plain
filter a f0
register a

thread leave
unregister a
cpu 1: call f0 1 2
join
want target f0 nop
`
	smallMeet = `begin small sites=f0
new a klp
filter a f0
prog p fexit

thread klp
register a
thread bpf
attach p f0
join
`
)

// TestReduction: what a search without reduction finds, the reduced one does.
func TestReduction(t *testing.T) {
	modify := scenarioText(t, "explore/direct-modify")
	fexit := scenarioText(t, "explore/fexit-joins-fentry")
	for _, tt := range []struct {
		name, text, profile string
		mistake             string
		broken              bool // some property is
		slow                bool
	}{
		{"poke", smallPoke, "v6.1", "", false, false},
		{"poke, naive", smallPoke, "v6.1", "naive", true, false},
		{"join, skip-int3", smallJoin, "v6.1", "skip-int3", true, true},
		{"leave", smallLeave, "v6.1", "", false, true},
		{"leave, no-grace", smallLeave, "v6.1", "no-grace", true, false},
		{"meet", smallMeet, "v6.1", "", false, false},
		{"meet, blocking-peer", smallMeet, "v6.1", "blocking-peer", true, false},
		{"meet, keep-entry", smallMeet, "v6.1", "keep-entry", true, false},
		{"modify", modify, "v6.1", "", false, true},
		{"modify, disable-then-enable", modify, "v6.1", "disable-then-enable", true, true},
		{"modify, relock", modify, "v6.1", "relock-direct-mutex", true, false},
		{"fexit", fexit, "v6.1-fixed", "", false, true},
		{"fexit, no-self-on-modify", fexit, "v6.1-fixed", "no-self-on-modify", true, true},
		{"fexit, bug of v6.1", fexit, "v6.1", "", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.slow {
				slowly(t)
			}
			s := parse(t, tt.text)
			o := options(t, tt.profile, tt.mistake)
			both := func() (reduced, full *Report) {
				o.Full = false
				reduced = search(t, s, o)
				o.Full = true
				full = search(t, s, o)
				return reduced, full
			}
			o.All = true
			reduced, full := both()
			t.Logf("reduced %+v %v\nfull    %+v %v", reduced.Stats, reduced.Counts, full.Stats, full.Counts)
			require.True(t, reduced.Exhaustive)
			require.True(t, full.Exhaustive)
			require.Equal(t, tt.broken, len(full.Counts) > 0)
			require.Equal(t, tt.broken, len(reduced.Counts) > 0)
			// Where several properties break at once, only the one that is seen
			// first counts, which need not be the same.
			o.All = false
			for _, p := range Properties() {
				if reduced.Counts[p]+full.Counts[p] > 0 {
					o.Properties = []Property{p}
					reduced, full := both()
					require.NotNil(t, reduced.Found, p)
					require.NotNil(t, full.Found, p)
				}
			}
			require.Less(t, reduced.States, full.States)
		})
	}
}

// TestMerging: two states that count as the same go on in the same ways. It
// makes every execution there is and merges no states.
func TestMerging(t *testing.T) {
	for _, tt := range []struct {
		name, text, mistake string
		broken              bool
	}{
		{"poke", smallPoke, "", false},
		{"poke, naive", smallPoke, "naive", true},
		{"join, skip-int3", smallJoin, "skip-int3", true},
		{"leave", smallLeave, "", false},
		{"leave, no-grace", smallLeave, "no-grace", true},
		{"meet", smallMeet, "", false},
		{"meet, blocking-peer", smallMeet, "blocking-peer", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.text)
			o := options(t, "v6.1", tt.mistake)
			o.All = true
			merged := search(t, s, o)
			o.Workers = 1
			counts, states, executions := unmerged(t, s, o)
			t.Logf("%d executions, %d states; with merging %+v", executions, states, merged.Stats)
			require.Equal(t, merged.States, states)
			require.Greater(t, executions, merged.Executions)
			require.Equal(t, tt.broken, len(counts) > 0)
			for p := range counts {
				require.Positive(t, merged.Counts[p], p)
			}
			for p := range merged.Counts {
				require.Positive(t, counts[p], p)
			}
		})
	}
}

// unmerged makes every execution of a scenario.
func unmerged(t *testing.T, s *script.Script, o Options) (counts map[Property]int, states, executions int) {
	e, err := scenarioEngine(s, &o)
	require.NoError(t, err)
	defer e.close()
	// What is contended is learned by a search that merges.
	for {
		_, err := e.search(context.Background())
		require.NoError(t, err)
		if !e.learn() {
			break
		}
	}
	counts = make(map[Property]int)
	seen := make(map[uint64]bool)
	todo := []Schedule{nil}
	for len(todo) > 0 {
		sched := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		executions++
		require.Less(t, executions, 200_000)
		out := e.execute(e.worlds[0], sched, nil)
		require.NoError(t, out.err)
		for _, n := range out.nodes {
			seen[n.digest] = true
			for _, c := range n.choices[1:] {
				todo = append(todo, append(slices.Clone(sched), Deviation{n.at, c}))
			}
		}
		if out.found != nil {
			counts[out.found.Property]++
		}
	}
	return counts, len(seen), executions
}

func scenarioText(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join("..", "examples", name+".ft"))
	require.NoError(t, err)
	return string(text)
}

// TestSameReport: a search gives the same however many executions run at once.
func TestSameReport(t *testing.T) {
	for _, name := range []string{"explore/call-to-nop-1", "explore/direct-modify", "explore/fexit-joins-fentry"} {
		s := scenario(t, name)
		for _, all := range []bool{false, true} {
			var want string
			for workers := 1; workers <= 3; workers++ {
				o := options(t, "v6.1", "")
				o.Workers, o.All = workers, all
				got := asJSON(t, search(t, s, o))
				if workers == 1 {
					want = got
				}
				require.Equal(t, want, got, "%s, %d workers", name, workers)
			}
		}
	}
}

// TestNoLeak: no search leaves a goroutine behind, however it ends.
func TestNoLeak(t *testing.T) {
	before := runtime.NumGoroutine()
	s := scenario(t, "explore/call-to-nop-1")
	meet := scenario(t, "explore/livepatch-meets-bpf")

	search(t, s, options(t, "v6.1", ""))
	search(t, s, options(t, "v6.1", "no-grace"))
	search(t, meet, options(t, "v6.1-fixed", "blocking-peer"))
	o := options(t, "v6.1", "")
	o.MaxSteps = 3
	_, err := Explore(context.Background(), s, o)
	require.Error(t, err)
	o = options(t, "v6.1", "")
	_, err = Replay(s, o, Schedule{{0, Choice{1, 9}}})
	require.ErrorIs(t, err, ErrSchedule)
	_, err = Random(context.Background(), meet, o, 1, 3, 2)
	require.NoError(t, err)

	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestInterrupted(t *testing.T) {
	s := scenario(t, "share/bpf-first")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := options(t, "v6.1", "")
	o.Progress = func(st Stats) {
		if st.Executions > 100 {
			cancel()
		}
	}
	r, err := Explore(ctx, s, o)
	require.NoError(t, err)
	require.Equal(t, "not exhaustive, no finding: interrupted", r.Verdict())
	require.True(t, r.Short())
	require.False(t, r.Exhaustive)
	require.Positive(t, r.States)
	require.Greater(t, r.Executions, 100)

	r, err = Random(ctx, s, o, 1, 10, 0)
	require.NoError(t, err)
	require.Equal(t, "not exhaustive, no finding: interrupted", r.Verdict())
	require.True(t, r.Short())
}

func TestBounds(t *testing.T) {
	s := scenario(t, "explore/call-to-nop-1")

	o := options(t, "v6.1", "")
	o.MaxSteps = 5
	_, err := Explore(context.Background(), s, o)
	require.EqualError(t, err, "an execution of more than 5 steps: raise --max-steps")
	_, err = Random(context.Background(), s, o, 1, 10, 0)
	require.EqualError(t, err, "an execution of more than 5 steps: raise --max-steps")

	o = options(t, "v6.1", "")
	o.MaxStates = 20
	r := search(t, s, o)
	require.Equal(t, "not exhaustive, no finding: the bound of 20 states; raise --max-states", r.Verdict())
	require.Equal(t, 20, r.States)
	require.True(t, r.Short())
	require.False(t, r.Exhaustive)
	require.Nil(t, r.Found)
	all := search(t, s, options(t, "v6.1", ""))
	o.MaxStates = all.States
	require.Equal(t, asJSON(t, all), asJSON(t, search(t, s, o)), "what fits, fits")
	o.MaxStates--
	r = search(t, s, o)
	require.True(t, r.Unfit)
	require.Equal(t, o.MaxStates, r.States)

	// What is found within the bound is a finding.
	o = options(t, "v6.1-fixed", "blocking-peer")
	o.MaxStates = 50
	r = search(t, scenario(t, "explore/livepatch-meets-bpf"), o)
	require.NotNil(t, r.Found)
	require.Equal(t, 50, r.States)
	require.False(t, r.Short())
	o.All = true
	r = search(t, scenario(t, "explore/livepatch-meets-bpf"), o)
	require.NotNil(t, r.Found)
	require.True(t, r.Short())

	// A bound on deviations keeps a mistake that needs two from being found.
	for _, tt := range []struct {
		bound int
		found bool
	}{{1, false}, {2, false}, {3, true}} {
		o = options(t, "v6.1", "no-grace")
		o.Bound = tt.bound
		r = search(t, s, o)
		require.Equal(t, tt.found, r.Found != nil, "bound %d", tt.bound)
		require.False(t, r.Exhaustive)
		if !tt.found {
			require.Contains(t, r.Stopped, " differing from running on")
			require.False(t, r.Short(), "it was asked for")
			require.Equal(t, tt.bound-1, r.Deviations)
		}
	}
}

func TestNothingToExplore(t *testing.T) {
	for _, tt := range []struct{ name, text, err string }{
		{"no thread", "new a plain\nfilter a f0\nregister a\n", "no thread or cpu line, so there is nothing to explore"},
		{"fails before the threads", "begin x sites=f0\nnew a plain\nfilter a f0\nregister a\nwant rc -EBUSY\nthread t\nunregister a\n", "before the threads begin: found 0, wanted -EBUSY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Explore(context.Background(), parse(t, tt.text), options(t, "v6.1", ""))
			require.ErrorContains(t, err, tt.err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestRandom(t *testing.T) {
	for _, tt := range []struct {
		mistake, scenario string
		property          Property
	}{
		{"naive", "explore/call-to-call-1", Torn},
		{"skip-int3", "explore/call-to-call-1", LostCall},
		{"blocking-peer", "explore/livepatch-meets-bpf", LockOrder},
		{"disable-then-enable", "explore/direct-modify", Direct},
	} {
		for _, depth := range []int{0, 3} {
			s := scenario(t, tt.scenario)
			o := options(t, "v6.1-fixed", tt.mistake)
			run := func() *Report {
				r, err := Random(context.Background(), s, o, 7, 400, depth)
				require.NoError(t, err)
				return r
			}
			r := run()
			require.NotNil(t, r.Found, "%s, depth %d", tt.mistake, depth)
			require.Equal(t, tt.property, r.Found.Property)
			require.Equal(t, asJSON(t, r), asJSON(t, run()))

			sched, err := ParseSchedule(r.Found.Schedule, s)
			require.NoError(t, err)
			tr, err := Replay(s, o, sched)
			require.NoError(t, err)
			require.Equal(t, &r.Found.Violation, tr.Found)
		}
	}
	r, err := Random(context.Background(), scenario(t, "explore/direct-modify"), options(t, "v6.1-fixed", ""), 1, 50, 0)
	require.NoError(t, err)
	require.Nil(t, r.Found)
	require.False(t, r.Exhaustive)
	require.Equal(t, "not exhaustive, no finding: 50 random executions", r.Verdict())
	require.False(t, r.Short(), "they were asked for")
}

// TestDesigns: a search under every design ends by itself.
func TestDesigns(t *testing.T) {
	s := parse(t, smallMeet)
	for _, d := range ftracecore.Designs() {
		o := options(t, "v6.1-fixed", "")
		o.Lab.Design, o.All = &d, true
		r := search(t, s, o)
		require.True(t, r.Exhaustive, d.Name())
		t.Logf("%s: %+v %v", d.Name(), r.Stats, r.Counts)
	}
}
