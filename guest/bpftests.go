package guest

import (
	"bytes"
	_ "embed"
	"slices"
)

// BPFTestsBase is the address of bpf_fentry_test1 in the recorded kernel.
const BPFTestsBase = 0xffffffff81855510

// The objects are built from bpftests/kernel.c and module.c by the Makefile there.
var (
	//go:embed bpftests/kernel.o
	bpfTestsKernel []byte
	//go:embed bpftests/module.o
	bpfTestsModule []byte
)

// BPFTests loads the second built-in guest: the functions bpf_fentry_test1 to 6
// of the core kernel, at the addresses of the recordings, and of the test
// module ftor_docall, which calls them, ftor_galt, which they are redirected
// to, and the gates of [OracleGates]. Scripts call ftor_galt galt.
func BPFTests() (*Image, error) {
	kernel, err := Load(bytes.NewReader(bpfTestsKernel), LoadOptions{Name: "bpf_fentry_test", Base: BPFTestsBase})
	if err != nil {
		return nil, err
	}
	module, err := Load(bytes.NewReader(bpfTestsModule), LoadOptions{
		Name: "bpf_fentry_test", Base: OracleBase, Module: OracleModule, Extern: oracleGate,
	})
	if err != nil {
		return nil, err
	}
	addOracleGates(module.Symbols)
	img := &Image{
		Name: "bpf_fentry_test", Module: OracleModule, Symbols: &Symbols{}, Params: bpfTestsParams(),
		Segments: append(kernel.Segments, module.Segments...),
		Sections: append(kernel.Sections, module.Sections...),
		Relocs:   append(kernel.Relocs, module.Relocs...),
		Sites:    append(kernel.Sites, module.Sites...),
		Padding:  append(kernel.Padding, module.Padding...),
	}
	for _, s := range kernel.Symbols.All() {
		s.Module = "" // objects are modules to the loader; this one is part of the core kernel
		img.Symbols.Add(s)
	}
	img.Symbols.AddAll(module.Symbols.All())
	return img, nil
}

func bpfTestsParams() map[string][]int {
	sizes := func(s ...int) []int { return s }
	return map[string][]int{
		"bpf_fentry_test1": sizes(4),
		"bpf_fentry_test2": sizes(4, 8),
		"bpf_fentry_test3": sizes(1, 4, 8),
		"bpf_fentry_test4": sizes(8, 1, 4, 8),
		"bpf_fentry_test5": sizes(8, 8, 2, 4, 8),
		"bpf_fentry_test6": sizes(8, 8, 2, 4, 8, 8),
		"ftor_galt":        slices.Repeat(sizes(8), 2),
		"ftor_docall":      slices.Repeat(sizes(8), 7),
	}
}
