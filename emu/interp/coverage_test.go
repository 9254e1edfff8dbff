package interp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/emu"
	"ftemu/x86"
)

func TestUD1(t *testing.T) {
	m := newMachine(t, []byte{0x0f, 0xb9, 0xcc}, emu.Config{}) // ud1 ecx, esp
	stop := m.CPU(0).Run(toEnd)
	require.Equal(t, emu.StopUD, stop.Reason)
	require.Equal(t, uint64(text), stop.RIP)
}

func TestClassify(t *testing.T) {
	for name, c := range map[string]struct {
		code []byte
		want Class
	}{
		"add eax, ebx":       {[]byte{0x01, 0xd8}, Executes},
		"endbr64":            {[]byte{0xf3, 0x0f, 0x1e, 0xfa}, Executes},
		"andn eax, eax, ecx": {[]byte{0xc4, 0xe2, 0x78, 0xf2, 0xc1}, Executes},
		"ud1":                {[]byte{0x0f, 0xb9, 0xcc}, Executes},
		"wrmsr":              {[]byte{0x0f, 0x30}, Privileged},
		"mov cr3, r8":        {[]byte{0x41, 0x0f, 0x22, 0xd8}, Privileged},
		"mwait":              {[]byte{0x0f, 0x01, 0xc9}, Privileged},
		"pxor xmm1, xmm11":   {[]byte{0x66, 0x41, 0x0f, 0xef, 0xcb}, Vector},
		"fninit":             {[]byte{0xdb, 0xe3}, Vector},
		"xrstor64 [rdi]":     {[]byte{0x48, 0x0f, 0xae, 0x2f}, Vector},
		"vzeroupper":         {[]byte{0xc5, 0xf8, 0x77}, Vector},
		"verw [rip]":         {[]byte{0x0f, 0x00, 0x2d, 0, 0, 0, 0}, Missing},
		"lar rax, ax":        {[]byte{0x48, 0x0f, 0x02, 0xc0}, Missing},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := x86.Decode(c.code)
			require.NoError(t, err)
			require.Equal(t, c.want, Classify(&in, c.code, text))
			if c.want == Executes {
				return
			}
			m := newMachine(t, c.code, emu.Config{})
			m.CPU(0).Regs().GPR[emu.RDI] = data
			stop := m.CPU(0).Run(toEnd)
			require.Contains(t, []emu.StopReason{emu.StopUnknown, emu.StopGeneral}, stop.Reason, "what is not executed stops the run")
		})
	}
}
