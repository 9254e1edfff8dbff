//go:build !linux

package main

import (
	"os"
	"strconv"
)

// terminalWidth takes the width from COLUMNS; colours are for Linux terminals.
func terminalWidth(*os.File) (width int, terminal bool) {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n < 0 {
		return 0, false
	}
	return n, false
}
