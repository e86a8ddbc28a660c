#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_abi.sh: what a program sees of the libraries is what taio.h says, no more and no less.
# `tests/check_abi.sh --update` writes tests/abi.golden anew after a wanted change.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
BUILD=${BUILD:-build}

declared=$(tr '\n' ' ' < include/taio.h | grep -oE 'TAIO_API [^;(]*\(' |
	grep -oE 'taio_[a-z0-9_]+\($' | tr -d '(' | sort)
mapped=$(sed -n '/global:/,/local:/s/^[[:space:]]*\([a-z0-9_]*\);$/\1/p' user/libtaio.map | sort)
so=$(readlink -f "$BUILD/libtaio.so")

same()
{
	if diff <(printf '%s\n' "$2") <(printf '%s\n' "$3"); then
		ok "$1"
	else
		not_ok "$1"
	fi
}

if [ "${1:-}" = --update ]; then
	"$BUILD/tests/abi_sizes" > tests/abi.golden
	exit
fi

[ "$(wc -w <<< "$declared")" -gt 20 ] || not_ok "taio.h can be read"
same "user/libtaio.map lists the TAIO_API functions of taio.h" "$declared" "$mapped"
same "libtaio.so exports the TAIO_API functions, all of version TAIO_0.1" \
	"${declared//$'\n'/@@TAIO_0.1$'\n'}@@TAIO_0.1" \
	"$(nm -D --defined-only "$so" | awk '$2 != "A" { print $3 }' | sort)"
same "libtaio.a has no other global name" "$declared" \
	"$(nm -g --defined-only "$BUILD/libtaio.a" | awk 'NF == 3 { print $3 }' | sort)"
same "the SONAME is libtaio.so.0" libtaio.so.0 \
	"$(readelf -d "$so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')"

# the dynamic linker is there whenever libc is
needed()
{
	readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^ld-linux' | sort
}
same "the command needs libc and nothing else at start" libc.so.6 "$(needed "$BUILD/taio")"
same "libtaio.so needs libc and liburing" $'libc.so.6\nliburing.so.2' "$(needed "$so")"

sizes=$("$BUILD/tests/abi_sizes")
same "sizes and places are those of tests/abi.golden" "$(cat tests/abi.golden)" "$sizes"
finish
