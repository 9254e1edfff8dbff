package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/trampoline"
)

// assemble makes an object of assembler source.
func assemble(t *testing.T, source string) string {
	as, err := exec.LookPath("as")
	if err != nil {
		t.Skip("no assembler: objects cannot be made here")
	}
	dir := t.TempDir()
	src, obj := filepath.Join(dir, "t.s"), filepath.Join(dir, "t.o")
	require.NoError(t, os.WriteFile(src, []byte(source), 0o644))
	out, err := exec.Command(as, "--64", "-o", obj, src).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return obj
}

const objectSource = `
	.text
	nop
	.globl trampoline
	.type trampoline,@function
trampoline:
	push %rdi
	push %rdi
	incl counter(%rip)
	call log_entry
	pop %rdi
	pop %rdi
	add $8,%rsp
	jmp body
	.size trampoline, .-trampoline
	.globl other
	.type other,@function
other:
	ret
	.size other, .-other
	.data
	.globl counter
counter: .quad 0
	.globl ftemu_args, ftemu_exclusive
	.set ftemu_args, 1
	.set ftemu_exclusive, 1
`

func TestObject(t *testing.T) {
	file := assemble(t, objectSource)
	m, err := Open(file)
	require.NoError(t, err)
	require.Equal(t, file, m.Name())
	require.Equal(t, trampoline.Contract{Args: 1, Align: 16, Exclusive: true, WritesReturn: true}, m.Contract())
	require.Nil(t, m.Frame())
	var s trampoline.Sample
	p, err := m.Make(s.Env(trampoline.Return{}))
	require.NoError(t, err)
	require.Equal(t, uint64(trampoline.SampleAddr+1), p.Code.Addr)
	require.Len(t, p.Segments, 2)
	require.Equal(t, []string{
		"push %rdi", "push %rdi", "incl 0xff7(%rip) # ffffffffc0201000", "call ffffffff81008000 <log_entry>",
		"pop %rdi", "pop %rdi", "add $0x8,%rsp", "jmp ffffffff81001005 <body>",
	}, instructions(t, m))

	m, err = Open(file + ":other")
	require.NoError(t, err)
	require.Equal(t, file+":other", m.Name())
	require.Equal(t, []string{"ret"}, instructions(t, m))
}

func TestObjectErrors(t *testing.T) {
	file := assemble(t, objectSource)
	_, err := Open(file + ":nowhere")
	require.EqualError(t, err, file+`: no entry symbol "nowhere", found trampoline, other`)
	_, err = Open(file + ":counter")
	require.ErrorContains(t, err, `entry symbol "counter" at `)
	require.ErrorContains(t, err, "is not in executable code")
	_, err = Open(assemble(t, ".globl x\n.data\nx: .quad 0\n"))
	require.ErrorContains(t, err, `no entry symbol "trampoline", found no functions`)
	_, err = Open(assemble(t, ".globl trampoline, ftemu_args\n.set ftemu_args, 7\ntrampoline: ret\n"))
	require.ErrorContains(t, err, "ftemu_args is 7, expected 0 to 6")

	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.o")
	require.NoError(t, os.WriteFile(damaged, []byte(elfMagic+"xxxxxxxxxxxxxxxxxxxxxxxxx"), 0o644))
	_, err = Open(damaged)
	require.ErrorContains(t, err, "damaged.o: ")
	_, err = Open(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	text := filepath.Join(dir, "a.layout")
	require.NoError(t, os.WriteFile(text, []byte("layout a\nleave to return\n"), 0o644))
	_, err = Open(text + ":entry")
	require.EqualError(t, err, text+`: a layout has no entry symbol, found "entry"`)
	m, err := Open(text)
	require.NoError(t, err)
	require.Equal(t, "a", m.Name())
	require.NoError(t, os.WriteFile(text, []byte("layout a\n"), 0o644))
	m, err = Open(text)
	require.ErrorContains(t, err, "does not leave")
	require.Nil(t, m)
}
