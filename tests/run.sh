#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# run.sh: runs tests and counts behaviours. Usage: run.sh all|check|unit|e2e [PATTERN]
#
#   check  tests/check_*.sh        rules about the sources and products
#   unit   $BUILD/tests/test_*     criterion binaries; each case is one behaviour
#   e2e    tests/e2e_*.sh          the command and the library against real peers
#
# A script prints a line for each behaviour, "ok - WHAT", "not ok - WHAT" or "skip - WHAT: REASON",
# and ends with 0, 1 (something failed) or 77 (all of it skipped; the last line says why). Its other
# lines are shown if it fails. Each test may take 300 s ($TIMEOUT) and has a directory $TMPDIR of its
# own, which it must leave empty. PATTERN chooses tests by a part of their name,
# $WITHOUT leaves out those that it names.
set -u
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
TIMEOUT=${TIMEOUT:-300}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
export BUILD

passed=0 failed=0 skipped=0
failures=()
work=$(mktemp -d "${TMPDIR:-/tmp}/taio-tests.XXXXXX") || exit 1
chmod 755 "$work" # some tests run as another user
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

passes()
{
	passed=$((passed + 1))
	printf 'ok   - %s\n' "$1"
}

fails()
{
	failed=$((failed + 1))
	failures+=("$1")
	printf 'FAIL - %s\n' "$1"
}

skips()
{
	skipped=$((skipped + 1))
	printf 'skip - %s\n' "$1"
}

# the first and last lines of a log: causes stand at either end
show()
{
	grep -vE '^\[(RUN |PASS|----)\]( |$)(.*::|  *$|$)' "$1" | awk '
	{ line[NR] = $0 }
	END {
		for (i = 1; i <= NR; i++)
			if (i <= 60 || i > NR - 60) print "       | " line[i]
			else if (i == 61) print "       | ... " NR - 120 " lines"
	}'
}

# a fresh $TMPDIR that every user may write to, and after the test a look at what stayed in it
begin()
{
	export TMPDIR=$work/tmp
	mkdir -p "$TMPDIR" && chmod 1777 "$TMPDIR"
}

end()
{
	local left

	left=$(ls -A "$TMPDIR")
	# a case that failed had no chance to clean up
	[ -z "$left" ] || [ "$failed" != "$2" ] || fails "$1: left behind in its temporary directory: ${left//$'\n'/ }"
	rm -rf "$TMPDIR"
}

# ---- criterion -----------------------------------------------------------------------------------

unit_count()
{
	local name=$1 line planned=0 seen=0

	while IFS= read -r line; do
		case $line in
		1..*)
			planned=${line#1..}
			continue
			;;
		'ok - '*' # SKIP'*)
			line=${line#ok - }
			skips "$name: ${line%%  # SKIP*}: ${line#*# SKIP }"
			;;
		'ok - '*)
			line=${line#ok - }
			passes "$name: ${line%  (*}"
			;;
		'not ok - '*)
			line=${line#not ok - }
			fails "$name: ${line%  (*}"
			;;
		*)
			continue
			;;
		esac
		seen=$((seen + 1))
	done < "$work/tap"
	lost=$((planned - seen))
}

# criterion writes its report at the end of all cases; where that end did not come, its log tells
unit_count_log()
{
	local name=$1 line case

	while IFS= read -r line; do
		case=${line#\[*\] }
		case=${case%%: *}
		case $line in
		'[PASS] '*) passes "$name: $case" ;;
		'[FAIL] '*) fails "$name: $case" ;;
		'[RUN ] '*)
			grep -qF -e "[PASS] $case:" -e "[FAIL] $case:" -e "[SKIP] $case:" "$work/log" ||
				fails "$name: $case did not end"
			;;
		esac
	done < "$work/log"
}

run_unit()
{
	local name=$1 before=$failed status lost=0

	if [ ! -x "$BUILD/tests/$name" ]; then
		fails "$name: was not built"
		return
	fi
	begin
	: > "$work/tap"
	timeout -k 10 "$TIMEOUT" "$BUILD/tests/$name" --verbose --tap="$work/tap" \
		> "$work/log" 2>&1 < /dev/null
	status=$?
	if [ -s "$work/tap" ]; then
		unit_count "$name"
	else
		unit_count_log "$name"
	fi
	if [ $status = 124 ] || [ $status = 137 ]; then
		fails "$name: not finished after $TIMEOUT s"
	elif [ "$lost" -gt 0 ]; then
		fails "$name: $lost of its cases gave no result (exit status $status)"
	elif [ $status != 0 ] && [ "$failed" = "$before" ]; then
		fails "$name: exit status $status"
	fi
	# criterion does not look at how a case exits, so that a leak found at its exit is only here;
	# after a failure criterion itself leaks
	if [ "$failed" = "$before" ] &&
		grep -qE '(ERROR|WARNING): [A-Za-z]+Sanitizer|: runtime error: ' "$work/log"; then
		fails "$name: a sanitizer has something to say"
	fi
	[ "$failed" = "$before" ] || show "$work/log"
	end "$name" "$before"
}

# ---- scripts -------------------------------------------------------------------------------------

run_script()
{
	local name=$1 before=$failed count=0 status=none line last=

	begin
	: > "$work/log"
	# the mark ends the loop, not the end of file: a child that outlives its script may hold that
	while IFS= read -r line; do
		case $line in
		"$mark "*)
			status=${line#"$mark "}
			break
			;;
		'ok - '*)
			passes "$name: ${line#ok - }"
			count=$((count + 1))
			;;
		'not ok - '*)
			fails "$name: ${line#not ok - }"
			count=$((count + 1))
			;;
		'skip - '*)
			skips "$name: ${line#skip - }"
			count=$((count + 1))
			;;
		*)
			printf '%s\n' "$line" >> "$work/log"
			last=${line:-$last}
			;;
		esac
	done < <(timeout -k 10 "$TIMEOUT" bash "tests/$name.sh" < /dev/null 2>&1
		printf '\n%s %s\n' "$mark" $?)
	if [ "$status" = 124 ] || [ "$status" = 137 ]; then
		fails "$name: not finished after $TIMEOUT s"
	elif [ "$status" = 77 ]; then
		[ "$count" -gt 0 ] || skips "$name: ${last:-no reason given}"
	elif [ "$status" != 0 ] && [ "$failed" = "$before" ]; then
		fails "$name: exit status $status"
	elif [ "$count" = 0 ]; then
		fails "$name: tells of no behaviour"
	fi
	[ "$failed" = "$before" ] || show "$work/log"
	end "$name" "$before"
}

# ---- main ----------------------------------------------------------------------------------------

run_kind()
{
	local kind=$1 file name

	for file in "${@:2}"; do
		[ -e "$file" ] || continue
		name=$(basename "$file")
		name=${name%.*}
		[[ $name == *$pattern* && " ${WITHOUT:-} " != *" $name "* ]] || continue
		"run_$kind" "$name"
	done
}

what=${1:-all}
pattern=${2:-}
mark="exit-$$-$RANDOM"

# make test builds with -k first and hands its exit status over
[ "${MADE:-0}" = 0 ] || fails "build: make could not build everything, see above"

case $what in
all)
	run_kind script tests/check_*.sh
	run_kind unit tests/test_*.c
	run_kind script tests/e2e_*.sh
	;;
check) run_kind script tests/check_*.sh ;;
unit) run_kind unit tests/test_*.c ;;
e2e) run_kind script tests/e2e_*.sh ;;
*)
	sed -n '4,14s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac

if [ "$failed" -gt 0 ]; then
	printf '\nfailed:\n'
	printf '  %s\n' "${failures[@]}"
fi
printf '\n%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed = 0 ] && [ $((passed + skipped)) -gt 0 ]
