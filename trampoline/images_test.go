package trampoline

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// imagesFile describes images that were captured from a running Linux 6.1.192,
// one JSON object a line: the description from which the same bytes must come,
// and the sha256 of these bytes. The bytes themselves are not kept.
var imagesFile = filepath.Join("..", "testdata", "trampoline", "images.jsonl")

// An image is one line of imagesFile. Exactly one description is set.
type image struct {
	Set    string      `json:"set"` // the machine it was captured on
	Name   string      `json:"name"`
	Kind   string      `json:"kind"`
	Caller *CallerSpec `json:"caller,omitempty"` // kinds ftrace_caller and ftrace_regs_caller
	Ops    *OpsSpec    `json:"ops,omitempty"`
	BPF    *BPFSpec    `json:"bpf,omitempty"`
	Size   int         `json:"size"`
	SHA256 string      `json:"sha256"`
}

// generate makes the code that the image's description asks for.
func (img *image) generate() (Code, error) {
	switch {
	case img.Kind == "ftrace_caller" && img.Caller != nil:
		return FtraceCaller(*img.Caller)
	case img.Kind == "ftrace_regs_caller" && img.Caller != nil:
		return FtraceRegsCaller(*img.Caller)
	case img.Kind == "ops" && img.Ops != nil:
		return OpsTrampoline(*img.Ops)
	case img.Kind == "bpf" && img.BPF != nil:
		return BPF(*img.BPF)
	}
	return Code{}, fmt.Errorf("image %s: kind %q without its description", img.Name, img.Kind)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestImages generates every image that a real kernel was seen to make and
// compares its digest.
func TestImages(t *testing.T) {
	f, err := os.Open(imagesFile)
	require.NoError(t, err)
	defer f.Close()
	kinds := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var img image
		require.NoError(t, json.Unmarshal(lines.Bytes(), &img))
		code, err := img.generate()
		require.NoError(t, err, "%s %s", img.Set, img.Name)
		require.Len(t, code.Bytes, img.Size, "%s %s", img.Set, img.Name)
		require.Equal(t, img.SHA256, digest(code.Bytes), "%s %s", img.Set, img.Name)
		kinds[img.Kind]++
	}
	require.NoError(t, lines.Err())
	for _, kind := range []string{"ftrace_caller", "ftrace_regs_caller", "ops", "bpf"} {
		require.NotZero(t, kinds[kind], kind)
	}
}
