package explore

import (
	"encoding/binary"
	"slices"

	"ftemu/emu"
	"ftemu/script"
	"ftemu/x86"
)

// maxCallInsns bounds one call into the guest.
const maxCallInsns = 100_000

// A store is one store to code that a CPU may not have seen yet.
type store struct {
	addr     uint64
	old, new []byte
}

// A view is what a CPU may not have seen yet of the stores to code, in their
// order.
type view struct{ stores []store }

func (v *view) add(addr uint64, old, new []byte) {
	v.stores = append(v.stores, store{addr, slices.Clone(old), slices.Clone(new)})
}

func (v *view) sync() { v.stores = nil }

func (v *view) appendState(b []byte) []byte {
	for _, s := range v.stores {
		b = binary.LittleEndian.AppendUint64(b, s.addr)
		b = append(append(b, s.old...), s.new...)
	}
	return append(b, 0xff)
}

// at lists the stores that change the instruction at ip.
func (v *view) at(ip uint64) (idx []int) {
	for i, s := range v.stores {
		if s.addr < ip+x86.SiteLen && ip < s.addr+uint64(len(s.new)) {
			idx = append(idx, i)
		}
	}
	return idx
}

// call makes one call into the guest, stopping before each instruction that
// others can influence.
func (t *thread) call(c *script.GuestCall) {
	w := t.world
	cpu := w.cpu(t)
	if w.opt.Full {
		t.yield(event{kind: evPoint, text: "call " + w.lab().Name(c.Fn)})
	}
	if err := w.lab().BeginCall(cpu, c.Fn, c.Args...); err != nil {
		w.violate(Ends, "call "+w.lab().Name(c.Fn), "%v", err)
		return
	}
	t.calls++
	t.inCall = true
	t.judged = judgement{firstEvent: len(t.res.EV)}
	defer func() {
		t.inCall = false
		w.lab().Reclaim()
	}()
	for n := 0; ; n++ {
		ip := cpu.Regs().RIP
		if ip == w.lab().ReturnIP() {
			break
		}
		if n == maxCallInsns {
			w.violate(Ends, w.executes(ip), "the call of %s did not end within %d instructions", w.lab().Name(c.Fn), maxCallInsns)
			return
		}
		if w.opt.Full || w.visible(ip) {
			t.yield(event{kind: evInsn, ip: ip, views: len(w.views[cpu.ID()].at(ip)), world: w})
		}
		if w.lab().IsDirectFunction(ip) {
			t.judged.entered = true
		}
		if !w.insn(t, cpu, ip) {
			return
		}
	}
	w.run.Start(t.res)
	w.run.Returned(cpu.Regs().GPR[emu.RAX])
	w.judge(t, c.Fn)
}

// visible tells whether the effect of the instruction at ip can depend on what
// other threads do, or theirs on it.
func (w *world) visible(ip uint64) bool {
	lab := w.lab()
	if w.sites[ip] || lab.IsDispatch(ip) || lab.IsStaticCall(ip) {
		return true
	}
	// Code that may be freed: a CPU that has stopped at its entry is in it, and
	// one that has stopped where an image is changed when it is retired is in
	// the body that the image called.
	return lab.IsTransient(ip) && (ip%emu.PageSize == 0 || lab.IsRetirable(ip))
}

// insn runs one instruction as the thread's variant sees it. It returns
// false when the call cannot go on.
func (w *world) insn(t *thread, cpu emu.CPU, ip uint64) bool {
	mem := w.lab().Mem
	v := &w.views[cpu.ID()]
	unseen := v.at(ip)
	stale := min(t.variant, len(unseen))
	t.variant = 0
	var now [x86.SiteLen]byte
	atSite := w.sites[ip] || w.lab().IsStaticCall(ip)
	if atSite && mem.Read(ip, now[:]) != nil {
		atSite = false
	}
	seen := now
	for _, i := range slices.Backward(unseen[len(unseen)-stale:]) {
		s := v.stores[i]
		for k, b := range s.old {
			if off := s.addr + uint64(k) - ip; off < x86.SiteLen {
				seen[off] = b
			}
		}
	}
	// What was seen now cannot be unseen.
	for _, i := range slices.Backward(unseen[:len(unseen)-stale]) {
		v.stores = slices.Delete(v.stores, i, i+1)
	}
	if atSite {
		w.fetched(t, ip, seen)
		if seen != now {
			_ = mem.Write(ip, seen[:])
		}
	}
	w.run.Start(t.res)
	stop := cpu.Run(emu.Limits{Insns: 1})
	if atSite && seen != now {
		_ = mem.Write(ip, now[:])
	}
	if stop.Reason != emu.StopInsns {
		w.faulted(ip, stop)
		return false
	}
	if atSite {
		w.executed(ip, seen, cpu.Regs().RIP)
	}
	return true
}

// whole are the instructions that a CPU may find at a site: what is there when
// nobody changes it, else the old and the new one.
func (w *world) whole(ip uint64) []x86.Bytes5 {
	if c, ok := w.changes[ip]; ok {
		return []x86.Bytes5{c.Old, c.New}
	}
	var b x86.Bytes5
	_ = w.lab().Mem.Read(ip, b[:])
	return []x86.Bytes5{b}
}

// fetched checks that a CPU found a whole instruction at a site.
func (w *world) fetched(t *thread, ip uint64, seen x86.Bytes5) {
	w.atSite(t, ip)
	if seen[0] == x86.OpInt3 || slices.Contains(w.whole(ip), seen) {
		return
	}
	w.violate(Torn, w.executes(ip), "%s fetched % x at %s, which is neither the old instruction (% x) nor the new one (% x)",
		t.name, seen, w.lab().Name(ip), w.changes[ip].Old, w.changes[ip].New)
}

// executed checks that a site led where its old or its new instruction leads.
func (w *world) executed(ip uint64, seen x86.Bytes5, rip uint64) {
	for _, b := range w.whole(ip) {
		if rip == leadsTo(b, ip) {
			return
		}
	}
	w.violate(LostCall, w.executes(ip), "%s led to %s: neither its old instruction (to %s) nor its new one (to %s) leads there",
		w.lab().Name(ip), w.lab().Name(rip), w.lab().Name(leadsTo(w.changes[ip].Old, ip)), w.lab().Name(leadsTo(w.changes[ip].New, ip)))
}

// executes is the step that executes the instruction at ip.
func (w *world) executes(ip uint64) string { return event{kind: evInsn, ip: ip, world: w}.what() }

// leadsTo is where the instruction of a site takes a CPU.
func leadsTo(b x86.Bytes5, ip uint64) uint64 {
	if form, target := x86.ParseSite(b, ip); form == x86.FormCall || form == x86.FormJmp {
		return target
	}
	return ip + x86.SiteLen
}

// faulted reports a call that broke off.
func (w *world) faulted(ip uint64, stop emu.Stop) {
	what := w.executes(ip)
	switch {
	case stop.Reason == emu.StopInt3:
		w.violate(Torn, what, "an int3 at %s that nobody claims", w.lab().Name(ip))
	case w.lab().IsTransient(stop.RIP) && (stop.Reason == emu.StopFetch || stop.Reason == emu.StopNoExec):
		w.violate(Freed, what, "a CPU executes at %#x, in a trampoline that was freed", stop.RIP)
	default:
		w.violate(Torn, what, "a CPU went astray behind %s: %s", w.lab().Name(ip), stop.Error())
	}
}

// watcher sees memory being freed.
type watcher struct{ w *world }

func (watcher) Mapped(uint64, []byte, emu.Perm)    {}
func (watcher) Protected(uint64, uint64, emu.Perm) {}
func (watcher) CodeChanged(uint64, uint64)         {}

// Unmapped reports code that is freed while a CPU is in it, or will return to it.
func (x watcher) Unmapped(addr, size uint64) {
	w := x.w
	if w.cur == nil || w.cur.killed {
		return
	}
	in := func(a uint64) bool { return a-addr < size }
	for _, t := range w.threads {
		if !t.inCall {
			continue
		}
		cpu := w.cpu(t)
		where := "executes in it"
		inside := in(cpu.Regs().RIP)
		for _, a := range w.lab().StackWords(cpu) {
			if !inside && in(a) {
				inside, where = true, "will return into it"
			}
		}
		if inside {
			w.violate(Freed, "free "+w.lab().Name(addr), "%s frees %s while %s %s", w.cur.name, w.lab().Name(addr), t.name, where)
		}
	}
}
