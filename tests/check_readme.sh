#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_readme.sh: the program in README.md is taken out of it, built and run against a receiver that
# knows nothing of taio; every file that README.md names exists.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
BUILD=$(realpath "${BUILD:-build}")

dir=$(mktemp -d) || exit 1
receiver=
trap '[ -z "$receiver" ] || kill "$receiver" 2> /dev/null; rm -rf "$dir"' EXIT

awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md > "$dir/send.c"
lines=$(wc -l < "$dir/send.c")
expect "README.md has a short program ($lines lines)" test "$lines" -gt 10 -a "$lines" -le 30
expect "it builds" gcc -std=gnu11 -Wall -Wextra -Werror -Iinclude -o "$dir/send" "$dir/send.c" \
	-L"$BUILD" -ltaio -Wl,-rpath,"$BUILD"

# a free port: nc tells on stderr which one it was given
head -c 3000000 /dev/urandom > "$dir/from"
if command -v nc > /dev/null; then
	nc -v -N -l 127.0.0.1 0 > "$dir/to" 2> "$dir/nc.log" &
	receiver=$!
	port=
	for ((i = 0; i < 100 && ${#port} == 0; i++)); do
		sleep 0.05
		port=$(sed -n 's/^Listening on .* \([0-9]*\)$/\1/p' "$dir/nc.log")
	done
	said=$("$dir/send" "$dir/from" "127.0.0.1:$port:tcp")
	status=$?
	wait $receiver
	receiver=
	printf '%s\n' "$said"
	expect "it ends with 0" test $status = 0
	expect "it says how its request ended" grep -q '^cookie 42: .* by [a-z]' <<< "$said"
	expect "the receiver has the file" cmp "$dir/from" "$dir/to"
	said=$("$dir/send" "$dir/none" 127.0.0.1:1:tcp)
	expect "for a file that is not there it ends with 1 and says so" \
		eval "test $? = 1 && grep -q 'No such file' <<< '$said'"
else
	skip "it sends a file: nc is not installed"
fi

named()
{
	local failed=0 file

	for file in $(grep -oE '`[a-zA-Z.]+[/.][a-zA-Z_./]*`' README.md | tr -d '`' | grep -vE '^\.'); do
		case $file in
		*.md | */) [ -e "$file" ] || { echo "README.md names $file"; failed=1; } ;;
		esac
	done
	return $failed
}
expect "files and directories that it names exist" named
finish
