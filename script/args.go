package script

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ftemu/emu"
)

// An arg is an argument of a call: a number, or the address of data that the lab
// places for the call.
type arg struct {
	value uint64
	data  []byte // not nil: what the argument points to
	out   bool   // a buffer, whose content is reported afterwards
}

// maxBuffer bounds a buffer of a call, in bytes.
const maxBuffer = 64 << 10

// maxArgs is how many arguments a call can have: those that registers hold.
const maxArgs = len(emu.ArgRegs)

// checkArgs refuses more arguments than a call can have.
func checkArgs(words []string) error {
	if len(words) > maxArgs {
		return fmt.Errorf("a call has at most %d arguments, found %d", maxArgs, len(words))
	}
	return nil
}

// parseArgs reads the arguments of a call: numbers, buf:SIZE for the address of a
// buffer of zeros, str:"TEXT" for that of a string with a zero behind it.
func parseArgs(words []string) ([]arg, error) {
	if err := checkArgs(words); err != nil {
		return nil, err
	}
	var args []arg
	for _, w := range words {
		if size, ok := strings.CutPrefix(w, "buf:"); ok {
			n, err := strconv.ParseUint(size, 0, 32)
			if err != nil || n == 0 || n > maxBuffer {
				return nil, fmt.Errorf("found %q, expected a size of 1 to %d bytes", w, maxBuffer)
			}
			args = append(args, arg{data: make([]byte, n), out: true})
			continue
		}
		if quoted, ok := strings.CutPrefix(w, "str:"); ok {
			text, err := unquote(quoted)
			if err != nil {
				return nil, err
			}
			args = append(args, arg{data: append([]byte(text), 0)})
			continue
		}
		v, err := number(w)
		if err != nil {
			return nil, err
		}
		args = append(args, arg{value: v})
	}
	return args, nil
}

// unquote reads a text between double quotes, with the escapes of Go.
func unquote(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return "", fmt.Errorf("found %s, expected a text in double quotes", s)
	}
	text, err := strconv.Unquote(s)
	if err != nil {
		return "", fmt.Errorf("found %s, expected a text in double quotes with the escapes of Go", s)
	}
	return text, nil
}

var errOpenQuote = errors.New(`a text in double quotes does not end`)

// Fields splits a line of a script at white space and ends it at a comment. White space and #
// in double quotes, which begin a word or stand behind str:, belong to the word.
func Fields(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r\v\f\n\u0085\u00a0")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		quote := 0
		if strings.HasPrefix(line, "str:") {
			quote = len("str:")
		}
		end := 0
		if quote < len(line) && line[quote] == '"' {
			n := closingQuote(line[quote+1:])
			if n < 0 {
				return nil, errOpenQuote
			}
			end = quote + 1 + n + 1
		}
		rest := line[end:]
		if i := strings.IndexAny(rest, " \t\r\v\f\n\u0085\u00a0#"); i >= 0 {
			rest = rest[:i]
		}
		end += len(rest)
		words = append(words, line[:end])
		line = line[end:]
	}
}

// closingQuote finds the double quote that is not escaped.
func closingQuote(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// call calls a function, after it has placed what its arguments point to.
func (r *Runner) call(fn uint64, args []arg) {
	vals := make([]uint64, len(args))
	var data [][]byte
	for i, a := range args {
		vals[i] = a.value
		if a.data != nil {
			data = append(data, a.data)
		}
	}
	addrs, err := r.lab.PlaceData(data...)
	if err != nil {
		r.returned(0, err)
		return
	}
	for i, a := range args {
		if a.data != nil {
			vals[i], addrs = addrs[0], addrs[1:]
		}
	}
	r.returned(r.lab.Call(fn, vals...))
	for i, a := range args {
		if a.out {
			r.res.Bufs = append(r.res.Bufs, r.text(vals[i], len(a.data)))
		}
	}
}

// text reads a buffer up to its first zero.
func (r *Runner) text(addr uint64, size int) string {
	b := make([]byte, size)
	// The buffer is mapped for as long as the lab lives.
	_ = r.lab.Mem.Read(addr, b)
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func wantBuf(_ *Parser, args []string) (func(*Runner) (found, wanted string), error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("want buf takes one text in double quotes, found %q", strings.Join(args, " "))
	}
	text, err := unquote(args[0])
	return func(r *Runner) (string, string) {
		if len(r.prev.Bufs) == 0 {
			return "no buffer", strconv.Quote(text)
		}
		return strconv.Quote(r.prev.Bufs[0]), strconv.Quote(text)
	}, err
}
