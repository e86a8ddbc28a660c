#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# crash_guest.sh: the guest of crash.sh, until its power is cut. First it tells what is on the disks
# that power cuts have left (HAVE: path and content: a sum, or the text of a link), then it copies the
# files and trees of its job onto the disk and says of each copy what it is going to be (TRY) and that
# it is there (ACK).
set -u
disk=/mnt/disk
frozen_disk=/dev/vdc
job=/dev/vdd
source=/run/source
taio=/taio/build/taio

fail()
{
	printf 'CRASH-FAILED %s\n' "${*//$'\n'/ }"
	sync
	/usr/bin/vmexit 1
}

# contents DIRECTORY: a line for each file and link
contents()
{
	(
		cd "$1" || exit
		find . -type f -exec md5sum {} + 2>&1 | sed -E 's/^([0-9a-f]{32})  \.\/(.*)/HAVE \2 \1/'
		find . -type l -printf 'HAVE %P ->%l\n'
	)
}

# look NUMBER DEVICE [OPTION...]: what is there; a disk that cannot be mounted is one that lost all
look()
{
	local number=$1 device=$2

	shift 2
	printf 'CRASH-LOOK %s\n' "$number"
	if ! mount -t "$type" "$@" "$device" $disk 2> /run/log; then
		printf 'CRASH-UNMOUNTABLE %s\n' "$(tr '\n' ' ' < /run/log)"
		return 1
	fi
	contents $disk
}

# the states that a power cut would have left, one after the other on one disk
look_at_frozen()
{
	local i loop options=()

	[ "$type" != xfs ] || options=(-o nouuid)
	for ((i = 1; i <= frozen; i++)); do
		loop=$(losetup -f --show -o $(((i - 1) * size)) --sizelimit "$size" $frozen_disk) ||
			fail "no loop device"
		look $i "$loop" "${options[@]}" && umount $disk
		losetup -d "$loop"
		# it would not believe that the next one, which is older, is the same file system
		[ "$type" != btrfs ] || btrfs device scan --forget > /dev/null 2>&1
	done
}

mkdir -p $disk $source
for module in loop ext4 xfs btrfs; do
	modprobe -q $module
done

# Here the host makes a snapshot, from which each later guest begins: nothing of the disks may be in
# memory, and nothing that is random then is: it comes with the job.
blockdev --flushbufs /dev/vdb $frozen_disk
echo 3 > /proc/sys/vm/drop_caches
printf 'CRASH-WAIT\n'
word='' lossy=''
until [ "$word" = GO ]; do
	sleep 0.05
	read -r word type size frozen lossy RANDOM < <(dd if=$job iflag=direct bs=4096 count=1 2> /dev/null)
done
durable=--durable
[ "$lossy" = 0 ] || durable=

look_at_frozen
look 0 /dev/vdb || fail "the disk cannot be mounted: $(cat /run/log)"

# all that takes time is done before the power may go: little processor time is left for it then
dd if=$job bs=4096 skip=1 2> /dev/null | tar x -C $source || fail "the sources cannot be unpacked"
printf 'CRASH-READY\n'

ways=('' '' '--no-uring' '--pin uring,sys' '--pin direct,sys,rw' '--jobs 1')
for ((i = 0; i < 1000; i++)); do
	kind=f below=''
	[ $((RANDOM % 3)) != 0 ] || kind=t below=/.
	from=$kind$((RANDOM % 6))
	to=$kind$((RANDOM % 9))
	printf 'TRY %s %s\n' "$to" "$from"
	# shellcheck disable=SC2086 # lists of words
	$taio copy -r $durable ${ways[RANDOM % ${#ways[@]}]} $source/$from$below $disk/$to \
		> /run/log 2>&1 || fail "$to: $(cat /run/log)"
	printf 'ACK %s\n' "$to"
done
fail "nobody cuts the power"
