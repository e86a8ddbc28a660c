# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# shellcheck shell=bash
#
# lib_cli.sh: for the scripts that test the command `taio`: a directory of their own with some
# files, ways to run it and to look at what it did. Source it after lib.sh.

BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
taio=$BUILD/taio
[ -x "$taio" ] || { echo "$taio was not built"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/taio-e2e.XXXXXX") || exit 1
chmod 755 "$work"
children=()
cleanup()
{
	local child

	for child in "${children[@]}"; do
		kill "$child" 2>/dev/null
	done
	mountpoint -q "$work/small" && umount "$work/small"
	chmod -R u+rwx "$work" 2>/dev/null
	cd /
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 1
umask 022
unset NO_COLOR TAIO_POLICY
export XDG_CACHE_HOME=$work/cache # what is learnt here stays here
mkdir cache

# runs a command: $out, $err, $status
run()
{
	"$@" > .out 2> .err
	status=$?
	out=$(cat .out)
	err=$(cat .err)
}

copy()
{
	run "$taio" copy "$@"
}

# is WHAT CONDITION...: one behaviour; what the last command said is shown if it is not so
is()
{
	local what=$1

	shift
	if "$@"; then
		ok "$what"
	else
		printf 'status %s\nstdout: %.600s\nstderr: %.600s\n' "$status" "$out" "$err"
		not_ok "$what"
	fi
}

copied()
{
	[ "$status" = 0 ] && [ -z "$err" ] && cmp -s "$1" "$2"
}

# failed STATUS WORDS...: this exit status, and each of the words in the message
failed()
{
	local word

	[ "$status" = "$1" ] || return 1
	shift
	for word; do
		[[ $err == *"$word"* ]] || return 1
	done
}

# no temporary of a copy that has ended may stay
clean()
{
	[ -z "$(find . -path ./cache -prune -o ! -type d -name '*taio*' -print)" ]
}

# everything about a tree that cp -r keeps; with times: cp -rp
listing()
{
	(cd "$1" && find . -printf "%P %y %#m %s %l ${2:+%T@}\n" |
		sed 's/^\(.* d [0-9]*\) [0-9]*/\1/' | sort) # sizes of directories are their own
}

same_tree()
{
	diff <(listing "$1" "${3:-}") <(listing "$2" "${3:-}") &&
		diff -r --no-dereference "$1" "$2" > /dev/null
}

free_port()
{
	local port

	for port in $(shuf -i 20000-32000 -n 20); do
		(exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}

# until FUNCTION...: true within twenty seconds
until_true()
{
	local i

	for ((i = 0; i < 1000; i++)); do
		"$@" && return 0
		sleep 0.02
	done
	return 1
}

# listens PORT: somebody does, on a TCP port (IPv4 or IPv6)
listens()
{
	grep -qE ":$(printf %04X "$1") [0:]+ 0A" /proc/net/tcp /proc/net/tcp6 2> /dev/null
}

# catches PID SIGNAL: that process has a handler for it by now
catches()
{
	local caught

	# until it has become the command, it is a shell, which catches many
	[ "$(cat "/proc/$1/comm" 2> /dev/null)" = taio ] || return 1
	caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2> /dev/null)
	[ -n "$caught" ] && ((0x$caught >> ($(kill -l "$2") - 1) & 1))
}

# lasts MIN MAX COMMAND...: it takes so long, in milliseconds ($took); a machine that others use may
# make it longer now and then, but not five times in a row
lasts()
{
	local min=$1 max=$2 begin i

	shift 2
	for ((i = 0; i < 5; i++)); do
		begin=$(date +%s%N)
		"$@"
		took=$((($(date +%s%N) - begin) / 1000000))
		[ "$took" -ge "$min" ] || return 1
		[ "$took" -gt "$max" ] || return 0
	done
	return 1
}

head -c 3000000 /dev/urandom > random
printf 'hello\n' > hello
: > empty
# shellcheck disable=SC2034 # of the scripts that source this
python=$(command -v python3)
