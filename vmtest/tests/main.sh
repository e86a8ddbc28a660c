#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# main.sh: the main job by the command: file to file on each file system, by each device that this
# kernel has, file to TCP and back, and a policy that is swapped while a copy runs.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

size=6000001 # not a whole block
head -c $size /dev/urandom > big
sum=$(sha256sum < big)

# same FILE: the last command succeeded, and these are the bytes of big
same() { [ "$status" = 0 ] && [ "$(sha256sum < "$1")" = "$sum" ]; }

# until_listening PORT: no connection is made for it, a listener takes one
until_listening() { grep -qE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") 0+:0000 0A " /proc/net/tcp; }

# ---- what there is -------------------------------------------------------------------------------

run "$taio" devices --json
is "devices: told" test "$status" = 0 -a -n "$out"

# ---- file to file --------------------------------------------------------------------------------

# from Linux 6.1 on each of them is there
for device in rw cfr sendfile splice mmap uring direct; do
	copy --pin $device big by
	is "file to file by $device: the same bytes" same by
	rm -f by
done
copy --durable big durable
is "durable: the same bytes" same durable
copy --no-uring --no-bpf big plain
is "without io_uring and BPF: the same bytes" same plain
run sh -c '"$0" copy big - | "$0" copy - piped' "$taio"
is "through pipes: the same bytes" same piped
rm -f durable plain piped

mkdir -p tree/a/b
for i in $(seq 200); do
	head -c $((i * 97)) big > "tree/a/b/$i"
done
ln -s b/7 tree/a/link
copy -r tree grown
is "a tree: the same files" same_tree tree grown

for type in ext4 xfs btrfs tmpfs; do
	mkdir -p "$type"
	if [ $type = tmpfs ]; then
		mount -t tmpfs none "$type"
	else
		truncate -s 400M "$type.image"
		"mkfs.$type" -q "$type.image" > mkfs.log 2>&1 && mount -o loop "$type.image" "$type"
	fi || { cat mkfs.log; not_ok "$type cannot be mounted"; continue; }
	copy big "$type/big"
	is "onto $type: the same bytes" same "$type/big"
	copy --durable "$type/big" "$type/again"
	is "within $type: the same bytes" same "$type/again"
	copy --pin reflink "$type/big" "$type/shared"
	case $type in
	xfs | btrfs)
		# the odd byte at the end is shared too: it is the end of the file
		is "within $type by reflink: the same bytes" same "$type/shared"
		is "... and the blocks are shared" eval "filefrag -v $type/shared | grep -q shared"
		;;
	*) is "within $type by reflink: refused with a reason, $err" test "$status" = 1 -a -n "$err" ;;
	esac
	copy -r tree "$type/tree"
	is "a tree onto $type: the same files" same_tree tree "$type/tree"
	umount "$type" || not_ok "something is still open on $type"
	rm -f "$type.image"
done

# ---- file to TCP, and back -----------------------------------------------------------------------

port=$(free_port)
"$taio" copy "listen:127.0.0.1:$port:tcp" received 2> receiver.err &
receiver=$!
until_true until_listening "$port" || not_ok "nobody listens"
copy big "127.0.0.1:$port:tcp"
is "file to TCP: sent" test "$status" = 0
wait $receiver
is "... and received by taio, the same bytes" same received

port=$(free_port)
nc -N -l 127.0.0.1 "$port" > by_nc < /dev/null &
receiver=$!
until_true until_listening "$port" || not_ok "nobody listens"
copy big "127.0.0.1:$port:tcp"
wait $receiver
is "file to an ordinary peer: the same bytes" same by_nc
for device in rw sendfile splice mmap uring zc; do
	port=$(free_port)
	nc -N -l 127.0.0.1 "$port" > by_nc < /dev/null &
	receiver=$!
	until_true until_listening "$port" || not_ok "nobody listens"
	copy --pin "$device,net" big "127.0.0.1:$port:tcp"
	[ "$status" = 0 ] || kill $receiver
	wait $receiver 2> /dev/null
	is "file to TCP by $device: the same bytes" same by_nc
done

# ---- a policy swapped while a copy runs ----------------------------------------------------------

# The reader takes its bytes in pieces, and between them the policy changes.
mkfifo fifo
exec 3<> fifo
"$taio" copy big - > fifo 2> swapped.err 3>&- &
copying=$!
until_true grep -q "@taio/$copying/" /proc/net/unix || not_ok "the copy cannot be reached"
: > swapped
for name in jsq static tab jsq; do
	head -c 1000000 <&3 >> swapped
	run "$taio" policy swap "$name" --engine $copying
	is "swap to $name during a copy" test "$status" = 0
	head -c 200000 <&3 >> swapped
	run "$taio" policy load "$BUILD/schedulers/$name.bpf.o" --engine $copying
	is "... and to $name in the kernel" test "$status" = 0
done
head -c $((size - 4800000)) <&3 >> swapped
wait $copying
status=$?
exec 3<&-
is "... and the bytes are the same" same swapped
finish
