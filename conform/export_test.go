package conform

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Disturb changes every compared value of a recorded script, one at a time, and
// tells how many there were and which changes the comparison did not find, and
// no more than them.
func Disturb(s *Script) (changed int, missed []string, err error) {
	rep, err := s.Run(Options{Steps: true})
	if err != nil {
		return 0, nil, err
	}
	return disturbLines(rep, lineFields, s.out)
}

// DisturbSequence is Disturb for a sequence.
func DisturbSequence(s *Sequence) (changed int, missed []string, err error) {
	rep, err := s.Run(Options{Steps: true})
	if err != nil {
		return 0, nil, err
	}
	var out []line
	for _, st := range s.steps {
		out = append(out, st.kernel)
	}
	return disturbLines(rep, stepFields, out)
}

func disturbLines(rep Report, keys []string, out []line) (changed int, missed []string, err error) {
	for i, step := range rep.Steps {
		var ours line
		if err := json.Unmarshal([]byte(step.Ftemu), &ours); err != nil {
			return 0, nil, err
		}
		for _, key := range keys {
			was, ok := out[i][key]
			if !ok {
				continue
			}
			for _, now := range disturbed(was) {
				changed++
				kernel := maps.Clone(out[i])
				kernel[key] = now
				if diffs := compareLines(keys, Diff{Line: i + 1}, kernel, ours); len(diffs) != 1 {
					missed = append(missed, fmt.Sprintf("line %d, %s: %s instead of %s: %v", i+1, key, now, was, diffs))
				}
			}
		}
	}
	return changed, missed, nil
}

// disturbed returns the value with each value inside of it changed.
func disturbed(m json.RawMessage) (out []json.RawMessage) {
	if l := list(m); len(l) > 0 {
		for i := range l {
			for _, v := range disturbed(l[i]) {
				c := slices.Clone(l)
				c[i] = v
				out = append(out, must(c))
			}
		}
		return out
	}
	if o := object(m); o != nil {
		for k := range o {
			for _, v := range disturbed(o[k]) {
				c := maps.Clone(o)
				c[k] = v
				out = append(out, must(c))
			}
		}
		return out
	}
	return []json.RawMessage{json.RawMessage(`"changed"`)}
}

func must(v any) json.RawMessage {
	b, err := marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
