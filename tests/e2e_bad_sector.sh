#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_bad_sector.sh: a source with a block that cannot be read (Btrfs, whose sum of it is wrong): every
# device ends with an error, in time, and the old destination stays. Once mmap tried for ever.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ -z "${BAD_APART:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "only root can mount"; exit 77; }
	BAD_APART=1 exec unshare -m bash tests/e2e_bad_sector.sh
fi
. tests/lib.sh
. tests/lib_cli.sh
PATH=$PATH:/usr/sbin
trap 'umount -q mnt; cleanup' EXIT

mkdir mnt
truncate -s 200M image
if ! { mkfs.btrfs -q image > mkfs.log 2>&1 && mount -o loop image mnt; }; then
	echo "Btrfs cannot be made and mounted here (btrfs-progs, loop)"
	exit 77
fi
{
	head -c 2048000 random
	printf 'a block of its own %.0s' {1..300} | head -c 4096
	head -c 2000000 random
} > big
cp big mnt/source
printf old > old
umount mnt
at=$(LC_ALL=C grep -obUam 1 'a block of its own a block' image | head -n 1 | cut -d: -f1)
printf wrong | dd of=image bs=1 seek="$at" conv=notrunc status=none
mount -o loop image mnt

# not cfr: within Btrfs it shares the block and reads nothing
for device in rw sendfile splice mmap uring direct; do
	umount mnt && mount -o loop image mnt # nothing of it is in memory now
	run timeout -s KILL 20 "$taio" copy --pin $device mnt/source old
	if [[ $err == *'there is no device of this name'* || $err == *'not available'* ]]; then
		skip "read by $device: $err"
		continue
	fi
	is "read by $device: ${err##*-> old: }" failed 1 'Input/output error'
	is "... and the old destination is intact" test "$(cat old)" = old
done
run timeout -s KILL 20 "$taio" copy mnt/source old
is "read by whatever is chosen" failed 1 'Input/output error'
is "nothing is left beside it" test "$(find . -name '.*taio-*' | wc -l)" = 0
run timeout -s KILL 20 "$taio" copy mnt/source - > /dev/null
is "to standard output: an error too" failed 1 'Input/output error'
finish
