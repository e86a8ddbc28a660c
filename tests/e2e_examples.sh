#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_examples.sh: the programs of examples/, as a user of the library would run them, with nc and
# curl at the other end. Bytes are compared every time.
# shellcheck disable=SC2016 # single quotes: eval expands them
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh

BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
examples=$BUILD/examples
for name in copy send_file pointer serve plain_sendfile echo_udp; do
	[ -x "$examples/$name" ] || { echo "$examples/$name was not built"; exit 1; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/taio-examples.XXXXXX") || exit 1
children=()
cleanup()
{
	local child

	for child in "${children[@]}"; do
		kill "$child" 2>/dev/null
	done
	cd /
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 1
export XDG_CACHE_HOME=$work/cache
mkdir cache

free_port()
{
	local port

	for port in $(shuf -i 20000-32000 -n 20); do
		(exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}

# is WHAT CONDITION...; $status is that of the last command if the caller kept it
status=0
is()
{
	local what=$1

	shift
	if "$@"; then
		ok "$what"
	else
		[ -e .err ] && cat .err
		not_ok "$what"
	fi
}

head -c 5000000 /dev/urandom > file
: > empty

# ---- copy ----------------------------------------------------------------------------------------

"$examples/copy" file copied 2> .err
is "copy: a file to a file" cmp -s file copied
"$examples/copy" file - 2> .err | cmp -s - file
is "copy: a file to standard output" test "${PIPESTATUS[*]}" = '0 0'
"$examples/copy" zero:65536 copied 2> .err
is "copy: zeros to a file" cmp -s copied <(head -c 65536 /dev/zero)
"$examples/copy" missing copied 2> .err
status=$?
is "copy: an error gives exit 1 and its words" \
	eval '[ $status = 1 ] && grep -q "No such file" .err'
"$examples/copy" 2> .err
status=$?
is "copy: without arguments a usage line, exit 2" eval '[ $status = 2 ] && grep -q usage .err'

# ---- send_file -----------------------------------------------------------------------------------

if command -v nc > /dev/null; then
	port=$(free_port)
	nc -lU socket > by_socket &
	one=$!
	nc -l 127.0.0.1 "$port" > by_address &
	two=$!
	children+=("$one" "$two")
	for ((i = 0; i < 100; i++)); do
		[ -S socket ] && break
		sleep 0.05
	done
	sleep 0.2
	"$examples/send_file" file socket "127.0.0.1:$port:tcp" > .out 2> .err
	status=$?
	wait "$one" "$two"
	is "send_file: three events, exit 0" test $status = 0 -a "$(wc -l < .out)" = 3
	is "send_file: the file through the socket" cmp -s file by_socket
	is "send_file: the file to the address" cmp -s file by_address
	"$examples/copy" file "127.0.0.1:$port:tcp" 2> .err
	status=$?
	is "copy: a peer that is not there" eval '[ $status = 1 ] && grep -q refused .err'
else
	skip "send_file: nc is missing"
fi

# ---- pointer -------------------------------------------------------------------------------------

"$examples/pointer" file > copied 2> .err
is "pointer: memory to memory, the bytes of the file" cmp -s file copied
is "pointer: says who carried them" grep -q 'GiB/s by [a-z]' .err

# ---- plain_sendfile (the rival of the demo) ------------------------------------------------------

"$examples/plain_sendfile" file ./copied2 2> .err
is "plain_sendfile: a file to a file" cmp -s file copied2

# ---- serve ---------------------------------------------------------------------------------------

if command -v curl > /dev/null; then
	mkdir -p www/sub
	cp file empty www/
	cp file www/sub/other
	head -c 100 file > www/small
	port=$(free_port)
	"$examples/serve" www "$port" 2> .err &
	server=$!
	children+=("$server")
	for ((i = 0; i < 100; i++)); do
		curl -s -m 20 -o small "http://127.0.0.1:$port/small" && break
		sleep 0.05
	done
	url=http://127.0.0.1:$port
	is "serve: a small file" cmp -s www/small small
	curl -s -m 20 -o got "$url/file"
	is "serve: a large file" cmp -s file got
	curl -s -m 20 -o got "$url/sub/other?x=1"
	is "serve: below a directory" cmp -s file got
	curl -s -m 20 -o got "$url/empty"
	status=$?
	is "serve: an empty file" test $status = 0 -a ! -s got
	is "serve: what is not there is 404" \
		test "$(curl -s -m 20 -o got -w '%{http_code}' "$url/nothing")" = 404
	is "serve: nothing outside of the directory" \
		test "$(curl -s -m 20 -o got -w '%{http_code}' --path-as-is "$url/../file")" = 403
	is "serve: only GET" test "$(curl -s -m 20 -o got -w '%{http_code}' -X PUT "$url/file")" = 405
	for i in {1..40}; do
		curl -s -m 20 -o "many.$i" "$url/file" &
		getters[i]=$!
	done
	wait "${getters[@]}"
	good=0
	for i in {1..40}; do
		cmp -s file "many.$i" && good=$((good + 1))
	done
	is "serve: 40 at a time (right: $good)" test "$good" = 40
	curl -s --limit-rate 1M -m 1 -o got "$url/file"
	curl -s -m 20 -o got "$url/small"
	is "serve: goes on after a client that went away" cmp -s www/small got
	for i in {1..20}; do
		curl -s -m 20 -o got "$url/file"
	done
	sleep 0.2
	is "serve: no file is left open" \
		test -z "$(find "/proc/$server/fd" -lname "$work/www/*")"
	kill -TERM "$server"
	wait "$server"
	is "serve: ends by SIGTERM with exit 0" test $? = 0
else
	skip "serve: curl is missing"
fi

# ---- echo_udp --------------------------------------------------------------------------------------

if command -v python3 > /dev/null; then
	port=$(free_port)
	"$examples/echo_udp" "$port" > echoed 2> .err &
	server=$!
	children+=("$server")
	for ((i = 0; i < 100; i++)); do
		grep -q "$(printf ':%04X ' "$port")" /proc/net/udp6 && break
		sleep 0.05
	done
	# two clients at a time, 40 datagrams under way each, all sizes, both families
	python3 -c '
import os, socket, sys
port = int(sys.argv[1])
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
	clients = [socket.socket(family, socket.SOCK_DGRAM) for i in range(2)]
	for c in clients:
		c.settimeout(20)
		c.connect((host, port))
	for start in range(0, 200, 40):
		sent = [[os.urandom((start + i) * 40 % 1473) for i in range(40)] for c in clients]
		for i in range(40):
			for c, data in zip(clients, sent):
				c.send(data[i])
		for c, data in zip(clients, sent):
			for want in data:
				if c.recv(70000) != want:
					sys.exit("another datagram came back")
	big = os.urandom(65507 if family == socket.AF_INET else 65000)
	clients[0].send(big)
	if clients[0].recv(70000) != big:
		sys.exit("the largest one came back as another")
' "$port" 2> .err
	status=$?
	is "echo_udp: every datagram comes back whole to whoever sent it" test $status = 0
	kill -TERM "$server"
	wait "$server"
	status=$?
	is "echo_udp: ends by SIGTERM with exit 0 and counts 802 in each direction" \
		test $status = 0 -a "$(< echoed)" = "802 received, 802 sent back"
else
	skip "echo_udp: python3 is missing"
fi

cd / || exit 1
finish
