#!/bin/sh
# Builds the objects in this directory from shapes.c, one for each way compilers
# have of leaving room to patch. Objects go to the directory given, or here.
# Compilers: CC (gcc) and CLANG (clang-14); those that are missing are left out
# with a message.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
mkdir -p "$out"

common="-O2 -ffreestanding -mcmodel=kernel -mno-red-zone -fno-pic -fno-pie -fno-stack-protector
	-fno-asynchronous-unwind-tables -fno-ident -mno-sse -mno-mmx -mno-avx"

# shellcheck disable=SC2086 # lists of flags are meant to be split

# build COMPILER NAME FLAGS...
build() {
	compiler=$1 name=$2
	shift 2
	"$compiler" $common "$@" -c -o "$out/$name.o" shapes.c
	strip --strip-debug --remove-section=.comment --remove-section=.note.GNU-stack "$out/$name.o"
}

gcc=${CC:-gcc}
if command -v "$gcc" >/dev/null; then
	none=-fcf-protection=none
	ibt='-fcf-protection=branch -fno-jump-tables'
	build "$gcc" gcc-fentry $none -pg -mfentry
	build "$gcc" gcc-fentry-record $none -pg -mfentry -mrecord-mcount
	build "$gcc" gcc-fentry-nop $none -pg -mfentry -mrecord-mcount -mnop-mcount
	build "$gcc" gcc-mcount $none -pg -mno-fentry
	build "$gcc" gcc-mcount-record $none -pg -mno-fentry -mrecord-mcount
	build "$gcc" gcc-patchable-16-16 $none -fpatchable-function-entry=16,16
	build "$gcc" gcc-patchable-5 $none -fpatchable-function-entry=5,0
	build "$gcc" gcc-ibt-fentry $ibt -pg -mfentry -mrecord-mcount
	build "$gcc" gcc-ibt-patchable-21-16 $ibt -fpatchable-function-entry=21,16
	build "$gcc" gcc-fentry-patchable-16-16 $none -pg -mfentry -mrecord-mcount -fpatchable-function-entry=16,16
	build "$gcc" gcc-ibt-fentry-patchable-16-16 $ibt -pg -mfentry -mrecord-mcount -fpatchable-function-entry=16,16
	build "$gcc" gcc-plain $none
else
	echo "build.sh: no $gcc: its objects are not built" >&2
fi

clang=${CLANG:-clang-14}
if command -v "$clang" >/dev/null; then
	build "$clang" clang-fentry -pg -mfentry
	build "$clang" clang-patchable-5 -fpatchable-function-entry=5,0
	build "$clang" clang-patchable-16-16 -fpatchable-function-entry=16,16
	build "$clang" clang-patchable-21-16 -fpatchable-function-entry=21,16
else
	echo "build.sh: no $clang: its objects are not built" >&2
fi
