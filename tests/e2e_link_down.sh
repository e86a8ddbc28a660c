#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_link_down.sh: the network goes away in the middle of a transfer, in namespaces of our own: TCP
# and UDP, sending and receiving, the own link and one behind it. Each time one event with the right
# error at the right step, in time, nothing left open, and an old destination as it was.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ -z "${LINK_APART:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "only root can make network namespaces"; exit 77; }
	LINK_APART=1 exec unshare -n bash tests/e2e_link_down.sh
fi
. tests/lib.sh
. tests/lib_cli.sh
outcome=$BUILD/tests/outcome
head -c 4000000 /dev/urandom > big
printf old > old

# ---- two ends and a link between them ------------------------------------------------------------

unshare -n sleep 1000 &
far_pid=$!
children+=("$far_pid")
apart() { [ "$(readlink /proc/$far_pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
until_true apart || { not_ok "a second namespace is to be had"; finish; }
far() { nsenter -t "$far_pid" -n "$@"; }
# far_starts COMMAND...: in the background, as a child that can be ended
far_starts()
{
	nsenter -t "$far_pid" -n "$@" < /dev/null &
	children+=($!)
}

link_up()
{
	ip link set near0 up && far ip link set far0 up
	until_true both_up
	# what could not be resolved meanwhile is remembered for a while
	ip neigh flush dev near0
	far ip neigh flush dev far0
}
both_up()
{
	ip -o link show near0 | grep -q 'LOWER_UP.* state UP' &&
		far ip -o link show far0 | grep -q 'LOWER_UP.* state UP'
}

ip link set lo up
far ip link set lo up
if ! ip link add near0 type veth peer name far0 2> veth.err; then
	echo "no veth here: $(cat veth.err)"
	exit 77
fi
ip link set far0 netns "$far_pid"
ip addr add 10.9.0.1/24 dev near0
far ip addr add 10.9.0.2/24 dev far0
link_up

# takes all that comes by TCP (port 9000) and UDP (9001), and tells who has given something
cat > sink.py << 'END'
import selectors, socket
tcp, udp = socket.create_server(("10.9.0.2", 9000)), socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("10.9.0.2", 9001))
ready = selectors.DefaultSelector()
for s in tcp, udp: ready.register(s, selectors.EVENT_READ)
given = set()
while True:
	for key, _ in ready.select():
		if key.fileobj is tcp:
			ready.register(tcp.accept()[0], selectors.EVENT_READ)
			continue
		try: n = len(key.fileobj.recv(1 << 16))
		except OSError: n = 0
		if n == 0: ready.unregister(key.fileobj)
		name = "udp" if key.fileobj is udp else "tcp"
		if n and name == "tcp": given.add(key.fileobj)
		with open(".sink.%s.%d" % (name, len(given)), "w") as f: f.write("something")
END
far_starts "$python" sink.py 2> sink.err
far_listens() { far ss -Hltn "sport = :$1" | grep -q .; }
until_true far_listens 9000 || { cat sink.err; not_ok "the far end listens"; finish; }
# got PROTOCOL [CONNECTIONS]: something has arrived there
got() { compgen -G ".sink.$1.${2:-*}" > /dev/null; }

# start NAME OUTCOME-OPTION...: a transfer in the background
declare -A started
start()
{
	"$outcome" "${@:2}" > "$1.told" 2>&1 &
	started[$1]=$!
	children+=($!)
}

# ends NAME STEP ERRNO: with one event, this error at this step (several: with | between them)
ends()
{
	wait "${started[$1]}"
	out=$(cat "$1.told") status=$? err=''
	[[ $(head -n 1 "$1.told") =~ ^0\ ($2)\ $3\  ]] &&
		[ "$(tail -n 1 "$1.told")" = "events 1 of 1, left open 0" ]
}

# ---- sending by TCP ------------------------------------------------------------------------------

run "$taio" devices
devices=
for device in rw sendfile splice mmap uring zc; do
	grep -qE "^ *$device +.*not available|^ *$device .*io_uring" .out && continue
	devices+=" $device"
done
for device in $devices; do
	start "$device" -l 500000 -t 2000 -p "$device,net" big 10.9.0.2:9000:tcp
done
start any -l 500000 -t 2000 big 10.9.0.2:9000:tcp
until_true got tcp "$(wc -w <<< "any $devices")"
far ip link set far0 down
for device in any $devices; do
	is "TCP, sent by $device, the far link goes down: ETIMEDOUT when its time is over" \
		ends "$device" 'transfer|write' ETIMEDOUT
done
link_up

far_starts nc -l 10.9.0.2 9002 > whole
until_true far_listens 9002
start back -l 2000000 -t 60000 big 10.9.0.2:9002:tcp
until_true test -s whole
far ip link set far0 down
sleep 0.3
link_up
is "... and comes back in time: nothing is lost" ends back - -
until_true cmp -s big whole
is "... and the same bytes arrive" cmp -s big whole

# ---- receiving -----------------------------------------------------------------------------------

start receiver -t 2000 listen:10.9.0.1:9003:tcp old
near_listens() { ss -Hltn 'sport = :9003' | grep -q .; }
until_true near_listens
far_starts "$taio" copy --limit-rate 500K --timeout 3 big 10.9.0.1:9003:tcp 2> /dev/null
receives() { ss -Htn state established 'sport = :9003' | grep -q .; }
until_true receives
sleep 0.2
far ip link set far0 down
is "TCP, received, the sender's link goes down: ETIMEDOUT" ends receiver 'transfer|read' ETIMEDOUT
is "... and the old destination is as it was" test "$(cat old)" = old
link_up

start receiver -t 20000 listen:10.9.0.1:9003:tcp old
until_true near_listens
# a peer that is killed with unread bytes before it resets the connection
far "$python" -c '
import socket, struct
s = socket.create_connection(("10.9.0.1", 9003))
s.sendall(b"x" * 100000)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()'
is "TCP, received, the sender resets: ECONNRESET" ends receiver 'transfer|read' ECONNRESET
is "... and the old destination is as it was" test "$(cat old)" = old

# ---- UDP -----------------------------------------------------------------------------------------

start udp -l 500000 -t 20000 big 10.9.0.2:9001:udp
until_true got udp
ip link set near0 down
is "UDP, sent, the own link goes down: ENETUNREACH at the write" ends udp 'write|transfer' 'E(NETUNREACH|NETDOWN)'
link_up
start udp -l 2000000 -t 20000 big 10.9.0.2:9001:udp
sleep 0.3
far ip link set far0 down
is "UDP, sent, the far link goes down: nobody can know, all is sent" ends udp - -
link_up

# ---- a link that is no more ----------------------------------------------------------------------

rm -f .sink.*
start gone -l 500000 -t 2000 big 10.9.0.2:9000:tcp
until_true got tcp
ip link del near0
is "TCP, the own link is removed: ETIMEDOUT when its time is over" ends gone 'transfer|write' ETIMEDOUT
start tcp -t 5000 big 10.9.0.2:9000:tcp
start udp -t 5000 big 10.9.0.2:9001:udp
is "TCP without a network: ENETUNREACH at the connect" ends tcp connect ENETUNREACH
is "UDP without a network: ENETUNREACH at the connect" ends udp connect ENETUNREACH
is "no temporary is left" clean
finish
