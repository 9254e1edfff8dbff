//go:build ignore

// Gen assembles testdata/programs.s, runs every program on the processor at
// hand and writes testdata/programs.txt. It needs gcc and an x86-64 processor
// with BMI2.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	log.SetFlags(0)
	src, err := os.ReadFile("testdata/programs.s")
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "enginetest")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	native := filepath.Join(dir, "native")
	run("gcc", "-O1", "-no-pie", "-o", native, "testdata/native.c")

	var out bytes.Buffer
	fmt.Fprintln(&out, "# Generated from programs.s by gen.go; do not edit.")
	for _, c := range strings.Split(string(src), "\n#: ")[1:] {
		head, body, _ := strings.Cut(c, "\n")
		log.SetPrefix(head + ": ")
		asm, obj, bin := filepath.Join(dir, "p.s"), filepath.Join(dir, "p.o"), filepath.Join(dir, "p.bin")
		if err := os.WriteFile(asm, []byte(body+"\n"), 0o644); err != nil {
			log.Fatal(err)
		}
		listing := run("as", "-aln", "--listing-rhs-width=100", "--listing-lhs-width=4", "-o", obj, asm)
		run("objcopy", "-O", "binary", "-j", ".text", obj, bin)
		fmt.Fprintf(&out, "\n== %s\n", head)
		for _, line := range strings.Split(listing, "\n") {
			if m := listed.FindStringSubmatch(line); m != nil {
				code := strings.ToLower(strings.ReplaceAll(m[1], " ", ""))
				fmt.Fprintf(&out, "%-24s %s\n", code, strings.TrimSpace(strings.ReplaceAll(m[2], "\t", " ")))
			}
		}
		fmt.Fprintf(&out, "want %s", run(native, bin))
	}
	if err := os.WriteFile("testdata/programs.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// listed matches a line of a listing that has code: number, offset, bytes, source.
var listed = regexp.MustCompile(`^ *\d+ [0-9a-f]{4} ([0-9A-F ]+?) *\t(.*)$`)

func run(name string, arg ...string) string {
	cmd := exec.Command(name, arg...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		log.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	return string(out)
}
