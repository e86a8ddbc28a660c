#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# run.sh [-s] [-t SET] [KERNEL [TEST...]]: runs tests in guests under real Debian kernels and counts
# behaviours, as tests/run.sh does outside. Without KERNEL all of kernels.txt, without TEST all of
# tests.txt that are not of a set that stands for itself. -t: those of a set (smoke: in seconds; ci:
# what .ci/run demands); -s: a shell in the guest instead of tests.
#
# A run is good if QEMU ends with the exit status of a good guest, the guest said that it came to its
# end, each test did so too, nothing was skipped that skip.txt does not know, and no log of the
# kernel holds a line of splat.deny. A guest that does not come up is tried again, and counted; one
# that dies costs the test that it ran, the rest goes on in a new one. A kernel that cannot be had is
# a skip. Exit status: 0, 1 (something failed), 77 (no kernel could be had).
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build}
here=vmtest
command=() ports=() why=
. vmtest/lib.sh

boot_seconds=60          # to VMTEST-BEGIN, on a busy machine
boots_max=3              # that may fail for one kernel
grace=${VMTEST_GRACE:-30} # seconds of a test after its time, until its guest is given up
passed=0 failed=0 skipped=0 bad_boots=0
failures=()

# ---- results -------------------------------------------------------------------------------------

passes()
{
	passed=$((passed + 1))
	printf 'ok - %s\n' "$key: $1"
}

fails()
{
	local reason

	if reason=$(known "$1"); then
		skips "$1: known: $reason"
		return
	fi
	failed=$((failed + 1))
	failures+=("$key: $1")
	printf 'not ok - %s\n' "$key: $1"
}

skips()
{
	skipped=$((skipped + 1))
	printf 'skip - %s\n' "$key: $1"
}

# A guest has everything: what it skips all the same is to be known, or it was not checked.
guest_skips()
{
	if known "$1" > /dev/null; then
		skips "$1"
	else
		fails "$1 (it is skipped, and skip.txt does not say why that is good)"
	fi
}

# known LINE: the reason that skip.txt has for it
known()
{
	local kernel pattern reason

	while read -r kernel pattern; do
		reason=${pattern#*# }
		pattern=${pattern%% #*}
		[ "$kernel" = '*' ] || [ "$kernel" = "$key" ] || continue
		[[ $1 == *"$pattern"* ]] || continue
		printf '%s\n' "$reason"
		return 0
	done < <(grep -vE '^(#|$)' $here/skip.txt)
	return 1
}

# ---- one guest -----------------------------------------------------------------------------------

# take LINE: what a guest says
take()
{
	case $1 in
	'VMTEST-BEGIN '*)
		began=1
		allow 0
		printf '# %s: %s s\n' "$key" "${1#VMTEST-BEGIN }"
		;;
	'VMTEST-TEST '*)
		current=${1#VMTEST-TEST }
		allow "$(seconds_of "$current")"
		test_started=$SECONDS
		bad_before=$((failed + skipped))
		;;
	'VMTEST-DONE '*)
		# run.sh has named each failure; one that it could not name has its exit status
		[ "${1##* }" = 0 ] || [ $((failed + skipped)) != "$bad_before" ] ||
			fails "$current: exit status ${1##* }"
		[ "${1##* }" = 0 ] || guest_failed=1
		rest=("${rest[@]:1}")
		allow 0
		took+=" $current $((SECONDS - test_started))"
		current=
		;;
	'VMTEST-END rc='*) end=${1#VMTEST-END rc=} ;;
	'ok   - '*) passes "${1#ok   - }" ;;
	'FAIL - '*) fails "${1#FAIL - }" ;;
	'skip - '*) guest_skips "${1#skip - }" ;;
	'       |'*) printf '%s\n' "$1" ;;
	esac
}

# seconds_of TEST
seconds_of()
{
	awk -v name="$1" '$1 == name { s = $2 } END { print s ? s : 300 }' $here/tests.txt
}

# allow SECONDS: the guest must say something new within them
allow() { deadline=$((SECONDS + $1 + grace)); }

# Reads what the guest writes until QEMU ends, and ends QEMU when it is late.
watch()
{
	local part='' line alive=1

	deadline=$((SECONDS + boot_seconds))
	while [ $alive = 1 ]; do
		sleep 0.2
		kill -0 "$pid" 2> /dev/null || alive=0
		while IFS= read -r -u 9 line; do
			take "$part${line%$'\r'}"
			part=
		done
		part+=$line
		[ $alive = 1 ] || break
		[ $SECONDS -le $deadline ] || kill -KILL "$pid"
	done
	wait "$pid"
	qemu_status=$?
	pid=
}

# boot: one guest with the tests of $rest
boot()
{
	local name

	mkdir -p "$logs/job/vmtest"
	: > "$logs/job/vmtest/job"
	for name in "${rest[@]}"; do
		printf '%s %s\n' "$name" "$(seconds_of "$name")" >> "$logs/job/vmtest/job"
	done
	(cd "$logs/job" && find . | busybox cpio -o -H newc 2> /dev/null) > "$logs/job.cpio"
	cat "$base" "$kernel/modules.cpio" "$logs/job.cpio" > "$logs/initrd"
	lib_disk "$logs/disk" ext4 || return 1
	lib_command
	rm -f "$logs"/{out,serial,dmesg}
	: > "$logs/out"
	began=0 end='' current='' guest_failed=0
	exec 9< "$logs/out"
	"${command[@]}" "${ports[@]}" < /dev/null 2> "$logs/qemu" &
	pid=$!
	watch
	exec 9<&-
	rm -f "$logs"/{initrd,job.cpio,disk}
}

# judge: the part of the rule that no test inside can see
judge()
{
	local splats log

	if [ -n "$current" ]; then
		fails "$current: the guest ended in the middle of it (QEMU: exit status $qemu_status)"
		tail -n 40 "$logs/serial" | sed 's/^/       | /'
		rest=("${rest[@]:1}")
	elif [ "$qemu_status:$end" != "$((2 * guest_failed + 1)):$guest_failed" ]; then
		fails "the guest did not end as it should (QEMU: exit status $qemu_status, guest: ${end:-no word})"
		# what it has not run cannot be counted on another one
		[ -n "$end" ] || rest=("${rest[@]:1}")
	fi
	for log in serial dmesg; do
		[ $log = dmesg ] && [ -z "$end" ] && continue # it had no time to hand it over
		if [ ! -e "$logs/$log" ] || { [ $log = dmesg ] && [ ! -s "$logs/$log" ]; }; then
			fails "the kernel's messages ($log) are not there to be looked at"
			continue
		fi
		splats=$(tr -d '\r' < "$logs/$log" | grep -E -f <(grep -vE '^(#|$)' $here/splat.deny) |
			grep -vE -f <(grep -vE '^(#|$)' $here/splat.allow))
		if [ -n "$splats" ]; then
			fails "the kernel complains ($log): ${splats%%$'\n'*}"
			grep -hE -A 30 -f <(grep -vE '^(#|$)' $here/splat.deny) "$logs/$log" |
				sed 's/^/       | /' | head -n 60
		fi
	done
	[ "$failed" != "$judged" ] || passes "the kernel has no complaint, and the guest came to its end"
	judged=$failed
}

# ---- one kernel ----------------------------------------------------------------------------------

run_kernel()
{
	local attempts=0 started=$SECONDS

	key=$1
	took=
	rest=("${tests[@]}")
	lib_kernel || { skips "this kernel cannot be had: $why"; return; }
	case " $seen " in
	*" $kernel "*)
		skips "$(cat "$kernel/release") was run under another key already"
		return
		;;
	esac
	seen+=" $kernel"
	judged=$failed
	while [ ${#rest[@]} -gt 0 ]; do
		boot || { fails "no guest can be prepared"; return; }
		if [ "$began" = 0 ]; then
			bad_boots=$((bad_boots + 1))
			attempts=$((attempts + 1))
			printf '# %s: a guest did not come up (exit status %s), %d of %d\n' \
				"$key" "$qemu_status" $attempts $boots_max
			tail -n 20 "$logs/serial" "$logs/qemu" | sed 's/^/       | /'
			[ $attempts -lt $boots_max ] || { fails "no guest comes up"; return; }
			continue
		fi
		judge
	done
	printf '# %s: %d s:%s\n' "$key" $((SECONDS - started)) "$took"
}

# A shell has the terminal; leave it by `exit`.
run_shell()
{
	key=$1
	lib_kernel || { printf '%s: %s\n' "$key" "$why" >&2; return 1; }
	cat "$base" "$kernel/modules.cpio" > "$logs/initrd"
	lib_disk "$logs/disk" ext4 || return 1
	lib_command vmtest.shell
	"${command[@]}" -serial mon:stdio
}

# ---- main ----------------------------------------------------------------------------------------

pid='' base='' seen='' only='' shell=''
stop()
{
	[ -z "$pid" ] || kill -KILL "$pid" 2> /dev/null
	[ -z "$base" ] || rm -f "$base"
	[ -z "${logs:-}" ] || rm -f "$logs"/{initrd,job.cpio,disk}
}
trap stop EXIT
trap 'exit 130' INT TERM

while getopts t:s option; do
	case $option in
	t) only=$OPTARG ;;
	s) shell=1 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
read -ra kernels <<< "${1:-$(awk '!/^#/ { printf "%s ", $1 }' $here/kernels.txt)}"
shift $(($# > 0))
tests=("$@")
[ $# -gt 0 ] || mapfile -t tests < <(awk -v only=",$only," '!/^(#|$)/ {
	sets = "," $3 ","
	if (only == ",," ? sets !~ /,(smoke|self),/ : index(sets, only)) print $1 }' $here/tests.txt)
[ ${#tests[@]} -gt 0 ] || { echo "no test is in the set '$only'" >&2; exit 2; }
lib_tools || exit 1
mkdir -p "$BUILD/vmtest"
base=$BUILD/vmtest/base.$$.cpio
$here/initramfs.sh "$base" || exit 1

if [ -n "$shell" ]; then
	run_shell "${kernels[0]}"
	exit
fi
for kernel in "${kernels[@]}"; do
	run_kernel "$kernel"
done
[ $bad_boots = 0 ] || printf '# %d guests did not come up and were tried again\n' $bad_boots
if [ "$failed" -gt 0 ]; then
	printf '\nfailed:\n'
	printf '  %s\n' "${failures[@]}"
fi
printf '\n%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed = 0 ] || exit 1
[ $passed -gt 0 ] || exit 77
