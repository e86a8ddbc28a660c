#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_datagrams.sh: `taio copy` with datagrams that keep their boundaries, against programs that
# nobody here wrote (python3, socat): framing in both directions, number, idle time, end mark, rate
# in packets, counters in --json and --explain, what is refused.
# shellcheck disable=SC2002,SC2016,SC2034,SC2154,SC2319 # words of the libraries; eval and bash -c expand
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

bound()
{
	grep -q "$(printf ':%04X ' "$1")" /proc/net/udp /proc/net/udp6
}

# runs in the background: $child
background()
{
	"$@" &
	child=$!
	children+=("$child")
}

same()
{
	[ "$(sha256sum < "$1")" = "$(sha256sum < "$2")" ]
}

command -v python3 > /dev/null || { skip "all of it: python3 is missing"; finish; }

# a file of datagrams with their lengths, of the sizes that follow
frames()
{
	python3 -c '
import os, struct, sys
for size in map(int, sys.argv[1:]):
	sys.stdout.buffer.write(struct.pack(">I", size) + os.urandom(size))' "$@"
}

# receives $2 datagrams at UDP port $1 of family $3 and writes them with their lengths
receiver()
{
	exec python3 -c '
import socket, struct, sys
port, count, family = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.bind(("::1" if family == 6 else "127.0.0.1", port))
for i in range(count):
	data = s.recv(70000)
	sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
	sys.stdout.buffer.flush()' "$@"
}

# sends the datagrams of file $2 to UDP port $1 of family $3, one a millisecond, without an end
sender()
{
	python3 -c '
import socket, struct, sys, time
port, family = int(sys.argv[1]), int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)
data, at = open(sys.argv[2], "rb").read(), 0
while at < len(data):
	size = struct.unpack(">I", data[at:at + 4])[0]
	s.sendto(data[at + 4:at + 4 + size], ("::1" if family == 6 else "127.0.0.1", port))
	at += 4 + size
	time.sleep(0.001)' "$@"
}

# the number behind "$1": in $out
count_of()
{
	grep -o "\"$1\":[0-9]*" <<< "$out" | head -1 | cut -d : -f 2
}

frames 1 1472 1472 1472 9000 65507 3 500 500 500 20 1400 > framed
frames 100 > one
: > got

for family in 4 6; do
	host=127.0.0.1
	[ $family = 4 ] || host='[::1]'
	port=$(free_port)
	receiver "$port" 13 $family > got &
	child=$!
	children+=("$child")
	until_true bound "$port"
	copy --framing length --json framed "$host:$port:udp"
	is "IPv$family: a framed file is sent" test "$status" = 0 -a "$(count_of sent)" = 12
	wait "$child"
	{ cat framed; printf '\0\0\0\0'; } > want
	is "... as datagrams of its sizes and an end mark" same want got

	port=$(free_port)
	rm -f got
	"$taio" copy --framing length --datagrams 12 --json "listen:$host:$port:udp" got > report &
	child=$!
	children+=("$child")
	until_true bound "$port"
	sender "$port" framed $family
	wait "$child"
	status=$?
	out=$(< report)
	is "IPv$family: a stranger's datagrams are received" test $status = 0 -a "$(count_of received)" = 12
	is "... with their boundaries" same framed got
done

port=$(free_port)
rm -f got
"$taio" copy --framing length --idle 300ms "listen:127.0.0.1:$port:udp" got &
child=$!
children+=("$child")
until_true bound "$port"
sender "$port" framed 4
wait "$child"
status=$?
is "without a number, idle time ends it" test $status = 0
is "... and all is there" same framed got

port=$(free_port)
rm -f got
"$taio" copy --datagrams 5 "listen:127.0.0.1:$port:udp" got &
child=$!
children+=("$child")
until_true bound "$port"
sender "$port" framed 4
wait "$child"
is "raw, five datagrams" test "$(stat -c %s got)" = $((1 + 3 * 1472 + 9000))

port=$(free_port)
rm -f got
"$taio" copy --framing length --no-end-mark --idle 300ms "listen:127.0.0.1:$port:udp" got &
child=$!
children+=("$child")
until_true bound "$port"
frames 3 0 0 4 > want
sender "$port" want 4
wait "$child"
is "empty datagrams are kept where they are no end" same want got

if command -v socat > /dev/null; then
	port=$(free_port)
	rm -f got
	"$taio" copy --framing length --idle 300ms "listen:127.0.0.1:$port:udp" got &
	child=$!
	children+=("$child")
	until_true bound "$port"
	for size in 5 900; do
		head -c $size /dev/zero | socat -u -b 65536 STDIN "UDP4-SENDTO:127.0.0.1:$port,sourceport=$port,bind=127.0.0.2"
	done
	wait "$child"
	is "socat sends two datagrams" test "$(stat -c %s got)" = 913
else
	skip "datagrams of socat: socat is missing"
fi

# ---- a file with frames through taio alone --------------------------------------------------------

frames $(seq 1 300) $(seq 1400 1472) > large
port=$(free_port)
rm -f got
background bash -c '"$0" copy --framing length "listen:127.0.0.1:$1:udp" - | cat > got' "$taio" "$port"
until_true bound "$port"
cat large | "$taio" copy --framing length - "127.0.0.1:$port:udp"
wait "$child"
is "a pipe of frames to UDP to a pipe of frames" same large got

# ---- rate ------------------------------------------------------------------------------------------

port=$(free_port)
receiver "$port" 41 4 > /dev/null &
child=$!
children+=("$child")
until_true bound "$port"
head -c 40000 /dev/zero > zeros
copy --json --datagram 1000 --limit-packets 100 zeros "127.0.0.1:$port:udp"
wait "$child"
# 5 of 40 may go at once, the others wait 10 ms each
is "--limit-packets: 40 datagrams at 100 a second" \
	test "$status" = 0 -a "$(count_of sent)" = 40 -a "$(count_of ns)" -ge 340000000

# ---- what is told ----------------------------------------------------------------------------------

port=$(free_port)
receiver "$port" 13 4 > /dev/null &
child=$!
children+=("$child")
until_true bound "$port"
copy --explain --framing length framed "127.0.0.1:$port:udp"
wait "$child"
is "--explain says what became of the datagrams" grep -q '^datagrams: 12 sent' <<< "$out"
port=$(free_port)
copy --json --framing length large "127.0.0.1:$port:udp"
is "nobody takes them: refused, and counted" \
	test "$status" = 1 -a "$(count_of refused)" -ge 1
head -c 500 large > short
receiver "$port" 40 4 > /dev/null &
children+=("$!")
until_true bound "$port"
copy --framing length short "127.0.0.1:$port:udp"
is "a file that ends within a datagram is an error that says so" \
	test "$status" = 1 -a "$(grep -c 'not a file of datagrams' <<< "$err")" = 1
for wrong in "--framing tree" "--datagrams 0" "--idle never" "--limit-packets -1"; do
	# shellcheck disable=SC2086 # two words
	copy $wrong large "127.0.0.1:$port:udp"
	is "$wrong is a usage error" test "$status" = 2
done
copy --framing length large got
is "frames from file to file make no sense" test "$status" = 1 -a -n "$err"

finish
