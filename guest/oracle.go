package guest

import (
	"bytes"
	_ "embed"
	"fmt"
)

// The built-in guest stands for the test module that the recordings were made
// with: functions of the same names, results and sites at the same addresses.
const (
	OracleModule = "ftoracle"
	// OracleBase is the address of ftor_f0. ftor_fN is 0x80*N higher, ftor_gN 0x40
	// above ftor_fN, ftor_docall follows ftor_g7.
	OracleBase = 0xffffffffc0201540
	// OracleTrampolines is where the direct trampolines of the recordings (ftor_t_pass,
	// ftor_t_share, ...) go. The image ends below and leaves the
	// OracleTrampolinesSize bytes from there on alone.
	OracleTrampolines     = 0xffffffffc0203000
	OracleTrampolinesSize = 0x1000
)

// An OracleGate is a function of the built-in guest that exists as a symbol only:
// its behaviour is in Go, by a gate at its address.
type OracleGate struct {
	Name string
	Addr uint64
}

// oracleGateSize is the room that each gate has, in bytes.
const oracleGateSize = 16

// Addresses of the gates. Only that of ftor_cb was recorded.
const (
	OracleCallback      = 0xffffffffc0201970 // ftor_cb, the callback of every recorded ops
	OracleBodyLog       = 0xffffffffc0201980 // ftor_body_log(id, a, b): 0..7 body of f0..f7, 8..15 of g0..g7, 16 of galt
	OracleDirectLog     = 0xffffffffc0201990 // ftor_direct_log, called by direct trampolines
	OracleDirectExitLog = 0xffffffffc02019a0 // ftor_directexit_log, called by them when the function returned
)

// OracleGates lists the gates by address.
func OracleGates() []OracleGate {
	return []OracleGate{
		{"ftor_cb", OracleCallback},
		{"ftor_body_log", OracleBodyLog},
		{"ftor_direct_log", OracleDirectLog},
		{"ftor_directexit_log", OracleDirectExitLog},
	}
}

// oracleObject is built from ftoracle/ftoracle.c by the Makefile there.
//
//go:embed ftoracle/ftoracle.o
var oracleObject []byte

// Oracle loads the built-in guest. Scripts call ftor_f0 f0, and so on.
func Oracle() (*Image, error) {
	img, err := Load(bytes.NewReader(oracleObject), LoadOptions{
		Name: "ftoracle.o", Base: OracleBase, Module: OracleModule, Extern: oracleGate,
	})
	if err != nil {
		return nil, err
	}
	addOracleGates(img.Symbols)
	two := []int{8, 8}
	img.Params = map[string][]int{"ftor_docall": {8, 8, 8}}
	for i := range 8 {
		img.Params[fmt.Sprintf("ftor_f%d", i)], img.Params[fmt.Sprintf("ftor_g%d", i)] = two, two
	}
	return img, nil
}

// oracleGate finds a gate for the loader.
func oracleGate(name string) (uint64, bool) {
	for _, g := range OracleGates() {
		if g.Name == name {
			return g.Addr, true
		}
	}
	return 0, false
}

func addOracleGates(t *Symbols) {
	for _, g := range OracleGates() {
		t.Add(Symbol{Name: g.Name, Addr: g.Addr, Size: oracleGateSize, Func: true, Module: OracleModule})
	}
}
