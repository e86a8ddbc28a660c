#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_headers.sh: each public header compiles alone, with both compilers, in every language that
# its readers use; the header shared with BPF has no holes; each private header compiles alone.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
BUILD=${BUILD:-build}

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
strict=(-Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror -fsyntax-only)

# alone COMPILER LANGUAGE HEADER FLAG...: twice included, then one use
alone()
{
	printf '#include "%s"\n#include "%s"\nextern int alone;\nint alone;\n' "$3" "$3" > "$dir/alone.$2"
	"$1" -x "$2" "${strict[@]}" "${@:4}" -Iinclude "$dir/alone.$2"
}

# every public header as LANGUAGE with FLAG...
each_header()
{
	local failed=0

	for header in include/*.h; do
		alone "$1" "$2" "${header#include/}" "${@:3}" || failed=1
	done
	return $failed
}

for cc in gcc clang; do
	expect "$cc: taio.h is ISO C99" alone $cc c taio.h -std=c99
	expect "$cc: public headers are C99 with GNU extensions" each_header $cc c -std=gnu99
	expect "$cc: public headers are C11 and C17" \
		eval "each_header $cc c -std=gnu11 && each_header $cc c -std=gnu17"
done
expect "g++: taio.h is ISO C++11" alone g++ c++ taio.h -std=c++11
expect "g++: public headers are C++11 and C++20" \
	eval "each_header g++ c++ -std=gnu++11 && each_header g++ c++ -std=gnu++20"
expect "clang++: taio.h is ISO C++11" alone clang++ c++ taio.h -std=c++11
expect "clang++: public headers are C++11 and C++20" \
	eval "each_header clang++ c++ -std=gnu++11 && each_header clang++ c++ -std=gnu++20"

# 32 bits on each side of the fence would see other structures if there were a hole
expect "taio_policy.h has no holes for gcc" alone gcc c taio_policy.h -std=gnu11 -Wpadded
expect "taio_policy.h has no holes for clang" alone clang c taio_policy.h -std=gnu11 -Wpadded

bpf=(clang -target bpf -mcpu=v3 -O2 -Wall -Wextra -Wshadow -Werror -Iinclude -Ibpf -I"$BUILD")
echo '#include "taio_policy.h"' > "$dir/p.c"
expect "taio_policy.h has no holes for BPF" "${bpf[@]}" -Wpadded -fsyntax-only "$dir/p.c"

# a program in C++ that uses the inline helpers links against the C names
cat > "$dir/use.cc" <<'END'
#include "taio.h"
int main()
{
	struct taio_endpoint from = taio_path("/etc/passwd"), to = taio_null();
	return taio_endpoint_parse("null:", 1, &to) == 0 && from.type == TAIO_EP_PATH ? 0 : 1;
}
END
expect "a C++ program compiles, links and runs" eval \
	"g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -Iinclude -o $dir/use $dir/use.cc \
	-L$BUILD -ltaio -Wl,-rpath,\$(realpath $BUILD) && $dir/use"

private_headers()
{
	local failed=0 header

	for header in user/*/*.h; do
		[ -e "$header" ] || continue
		printf '#include "%s"\n#include "%s"\n' "${header#user/}" "${header#user/}" > "$dir/h.c"
		gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Iinclude -Iuser \
			-Ibpf -I"$BUILD/schedulers" "$dir/h.c" || failed=1
	done
	return $failed
}
expect "every private header compiles alone" private_headers
finish
