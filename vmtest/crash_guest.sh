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
# what a copy that was cut left behind: hidden, and never under the name of a destination
printf 'HIDDEN %d\n' "$(find $disk -name '.*taio-*' | wc -l)"
printf 'CRASH-READY\n'

for ((i = 0; ; i++)); do
	name=f$((RANDOM % 12))
	source=/run/source/$name
	rm -rf "$source"
	case $((RANDOM % 4)) in
	0) # a tree under a name that is new
		name=t$RANDOM$RANDOM
		mkdir -p "/run/source/$name/a"
		source=/run/source/$name
		for j in 1 2 3 4 5 6 7 8; do
			head -c $RANDOM /dev/urandom > "$source/a/$j"
		done
		;;
	*) head -c $((RANDOM * 40 + 1)) /dev/urandom > "$source" ;; # often over an old one
	esac
	printf 'TRY %s %s\n' "$name" "$(sum "$source")"
	$taio copy -r $durable "$source" "$disk/" > /run/log 2>&1 || fail "$(cat /run/log)"
	printf 'ACK %s\n' "$name"
	rm -rf "$source"
	[ $i -lt 300 ] || fail "nobody cuts the power"
done
