// Package hwtest takes the processor it runs on as the oracle of instruction
// semantics.
//
// A traced child process executes single instructions and short sequences from
// states that are made up at random, with a preference for the edges; the
// interpreter executes the same, and registers, flags, memory and faults are
// compared. Instructions are generated from what the decoder and the
// interpreter accept, so that one they learn is tested without being listed
// here. What the manual leaves undefined is listed, with the place where it
// says so, and not compared.
//
// The tests take some seconds, or as long as one likes:
//
//	go test ./emu/hwtest -run Campaign -v -timeout 0 -hw.time 10m
//
// They log the seed that makes the same cases again when it is in FTEMU_SEED.
//
// The processor's side needs Linux on amd64 and permission to trace; the cases
// that once differed, kept in testdata/finds.txt, run anywhere.
package hwtest
