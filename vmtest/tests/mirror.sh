#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# mirror.sh: a mirrored read from two NVMe drives, one of them throttled, then the other: the disks'
# own counters say where the bytes came from. Then one of them fails.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it changes the machine"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
PATH=$PATH:/usr/sbin
modprobe -a nvme dm_mod || not_ok "the drivers of the disks are to be had"
group=/sys/fs/cgroup/throttled

# drive SERIAL: the order of their numbers is not always the same
drive()
{
	local dir

	for dir in /sys/class/nvme/*; do
		[ "$(tr -d ' ' < "$dir/serial" 2> /dev/null)" = "$1" ] || continue
		basename "$(echo "$dir"/nvme*n1)"
		return
	done
	return 1
}

until_true eval 'drive taio0 > /dev/null && drive taio1 > /dev/null' ||
	{ not_ok "there are two NVMe drives"; finish; }
one=$(drive taio0) two=$(drive taio1)
until_true test -b "/dev/$one" -a -b "/dev/$two"

undo()
{
	umount a b 2> /dev/null
	dmsetup remove -f --noudevsync second > /dev/null 2>&1
	rmdir $group 2> /dev/null
	cleanup
}
trap undo EXIT

# reads DRIVE: KiB that it has read since it is there
reads() { awk '{ print int($3 / 2) }' "/sys/block/$1/stat"; }

# throttle DRIVE RATE: for what is in the group; max: as quick as it is
throttle() { echo "$(cat "/sys/block/$1/dev") rbps=$2" > $group/io.max; }

mkdir a b
sectors=$(blockdev --getsz "/dev/$two")
dmsetup create --noudevsync second --table "0 $sectors linear /dev/$two 0" &&
	dmsetup mknodes > /dev/null || not_ok "a mapped device is to be had"
mkfs.ext4 -q "/dev/$one" && mount "/dev/$one" a || not_ok "the first drive can be mounted"
mkfs.ext4 -q /dev/mapper/second && mount /dev/mapper/second b ||
	not_ok "the second drive can be mounted"
head -c 100000000 /dev/urandom > a/file
cp a/file b/file
sync
echo 3 > /proc/sys/vm/drop_caches

out='' err=''

# ---- a slow one ----------------------------------------------------------------------------------

echo +io > /sys/fs/cgroup/cgroup.subtree_control
mkdir $group && throttle "$one" 1000000 || not_ok "a drive can be throttled"
begin=("$(reads "$one")" "$(reads "$two")")
sh -c 'echo $$ > '$group'/cgroup.procs; exec "$0" copy --limit-rate 6M mirror:a/file,b/file out' \
	"$taio" 2> mirror.err &
copying=$!
# by what the disks have read, not by the clock
until_read() { [ $(($(reads "$one") + $(reads "$two") - begin[0] - begin[1])) -ge "$1" ]; }
until_true until_read 40000
middle=("$(reads "$one")" "$(reads "$two")")
slow=$((middle[0] - begin[0])) quick=$((middle[1] - begin[1]))
is "the first one is throttled: most bytes come from the second ($slow and $quick KiB)" \
	test $quick -gt $((2 * slow))
throttle "$one" max
throttle "$two" 500000
wait $copying
status=$?
quick=$(($(reads "$one") - middle[0])) slow=$(($(reads "$two") - middle[1]))
is "now the second one is: the first is used again ($quick and $slow KiB)" test $quick -gt $slow
is "... and the bytes are the same" cmp -s a/file out
is "... without a word" test $status = 0 -a ! -s mirror.err
throttle "$two" max

# ---- one that fails ------------------------------------------------------------------------------

echo 3 > /proc/sys/vm/drop_caches
head -c 1000 b/file > /dev/null # its map of blocks is known
dmsetup suspend --nolockfs second && echo "0 $sectors error" | dmsetup load second &&
	dmsetup resume --noudevsync second
copy -v mirror:a/file,b/file healed
is "the second one is gone: the same bytes" cmp -s a/file healed
rm -f out healed
finish
