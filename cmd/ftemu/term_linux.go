package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// terminalWidth returns the number of columns of f, and whether it is a
// terminal. COLUMNS, if set, is the width of anything.
func terminalWidth(f *os.File) (width int, terminal bool) {
	var size struct{ rows, cols, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	terminal = errno == 0
	if terminal {
		width = int(size.cols)
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		width = n
	}
	return width, terminal
}
