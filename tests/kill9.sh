#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# kill9.sh: `taio copy` ended by SIGKILL, KILLS (1000) times at random moments and once at each of
# its system calls: every destination is what it was or what it should become, never anything
# between, and the next copy to the same place leaves nothing of the dead one behind. SEED repeats
# the choices. `make kill9` runs it; e2e_kill9.sh is the same with fewer kills.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
kills=${KILLS:-1000}
RANDOM=${SEED:=$(($$ % 32768))}

# ---- what is copied ------------------------------------------------------------------------------

# Two versions of everything: the first is there, the second replaces it.
for version in 1 2; do
	mkdir -p $version/tree/{a,b/c}
	head -c 6000000 /dev/urandom > $version/file
	head -c 20000 /dev/urandom > $version/small
	for i in $(seq 40); do
		head -c $((RANDOM * RANDOM % 200000)) $version/file > "$version/tree/a/$i"
		tail -c $((RANDOM % 3000)) $version/file > "$version/tree/b/c/$i"
	done
	ln -s a/$version $version/tree/link
done
mkfifo never # a clock that needs no process: read -t on it
exec 8<> never

# ---- what may be there ---------------------------------------------------------------------------

# old_or_new NAME: the destination of that name is a version as a whole, or is not there if it was not
old_or_new()
{
	if [ ! -e "to/$1" ] && [ ! -L "to/$1" ]; then
		[ "$fresh" = 1 ]
	elif [ -L "to/$1" ]; then
		[ "$(readlink "to/$1")" = a/1 ] || [ "$(readlink "to/$1")" = a/2 ]
	else
		cmp -s "to/$1" "2/$1" || { [ "$fresh" = 0 ] && cmp -s "to/$1" "1/$1"; }
	fi
}

torn=0
look_at()
{
	local name

	while IFS= read -r name; do
		old_or_new "$name" && continue
		torn=$((torn + 1))
		printf 'torn: %s (%s)\n' "$name" "$*"
	done < <(cd 2 && find "$what" ! -type d)
}

# what is there beside what should be
strangers()
{
	(cd to && find . -mindepth 1) | sort > there
	(cd 2 && find "./$what") | sort | comm -13 - there
}

left=0 cleaned=0
# after_it OPTION...: the next copy to the same place works, and nothing stays of the one before
after_it()
{
	[ -z "$(strangers)" ] || cleaned=$((cleaned + 1))
	if ! "$taio" copy -r "$@" "2/$what" to 2> next.err ||
		! diff -r --no-dereference "2/$what" "to/$what" > /dev/null; then
		not_ok "the next copy works: $(cat next.err)"
	fi
	[ -n "$(strangers)" ] || return
	left=$((left + 1))
	printf 'left behind (%s): %s\n' "$*" "$(strangers)"
}

# set_out: the destination as it is before a copy
set_out()
{
	rm -rf to
	mkdir to
	[ "$fresh" = 1 ] || cp -r "1/$what" to
}

# ---- at random moments ---------------------------------------------------------------------------

whats=(file small tree tree)
ways=('' '--durable' '--no-uring' '--pin rw,sys' '--pin uring,sys' '--pin direct,sys,rw' '--jobs 1' '--no-bpf')
killed=0 finished=0 longest=20000
while [ $killed -lt "$kills" ] && [ $finished -lt $((20 * kills)) ]; do
	what=${whats[RANDOM % ${#whats[@]}]}
	fresh=$((RANDOM % 2))
	read -ra options <<< "${ways[RANDOM % ${#ways[@]}]}"
	set_out
	printf -v delay '0.%06d' $(((RANDOM * 32768 + RANDOM) % longest))
	"$taio" copy -r "${options[@]}" "2/$what" to 2> killed.err &
	copying=$!
	read -r -t "$delay" -u 8
	kill -KILL $copying 2> /dev/null
	wait $copying 2> /dev/null
	if [ $? = 137 ]; then
		killed=$((killed + 1))
	else
		# too late: be quicker from now on, but look at the later moments too
		finished=$((finished + 1))
		longest=$((longest > 2000 ? longest - 200 : 20000))
		continue
	fi
	look_at "$what, ${options[*]}"
	after_it "${options[@]}"
done 2> /dev/null
run test $killed = "$kills"
is "$killed copies were killed at random moments (seed $SEED)" test "$killed" = "$kills"
is "no destination of theirs is torn: $torn" test $torn = 0
is "nothing stays that the next copy does not clean: $left of $cleaned" test $left = 0

# ---- at each system call -------------------------------------------------------------------------

# at_each WHAT OPTION...: strace kills at the first, the second, ... of each kind of system call
at_each()
{
	local call n number=0 points=0

	what=$1
	shift
	torn=0 left=0
	set_out
	strace -f -qq -o calls "$taio" copy -r "$@" "2/$what" to
	sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' calls |
		awk '!/^(exit|exit_group|execve)$/ { print $1, ++n[$1] }' > points
	while read -r call n; do
		[ $((number++ % step)) = 0 ] || continue
		set_out
		strace -f -qq -o /dev/null -e "inject=$call:signal=KILL:when=$n" \
			"$taio" copy -r "$@" "2/$what" to 2> killed.err
		[ $? = 137 ] || continue # it was made by another thread this time, or not at all
		points=$((points + 1))
		look_at "$what, $*, at $call $n"
		after_it "$@"
	done < points 2> /dev/null # of the shell, that it was killed
	run test $points -gt 0
	is "$what $*, $([ "$fresh" = 1 ] && echo new || echo replaced): killed at $points of $number system calls, torn: $torn" \
		test $((2 * points * step)) -gt $number -a $torn = 0
	is "... and nothing stays that the next copy does not clean: $left" test $left = 0
}

if ! strace -qq -o /dev/null -e inject=getppid:signal=KILL:when=99 true 2> strace.err; then
	skip "killed at each system call: strace cannot do it here: $(head -n 1 strace.err)"
	finish
fi
for fresh in 0 1; do
	step=1
	at_each small
	step=${STEP:-1}
	at_each small --durable
	at_each file --pin rw,sys
	at_each file --no-uring --durable
done
exec 8<&-
finish
