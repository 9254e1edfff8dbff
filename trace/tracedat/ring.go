package tracedat

import (
	"encoding/binary"

	"ftemu/trace"
)

// Parts of the header of an entry: five bits of type or length in words, above
// them the time since the entry before.
const (
	lengthBits = 5
	deltaBits  = 27
	maxDelta   = 1<<deltaBits - 1
	typeExtend = 30 // a longer time, the upper part of which follows
)

// pageHeader is the size of a page's header: its time and how many bytes are used.
const pageHeader = 16

// ring is the pages of the ring buffer of a CPU.
func ring(notes []trace.Noted, cpu int) []byte {
	var out, page []byte
	var last uint64
	calls := make(map[int]uint64) // when functions were entered, by depth
	flush := func() {
		if page == nil {
			return
		}
		binary.LittleEndian.PutUint64(page[8:], uint64(len(page)-pageHeader))
		out = append(out, page...)
		out = append(out, make([]byte, pageSize-len(page))...)
		page = nil
	}
	for _, e := range notes {
		if e.CPU != cpu {
			continue
		}
		if e.Kind == trace.Entry {
			calls[e.Depth] = e.Time
		}
		data := entry(e, calls[e.Depth])
		const header, extend = 4, 8
		if len(page)+extend+header+len(data) > pageSize {
			flush()
		}
		if page == nil {
			page = binary.LittleEndian.AppendUint64(nil, e.Time)
			page = append(page, make([]byte, 8)...)
			last = e.Time
		}
		delta := e.Time - last
		last = e.Time
		if delta > maxDelta {
			page = binary.LittleEndian.AppendUint32(page, typeExtend|uint32(delta&maxDelta)<<lengthBits)
			page = binary.LittleEndian.AppendUint32(page, uint32(delta>>deltaBits))
			delta = 0
		}
		page = binary.LittleEndian.AppendUint32(page, uint32(len(data)/4)|uint32(delta)<<lengthBits)
		page = append(page, data...)
	}
	flush()
	return out
}

// IDs of the events.
const (
	idFunction = 1
	idExit     = 10
	idEntry    = 11
)

// preempt is the count of preemption that events are seen with.
const preempt = 1

// entry is the data of an event. start is when the function of an exit was entered.
func entry(e trace.Noted, start uint64) []byte {
	le := binary.LittleEndian
	id := map[trace.Kind]uint16{trace.Func: idFunction, trace.Entry: idEntry, trace.Exit: idExit}[e.Kind]
	b := le.AppendUint16(nil, id)
	b = append(b, 0, preempt)
	_, pid := trace.Task(e.CPU)
	b = le.AppendUint32(b, uint32(pid))
	b = le.AppendUint64(b, e.IP)
	if e.Kind == trace.Func {
		return le.AppendUint64(b, e.Addr)
	}
	b = le.AppendUint32(b, uint32(e.Depth))
	if e.Kind == trace.Exit {
		b = le.AppendUint32(b, uint32(e.Value))
		b = le.AppendUint64(b, start)
		b = le.AppendUint64(b, e.Time)
	}
	return b
}
