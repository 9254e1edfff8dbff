package shell

import (
	"errors"

	"ftemu/emu"
	"ftemu/script"
)

// Levels is how many lines can be taken back without running others again.
const Levels = 32

// maxKept bounds the guest memory that is kept to take lines back, in bytes.
const maxKept = 256 << 20

// remember returns the present state.
func (s *Session) remember() *state {
	if s.here == nil {
		s.here = &state{parser: s.parser.Snapshot(), lab: s.noLab}
		if s.runner != nil {
			s.here.lab = s.runner.Snapshot()
		}
	}
	return s.here
}

// noLab is how a state without a lab comes back.
func (s *Session) noLab() error {
	s.Close()
	return nil
}

// undo takes the last n lines with verbs back, and comments between them. It
// returns the lines that are gone.
func (s *Session) undo(n int) ([]line, error) {
	to := len(s.lines)
	for i := to - 1; i >= 0 && n > 0; i-- {
		if l := s.lines[i]; l.verb && !l.implied {
			to, n = i, n-1
		}
	}
	if to == len(s.lines) {
		return nil, errors.New("no line to take back")
	}
	if to > 0 && s.lines[to-1].implied {
		to--
	}
	before := s.lines[to].before
	err := emu.ErrStaleSnapshot
	if before != nil {
		err = before.lab()
	}
	switch {
	case err == nil:
		before.parser()
		s.here = before
	case errors.Is(err, emu.ErrStaleSnapshot):
		err = s.rebuild(to, "")
	}
	if err != nil {
		return nil, err
	}
	gone := s.lines[to:]
	gone[0].display()
	s.lines = s.lines[:to:to]
	return gone, nil
}

// rebuild makes a new lab and runs the first n lines on it, out of sight. It has
// what the line next needs, which does not run.
func (s *Session) rebuild(n int, next string) error {
	p := script.NewParser(s.opt.Name, s.opt.Script)
	states, steps := make([]*state, n), make([]*script.Step, n)
	for i, l := range s.lines[:n] {
		if l.verb && i >= n-Levels {
			states[i] = &state{parser: p.Snapshot(), lab: s.noLab}
		}
		var err error
		if steps[i], err = p.Line(i+1, l.text); err != nil {
			return err
		}
	}
	read := p.Snapshot()
	if _, err := p.Line(n+1, next); err != nil {
		return err
	}
	var r *script.Runner
	if len(p.Script().Steps) > 0 {
		var err error
		if r, err = s.opt.Lab(p.Script()); err != nil {
			return err
		}
	}
	read()
	begun := false
	for i, step := range steps {
		if begun && states[i] != nil {
			states[i].lab = r.Snapshot()
		}
		if step != nil {
			r.Run(*step)
			begun = true
		}
	}
	s.Close()
	s.parser, s.runner, s.here = p, r, nil
	for i, st := range states {
		s.lines[i].before = st
	}
	return nil
}
