#!/bin/bash
# Runs the tests that want a whole kernel, on each engine of this build. The
# kernel is the one that FTEMU_VMLINUZ names, or the last in /boot; where there is
# none, Debian's linux-image-amd64 is installed, or without root unpacked for the
# time of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

kernels() { [ -n "${FTEMU_VMLINUZ:-}" ] || compgen -G '/boot/vmlinuz-*' >/dev/null; }

install_kernel() {
	[ "$(id -u)" = 0 ] || return 1
	apt-get update -qq </dev/null &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends linux-image-amd64 </dev/null
}

# unpack_kernel takes the kernel out of its package and installs nothing.
unpack_kernel() {
	local package
	package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n1)
	[ -n "$package" ] || return 1
	unpacked=$(mktemp -d)
	trap 'rm -rf "$unpacked"' EXIT
	(cd "$unpacked" && apt-get download -qq "$package" && dpkg -x ./*.deb .) || return 1
	FTEMU_VMLINUZ=$(echo "$unpacked"/boot/vmlinuz-*)
	export FTEMU_VMLINUZ
}

if ! kernels; then
	command -v apt-get >/dev/null || { echo "no kernel in /boot and no apt-get; set FTEMU_VMLINUZ"; exit 2; }
	install_kernel || unpack_kernel || { echo "no kernel in /boot, and linux-image-amd64 is not to be had; set FTEMU_VMLINUZ"; exit 2; }
fi
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
tags=()
if command -v gcc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists unicorn; then
	tags=(-tags unicorn)
else
	echo "libunicorn or gcc is missing: the Unicorn engine is not tested"
fi
go test -buildvcs=false "${tags[@]}" -count=1 -v -run 'InstalledKernel' ./guest ./cmd/ftemu .
