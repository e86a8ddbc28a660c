#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# faults_disk.sh: what goes wrong with a disk below a copy: sectors that cannot be read or written,
# writes that fail now and then, a disk that dies, is slow, is full, is full only when it is flushed,
# a quota, a read-only file system. Each: the right error at the right step, the old destination as it
# was, now and after a remount, no temporary, one event, nothing left open.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it changes the machine"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
PATH=$PATH:/usr/sbin
outcome=$BUILD/tests/outcome
command -v dmsetup > /dev/null || { echo "dmsetup is not installed"; exit 77; }
for module in dm_mod dm_delay dm_flakey dm_thin_pool loop ext4 xfs btrfs; do
	modprobe -q $module
done
devices='rw cfr sendfile splice mmap uring direct'

size=4000000
head -c $size /dev/urandom > big
head -c 100000 /dev/urandom > small
printf old > old

# ---- disks ---------------------------------------------------------------------------------------

loops=()
# loop_over BYTES: $loop is a disk of that size
loop_over()
{
	truncate -s "$1" "image${#loops[@]}"
	loop=$(losetup -f --show "image${#loops[@]}") || { not_ok "a loop device is to be had"; finish; }
	loops+=("$loop")
}

# table LINES [NAME]: what the disk under test is from now on
table()
{
	dmsetup suspend --nolockfs "${2:-bad}" &&
		printf '%s\n' "$1" | dmsetup load "${2:-bad}" &&
		dmsetup resume --noudevsync "${2:-bad}"
}

create()
{
	dmsetup create --noudevsync "$1" --table "$2" || { not_ok "a mapped device: $1"; finish; }
	dmsetup mknodes > /dev/null
}

undo()
{
	umount disk 2> /dev/null
	dmsetup remove -f --noudevsync bad > /dev/null 2>&1
	dmsetup remove -f --noudevsync thin > /dev/null 2>&1
	dmsetup remove -f --noudevsync pool > /dev/null 2>&1
	[ ${#loops[@]} = 0 ] || losetup -d "${loops[@]}" 2> /dev/null
	cleanup
}
trap undo EXIT

loop_over 400M
data=$loop
loop_over 32M
journal=$loop
sectors=$(blockdev --getsz "$data")
whole="0 $sectors linear $data 0"
dead="0 $sectors error"
no_writes="0 $sectors flakey $data 0 0 3600 1 error_writes"
create bad "$whole"
mkdir disk

# fresh TYPE: an empty file system on the disk under test, with an old destination
fresh()
{
	local options=()

	umount disk 2> /dev/null
	table "$whole"
	# its journal on a disk that is good: what fails are the data of files
	[ "$1" != ext4 ] || { mkfs.ext4 -q -F -b 4096 -O journal_dev "$journal" && options=(-q -F -b 4096 -J "device=$journal"); }
	[ "$1" = ext4 ] || options=(-q -f)
	"mkfs.$1" "${options[@]}" /dev/mapper/bad > mkfs.log 2>&1 && mount -t "$1" /dev/mapper/bad disk ||
		{ cat mkfs.log; not_ok "$1: a file system is to be had"; return 1; }
	cp old disk/to
	sync
}

# again TYPE: the disk is good again and mounted anew: what is on it, and not in memory
again()
{
	table "$whole"
	umount disk
	mount -t "$1" /dev/mapper/bad disk || not_ok "$1: it can be mounted again"
}

forget() { echo 3 > /proc/sys/vm/drop_caches; }

# ---- outcomes ------------------------------------------------------------------------------------

# goes OPTION... FROM TO: one request; $result is its step and error
goes()
{
	run timeout -k 1 100 "$outcome" "$@"
	result=$(sed -nE '1s/^0 ([^ ]+ [^ ]+) .*/\1/p' .out)
}

# once: one event, and nothing left open
once() { [ "$(tail -n 1 .out)" = "events 1 of 1, left open 0" ]; }

intact() { [ "$(cat "$1")" = old ] && [ "$(find "$(dirname "$1")" -name '.*taio-*' | wc -l)" = 0 ]; }

# fails STEPS ERRNOS [FILE]: at one of these steps with one of these errors, and all is as it was
fails()
{
	[[ $result =~ ^($1)\ ($2)$ ]] && once && intact "${3:-disk/to}"
}

good() { [ "$result" = '- -' ] && once && cmp -s "$1" "$2"; }

# ---- sectors that cannot be read -----------------------------------------------------------------

fresh ext4
cp big disk/source
sync
# the file's block number 500, in sectors of the disk
block=$(filefrag -v disk/source | awk -F'[ .:]+' '/^ +[0-9]+:/ && $3 <= 500 && 500 <= $4 { print $5 + 500 - $3 }')
at=$((block * 8))
[ "$at" -gt 0 ] || not_ok "the file's place on the disk is known"
table "0 $at linear $data 0
$at 8 error
$((at + 8)) $((sectors - at - 8)) linear $data $((at + 8))"
for device in $devices any; do
	forget
	pin=(-p "$device")
	[ $device != any ] || pin=()
	goes "${pin[@]}" disk/source disk/to
	# the kernel does not always tell which end it was
	is "a bad sector under the source, read by $device: $result" fails 'read|transfer' EIO
done
table "$whole"
forget
goes disk/source good
is "the sector is good again, and so is the copy" good big good

# ---- writes that fail ----------------------------------------------------------------------------

# Buffered writes go well: the page cache has them. The fsync tells.
cat disk/source > /dev/null
table "$no_writes"
for device in $devices any; do
	pin=(-p "$device")
	[ $device != any ] || pin=()
	goes -d "${pin[@]}" disk/source disk/to
	steps=sync
	[ $device != direct ] || steps='write|transfer|sync'
	is "no write gets through, durable, by $device: $result" fails "$steps" EIO
done
goes -d -n big disk/to
is "... without io_uring: $result" fails sync EIO
goes -d -m small disk/to
is "... a small file in one step: $result" fails sync EIO
goes -d -m small disk/new
is "... under a name that is new: $result" fails sync EIO
is "... which is not there" test ! -e disk/new
table "$whole"
goes -d big disk/to
is "writes get through again: the same file system takes a copy" good big disk/to
again ext4
is "... which is on the disk" cmp -s big disk/to

for type in xfs btrfs; do
	fresh $type || continue
	table "$no_writes"
	goes -d big disk/to
	is "$type, no write gets through, durable: $result" eval '[[ $result =~ ^(sync|publish|sync-dir)\ (EIO|EROFS)$ ]] && once'
	again $type
	is "... the old destination is on the disk" intact disk/to
done

# Now and then: what was acknowledged is there, what was not is as it was.
fresh ext4
table "0 $sectors flakey $data 0 1 1 1 error_writes"
acked=old refused=0 acks=0 wrong=0
for i in $(seq 40); do
	head -c $((i * 30000)) big > "version$i"
	goes -d "version$i" disk/to
	once || wrong=$((wrong + 1))
	case $result in
	'- -')
		acked=version$i
		acks=$((acks + 1))
		;;
	'sync EIO' | 'write EIO' | 'transfer EIO') refused=$((refused + 1)) ;;
	*) wrong=$((wrong + 1)); echo "unexpected: $result" ;;
	esac
	cmp -s "$acked" disk/to || wrong=$((wrong + 1))
	[ $acks -ge 3 ] && [ $refused -ge 3 ] && break
	sleep 0.2
done
is "writes fail each second: $acks copies acknowledged and there, $refused refused with EIO and without a trace" \
	test $wrong = 0 -a $acks -gt 0 -a $refused -gt 0
again ext4
is "... the last acknowledged one is on the disk" cmp -s "$acked" disk/to

# ---- a disk that dies ----------------------------------------------------------------------------

for type in ext4 xfs btrfs; do
	fresh $type || continue
	table "$dead"
	goes -d big disk/to
	is "$type, the disk is gone, durable: $result" \
		eval '[[ $result =~ ^(open-to|write|transfer|sync|publish|sync-dir)\ (EIO|EROFS|ENODATA)$ ]] && once'
	first=$result
	goes -d big disk/to
	is "... and once more: $result" \
		eval '[[ $result =~ ^(open-to|write|transfer|sync|publish|sync-dir)\ (EIO|EROFS|ENODATA)$ ]] && once'
	again $type
	is "... the old destination is on the disk ($first)" intact disk/to

	fresh $type || continue
	"$outcome" -d -l 1000000 big disk/to > .out 2> .err &
	going=$!
	sleep 1
	table "$dead"
	wait $going
	status=$? out=$(cat .out) err=$(cat .err)
	result=$(sed -nE '1s/^0 ([^ ]+ [^ ]+) .*/\1/p' .out)
	is "$type, the disk dies in the middle of a durable copy: $result" \
		eval '[[ $result =~ ^(write|transfer|sync|publish|sync-dir)\ (EIO|EROFS|ENODATA)$ ]] && once'
	again $type
	is "... the old destination is on the disk" intact disk/to
done

# ---- slow ----------------------------------------------------------------------------------------

fresh ext4
cp big disk/source
sync
table "0 $sectors delay $data 0 20"
goes -d big disk/slow
is "20 ms for each request: the same bytes" good big disk/slow
table "0 $sectors delay $data 0 1000"
for device in rw uring any; do
	forget
	pin=(-p "$device")
	[ $device != any ] || pin=()
	goes -t 300 "${pin[@]}" disk/source disk/to
	# a call that sleeps in the kernel cannot be called back; but no other follows it
	is "a source that answers late, read by $device, 0.3 s to do it: $result" fails '[a-z-]+' ETIMEDOUT
done

# ---- full ----------------------------------------------------------------------------------------

for type in ext4 xfs btrfs; do
	fresh $type || continue
	cat /dev/zero > disk/zeros 2> /dev/null
	for options in '' -d '-p direct' '-p uring'; do
		# shellcheck disable=SC2086 # a list
		goes $options big disk/to
		is "$type is full, ${options:-plain}: $result" fails 'open-to|write|transfer|sync' ENOSPC
	done
	rm disk/zeros
	sync
	goes -d big disk/to
	is "... and has room again" good big disk/to
done

# a file system that has room on a disk that has none: only writing it back tells
umount disk
table "0 $sectors error"
loop_over 8M
meta=$loop
loop_over 24M
create pool "0 $(blockdev --getsz "$loop") thin-pool $meta $loop 128 0 1 error_if_no_space"
dmsetup message pool 0 'create_thin 0'
create thin "0 $sectors thin /dev/mapper/pool 0"
head -c 40000000 /dev/urandom > large
if mkfs.ext4 -q -F -b 4096 -O journal_dev "$journal" &&
	mkfs.ext4 -q -F -b 4096 -J "device=$journal" /dev/mapper/thin > mkfs.log 2>&1 &&
	mount /dev/mapper/thin disk; then
	cp old disk/to
	sync
	goes -d large disk/to
	is "a disk that is full when it is flushed: $result" fails sync ENOSPC
else
	cat mkfs.log
	not_ok "a thin disk is to be had"
fi
umount disk
dmsetup remove --noudevsync thin
dmsetup remove --noudevsync pool

# ---- a quota, a read-only file system ------------------------------------------------------------

fresh xfs
umount disk
if mount -t xfs -o usrquota /dev/mapper/bad disk &&
	xfs_quota -x -c 'limit -u bhard=2m 65534' disk 2> .err; then
	install -d -o 65534 -g 65534 disk/theirs
	install -o 65534 -g 65534 old disk/theirs/to
	for options in '' -d '-p uring'; do
		# shellcheck disable=SC2086 # a list
		run setpriv --reuid 65534 --regid 65534 --clear-groups "$outcome" $options big disk/theirs/to
		result=$(sed -nE '1s/^0 ([^ ]+ [^ ]+) .*/\1/p' .out)
		is "a quota of 2 MB, ${options:-plain}: $result" \
			fails 'open-to|write|transfer|sync' EDQUOT disk/theirs/to
	done
else
	not_ok "a quota is to be had: $(cat .err)"
fi
mount -o remount,ro disk
goes -d big disk/to
is "a read-only file system: $result" fails open-to EROFS
finish
