#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# faults.sh: what goes wrong below a copy: bad sectors, a disk that takes no more, one that is full or
# slow, little memory, a network that falls silent, a clock that jumps. Each: the right error at the
# right step, the old destination intact, nothing left behind, and an end within its time.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it changes the machine"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
PATH=$PATH:/usr/sbin
command -v dmsetup > /dev/null || { echo "dmsetup is not installed"; exit 77; }
for module in dm_mod dm_delay loop; do
	modprobe -q $module
done

size=4000000
head -c $size /dev/urandom > big
printf old > old

# table LINES: what the disk under test is from now on
table()
{
	dmsetup suspend --nolockfs bad &&
		printf '%s\n' "$1" | dmsetup load bad &&
		dmsetup resume --noudevsync bad
}

# fails_cleanly CODE FILE STEP...: one error of this kind, the old destination intact, no temporary beside it
fails_cleanly()
{
	local code=$1 file=$2 step said=

	shift 2
	for step; do
		[[ $err != *"$step: $code" ]] || said=1
	done
	[ "$status" = 1 ] && [ -n "$said" ] && [ "$(printf '%s\n' "$err" | wc -l)" = 1 ] &&
		[ "$(cat "$file")" = old ] &&
		[ "$(find "$(dirname "$file")" -name '.*taio-*' | wc -l)" = 0 ]
}

truncate -s 64M image
loop=$(losetup -f --show image) || { not_ok "a loop device is to be had"; finish; }
sectors=$(blockdev --getsz "$loop")
whole="0 $sectors linear $loop 0"
dmsetup create --noudevsync bad --table "$whole" || { not_ok "a mapped device is to be had"; finish; }
dmsetup mknodes > /dev/null
mkdir disk
undo()
{
	umount disk 2> /dev/null
	dmsetup remove -f --noudevsync bad > /dev/null 2>&1
	losetup -d "$loop" 2> /dev/null
	cleanup
}
trap undo EXIT

# ---- bad sectors ---------------------------------------------------------------------------------

mkfs.ext4 -q -b 4096 /dev/mapper/bad && mount /dev/mapper/bad disk || not_ok "a file system is to be had"
cp big disk/source
cp old disk/to
sync
# the file's block number 500, in sectors of the disk
block=$(filefrag -v disk/source | awk -F'[ .:]+' '/^ +[0-9]+:/ && $3 <= 500 && 500 <= $4 { print $5 + 500 - $3 }')
at=$((block * 8))
[ "$at" -gt 0 ] || not_ok "the file's place on the disk is known"
table "0 $at linear $loop 0
$at 8 error
$((at + 8)) $((sectors - at - 8)) linear $loop $((at + 8))"
for device in rw cfr sendfile splice mmap uring direct; do
	echo 3 > /proc/sys/vm/drop_caches
	copy --pin $device disk/source disk/to
	# the kernel does not always tell which end it was
	is "a bad sector under the source, read by $device: ${err##*/to: }" \
		fails_cleanly 'Input/output error' disk/to read transfer
done
echo 3 > /proc/sys/vm/drop_caches
copy disk/source disk/to
is "... and by whatever is chosen: the same" fails_cleanly 'Input/output error' disk/to read transfer
table "$whole"
echo 3 > /proc/sys/vm/drop_caches
copy disk/source again
is "the sector is good again, and so is the copy" copied big again

# ---- a disk that takes no more -------------------------------------------------------------------

cp old disk/old
sync
table "0 $sectors error"
copy --durable big disk/old
is "a durable copy onto a disk that is gone: an error: $err" test "$status" = 1 -a -n "$err"
table "$whole"
umount disk
mount /dev/mapper/bad disk
is "... the old destination is intact when the disk is back" test "$(cat disk/old)" = old
umount disk

# ---- slow, full ----------------------------------------------------------------------------------

table "0 $sectors delay $loop 0 20"
mount /dev/mapper/bad disk
copy --durable big disk/slow
is "onto a disk with 20 ms for each request: the same bytes" copied big disk/slow
umount disk
table "$whole"
mount /dev/mapper/bad disk
cp old disk/full
cat /dev/zero > disk/zeros 2> /dev/null
copy big disk/full
is "onto a full disk: $err" fails_cleanly 'No space left on device' disk/full write transfer
rm disk/zeros
umount disk

# ---- little memory -------------------------------------------------------------------------------

group=/sys/fs/cgroup/little
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
if mkdir $group && echo 24M > $group/memory.max; then
	head -c 100000000 /dev/urandom > large
	run sh -c 'echo $$ > '"$group"'/cgroup.procs && exec "$0" copy large large.copy' "$taio"
	is "100 MB with 24 MB of memory: the same bytes" copied large large.copy
	rm -f large large.copy
	rmdir $group
else
	not_ok "a limit of memory can be set"
fi

# ---- a network that falls silent -----------------------------------------------------------------

ip netns add far 2> /dev/null || { mkdir -p /run/netns; ip netns add far; }
ip link add near0 type veth peer name far0 netns far
ip addr add 10.9.0.1/24 dev near0
ip link set near0 up
ip -n far addr add 10.9.0.2/24 dev far0
ip -n far link set far0 up
ip netns exec far nc -l 10.9.0.2 9000 > got < /dev/null &
children+=($!)
until_true eval 'ip netns exec far ss -ltn | grep -q 9000'
"$taio" copy --limit-rate 1M --timeout 6 big 10.9.0.2:9000:tcp 2> net.err &
copying=$!
until_true test -s got
ip -n far link set far0 down
ip link set near0 down
wait $copying
status=$?
is "the network is gone in the middle of a copy: an error, in time: $(cat net.err)" \
	test $status = 1 -a "$(wc -l < net.err)" = 1
ip netns del far
ip link del near0 2> /dev/null

# ---- a clock that jumps --------------------------------------------------------------------------

"$taio" copy --limit-rate 1M --timeout 60 big jumped 2> clock.err &
copying=$!
sleep 0.5
date -s '+1 day' > /dev/null
sleep 0.5
date -s '-2 days' > /dev/null
wait $copying
status=$?
is "the clock of the day jumps in the middle of a copy: the same bytes" \
	eval '[ $status = 0 ] && cmp -s big jumped'
date -s '+1 day' > /dev/null
finish
