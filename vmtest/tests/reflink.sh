#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# reflink.sh: a copy within XFS or Btrfs shares the extents of its source: the file system's own map
# says so, no room is used, and what is written to one of both is not seen in the other.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it mounts"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
PATH=$PATH:/usr/sbin
modprobe -q loop
trap 'umount xfs btrfs ext4 2> /dev/null; cleanup' EXIT

# used DIRECTORY: KiB of its file system, when all is on the disk
used()
{
	sync -f "$1"
	df -k --output=used "$1" 2> /dev/null | tail -n 1 || df -k "$1" | awk 'END { print $3 }'
}

# places FILE: where its extents lie on the disk
places() { filefrag -v "$1" | awk -F'[ .:]+' '/^ +[0-9]+:/ { print $3, $5, $6 }'; }

head -c 20000000 /dev/urandom > big
for type in xfs btrfs ext4; do
	mkdir $type
	truncate -s 400M $type.image
	"mkfs.$type" -q $type.image > mkfs.log 2>&1 && mount -o loop $type.image $type ||
		{ cat mkfs.log; not_ok "$type can be mounted"; continue; }
	cp big $type/big
	before=$(used $type)
	copy --pin reflink $type/big $type/copy
	if [ $type = ext4 ]; then
		is "ext4 has no shared extents: refused with a reason: $err" \
			eval '[ "$status" = 1 ] && [ -n "$err" ] && [ ! -e ext4/copy ]'
		copy $type/big $type/copy
		is "... and by whatever is chosen the same bytes" copied big $type/copy
		continue
	fi
	is "$type: a copy by reflink has the same bytes" copied big $type/copy
	grown=$(($(used $type) - before))
	is "... and needs no room ($grown KiB more)" test $grown -lt 2000
	is "... its extents are the source's" \
		eval '[ -n "$(places $type/big)" ] && [ "$(places $type/big)" = "$(places $type/copy)" ]'
	is "... and the file system says that they are shared" \
		eval 'filefrag -v $type/copy | grep -q shared'
	copy $type/big $type/chosen
	is "... by whatever is chosen the same bytes" copied big $type/chosen
	printf 'other' | dd of=$type/copy bs=1 seek=5000 conv=notrunc 2> /dev/null
	is "... what is written to the copy is not seen in the source" cmp -s big $type/big
done
finish
