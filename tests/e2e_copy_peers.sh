#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_copy_peers.sh: `taio copy` from and to pipes, standard input and output, nc over TCP, IPv6 and
# Unix sockets, datagrams.
# shellcheck disable=SC2016 # single quotes: eval and bash -c expand them
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

# ---- pipes and peers -----------------------------------------------------------------------------

"$taio" copy - b < random
is "standard input that is a file" cmp -s random b
cat random | "$taio" copy - b
is "standard input that is a pipe" cmp -s random b
"$taio" copy random - > b
is "standard output that is a file" cmp -s random b
"$taio" copy random - | cat > b
is "standard output that is a pipe" cmp -s random b
cat random | "$taio" copy - - | cmp -s - random
is "from pipe to pipe" test "${PIPESTATUS[*]}" = '0 0 0'
"$taio" copy zero:100M - 2> .err | head -c 10 > /dev/null
status=${PIPESTATUS[0]} out='' err=$(cat .err)
is "a reader that has had enough: no message, an exit status" test "$status" != 0 -a -z "$err"
run bash -c '"$0" copy random - > /dev/full' "$taio"
is "standard output that is full: exit 1" failed 1 'No space left'
mkdir dir
copy - dir < hello
is "standard input into a directory: it has no name" failed 1 dir
# a device of its own: a bug must not cost the machine its /dev/null
if mknod device c 1 3 2> .err && (: > device) 2> .err; then
	copy random device
	is "a file to a character device, which stays one" test "$status" = 0 -a -c device
else
	skip "a file to a character device: none can be made here"
fi

if command -v nc > /dev/null; then
	port=$(free_port)
	nc -l 127.0.0.1 "$port" > got &
	child=$!
	children+=("$child")
	until_true listens "$port"
	copy random "127.0.0.1:$port:tcp"
	wait "$child"
	is "a file to nc over TCP" copied random got
	port=$(free_port)
	run timeout 20 bash -c '"$0" copy "listen:127.0.0.1:$1:tcp" got & child=$!
		until nc -N 127.0.0.1 "$1" < random; do sleep 0.02; done; wait $child' "$taio" "$port"
	is "from nc over TCP to a file" copied random got
	port=$(free_port)
	nc -l ::1 "$port" > got 2> /dev/null &
	child=$!
	children+=("$child")
	listens_or_ended()
	{
		listens "$port" || ! kill -0 "$child" 2> /dev/null
	}
	until_true listens_or_ended
	if kill -0 "$child" 2>/dev/null; then
		copy random "[::1]:$port:tcp"
		wait "$child"
		is "a file to nc over IPv6" copied random got
	else
		skip "IPv6: no ::1 here"
	fi
	nc -lU socket > got &
	child=$!
	children+=("$child")
	until_true test -S socket
	copy random unix:socket
	wait "$child"
	is "a file to nc over a Unix socket" copied random got
	run timeout 20 bash -c '"$0" copy listen:unix:socket2 got & child=$!
		until nc -NU socket2 < random 2> /dev/null; do sleep 0.02; done; wait $child' "$taio"
	is "from nc over a Unix socket to a file" copied random got
else
	skip "peers: nc is missing"
fi
if [ -n "$python" ]; then
	cat > udp.py <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
	s.bind(('127.0.0.1', int(sys.argv[1])))
	open('udp.ready', 'w').close()
	s.settimeout(5)
	data, sizes = b'', set()
	while len(data) < int(sys.argv[3]):
	    part = s.recv(65536)
	    data += part
	    sizes.add(len(part))
	open('got', 'wb').write(data)
	assert max(sizes) == int(sys.argv[2]), sizes
	END
	for size in 1472 500; do
		port=$(free_port)
		rm -f udp.ready got
		"$python" udp.py "$port" $size 100000 > .udp 2>&1 &
		child=$!
		children+=("$child")
		until_true test -e udp.ready
		head -c 100000 random > part
		copy --datagram $size --limit-rate 2M part "127.0.0.1:$port:udp"
		wait "$child"
		received=$?
		is "datagrams of $size bytes" test $received = 0 -a $status = 0
		is "... arrive" cmp -s part got
	done
else
	skip "datagrams: no python3 here to receive them"
fi

finish
