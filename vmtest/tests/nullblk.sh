#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# nullblk.sh: a block device that needs 3 ms for everything (null_blk): the bytes through it by every
# device, past the page cache too; and what a step took cannot be less than what the disk takes.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it loads modules"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
modprobe null_blk nr_devices=1 gb=1 memory_backed=1 irqmode=2 completion_nsec=3000000 &&
	until_true test -b /dev/nullb0 || { not_ok "there is a null_blk"; finish; }

size=1048576
head -c $size random > big
for device in rw cfr sendfile splice mmap uring direct; do
	dd if=/dev/zero of=/dev/nullb0 bs=1M count=1 conv=fsync 2> /dev/null
	copy --pin $device --durable big /dev/nullb0
	# copy_file_range is for regular files only
	if [ $device = cfr ]; then
		is "onto a block device by cfr: refused with a reason: $err" test "$status" = 1 -a -n "$err"
		continue
	fi
	echo 3 > /proc/sys/vm/drop_caches
	is "onto a block device by $device: the same bytes" \
		eval '[ "$status" = 0 ] && head -c $size /dev/nullb0 | cmp -s big'
	echo 3 > /proc/sys/vm/drop_caches
	copy --pin $device --length $size /dev/nullb0 back
	# a device has no end that a mapping could be held to
	if [ $device = mmap ]; then
		is "... and from it refused with a reason: $err" test "$status" = 1 -a -n "$err"
		continue
	fi
	is "... and from it" copied big back
	rm -f back
done
echo 3 > /proc/sys/vm/drop_caches
copy --json --pin direct --length 4096 /dev/nullb0 block
is "a block past the page cache: not before the disk has it" python3 -c '
import json
row = json.load(open(".out"))
assert row["bytes"] == 4096 and row["ns"] >= 3000000, row'
rm -f block
finish
