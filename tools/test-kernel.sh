#!/bin/bash
# Runs the tests that want a whole kernel, on each engine of this build, and what
# the interpreter covers of its code. The kernel is the one that FTEMU_VMLINUZ
# names, or the last in /boot; where there is none, Debian's linux-image-amd64 is
# installed.
set -euo pipefail
cd "$(dirname "$0")/.."

kernels() { [ -n "${FTEMU_VMLINUZ:-}" ] || compgen -G '/boot/vmlinuz-*' >/dev/null; }

if ! kernels; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "no kernel in /boot, and no root or apt-get to install one; set FTEMU_VMLINUZ"
		exit 2
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends linux-image-amd64
fi
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
tags=()
if command -v gcc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists unicorn; then
	tags=(-tags unicorn)
else
	echo "libunicorn or gcc is missing: the Unicorn engine is not tested"
fi
go test -buildvcs=false "${tags[@]}" -count=1 -v -run 'InstalledKernel' ./guest ./cmd/ftemu .
