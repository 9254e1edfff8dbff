//go:build !linux

package bench

import "time"

// Clock says what times are of.
const Clock = "wall time"

// born is when the program started.
var born = time.Now()

func now() time.Duration { return time.Since(born) }
