package gdb

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

var errWhere = errors.New("expected 127.0.0.1:PORT, [::1]:PORT or unix:PATH")

// Listen opens where a client comes in: HOST:PORT with an address of the loopback,
// or unix:PATH. Nothing else is taken, because who gets in can read and change
// everything in the run. A socket that nobody listens on any more is replaced.
func Listen(where string) (net.Listener, error) {
	l, err := listen(where)
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, op.Err // the rest says where, which the caller knows
	}
	return l, err
}

func listen(where string) (net.Listener, error) {
	path, ok := strings.CutPrefix(where, "unix:")
	if !ok {
		addr, err := netip.ParseAddrPort(strings.Replace(where, "localhost:", "127.0.0.1:", 1))
		if err != nil || !addr.Addr().IsLoopback() {
			return nil, errWhere
		}
		return net.Listen("tcp", addr.String())
	}
	l, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	// A socket of another type cannot connect, and tells all the same whether one
	// listens. A file that is no socket refuses connections too.
	_, dial := net.Dial("unixgram", path)
	if info, stat := os.Lstat(path); !errors.Is(dial, syscall.ECONNREFUSED) || stat != nil || info.Mode()&os.ModeSocket == 0 {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}
