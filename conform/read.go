package conform

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// A Recording is one line of a file of recordings.
type Recording struct {
	File string
	Line int // from 1
	Case Case
	Err  error // a *FileError: why the line is no recording; Case is nil then
}

// Name is the name of the case, or the place of a line that is none.
func (r *Recording) Name() string {
	if r.Case == nil {
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	return r.Case.Name()
}

func (r *Recording) errorf(format string, args ...any) error {
	return &FileError{r.File, r.Line, fmt.Errorf(format, args...)}
}

// A FileError says what is wrong with a file of recordings, and where.
type FileError struct {
	File string
	Line int
	Err  error
}

// Error gives the place and what was found there.
func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the error without the place.
func (e *FileError) Unwrap() error { return e.Err }

// A kind of recording is told by a key that only it has.
type kind struct {
	key   string
	what  string
	parse func(raw map[string]json.RawMessage) (Case, error)
}

// kinds are the recordings that there are.
var kinds = []kind{
	{"input", "a script with what a kernel did", parseScript},
	{"steps", "a sequence of BPF programs coming and going", parseSequence},
	{"image_address", "captured code", parseImage},
}

// maxLine is the longest line of a file of recordings, in bytes.
const maxLine = 16 << 20

// ErrNoRecording is what is wrong with a file that has no line.
var ErrNoRecording = errors.New("no recording in this file")

// ReadFile reads the recordings of a file. The error is for a file that cannot
// be opened.
func ReadFile(name string) ([]Recording, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(name, f), nil
}

// Read reads recordings, one JSON object a line, plain or compressed with gzip.
// Lines that are none are returned with Err set, in their place.
func Read(file string, r io.Reader) []Recording {
	br := bufio.NewReaderSize(r, 64<<10)
	if magic, err := br.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		zr, err := gzip.NewReader(br)
		if err != nil {
			return []Recording{{File: file, Line: 1, Err: &FileError{file, 1, err}}}
		}
		br = bufio.NewReaderSize(zr, 64<<10)
	}
	var recs []Recording
	for n := 1; ; n++ {
		line, err := readLine(br)
		if err == io.EOF {
			break
		}
		rec := Recording{File: file, Line: n}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err == nil {
			rec.Case, err = parse(line)
		}
		if err != nil {
			rec.Err = rec.errorf("%w", err)
		}
		recs = append(recs, rec)
		if err != nil && !errors.As(err, new(*parseError)) {
			break // the rest cannot be read
		}
	}
	if len(recs) == 0 {
		recs = append(recs, Recording{File: file, Line: 1, Err: &FileError{file, 1, ErrNoRecording}})
	}
	return recs
}

// A parseError is a line that is no recording; what follows it may be.
type parseError struct{ err error }

func (e *parseError) Error() string { return e.err.Error() }
func (e *parseError) Unwrap() error { return e.err }

// readLine returns the next line without its end. io.EOF comes after the last.
// A line that is too long is skipped.
func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := br.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err != nil && err != io.EOF:
			return nil, err
		case long:
			return nil, &parseError{fmt.Errorf("a line of more than %d bytes", maxLine)}
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		}
		return bytes.TrimSuffix(line, []byte("\n")), nil
	}
}

// parse reads one recording.
func parse(line []byte) (Case, error) {
	// All values compact, so that most compare as text.
	var compact bytes.Buffer
	if err := json.Compact(&compact, line); err != nil {
		return nil, &parseError{fmt.Errorf("not a JSON object: %w", err)}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(compact.Bytes(), &raw); err != nil {
		return nil, &parseError{fmt.Errorf("not a JSON object: %w", err)}
	}
	expected := ""
	for i, k := range kinds {
		if _, ok := raw[k.key]; ok {
			c, err := k.parse(raw)
			if err != nil {
				return nil, &parseError{err}
			}
			return c, nil
		}
		if i > 0 {
			expected += " or "
		}
		expected += fmt.Sprintf("%q (%s)", k.key, k.what)
	}
	return nil, &parseError{fmt.Errorf("not a recording that is known: expected key %s", expected)}
}

// fields reads the keys of a recording that must be there into their places and
// refuses keys that are not in known.
func fields(raw map[string]json.RawMessage, known map[string]bool, to ...field) error {
	if k := unknownKey(raw, known); k != "" {
		return fmt.Errorf("unknown key %q", k)
	}
	for _, f := range to {
		v, ok := raw[f.key]
		if !ok {
			return fmt.Errorf("key %q is missing", f.key)
		}
		if err := json.Unmarshal(v, f.to); err != nil {
			return fmt.Errorf("key %q: %w", f.key, err)
		}
	}
	return nil
}

type field struct {
	key string
	to  any
}

// unknownKey returns the first key by name that is not in known.
func unknownKey(raw map[string]json.RawMessage, known map[string]bool) string {
	unknown := ""
	for k := range raw {
		if !known[k] && (unknown == "" || k < unknown) {
			unknown = k
		}
	}
	return unknown
}
