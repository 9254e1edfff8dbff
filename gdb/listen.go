package gdb

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Listen opens where a client comes in: HOST:PORT with an address of the loopback,
// or unix:PATH. Nothing else is taken, because who gets in can read and change
// everything in the run.
func Listen(where string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		return net.Listen("unix", path)
	}
	addr, err := netip.ParseAddrPort(strings.Replace(where, "localhost:", "127.0.0.1:", 1))
	if err != nil || !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("cannot listen on %q: expected 127.0.0.1:PORT, [::1]:PORT or unix:PATH", where)
	}
	return net.Listen("tcp", addr.String())
}
