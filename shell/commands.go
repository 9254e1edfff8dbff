package shell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ftemu/near"
	"ftemu/script"
)

// A command is a word of the shell that is no verb of the language.
type command struct {
	name    string
	usage   string // as script.Verb.Usage
	help    string
	example string
	run     func(s *Session, args []string) ([]string, error)
}

// commands are all of them in the order of documentation.
func commands() []command {
	return []command{
		{"help", "[VERB]", "list the verbs, or explain one or a topic", "help filter", (*Session).help},
		{"list", "", "show the lines so far", "list", (*Session).list},
		{"undo", "[N]", "take the last line back, or the last N", "undo 2", (*Session).takeBack},
		{"why", "", "explain the last refusal at length", "why", (*Session).why},
		{"save", "[FILE]", "write the lines to a file that 'ftemu run' runs; without a name to the one that was opened", "save try.ft", (*Session).save},
		{"save!", "FILE", "the same, in place of a file that is there", "save! try.ft", (*Session).saveOver},
		{"quit", "", "end, as end of input does", "quit", (*Session).quit},
		{"exit", "", "the same", "exit", (*Session).quit},
	}
}

func commandNamed(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func verbNamed(name string) (script.Verb, bool) {
	for _, v := range script.Verbs() {
		if v.Name == name {
			return v, true
		}
	}
	return script.Verb{}, false
}

// command runs a command and shows its answer.
func (s *Session) command(c command, args []string) error {
	most := strings.Count(c.usage, " ") + 1
	least := most
	switch {
	case c.usage == "":
		least, most = 0, 0
	case strings.HasPrefix(c.usage, "["):
		least = 0
	}
	if len(args) < least || len(args) > most {
		return fmt.Errorf("%s takes %q, found %q", c.name, c.usage, strings.Join(args, " "))
	}
	rows, err := c.run(s, args)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if len(rows) > 0 {
		s.opt.Display.Say(strings.Join(append([]string{c.name}, args...), " "), rows)
	}
	return nil
}

// maxUsage is how much of a usage the list of verbs shows, in bytes.
const maxUsage = 56

func (s *Session) help(args []string) ([]string, error) {
	if len(args) == 1 {
		return explain(args[0])
	}
	var rows []string
	row := func(name, usage string) {
		if len(usage) > maxUsage {
			usage = usage[:maxUsage] + "..."
		}
		rows = append(rows, strings.TrimRight(fmt.Sprintf("  %-21s %s", name, usage), " "))
	}
	for _, group := range script.Groups() {
		rows = append(rows, group)
		for _, v := range script.Verbs() {
			if v.Group == group {
				row(v.Name, v.Usage)
			}
		}
	}
	rows = append(rows, "the shell")
	for _, c := range commands() {
		row(c.name, c.usage)
	}
	var topics []string
	for _, t := range script.Topics() {
		topics = append(topics, t.Name)
	}
	return append(rows, "", "help VERB explains one of them; more in help "+strings.Join(topics, ", ")+"."), nil
}

// explain says what a verb or a command takes and does, with an example, and what a
// topic of the language has.
func explain(name string) ([]string, error) {
	rows, ok := Explain(name)
	if c, command := commandNamed(name); !ok && command {
		rows, ok = explained(c.name, c.usage, c.help, c.example), true
	}
	for _, t := range script.Topics() {
		if t.Name == name {
			if ok {
				rows = append(rows, "")
			}
			rows, ok = append(rows, topicRows(t)...), true
		}
	}
	if !ok {
		return nil, fmt.Errorf("no verb %q, %s", near.Short(name), near.Expected(name, helpWords(), "one that help lists"))
	}
	return rows, nil
}

// helpWords are the words that help explains.
func helpWords() []string {
	words := firstWords("")
	for _, t := range script.Topics() {
		words = append(words, t.Name)
	}
	return words
}

func topicRows(t script.Topic) []string {
	rows := []string{t.Name + ": " + t.About}
	column := 0
	for _, e := range t.Terms {
		column = max(column, len(e.Name))
	}
	for _, e := range t.Terms {
		usage := ""
		if e.Usage != "" {
			usage = e.Usage + ": "
		}
		rows = append(rows, fmt.Sprintf("  %-*s  %s%s", column, e.Name, usage, e.About))
	}
	if t.Note != "" {
		rows = append(rows, t.Note)
	}
	return rows
}

// Explain says what a verb of the language takes and does, with an example.
func Explain(verb string) (rows []string, ok bool) {
	v, ok := verbNamed(verb)
	if !ok {
		return nil, false
	}
	return explained(v.Name, v.Usage, v.Help, v.Example), true
}

func explained(name, usage, help, example string) []string {
	var rows []string
	label := "usage"
	add := func(text string) {
		rows = append(rows, strings.TrimRight(fmt.Sprintf("%-8s %s", label, text), " "))
		label = ""
	}
	for _, form := range splitForms(usage) {
		add(name + " " + form)
	}
	label = "meaning"
	add(help)
	label = "example"
	for _, l := range strings.Split(example, "\n") {
		add(l)
	}
	return rows
}

func (s *Session) list([]string) ([]string, error) { return numbered(s.lines, 1), nil }

// numbered shows lines, the first with the number from.
func numbered(lines []line, from int) []string {
	var rows []string
	for i, l := range lines {
		rows = append(rows, strings.TrimRight(fmt.Sprintf("%3d  %s", from+i, l.text), " "))
	}
	return rows
}

func (s *Session) takeBack(args []string) ([]string, error) {
	n := 1
	if len(args) == 1 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 {
			return nil, fmt.Errorf("found %q, expected a number of lines from 1 on", args[0])
		}
	}
	gone, err := s.undo(n)
	if err != nil {
		return nil, err
	}
	return append([]string{"taken back:"}, numbered(gone, s.Next())...), nil
}

func (s *Session) why([]string) ([]string, error) {
	for _, l := range slices.Backward(s.lines) {
		if l.refused != nil {
			s.opt.Display.Explain(l.refused)
			return nil, nil
		}
	}
	return []string{"No line was refused."}, nil
}

func (s *Session) quit([]string) ([]string, error) {
	s.over = true
	return nil, nil
}

func (s *Session) save(args []string) ([]string, error) {
	file := s.opened
	if len(args) == 1 {
		file = args[0]
	}
	if file == "" {
		return nil, errors.New("no file was opened, expected the name of one")
	}
	if _, err := os.Lstat(file); err == nil && !s.own[filepath.Clean(file)] {
		return nil, fmt.Errorf("%s exists and is not of this session; save! %s replaces it", file, file)
	}
	return s.write(file)
}

func (s *Session) saveOver(args []string) ([]string, error) { return s.write(args[0]) }

// write writes the lines to a file.
func (s *Session) write(file string) ([]string, error) {
	if len(s.lines) == 0 {
		return nil, errors.New("there is no line yet")
	}
	var b strings.Builder
	for _, l := range s.lines {
		text, err := s.moved(l.text, filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		b.WriteString(text + "\n")
	}
	if err := s.opt.Write(file, []byte(b.String())); err != nil {
		return nil, err
	}
	s.own[filepath.Clean(file)] = true
	count := fmt.Sprintf("%d lines", len(s.lines))
	if len(s.lines) == 1 {
		count = "1 line"
	}
	return []string{count + " in " + file}, nil
}

// moved is a line as it must be in a file of another folder: where it names a
// file, that is seen from there.
func (s *Session) moved(text, dir string) (string, error) {
	words, err := script.Fields(text)
	if err != nil || len(words) == 0 {
		return text, nil
	}
	v, ok := verbNamed(words[0])
	if !ok {
		return text, nil
	}
	for i, w := range words[1:] {
		if !takesFile(v.Usage, words[1:1+i], w) || filepath.IsAbs(w) {
			continue
		}
		from, err := filepath.Abs(filepath.Join(s.opt.Dir, w))
		if err != nil {
			return "", err
		}
		to, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		path, err := filepath.Rel(to, from)
		if err != nil {
			return "", err
		}
		if path != filepath.Clean(w) {
			words[1+i] = path
			text = strings.Join(words, " ")
		}
	}
	return text, nil
}
