#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# crash_guest.sh: the guest of crash.sh, in an endless loop until its power is cut. First it tells
# what is on the disk, then it makes files and trees, copies them onto the disk, and says of each
# copy what it is going to be (TRY) and that it is there (ACK). Sums stand for contents.
set -u
disk=/mnt/disk
taio=/taio/build/taio
read -r line < /proc/cmdline
durable=--durable
case " $line " in *' vmtest.lossy '*) durable= ;; esac
RANDOM=$(($(od -An -N2 -tu2 /dev/urandom) % 32768))

# the sum of a file; of a tree: of the names and sums of all that is in it
sum()
{
	if [ -d "$1" ]; then
		(cd "$1" && find . -type f | sort | xargs -r md5sum) | md5sum
	else
		md5sum < "$1"
	fi | cut -d' ' -f1
}

fail()
{
	printf 'CRASH-FAILED %s\n' "$*"
	sync
	/usr/bin/vmexit 1
}

mkdir -p $disk /run/source
mount /dev/vdb $disk || fail "the disk cannot be mounted"
for name in "$disk"/*; do
	case ${name##*/} in
	lost+found | '*') continue ;;
	esac
	printf 'HAVE %s %s\n' "${name##*/}" "$(sum "$name")"
done

# all that takes time is done before the power may go: little processor time is left for it then
declare -A sums
for i in 0 1 2 3 4 5; do
	head -c $((RANDOM * 40 + 1)) /dev/urandom > /run/source/f$i
	mkdir -p /run/source/t$i/a
	for j in 1 2 3 4 5; do
		head -c $RANDOM /dev/urandom > /run/source/t$i/a/$j
	done
	sums[f$i]=$(sum /run/source/f$i)
	sums[t$i]=$(sum /run/source/t$i)
done
printf 'CRASH-READY\n'

# files over old ones, mostly; trees under a name that is new
for ((i = 0; i < 300; i++)); do
	from=f$((RANDOM % 6))
	name=f$((RANDOM % 12))
	if [ $((RANDOM % 4)) = 0 ]; then
		from=t$((RANDOM % 6))
		name=t$RANDOM$RANDOM
	fi
	printf 'TRY %s %s\n' "$name" "${sums[$from]}"
	$taio copy -r $durable "/run/source/$from" "$disk/$name" > /run/log 2>&1 || fail "$(cat /run/log)"
	printf 'ACK %s\n' "$name"
done
fail "nobody cuts the power"
