#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_policy_new.sh: a policy of one's own, as a new user makes it: in an empty directory, with nothing
# but an installed taio, by the commands that `taio policy new` prints and those of docs/policy.md.
set -u
if [ "$(id -u)" = 0 ] && [ -z "${POLICY_APART:-}" ]; then
	if unshare -mn true 2>/dev/null; then
		POLICY_APART=1 exec unshare -mn "$0" "$@"
	fi
fi
start=$(cd "$(dirname "$0")" && pwd)
cd "$start/.." || exit 1
sources=$PWD
. tests/lib.sh
. tests/lib_cli.sh
command -v clang > /dev/null || { echo "clang is missing (make setup installs it)"; exit 77; }

prefix=$(sed -n 's/^prefix=//p' "$BUILD/taio.pc")
make --no-print-directory -C "$sources" BUILD="$BUILD" PREFIX="$prefix" DESTDIR="$work/root" \
	install-files > install.log 2>&1 || { cat install.log; exit 1; }
PATH=$work/root$prefix/bin:$PATH
spin=$BUILD/tests/spin
mkdir nothing && cd nothing || exit 1

kernel=yes # may policies be loaded?
[ -n "${POLICY_APART:-}" ] && mount -t bpf -o mode=0700 bpf /sys/fs/bpf 2>/dev/null || kernel=

policy() { run taio policy "$@"; }
ended() { [ "$status" = "$1" ]; }
says() { [[ $out == *"$1"* ]]; }
complains() { [[ $err == *"$1"* ]]; }
# the command behind a word that `taio policy new` printed
printed() { sed -n "s/^ *$1 *//p" <<< "$new"; }

# ---- new -----------------------------------------------------------------------------------------
policy new mine
is "new writes a policy" ended 0
new=$out
is "it says so" says "wrote mine.bpf.c"
is "and writes nothing else" test "$(ls | tr '\n' ' ')" = "mine.bpf.c "
is "the headers are those that were installed" says "-I$(realpath "$work/root$prefix")/share/taio/bpf"
before=$(cksum mine.bpf.c)
policy new mine
is "a file that is there is not overwritten" ended 1
is "and that is said" complains "mine.bpf.c: it is there already"
is "it is as it was" test "$before" = "$(cksum mine.bpf.c)"
policy new "../up"
is "a name that is none for a program is refused" ended 2
policy new a_very_long_name_indeed
is "one that is too long, too" ended 2
policy new
is "and one that is missing" ended 2
run bash -c "$(printed build) -Wall -Wextra -Werror"
is "the printed command compiles it, without a warning" ended 0
is "as an object" test -s mine.bpf.o
if command -v clang-format > /dev/null; then
	cp "$sources/.clang-format" .
	run clang-format --dry-run -Werror mine.bpf.c
	is "it is written in the style of the others" ended 0
	rm .clang-format
fi

# ---- docs/policy.md ------------------------------------------------------------------------------
# its blocks are marked <!-- NAME -->
block()
{
	sed -n "/^<!-- $1 -->\$/,/^\`\`\`\$/p" "$sources/docs/policy.md" | grep -vE '^(<!--|```)'
}
mkdir guide && cd guide || exit 1
block create > create
block build > build
block source > source.c
is "docs/policy.md has what is tried here" test -s create -a -s build -a -s source.c
run bash -eu create
is "the guide's first commands work" ended 0
run bash -eu build
is "its second ones build the policy as it was written" ended 0
cp source.c mine.bpf.c
rm -f mine.bpf.o
run bash -eu build
is "the policy that it ends with compiles" ended 0

# ---- in the kernel -------------------------------------------------------------------------------
if [ -z "$kernel" ]; then
	skip "loading them: needs root, namespaces and a bpf file system"
	finish
fi
policy check mine.bpf.o
is "the policy of the guide loads" ended 0
is "it has the hooks that the guide speaks of" says "completed seed price"
cd ..
run bash -c "$(printed check)"
is "the printed check finds that the policy loads" says "loads on this kernel"
"$spin" > spin.out 2> spin.err &
pid=$!
children+=("$pid")
reachable() { grep -q "@taio/$pid/" /proc/net/unix; }
until_true reachable || { echo "no engine"; exit 1; }
run bash -c "$(printed try) --for 1s"
is "the printed trial runs" ended 0
is "and prints the comparison: $(sed -n 's/^engine.*: //p' .out | tail -n 1)" says "was on trial, with 5.0 %"
run bash -c "$(printed run)"
is "the printed load runs" says "mine runs in the kernel"
run bash -c "$(printed run) weight=64"
is "with its tunable, too" says "mine runs in the kernel"
sleep 1.5
policy show --json
is "the watchdog has nothing against it" says '"policy":"mine","where":"bpf"'
policy load guide/mine.bpf.o
is "the policy of the guide runs, too" ended 0
sleep 1.5
policy show --json
is "and stays" says '"policy":"mine","where":"bpf"'
kill "$pid"
wait "$pid"
is "no request failed" grep -q ' failed 0 ' spin.out
finish
