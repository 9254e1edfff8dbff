package trace

// A Clock is the time of a run: a nanosecond for each instruction executed. A
// gate, which stands for a function, is one instruction too. A run that is made
// again takes the same time, whichever engine executes it.
type Clock struct{ now uint64 }

// Mask is the kinds of events that a clock must be shown.
func (c *Clock) Mask() Mask { return MaskOf(Insn, Gate) }

// Tick shows the clock an event.
func (c *Clock) Tick(ev *Event) {
	if c.Mask().Has(ev.Kind) {
		c.now++
	}
}

// Now is the time in nanoseconds.
func (c *Clock) Now() uint64 { return c.now }

// A Noted is an event with the time at which it was noted, in nanoseconds.
type Noted struct {
	Event
	Time uint64
}

// A Buffer keeps what the function tracers note, as a kernel's ring buffer does.
// When it is full it takes no more.
type Buffer struct {
	clock Clock
	max   int
	notes []Noted
	lost  int
}

// BufferSize is how many events a Buffer takes unless told otherwise.
const BufferSize = 1 << 20

// NewBuffer returns a buffer for size events; 0 means BufferSize.
func NewBuffer(size int) *Buffer {
	if size == 0 {
		size = BufferSize
	}
	return &Buffer{max: size}
}

// noted are the kinds that a buffer keeps.
const noted = 1<<Func | 1<<Entry | 1<<Exit

// Mask implements Tracer.
func (b *Buffer) Mask() Mask { return b.clock.Mask() | noted }

// Trace implements Tracer.
func (b *Buffer) Trace(ev *Event) {
	b.clock.Tick(ev)
	switch {
	case noted&(1<<ev.Kind) == 0:
	case len(b.notes) == b.max:
		b.lost++
	default:
		b.notes = append(b.notes, Noted{*ev, b.clock.Now()})
	}
}

// Notes are the events kept, in their order.
func (b *Buffer) Notes() []Noted { return b.notes }

// Lost is how many events came when the buffer was full.
func (b *Buffer) Lost() int { return b.lost }

// Task names what runs on a CPU: one task for as long as the run lasts.
func Task(cpu int) (comm string, pid int) { return "ftemu", cpu + 1 }
