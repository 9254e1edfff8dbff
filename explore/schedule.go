package explore

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"

	"ftemu/script"
)

// A Choice is which thread goes on, and for a fetch of an instruction that is
// being changed how it sees it: 0 is up to date, n misses the last n stores.
type Choice struct {
	Thread, Variant int
}

// A Schedule is the choices of one execution that differ from running on, by
// number of the point at which there was something to choose.
type Schedule []Deviation

// A Deviation is one choice that differs from running on.
type Deviation struct {
	At     int
	Choice Choice
}

// scheduleVersion begins a schedule's text; it changes when points do.
const scheduleVersion = "1"

// fingerprint ties a schedule to its scenario.
func fingerprint(s *script.Script) string {
	h := fnv.New32a()
	for _, st := range s.Steps {
		fmt.Fprintf(h, "%s|%s\n", st.Thread, st.Text)
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// scenarioWord is how fingerprints look.
var scenarioWord = regexp.MustCompile(`^[0-9a-f]{8}$`)

// Format gives the schedule as one word: version, scenario, and each deviation
// as the number of the point, the thread's letter and, unless 0, the variant.
func (d Schedule) Format(s *script.Script) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%s", scheduleVersion, fingerprint(s))
	for _, x := range d {
		fmt.Fprintf(&b, ":%d%c", x.At, 'a'+x.Choice.Thread)
		if x.Choice.Variant != 0 {
			fmt.Fprintf(&b, "%d", x.Choice.Variant)
		}
	}
	return b.String()
}

// ParseSchedule reads a schedule for a scenario.
func ParseSchedule(text string, s *script.Script) (Schedule, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || parts[0] != scheduleVersion || !scenarioWord.MatchString(parts[1]) {
		return nil, fmt.Errorf("schedule %q is malformed: expected one like %s:%s:4b:17a1, which is version:scenario and then a point and a thread each",
			text, scheduleVersion, fingerprint(s))
	}
	if want := fingerprint(s); parts[1] != want {
		return nil, fmt.Errorf("schedule %q belongs to scenario %s, this one is %s", text, parts[1], want)
	}
	var out Schedule
	threads := len(s.Threads())
	for _, p := range parts[2:] {
		i := strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 {
			return nil, fmt.Errorf("schedule %q: found %q, expected a point's number and a thread's letter", text, p)
		}
		at, err := strconv.Atoi(p[:i])
		if err != nil {
			return nil, fmt.Errorf("schedule %q: found %q, expected a point's number", text, p)
		}
		t := int(p[i]) - 'a'
		if t < 0 || t >= threads {
			return nil, fmt.Errorf("schedule %q: found %q, expected a letter from a to %c", text, p, 'a'+threads-1)
		}
		x := Deviation{At: at, Choice: Choice{Thread: t}}
		if rest := p[i+1:]; rest != "" {
			if x.Choice.Variant, err = strconv.Atoi(rest); err != nil || x.Choice.Variant < 0 {
				return nil, fmt.Errorf("schedule %q: found %q, expected a variant's number behind the letter", text, p)
			}
		}
		if len(out) > 0 && at <= out[len(out)-1].At {
			return nil, fmt.Errorf("schedule %q: point %d does not come after %d", text, at, out[len(out)-1].At)
		}
		out = append(out, x)
	}
	return out, nil
}
