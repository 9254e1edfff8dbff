// Command recordings makes the project's own copy of recordings of a kernel: it
// leaves out consoles, which hold machine code, and writes what is left to
// testdata/recordings, compressed.
//
//	go run ./internal/recordings FILE.jsonl...
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

const dir = "testdata/recordings"

func main() {
	for _, file := range os.Args[1:] {
		if err := pack(file); err != nil {
			fmt.Fprintln(os.Stderr, "recordings:", err)
			os.Exit(1)
		}
	}
}

// pack writes the copy of one file. The same input gives the same bytes: the
// header of the compressed file has neither name nor time.
func pack(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	zw, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(zw)
	for n, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		out, err := withoutConsole(line)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, n+1, err)
		}
		w.Write(out)
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(file)+".gz"), packed.Bytes(), 0o644)
}

// withoutConsole returns a recording without its console, keys by name.
func withoutConsole(line []byte) ([]byte, error) {
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(line, &obj); err != nil {
		return nil, err
	}
	delete(obj, "console")
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(obj); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
