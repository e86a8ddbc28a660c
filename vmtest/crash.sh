#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# crash.sh [-c] [KERNEL [TYPE...]]: cuts the power of a guest (QEMU gets SIGKILL) at random moments of
# durable copies onto a disk of each TYPE (ext4 xfs btrfs), CYCLES (50) times, and lets the next guest
# tell what is there. The disk is volatile.c: what was not flushed is lost in part. Before each cut
# PICTURES (4) are taken of what a cut at that moment would have left; the next guest looks at them, too.
#
# Every copy that was acknowledged as durable must be whole and what it should be, no name may hold
# anything but an old or a new version as a whole, and of the temporaries of dead copies the next copy
# to the same place leaves none. Two controls must lose something, or this test could not fail: copies
# without --durable, and durable ones on a disk that acknowledges flushes and does not flush.
# -c: what .ci/run wants: CYCLES 2 on ext4, shorter controls.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build}
command=() ports=() why='' logs=''
. tests/lib.sh
. vmtest/lib.sh
cycles=${CYCLES:-50} control_cycles=2 types=(ext4 xfs btrfs)
if [ "${1:-}" = -c ]; then
	cycles=${CYCLES:-2} control_cycles=1 types=(ext4)
	shift
fi
pictures=${PICTURES:-4}
key=${1:-6.12}
[ $# -lt 2 ] || types=("${@:2}")
boot_seconds=300   # to CRASH-READY, on a machine that others use
disk_bytes=536870912
job_bytes=16777216

qemu_pid='' server_pid='' base=''
stop()
{
	[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2> /dev/null
	[ -z "$server_pid" ] || kill -KILL "$server_pid" 2> /dev/null
	[ -z "$base" ] || rm -f "$base"
	[ -z "$logs" ] || rm -rf "$logs"/{initrd,disk,crashed,frozen.*,socket,volatile,snapshot,job,from,sources,before,monitor}
}
trap stop EXIT
trap 'exit 130' INT TERM

# nap MS: at most so long
nap()
{
	local ms=$((RANDOM % $1))

	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# until_said SECONDS FILE PATTERN PID: a line that this process writes
until_said()
{
	local end=$((SECONDS + $1))

	until grep -q "$3" "$2"; do
		kill -0 "$4" 2> /dev/null && [ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

said() { stat -c %s "$logs/out"; }

# picture: asks the disk for what a power cut would leave in one of the next moments
picture()
{
	local before count end=$((SECONDS + 60))

	before=$(said)
	count=$(grep -c '^frozen' "$logs/server")
	kill -USR1 "$server_pid" || return
	until [ "$(grep -c '^frozen' "$logs/server")" -gt "$count" ]; do
		kill -0 "$server_pid" 2> /dev/null && [ $SECONDS -lt $end ] || return
		sleep 0.02
	done
	echo "$before $(said)" >> "$logs/marks"
}

# start_disk: the disk under test, on $logs/socket
start_disk()
{
	: > "$logs/server"
	# shellcheck disable=SC2086 # $lies is an option or nothing
	"$logs/volatile" $lies "$logs/crashed" "$logs/socket" "$logs/frozen.new" > "$logs/server" 2>&1 &
	server_pid=$!
	until_said 10 "$logs/server" '^listening' $server_pid
}

# start_guest INPUT OPTION...: vdb is the disk under test, vdc holds the pictures of the one before, vdd
# the job
start_guest()
{
	local input=$1

	shift
	: > "$logs/out"
	truncate -s $((pictures * disk_bytes)) "$logs/frozen.old"
	lib_command vmtest.crash
	"${command[@]}" "${ports[@]}" < "$input" 2> "$logs/qemu" \
		-drive "file=nbd+unix:///?socket=$logs/socket,format=raw,if=virtio,cache=writeback" \
		-drive "file=$logs/frozen.old,format=raw,if=virtio,cache=unsafe" \
		-drive "file=$logs/job,format=raw,if=virtio,cache=unsafe" "$@" &
	qemu_pid=$!
}

# snapshot: a guest that has come up and waits for its job; the others begin there
snapshot()
{
	truncate -s $disk_bytes "$logs/crashed"
	truncate -s $job_bytes "$logs/job"
	rm -f "$logs/monitor"
	mkfifo "$logs/monitor" && start_disk || return
	exec 7<> "$logs/monitor"
	start_guest "$logs/monitor" -monitor stdio > "$logs/monitor.log"
	until_said $boot_seconds "$logs/out" '^CRASH-WAIT' $qemu_pid || return
	printf 'migrate "exec:cat > %s"\nquit\n' "$logs/snapshot" >&7
	wait $qemu_pid $server_pid
	qemu_pid='' server_pid=''
	exec 7>&-
	rm -f "$logs"/{monitor,monitor.log,frozen.new}
	[ -s "$logs/snapshot" ]
}

# write_job WORDS: what the next guest has to do, and six files and six trees to do it with
write_job()
{
	local from=$logs/from i j lengths=(1 3000 100000 300000 700000 2000000)

	rm -rf "$from"
	for i in 0 1 2 3 4 5; do
		mkdir -p "$from/t$i/a/b"
		head -c $((lengths[i] + RANDOM)) /dev/urandom > "$from/f$i"
		for j in 1 2 3 b/4 b/5 b/6; do
			head -c $RANDOM /dev/urandom > "$from/t$i/a/$j"
		done
		ln -s "a/$i-$RANDOM" "$from/t$i/link"
	done
	(cd "$from" && find . -type f -exec md5sum {} + && find . -type l -printf '->%l  ./%P\n') |
		sed 's,^\(.*\)  \./\(.*\),\2 \1,' > "$logs/sources"
	{
		printf 'GO %s\n' "$*" | dd bs=4096 conv=sync 2> /dev/null
		tar c -C "$from" .
	} > "$logs/job"
	truncate -s $job_bytes "$logs/job"
}

# cycle LOSSY: a guest looks at what the last one left; then pictures, and its power is cut
cycle()
{
	local frozen=0 i rc=0

	: > "$logs/marks"
	[ ! -e "$logs/frozen.new" ] || frozen=$(($(stat -c %s "$logs/frozen.new") / disk_bytes))
	rm -f "$logs/frozen.old"
	[ $frozen = 0 ] || mv "$logs/frozen.new" "$logs/frozen.old"
	write_job "$fs" $disk_bytes $frozen "$1" $RANDOM
	start_disk || return
	start_guest /dev/null -incoming "exec:cat $logs/snapshot"
	until_said $boot_seconds "$logs/out" '^CRASH-READY' $qemu_pid || rc=1
	if [ $rc = 0 ]; then
		for ((i = 0; i < pictures; i++)); do
			nap 800
			picture || rc=2
		done
		nap 1500
	fi
	kill -KILL $qemu_pid 2> /dev/null
	wait $qemu_pid 2> /dev/null
	wait $server_pid || rc=2
	qemu_pid='' server_pid=''
	echo "$(said) $(said)" >> "$logs/marks"
	grep '^CRASH-FAILED' "$logs/out" && rc=2
	return $rc
}

# count NAME: of the verdicts so far
count() { sed -nE "s/.*\"$1\": ([0-9]+).*/\1/p" "$logs/state"; }

# verdict: what this guest has found; what it and the one before it said is kept if it is no good
verdict()
{
	local old new

	old=$(wc -l < "$logs/verdict")
	python3 vmtest/crash_judge.py "$logs/state" "$logs/sources" "$logs/out" "$logs/marks" \
		>> "$logs/verdict" || return
	new=$(wc -l < "$logs/verdict")
	[ "$old" = "$new" ] || cat "$logs"/{before,out,marks} > "$logs/found.$fs.$new"
	cat "$logs"/{out,marks} > "$logs/before"
}

# rounds COUNT [LOSSY]: so many cuts, each followed by a look
rounds()
{
	local i bad=0

	dropped=0
	rm -f "$logs"/{state,frozen.*}
	: > "$logs/verdict"
	: > "$logs/before"
	lib_disk "$logs/crashed" "$fs" $disk_bytes > "$logs/mkfs" 2>&1 || { cat "$logs/mkfs"; return 1; }
	for ((i = 0; i <= $1; i++)); do
		cycle "${2:-0}"
		case $? in
		0) ;;
		2) # the guest could not go on
			verdict
			return 1
			;;
		*)
			tail -n 20 "$logs/serial" "$logs/server" "$logs/qemu"
			bad=$((bad + 1))
			[ $bad -lt 3 ] || return 1
			i=$((i - 1))
			continue
			;;
		esac
		verdict || return
		dropped=$((dropped + $(awk '{ n += $3 + $4 } END { print n + 0 }' <(grep -E '^(frozen|cut)' "$logs/server"))))
	done
	[ $bad = 0 ] || printf '# %d guests did not come up and were tried again\n' $bad
}

# none NAME WHAT: nothing of this kind was found
none()
{
	if [ "$(count "$1")" = 0 ]; then
		ok "$key, $fs: $2"
	else
		grep "^$1:" "$logs/verdict" | head -n 10
		not_ok "$key, $fs: $2 ($1: $(count "$1"))"
	fi
}

# control WHAT [LOSSY]
control()
{
	rounds $control_cycles "${2:-0}"
	if [ $(($(count lost) + $(count torn) + $(count unmountable))) -gt 0 ]; then
		ok "$key, $fs, control: $1: lost $(count lost), torn $(count torn), unmountable $(count unmountable)"
	else
		not_ok "$key, $fs, control: $1: nothing was lost, so this test proves nothing"
	fi
}

lib_tools || exit 1
logs_name=crash-$key
lib_kernel || { echo "$key: this kernel cannot be had: $why"; exit 77; }
gcc -O2 -o "$logs/volatile" vmtest/volatile.c || exit 1
base=$logs/base.cpio
vmtest/initramfs.sh "$base" || exit 1
cat "$base" "$kernel/modules.cpio" > "$logs/initrd"
lib_disk "$logs/disk" ext4 || exit 1
lies=
snapshot || { tail -n 20 "$logs/serial" "$logs/qemu"; not_ok "$key: a guest comes up"; finish; }
for fs in "${types[@]}"; do
	rounds "$cycles" || not_ok "$key, $fs: the guests do their work"
	what="$(count cuts) cuts and $(count pictures) pictures, $dropped writes dropped, $(count acks) durable copies, $(count looks) looks at files"
	if [ "$(count looks)" -gt 0 ] && [ $dropped -gt 0 ]; then
		ok "$key, $fs: $what"
	else
		not_ok "$key, $fs: the test did something: $what"
	fi
	none unmountable "every disk can be mounted"
	none lost "nothing acknowledged as durable is lost"
	none torn "no destination is torn"
	none left "no temporary outlives the copy after it"
done
fs=ext4
control "copies that are not durable" 1
lies=-i
control "a disk that lies about flushes"
finish
