// Package golden keeps generated trampolines as files that tests compare with:
//
//	want, err := golden.Read("testdata/lean.json")
//	require.NoError(t, err)
//	require.NoError(t, want.Compare(code))
//
// code may come from a generator of one's own, or be made again from a layout
// for the same surroundings:
//
//	placed, err := layout.Make(want.Env())
package golden

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ftemu/files"
	"ftemu/trampoline"
	"ftemu/x86"
)

// Schema is the version of the file format.
const Schema = 1

// A File is a trampoline with the surroundings that it was made for. It is
// stored as one JSON object.
type File struct {
	Schema int     `json:"schema"`
	Name   string  `json:"name"`
	Addr   Address `json:"addr"`
	Size   int     `json:"size"`
	Bytes  string  `json:"bytes"` // hexadecimal

	Body    Address            `json:"body"` // the address behind the site
	ID      uint64             `json:"id"`
	SLS     bool               `json:"sls,omitempty"`          // int3 behind each ret
	Thunk   Address            `json:"return_thunk,omitempty"` // 0: there is none
	Symbols map[string]Address `json:"symbols"`                // of functions and variables that it refers to

	Labels map[string]uint64 `json:"labels,omitempty"` // offsets of its own
}

// An Address is written as a string: 0x and hexadecimal digits, as JSON's
// numbers do not have 64 bits everywhere.
type Address uint64

// MarshalText writes the address.
func (a Address) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%#x", uint64(a)), nil }

// UnmarshalText reads it.
func (a *Address) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 0, 64)
	if err != nil {
		return fmt.Errorf("found address %q, expected 0x and hexadecimal digits", b)
	}
	*a = Address(v)
	return nil
}

// New describes code that was made for e, with the given symbols.
func New(code trampoline.Code, e trampoline.Env, symbols map[string]uint64) *File {
	f := &File{
		Schema: Schema, Name: code.Name, Addr: Address(code.Addr), Size: len(code.Bytes), Bytes: hex.EncodeToString(code.Bytes),
		Body: Address(e.Body), ID: e.ID, SLS: e.Return.SLS, Thunk: Address(e.Return.Thunk),
		Symbols: make(map[string]Address), Labels: code.Labels,
	}
	for name, addr := range symbols {
		f.Symbols[name] = Address(addr)
	}
	return f
}

// Env is the environment that the code was made for, to make it again.
func (f *File) Env() trampoline.Env {
	return trampoline.Env{
		Addr: uint64(f.Addr), Body: uint64(f.Body), ID: f.ID,
		Return: trampoline.Return{SLS: f.SLS, Thunk: uint64(f.Thunk)},
		Symbol: func(name string) (uint64, error) {
			addr, ok := f.Symbols[name]
			if !ok {
				return 0, fmt.Errorf("%s: the golden has no symbol %q", f.Name, name)
			}
			return uint64(addr), nil
		},
	}
}

// Write stores the golden in a directory, which is made if need be: NAME.json,
// and beside it NAME.lst with the listing for readers. It returns the two
// paths.
func (f *File) Write(dir, listing string) (paths []string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	base := filepath.Join(dir, strings.TrimSuffix(filepath.Base(f.Name), filepath.Ext(f.Name)))
	for _, out := range []struct {
		ext  string
		data []byte
	}{{".json", append(data, '\n')}, {".lst", []byte(listing)}} {
		if err := files.Replace(base+out.ext, out.data); err != nil {
			return nil, err
		}
		paths = append(paths, base+out.ext)
	}
	return paths, nil
}

// Read reads a golden.
func Read(file string) (*File, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if f.Schema != Schema {
		return nil, fmt.Errorf("%s: schema %d, expected %d", file, f.Schema, Schema)
	}
	if b, err := hex.DecodeString(f.Bytes); err != nil || len(b) != f.Size {
		return nil, fmt.Errorf("%s: bytes are not %d bytes in hexadecimal", file, f.Size)
	}
	return f, nil
}

// ErrDiffers is in the error of Compare.
var ErrDiffers = errors.New("differs from the golden")

// Compare compares code with the golden, byte by byte. The error names the
// first instruction that differs, as found and as expected.
func (f *File) Compare(code trampoline.Code) error {
	want, err := hex.DecodeString(f.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	if code.Addr != uint64(f.Addr) {
		return fmt.Errorf("%s: made for address %#x, expected %#x: %w", f.Name, code.Addr, uint64(f.Addr), ErrDiffers)
	}
	if bytes.Equal(code.Bytes, want) {
		return nil
	}
	off := firstDifference(code.Bytes, want)
	return fmt.Errorf("%s: at +%#x: found %s, expected %s: %w", f.Name, off,
		at(code.Bytes, off, code.Addr), at(want, off, code.Addr), ErrDiffers)
}

// firstDifference is the offset of the first instruction that is not the same.
func firstDifference(found, want []byte) int {
	for off := 0; ; {
		_, n, err := x86.Disasm(want[off:], 0, nil)
		if err != nil {
			n = 1
		}
		if end := off + n; end > len(want) || end > len(found) || !bytes.Equal(found[off:end], want[off:end]) {
			return off
		}
		off += n
	}
}

// at describes the instruction at an offset.
func at(code []byte, off int, addr uint64) string {
	if off >= len(code) {
		return "the end"
	}
	text, n, err := x86.Disasm(code[off:], addr+uint64(off), nil)
	if err != nil {
		return fmt.Sprintf("%02x", code[off])
	}
	return fmt.Sprintf("%q (% x)", text, code[off:off+n])
}
