#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_install.sh: `make install` puts everything in its place, a program builds against what was
# installed with nothing but pkg-config, shared and static, and `make uninstall` takes it all away.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
BUILD=${BUILD:-build}
cc=${CC:-gcc}

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
prefix=$(sed -n 's/^prefix=//p' "$BUILD/taio.pc")
make=(make --no-print-directory BUILD="$BUILD" PREFIX="$prefix" DESTDIR="$dir/root")
at=$dir/root$prefix

# install-files: nothing may be made anew, what was tested is what is installed
expect "make install works into DESTDIR" "${make[@]}" install-files

placed()
{
	local failed=0 file

	for file in bin/taio include/*.h \
		lib/libtaio.so.0 lib/libtaio.so lib/libtaio.a lib/pkgconfig/taio.pc; do
		[ -e "$at/$file" ] || { echo "missing: $file"; failed=1; }
	done
	for file in schedulers/*.bpf.c bpf/*.h; do
		[ ! -e "$file" ] || [ -e "$at/share/taio/$file" ] ||
			{ echo "missing: share/taio/$file"; failed=1; }
	done
	for file in "$BUILD"/schedulers/*.bpf.o; do
		[ ! -e "$file" ] || [ -e "$at/lib/taio/schedulers/${file##*/}" ] ||
			{ echo "missing: ${file##*/}"; failed=1; }
	done
	for file in docs/man/*.[137] docs/man/man?/*.[137]; do
		[ ! -e "$file" ] || [ -e "$at/share/man/man${file##*.}/${file##*/}" ] ||
			{ echo "missing: ${file##*/}"; failed=1; }
	done
	return $failed
}
expect "program, headers, libraries, policies and pages are in their places" placed
expect "the installed command runs" "$at/bin/taio" --version

cat > "$dir/prog.c" <<'END'
#include <stdio.h>
#include <string.h>
#include <taio.h>

int main(void)
{
	char from[5000], to[5000];
	struct taio_event event;
	struct taio *engine;

	memset(from, 7, sizeof(from));
	if (taio_open(&engine, NULL) < 0)
		return 1;
	if (taio_schedule_pointer(engine, from, to, sizeof(from), 42) < 0)
		return 2;
	if (taio_get_events(engine, &event, 1, 1, -1) != 1)
		return 3;
	taio_close(engine);
	if (event.cookie != 42 || event.result != sizeof(from))
		return 4;
	puts(taio_version());
	return memcmp(from, to, sizeof(from)) ? 5 : 0;
}
END

config()
{
	PKG_CONFIG_SYSROOT_DIR=$dir/root PKG_CONFIG_PATH=$at/lib/pkgconfig pkg-config "$@" taio
}

shared()
{
	# shellcheck disable=SC2046
	"$cc" -Wall -Werror -o "$dir/shared" "$dir/prog.c" $(config --cflags --libs) &&
		[ "$(LD_LIBRARY_PATH=$at/lib "$dir/shared")" = "$(config --modversion)" ]
}

static()
{
	# shellcheck disable=SC2046
	"$cc" -Wall -Werror -o "$dir/static" "$dir/prog.c" $(config --cflags) \
		-Wl,-Bstatic $(config --static --libs) -Wl,-Bdynamic &&
		! readelf -d "$dir/static" | grep -qE 'libtaio|liburing' &&
		[ "$("$dir/static")" = "$(config --modversion)" ]
}

expect "a program builds with taio.pc and runs with libtaio.so" shared
expect "a program builds with taio.pc --static and runs without it" static

gone()
{
	"${make[@]}" uninstall && [ -z "$(find "$dir/root" ! -type d | tee /dev/stderr)" ]
}
expect "make uninstall leaves no file behind" gone

other_prefix()
{
	local out

	out=$(sed -e 's|@PREFIX@|/opt/x|' taio.pc.in)
	grep -q '^prefix=/opt/x$' <<< "$out" && ! grep -q '/usr/local' <<< "$out"
}
expect "taio.pc follows PREFIX" other_prefix
finish
