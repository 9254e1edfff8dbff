package layout

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// register finds a register by name.
func (p *parser) register(name string) (register, error) {
	r, ok := registers[name]
	if name == "rsp" {
		return r, fmt.Errorf("rsp cannot be saved or restored, the frame does that")
	}
	if !ok {
		return r, fmt.Errorf("unknown register %q, expected rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 to r15 or flags", name)
	}
	return r, nil
}

func (p *parser) save(args []string) error { return p.move(args, opSave, "in") }

func (p *parser) restore(args []string) error { return p.move(args, opRestore, "from") }

// move parses save and restore.
func (p *parser) move(args []string, op stepOp, word string) error {
	if len(args) == 3 && args[1] == word {
		return p.moveOne(op, args[0], args[2])
	}
	if len(args) == 0 || slices.Contains(args, "in") || slices.Contains(args, "from") {
		return errUsage
	}
	for _, name := range args {
		if err := p.moveOne(op, name, name); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) moveOne(op stepOp, reg, name string) error {
	r, err := p.register(reg)
	if err != nil {
		return err
	}
	if _, bad := reserved[name]; bad {
		return fmt.Errorf("%s is no slot, expected %s and a slot's name", name, reg)
	}
	i, err := p.slotNamed(name)
	if err != nil {
		return err
	}
	if err := p.wordSlot(i); err != nil {
		return err
	}
	if op == opSave {
		p.filled[i] = true
	} else if err := p.isFilled(i); err != nil {
		return err
	}
	p.step(step{op: op, reg: r, slot: i})
	return nil
}

// wordSlot checks that slot i has room for a register.
func (p *parser) wordSlot(i int) error {
	if s := p.l.slots[i]; s.size < 8 {
		return fmt.Errorf("slot %s has %d bytes, expected 8 for a register", s.name, s.size)
	}
	return nil
}

// isFilled checks that something was stored in slot i.
func (p *parser) isFilled(i int) error {
	if !p.filled[i] {
		return fmt.Errorf("slot %s is read, but nothing was stored in it before", p.l.slots[i].name)
	}
	return nil
}

func (p *parser) step(s step) {
	s.line, s.text = p.n, p.text
	p.l.steps = append(p.l.steps, s)
}

func (p *parser) set(args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	v, err := p.value(args[1])
	if err != nil {
		return err
	}
	var to place
	switch args[0] {
	case "return":
		to.kind = toReturn
	case "result":
		to.kind = toResult
	default:
		if to.slot, err = p.slotNamed(args[0]); err != nil {
			return err
		}
		if err := p.wordSlot(to.slot); err != nil {
			return err
		}
		p.filled[to.slot] = true
	}
	p.step(step{op: opSet, place: to, value: v})
	return nil
}

// value reads what set and call take.
func (p *parser) value(s string) (value, error) {
	if k, ok := reserved[s]; ok {
		return value{kind: k}, nil
	}
	if name, ok := strings.CutPrefix(s, "&"); ok {
		switch name {
		case "frame":
			return value{kind: isFrame}, nil
		case "return":
			return value{kind: isReturnPtr}, nil
		}
		i, err := p.slotNamed(name)
		return value{kind: isAddress, slot: i}, err
	}
	if s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') {
		return parseNumber(s)
	}
	if _, isReg := registers[s]; isReg && p.find(s) < 0 {
		return value{}, fmt.Errorf("%s is a register, expected a slot in which it was saved", s)
	}
	i, err := p.slotNamed(s)
	if err != nil {
		return value{}, err
	}
	if err := p.wordSlot(i); err != nil {
		return value{}, err
	}
	return value{kind: isSlot, slot: i}, p.isFilled(i)
}

// parseNumber reads a number of 64 bits, signed or not.
func parseNumber(s string) (value, error) {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return value{num: uint64(n)}, nil
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return value{}, fmt.Errorf("found %q, expected a number of 64 bits", s)
	}
	return value{num: n}, nil
}

func (p *parser) call(args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case "original":
			p.step(step{op: opCallOriginal})
			return nil
		case "body":
			p.step(step{op: opCallBody})
			return nil
		}
	}
	name, rest, ok := strings.Cut(strings.Join(args, " "), "(")
	list, end := strings.CutSuffix(strings.TrimSpace(rest), ")")
	name = strings.TrimSpace(name)
	if !ok || !end || !isName(name) || name == "original" || name == "body" {
		return errUsage
	}
	s := step{op: opCall, target: name}
	if strings.TrimSpace(list) != "" {
		words := strings.Split(list, ",")
		if len(words) > maxArgs {
			return fmt.Errorf("call of %s with %d arguments, expected at most %d: registers carry no more", name, len(words), maxArgs)
		}
		for _, w := range words {
			v, err := p.value(strings.TrimSpace(w))
			if err != nil {
				return err
			}
			s.args = append(s.args, v)
		}
	}
	for _, a := range s.args {
		p.handOut(a)
	}
	p.step(s)
	return nil
}

// handOut notes that a function was given an address and may store there.
func (p *parser) handOut(a value) {
	switch a.kind {
	case isAddress:
		p.filled[a.slot] = true
	case isFrame:
		for i := range p.filled {
			p.filled[i] = true
		}
	}
}

func (p *parser) leave(args []string) error {
	if len(args) != 2 || args[0] != "to" {
		return errUsage
	}
	switch args[1] {
	case "return":
		p.step(step{op: opToReturn})
	case "parent":
		p.step(step{op: opToParent})
	case "body":
		p.step(step{op: opToBody})
	default:
		if !isName(args[1]) {
			return errUsage
		}
		p.step(step{op: opToName, target: args[1]})
	}
	return nil
}

// fitsImm32 tells whether the processor can make v of 32 bits by its sign.
func fitsImm32(v uint64) bool {
	return int64(v) >= math.MinInt32 && int64(v) <= math.MaxInt32
}
