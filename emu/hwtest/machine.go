package hwtest

import (
	"ftemu/emu"
	"ftemu/emu/interp"
)

// A Machine runs cases on the interpreter.
type Machine struct {
	mem *emu.Memory
	cpu emu.CPU
}

// windows are where the data that cases may access is, in the order of
// Processor.Windows.
var windows = [...]struct {
	addr, size uint64
	perm       emu.Perm
	name       string
}{
	{dataBase, dataSize, emu.PermRW, "data"},
	{roBase, roSize, emu.PermR, "read-only data"},
	{farBase, farSize, emu.PermRW, "far data"},
}

// NewMachine returns a machine with the address space of cases.
func NewMachine() (*Machine, error) {
	mem := interp.New().NewMemory(0)
	if err := mem.Map(codeBase, codeSize, emu.PermRX, "code"); err != nil {
		return nil, err
	}
	for _, w := range windows {
		if err := mem.Map(w.addr, w.size, w.perm, w.name); err != nil {
			return nil, err
		}
	}
	m, err := interp.New().NewMachine(emu.Config{Memory: mem})
	if err != nil {
		return nil, err
	}
	return &Machine{mem: mem, cpu: m.CPU(0)}, nil
}

// SetWindows sets the data, Windows returns it.
func (m *Machine) SetWindows(data []byte) error {
	for _, w := range windows {
		if err := m.mem.Write(w.addr, data[:w.size]); err != nil {
			return err
		}
		data = data[w.size:]
	}
	return nil
}

// Windows copies the data out.
func (m *Machine) Windows(data []byte) error {
	for _, w := range windows {
		if err := m.mem.Read(w.addr, data[:w.size]); err != nil {
			return err
		}
		data = data[w.size:]
	}
	return nil
}

// insnLimit bounds a case: more than repeated string instructions can do in the
// windows.
const insnLimit = 1 << 20

// Place writes the code of cases.
func (m *Machine) Place(cases []Case) error {
	var image [maxBatch * slotSize]byte
	lo, hi := maxBatch, 0
	for i := range cases {
		s := cases[i].Slot
		fillSlot(image[s*slotSize:][:slotSize], cases[i].Code)
		lo, hi = min(lo, s), max(hi, s+1)
	}
	return m.mem.Write(slotBase(lo), image[lo*slotSize:hi*slotSize])
}

// Run executes a case that has been placed and returns how it stopped, and the
// registers.
func (m *Machine) Run(c *Case) (emu.Stop, emu.Regs, error) {
	for _, p := range c.Pokes {
		if err := m.mem.WriteU64(p.Addr, p.Value); err != nil {
			return emu.Stop{}, emu.Regs{}, err
		}
	}
	stop, regs := m.resume(c.Regs, entry(c.Slot))
	return stop, regs, nil
}

// resume executes what has been placed at ip.
func (m *Machine) resume(regs emu.Regs, ip uint64) (emu.Stop, emu.Regs) {
	*m.cpu.Regs() = regs
	m.cpu.Regs().RIP = ip
	stop := m.cpu.Run(emu.Limits{Insns: insnLimit})
	return stop, *m.cpu.Regs()
}
