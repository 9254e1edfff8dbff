package layout

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"ftemu/trampoline"
)

// elfMagic is how every ELF file begins.
const elfMagic = "\x7fELF"

// Open opens a trampoline of one's own: a layout, or an object, which has its
// entry symbol behind the file's name and a colon where it is not the default.
func Open(name string) (trampoline.Maker, error) {
	file, entry := name, ""
	if i := strings.LastIndexByte(name, ':'); i > 0 {
		if _, err := os.Stat(name); err != nil {
			file, entry = name[:i], name[i+1:]
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte(elfMagic)) {
		o, err := ReadObject(file, data, entry)
		if err != nil {
			return nil, err
		}
		return o, nil
	}
	if entry != "" {
		return nil, fmt.Errorf("%s: a layout has no entry symbol, found %q", file, entry)
	}
	l, err := Parse(file, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return l, nil
}
