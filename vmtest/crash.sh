#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# crash.sh [KERNEL [TYPE...]]: cuts the power of a guest (QEMU gets SIGKILL) at random moments of
# durable copies onto a disk of each TYPE (ext4 xfs btrfs), CYCLES (50) times, and looks in the next
# guest at what is there: every copy that was acknowledged as durable is whole and what it should be,
# and no name holds anything but an old or a new version as a whole. A control without --durable must
# lose something, or this test could not fail.
#
# SIGKILL loses the page cache of the guest and nothing that its disk was given: a missing fsync is
# caught, a missing flush of the disk's own cache is not.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build}
command=() ports=() why='' logs=''
. tests/lib.sh
. vmtest/lib.sh
cycles=${CYCLES:-50}
key=${1:-6.12}
shift $(($# > 0))
types=("$@")
[ $# -gt 0 ] || types=(ext4 xfs btrfs)
boot_seconds=60

pid='' base=''
stop()
{
	[ -z "$pid" ] || kill -KILL "$pid" 2> /dev/null
	[ -z "$base" ] || rm -f "$base"
	[ -z "$logs" ] || rm -f "$logs"/{initrd,disk,crashed}
}
trap stop EXIT
trap 'exit 130' INT TERM

# name -> the sums that it may have now: the acknowledged one and those tried after it; `-`: none
declare -A may acked

# what the guest says of what is there, against what was said before the cut
judge()
{
	local word name sum
	local -A there=()

	while read -r word name sum; do
		[ "$word" = HAVE ] && there[$name]=$sum
	done < "$logs/out"
	checked=0
	for name in "${!may[@]}"; do
		sum=${there[$name]:--}
		[ -z "${acked[$name]:-}" ] || checked=$((checked + 1))
		if [[ " ${may[$name]} " == *" $sum "* ]]; then
			:
		elif [[ $name == t* && -z ${acked[$name]:-} ]]; then
			: # a tree that was not acknowledged: its files are judged by their own names only
		elif [ "$sum" = - ] || [[ " ${history[$name]:-} " == *" $sum "* ]]; then
			lost=$((lost + 1))
			printf 'lost: %s, acknowledged before the cut, is %s\n' "$name" "${sum/#-/not there}"
		else
			torn=$((torn + 1))
			printf 'torn: %s holds what was never copied to it\n' "$name"
		fi
		# what is there now is where the next round begins
		may[$name]=$sum
		[ "$sum" = - ] && unset 'acked[$name]'
	done
	for name in "${!there[@]}"; do
		[ -n "${may[$name]:-}" ] && continue
		torn=$((torn + 1))
		printf 'torn: %s was never copied\n' "$name"
	done
}

# what the guest has said that it does, up to the cut
declare -A history
note()
{
	local word name sum

	while read -r word name sum; do
		case $word in
		TRY)
			may[$name]="${may[$name]:--} $sum"
			history[$name]="${history[$name]:-} $sum"
			;;
		ACK)
			may[$name]=${may[$name]##* }
			acked[$name]=1
			acks=$((acks + 1))
			;;
		esac
	done < <(sed -n '/^CRASH-READY/,$p' "$logs/out") # but no line that was cut too
}

# until the guest says that it is ready; then WAIT seconds, and its power is cut
cycle()
{
	local started=$SECONDS

	: > "$logs/out"
	"${command[@]}" "${ports[@]}" -drive "file=$logs/crashed,format=raw,if=virtio,cache=writeback" \
		< /dev/null 2> "$logs/qemu" &
	pid=$!
	until grep -q '^CRASH-READY' "$logs/out" || ! kill -0 $pid 2> /dev/null ||
		[ $((SECONDS - started)) -gt $boot_seconds ]; do
		sleep 0.1
	done
	sleep "$1"
	kill -KILL $pid 2> /dev/null
	wait $pid 2> /dev/null
	pid=
	grep -q '^CRASH-READY' "$logs/out"
}

# rounds COUNT WORDS: so many cuts, each followed by a look
rounds()
{
	local i bad=0

	may=() acked=() history=()
	lost=0 torn=0 acks=0 seen=0
	lib_command "vmtest.crash ${2:-}"
	for ((i = 0; i <= $1; i++)); do
		if ! cycle "$((RANDOM % 4)).$((RANDOM % 10))"; then
			grep '^CRASH-FAILED' "$logs/out" || tail -n 20 "$logs/serial"
			bad=$((bad + 1))
			[ $bad -lt 3 ] || return 1
			i=$((i - 1))
			continue
		fi
		judge
		seen=$((seen + checked))
		grep -q '^CRASH-FAILED' "$logs/out" && { grep '^CRASH-FAILED' "$logs/out"; return 1; }
		note
	done
	printf '# %s: %d guests did not come up\n' "$type" $bad
}

lib_tools || exit 1
logs_name=crash-$key
lib_kernel || { echo "$key: this kernel cannot be had: $why"; exit 77; }
base=$logs/base.cpio
vmtest/initramfs.sh "$base" || exit 1
cat "$base" "$kernel/modules.cpio" > "$logs/initrd"
lib_disk "$logs/disk" ext4 || exit 1
for type in "${types[@]}"; do
	lib_disk "$logs/crashed" "$type" > "$logs/mkfs" 2>&1 || { not_ok "$type: $(cat "$logs/mkfs")"; continue; }
	rounds "$cycles" || not_ok "$type: the guests do their work"
	what="$cycles cuts, $acks durable copies, $seen looks at them"
	if [ $lost = 0 ] && [ $seen -gt 0 ]; then
		ok "$key, $type: nothing acknowledged is lost ($what)"
	else
		not_ok "$key, $type: nothing acknowledged is lost ($what, lost: $lost)"
	fi
	if [ $torn = 0 ]; then
		ok "$key, $type: no destination is torn"
	else
		not_ok "$key, $type: no destination is torn: $torn"
	fi
done
lib_disk "$logs/crashed" ext4 || exit 1
type=control
rounds 2 vmtest.lossy
if [ $lost -gt 0 ]; then
	ok "$key, control without --durable: this test can fail ($lost lost)"
else
	not_ok "$key, control without --durable: nothing was lost, so this test proves nothing"
fi
finish
