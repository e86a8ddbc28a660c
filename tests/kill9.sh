#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# kill9.sh: `taio copy` ended by SIGKILL, KILLS (1000) times at random moments and once at each of
# its system calls: every destination is what it was or what it should become, never anything
# between, and the next copy to the same place leaves nothing of the dead one behind. It tells what each
# kill found, so that one sees that they hit every part of a copy. SEED repeats the choices. `make kill9`
# runs it; e2e_kill9.sh is the same with fewer kills.
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

is_new()
{
	if [ -L "to/$1" ]; then
		[ "$(readlink "to/$1")" = a/2 ]
	else
		cmp -s "to/$1" "2/$1"
	fi
}

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
# look_at WORDS: what became of each destination; $new: how many of $all are the new version
look_at()
{
	local name

	all=0 new=0
	while IFS= read -r name; do
		all=$((all + 1))
		is_new "$name" && new=$((new + 1)) && continue
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

# ---- when it was ---------------------------------------------------------------------------------

declare -A found
# part_of PID: how far a process is that was stopped: what it has open below to/, and how long that is
part_of()
{
	local fd path size whole

	whole=$(stat -c %s "2/$what" 2> /dev/null)
	part='no destination open'
	for fd in /proc/"$1"/fd/*; do
		path=$(readlink "$fd") && [[ $path == "$work"/to/* ]] && [ ! -d "$fd" ] || continue
		size=$(stat -L -c %s "$fd") || continue
		part='destination whole'
		[ "$size" != 0 ] || part='destination empty'
		[ "$size" = 0 ] || [ "$size" -ge "$whole" ] || part='destination written in part'
	done
}

# note_part: counts it; of a tree, whose files are many, how many of them are there
note_part()
{
	if [ "$what" = tree ]; then
		part='none of its files done'
		[ $new = 0 ] || part="$((4 * new / all + 1)). quarter of its files"
		[ $new -lt $all ] || part='all of its files done'
	elif [ $new = 1 ]; then
		part='published'
	fi
	found["$what, $part"]=$((${found["$what, $part"]:-0} + 1))
}

# ---- at random moments ---------------------------------------------------------------------------

now() { echo $((${EPOCHREALTIME/./} + 0)); } # us

whats=(file small tree tree)
ways=('' '--durable' '--no-uring' '--pin rw,sys' '--pin uring,sys' '--pin direct,sys,rw' '--jobs 1' '--no-bpf')
declare -A takes # what such a copy takes, in us
killed=0 finished=0
while [ $killed -lt "$kills" ] && [ $finished -lt $((20 * kills)) ]; do
	what=${whats[RANDOM % ${#whats[@]}]}
	fresh=$((RANDOM % 2))
	way=${ways[RANDOM % ${#ways[@]}]}
	read -ra options <<< "$way"
	set_out
	took=${takes["$what $way"]:-20000}
	printf -v delay '%d.%06d' $((took / 1000000)) $(((RANDOM * 32768 + RANDOM) % took))
	start=$(now)
	"$taio" copy -r "${options[@]}" "2/$what" to 2> killed.err &
	copying=$!
	read -r -t "$delay" -u 8
	kill -STOP $copying 2> /dev/null
	part_of $copying
	kill -KILL $copying 2> /dev/null
	wait $copying 2> /dev/null
	if [ $? = 137 ]; then
		killed=$((killed + 1))
		# the moments must reach to the end of a copy; one that is never too late did not
		takes["$what $way"]=$((took + took / 8))
	else
		finished=$((finished + 1))
		took=$(($(now) - start))
		takes["$what $way"]=$((took > 2000 ? took : 2000))
		continue
	fi
	look_at "$what, $way"
	note_part
	after_it "${options[@]}"
done 2> /dev/null
for part in "${!found[@]}"; do
	printf '%4d killed: %s\n' "${found[$part]}" "$part"
done | sort -k 3 > found
cat found
run test $killed = "$kills"
is "$killed copies were killed at random moments (seed $SEED)" test "$killed" = "$kills"
is "... in ${#found[@]} different parts of a copy: $(sort -k 3 found | sed -E 's/^ *([0-9]+) killed: (.*)/\2 \1;/' | tr '\n' ' ')" \
	test ${#found[@]} -ge "$((kills < 300 ? 4 : 12))"
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
	[ "$step" -gt 1 ] || at_each tree --jobs 1
	at_each small --durable
	at_each file --pin rw,sys
	at_each file --no-uring --durable
done
exec 8<&-
finish
