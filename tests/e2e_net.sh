#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_net.sh: `taio copy` over the network against programs that nobody here wrote (nc, curl), and
# against peers that refuse, reset, stall or do not exist (tests/peer.c): what arrives is the file,
# what fails says which file and why, once, and leaves nothing behind.
# shellcheck disable=SC2002,SC2016,SC2034,SC2154,SC2319 # words of the libraries; eval and bash -c expand
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

peer=$BUILD/tests/peer
[ -x "$peer" ] || { echo "$peer was not built"; exit 1; }

# somebody listens on TCP port $1, has bound UDP port $1
listens()
{
	grep -q "$(printf ':%04X 0*:0000 0A' "$1")" /proc/net/tcp
}

bound()
{
	grep -q "$(printf ':%04X ' "$1")" /proc/net/udp
}

# somebody listens on the Unix socket $1; its name is there a moment earlier
listens_unix()
{
	grep -q " 00010000 .* $1\$" /proc/net/unix
}

# starts a peer: $port, and $child to wait for
meet()
{
	exec 3< <(exec "$peer" "$@")
	child=$!
	children+=("$child")
	read -r port <&3
}

# runs in the background: $child
background()
{
	"$@" &
	child=$!
	children+=("$child")
}

# the last command told one event, with errno $1 at step $2, and nothing was left behind
event_is()
{
	[ "$status" = 1 ] && [ "$(wc -l <<< "$out")" = 1 ] &&
		[[ $out == *"\"result\":-$1,"* ]] && [[ $out == *"\"failed_step\":\"$2\""* ]] && clean
}

same()
{
	[ "$(sha256sum < "$1")" = "$(sha256sum < "$2")" ]
}

head -c 50000000 /dev/urandom > big
head -c 100000 random > small

# ---- TCP: nc and curl ----------------------------------------------------------------------------

if command -v nc > /dev/null; then
	for file in empty hello random big; do
		port=$(free_port)
		nc -l 127.0.0.1 "$port" > got &
		child=$!
		children+=("$child")
		until_true listens "$port"
		copy "$file" "127.0.0.1:$port:tcp"
		wait "$child"
		is "nc receives $file ($(stat -c %s "$file") bytes)" same "$file" got
		port=$(free_port)
		rm -f got
		background "$taio" copy "listen:127.0.0.1:$port:tcp" got
		until_true listens "$port"
		nc -N 127.0.0.1 "$port" < "$file"
		wait "$child"
		status=$?
		is "nc sends $file" same "$file" got
	done
	port=$(free_port)
	nc -l 127.0.0.1 "$port" > got &
	child=$!
	children+=("$child")
	until_true listens "$port"
	copy big "localhost:$port:tcp"
	wait "$child"
	is "a name is resolved, and the address that answers is taken" same big got
	port=$(free_port)
	rm -f got
	background bash -c '"$0" copy "listen:127.0.0.1:$1:tcp" - | cat > got' "$taio" "$port"
	until_true listens "$port"
	cat random | "$taio" copy - "127.0.0.1:$port:tcp"
	wait "$child"
	is "a pipe to TCP to a pipe, taio at both ends" same random got
	nc -lU there > got &
	child=$!
	children+=("$child")
	until_true listens_unix there
	copy big unix:there
	wait "$child"
	is "nc receives 50 MB over a Unix socket" same big got
	rm -f got
	background "$taio" copy listen:unix:here got
	until_true listens_unix here
	nc -NU here < big
	wait "$child"
	status=$?
	is "nc sends 50 MB over a Unix socket" same big got
	is "... and its path is gone" test ! -e here
else
	skip "plain TCP and Unix peers: nc is missing"
fi

if command -v curl > /dev/null; then
	printf 'HTTP/1.0 200 OK\r\nContent-Length: %s\r\n\r\n' "$(stat -c %s big)" | cat - big > reply
	port=$(free_port)
	background "$taio" copy reply "listen:127.0.0.1:$port:tcp"
	until_true listens "$port"
	curl -s -m 20 -o got "http://127.0.0.1:$port/"
	status=$?
	is "curl downloads, though nobody reads its request" test "$status" = 0
	is "... the same bytes" same big got
	wait "$child"
	rm -f got
	port=$(free_port)
	background "$taio" copy "listen:127.0.0.1:$port:tcp" got
	until_true listens "$port"
	curl -s -m 2 -H 'Expect:' -T random "http://127.0.0.1:$port/name" # it waits for an answer
	wait "$child"
	status=$?
	tail -c "$(stat -c %s random)" got > body
	is "curl uploads by PUT" same random body
	is "... with its head in front" grep -q '^PUT /name HTTP' got
else
	skip "HTTP: curl is missing"
fi

# ---- UDP -----------------------------------------------------------------------------------------

for unit in 1472 500 60000; do
	exec 4< <(exec "$peer" datagrams)
	children+=("$!")
	read -r port <&4
	copy --datagram $unit --limit-rate 20M small "127.0.0.1:$port:udp"
	sizes=$(cat <&4)
	want=$(for ((left = 100000; left > 0; left -= unit)); do
		echo $((left < unit ? left : unit))
	done; echo end)
	is "100000 bytes become datagrams of $unit and an end mark" test "$sizes" = "$want"
done
for file in small random; do
	port=$(free_port)
	rm -f got
	background "$taio" copy "listen:127.0.0.1:$port:udp" got
	until_true bound "$port"
	copy --limit-rate 50M "$file" "127.0.0.1:$port:udp"
	is "$file over UDP: sent" test "$status" = 0
	wait "$child"
	status=$?
	is "... and received up to the end mark" same "$file" got
done
port=$(free_port)
rm -f got
background bash -c '"$0" copy "listen:127.0.0.1:$1:udp" - | cat > got' "$taio" "$port"
until_true bound "$port"
cat small | "$taio" copy - "127.0.0.1:$port:udp"
wait "$child"
is "a pipe to UDP to a pipe" same small got
port=$(free_port)
rm -f got
background "$taio" copy "listen:127.0.0.1:$port:udp" got
until_true bound "$port"
copy empty "127.0.0.1:$port:udp"
wait "$child"
status=$?
is "an empty file over UDP ends, too" test "$status" = 0 -a -f got -a ! -s got
if command -v nc > /dev/null; then
	port=$(free_port)
	rm -f got
	background "$taio" copy --length 100000 "listen:127.0.0.1:$port:udp" got
	until_true bound "$port"
	nc -u -w 1 127.0.0.1 "$port" < small
	wait "$child"
	status=$?
	is "nc sends datagrams, the length says where they end" same small got
	port=$(free_port)
	nc -u -l -w 1 127.0.0.1 "$port" > got 2> /dev/null &
	child=$!
	children+=("$child")
	until_true bound "$port"
	copy --limit-rate 20M small "127.0.0.1:$port:udp"
	wait "$child"
	is "nc receives datagrams" same small got
else
	skip "datagrams of nc: nc is missing"
fi
port=$("$peer" port)
copy --json small "127.0.0.1:$port:udp"
is "datagrams that nobody takes: ECONNREFUSED while writing, one event" event_is 111 write

# ---- peers that fail us --------------------------------------------------------------------------

meet deaf
copy big "127.0.0.1:$port:tcp"
is "a peer that refuses: exit 1, the file and the cause" failed 1 big "127.0.0.1:$port:tcp" refused
copy --json big "127.0.0.1:$port:tcp"
is "... one event" event_is 111 connect
kill "$child"

meet reset 1000000
copy big "127.0.0.1:$port:tcp"
is "a peer that resets in the middle: exit 1, the file, where" failed 1 big "127.0.0.1:$port" write
meet reset 1000000
copy --json big "127.0.0.1:$port:tcp"
is "... one event" test "$(wc -l <<< "$out")" = 1
is "... that says reset or broken pipe" eval '[[ $out == *\"result\":-104,* || $out == *\"result\":-32,* ]]'
moved=${out#*\"bytes\":}
is "... and how many bytes went at least" test "${moved%%,*}" -ge 1000000

meet stall 1000
copy --timeout 300ms --json big "127.0.0.1:$port:tcp"
is "a peer that stalls: ETIMEDOUT after the timeout, one event" eval \
	'[ "$status" = 1 ] && [[ $out == *\"result\":-110,* ]] && [ "$(wc -l <<< "$out")" = 1 ]'
kill "$child"
meet full
copy --timeout 300ms --json big "127.0.0.1:$port:tcp"
is "a handshake that hangs: ETIMEDOUT at connect" event_is 110 connect
kill "$child"

echo old > target
meet give-reset 1000000
copy --json "127.0.0.1:$port:tcp" target
is "a source that resets: ECONNRESET while reading, one event" event_is 104 read
is "... the old destination is intact" test "$(cat target)" = old
meet give-stall 1000000
copy --timeout 300ms "127.0.0.1:$port:tcp" target
is "a source that stalls: exit 1, the file and the cause" failed 1 target 'timed out'
is "... the old destination is intact, no temporary stays" eval '[ "$(cat target)" = old ] && clean'
kill "$child"

copy big something.invalid:80:tcp
is "a name that does not resolve: exit 1, the file, the name" failed 1 big something.invalid resolve
copy something.invalid:80:tcp target
is "... as a source: the old destination is intact" test "$status" = 1 -a "$(cat target)" = old
copy big unix:nobody
is "a Unix path that nobody has" failed 1 big unix:nobody 'No such file'

port=$(free_port)
background "$taio" copy "listen:127.0.0.1:$port:tcp" target2
until_true listens "$port"
copy "listen:127.0.0.1:$port:tcp" target
is "a port that is in use: exit 1, the address and the cause" failed 1 "127.0.0.1:$port" use
kill -TERM "$child"
wait "$child"
status=$?
is "interrupted while it waits for a peer: no port, no file stays" eval \
	'[ $status != 0 ] && ! listens "$port" && [ ! -e target2 ] && clean'
background "$taio" copy listen:unix:waiting target2
until_true listens_unix waiting
kill -TERM "$child"
wait "$child"
is "... nor the path of a Unix socket" test ! -e waiting
copy --timeout 100ms listen:127.0.0.1:0:tcp target
is "nobody comes: ETIMEDOUT" failed 1 listen:127.0.0.1:0:tcp accept 'timed out'

# ---- a transfer that is broken off is no end of file ---------------------------------------------

exec 5< <(exec "$peer" ended)
children+=("$!")
read -r port <&5
copy --timeout 200ms --limit-rate 1M big "127.0.0.1:$port:tcp"
read -r how <&5
is "a transfer that fails here is a reset there, not an end" test "$status" = 1 -a "$how" = reset
exec 6< <(exec "$peer" ended)
children+=("$!")
read -r port <&6
copy random "127.0.0.1:$port:tcp"
read -r how <&6
read -r bytes <&6
is "one that succeeds ends in order" test "$how $bytes" = 'fin 3000000'

# ---- with one device less ------------------------------------------------------------------------

if command -v nc > /dev/null; then
	for without in sendfile,mmap,splice uring,direct,zc rw; do
		port=$(free_port)
		nc -l 127.0.0.1 "$port" > got &
		child=$!
		children+=("$child")
		until_true listens "$port"
		copy --forbid $without big "127.0.0.1:$port:tcp"
		wait "$child"
		is "to TCP without $without" same big got
	done
fi
is "nothing stays behind" clean
finish
