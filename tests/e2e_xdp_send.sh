#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_xdp_send.sh: `taio copy FILE host:port:udp` past the kernel's stack, between hosts in network
# namespaces. The receiver is a plain UDP socket of python3, which knows nothing of taio.
# shellcheck disable=SC2317,SC2015,SC2119 # functions are called by name
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
here=$OLDPWD
. "$here/tests/netns.sh"
trap 'netns_down; cleanup' EXIT

why=$(netns_can) || { echo "$why"; exit 77; }
"$taio" devices --json | python3 -c '
import json, sys
d = [x for x in json.load(sys.stdin)["devices"] if x["name"] == "afxdp"][0]
sys.exit(0 if d["available"] else d["reason"])' 2> why || { cat why; exit 77; }

head -c 700001 /dev/urandom > file

# receive ADDRESS PORT: datagrams up to the empty one go to ./got; "ready" when it is bound
cat > receive.py << 'PYTHON'
import socket, sys
six = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.settimeout(20)
s.bind((sys.argv[1], int(sys.argv[2])))
open("ready", "w").close()
with open("got.new", "wb") as f:
    while True:
        data = s.recv(65536)
        if not data:
            break
        f.write(data)
import os
os.rename("got.new", "got")
PYTHON

receive()
{
	local i

	rm -f got got.new ready
	in_b python3 receive.py "$1" "$2" &
	receiver=$!
	children+=("$receiver")
	for ((i = 0; i < 200; i++)); do
		[ -e ready ] && return
		sleep 0.05
	done
}

send()
{
	run in_a "$taio" copy --no-bpf "$@"
}

whole()
{
	wait "$receiver"
	[ "$status" = 0 ] && [ -e got ] && [ "$(sha256sum < file)" = "$(sha256sum < got)" ]
}

# by DEVICE: --explain says that it carried bytes
by()
{
	grep -qE "transfer +$1 " <<< "$out$err"
}

# transfer WHAT ADDRESS ARGUMENTS...
transfer()
{
	local what=$1 to=$2 name=$2

	shift 2
	[[ $to != *:* ]] || name="[$to]"
	receive "$to" 47011
	send --explain "$@" file "$name:47011:udp"
	is "$what" whole
}

# ---- one cable -----------------------------------------------------------------------------------

# pcap of what comes out at b, for those who look at it
look_start()
{
	command -v tcpdump > /dev/null || return 1
	in_b tcpdump -i vb -B 16384 -w "$work/pcap" -U -s 0 udp port 47011 and greater 100 2> .tcpdump &
	dump=$!
	children+=("$dump")
	for ((i = 0; i < 100; i++)); do
		grep -q listening .tcpdump && return
		sleep 0.05
	done
}

look_end()
{
	sleep 0.3
	kill "$dump" 2> /dev/null
	wait "$dump" 2> /dev/null
}

netns_pair 1500 1 && netns_warm || { echo 'no test network'; exit 1; }
transfer "IPv4, MTU 1500: a kernel socket gets every byte" 10.99.0.2 --pin afxdp
transfer "IPv6, MTU 1500: a kernel socket gets every byte" fd99::2 --pin afxdp --datagram 1452

# not the end mark, which is the kernel's and has its checksum begun only, as everything on a veth
if look_start; then
	head -c 50000 file > part && mv file whole_file && mv part file
	transfer "datagrams small enough for checksums of our own" 10.99.0.2 --pin afxdp --datagram 200
	transfer "the same over IPv6" fd99::2 --pin afxdp --datagram 200
	look_end
	mv whole_file file
	tcpdump -r pcap -vvv -n 2> /dev/null > text
	frames=$(grep -c 'udp sum ok' text)
	is "tcpdump finds $frames frames of UDP and no wrong checksum" \
		test "$frames" -ge 500 -a "$(grep -ciE 'bad udp|bad cksum|incorrect|truncated|malformed' text)" = 0
	if command -v tshark > /dev/null; then
		tshark -r pcap -o udp.check_checksum:TRUE -o ip.check_checksum:TRUE \
			-Y 'udp.checksum.bad || ip.checksum.bad || _ws.malformed || _ws.expert.severity >= "Warning"' \
			> text 2> /dev/null
		is "tshark has nothing to say against them" test ! -s text
	else
		skip "tshark has nothing to say against them: tshark is missing"
	fi
else
	skip "tcpdump finds no wrong checksum: tcpdump is missing"
fi

in_a ip neigh del 10.99.0.2 dev va
transfer "an unknown neighbour: the kernel's socket sends" 10.99.0.2 --pin afxdp,dgram
netns_warm

send --explain --pin afxdp file 10.99.0.1:47011:udp
is "a destination on this machine is none of its business" test "$status" = 1

send -v --explain --pin afxdp --datagram 1400 file 10.99.0.77:47011:udp
is "and says why where it is the only one: $(grep -oE 'not known yet' <<< "$err" | head -1)" \
	grep -q 'hardware address of the next hop is not known yet' <<< "$out$err"

if in_a tc qdisc add dev va root netem delay 1ms 2> /dev/null; then
	transfer "an interface that shapes its traffic: the kernel's socket sends" 10.99.0.2 \
		--pin afxdp,dgram --limit-rate 5M
	is "... and the reason is told" grep -q 'queue discipline netem' <<< "$out$err"
	in_a tc qdisc del dev va root
else
	skip "an interface that shapes its traffic: no netem in this kernel"
fi

# ---- changes in mid-run --------------------------------------------------------------------------

receive 10.99.0.2 47011
in_a "$taio" copy --no-bpf --pin afxdp,dgram --limit-rate 500K file 10.99.0.2:47011:udp > .out 2> .err &
copier=$!
sleep 0.4
in_b ip link set vb address 02:00:00:00:0b:77
in_a ip neigh replace 10.99.0.2 dev va lladdr 02:00:00:00:0b:77 nud reachable
wait $copier
status=$?
wait "$receiver"
# what was sent between the two changes nobody could get
is "a neighbour that changes its hardware address in mid-run is followed" \
	test "$status" = 0 -a "$(tail -c 200000 file | sha256sum)" = "$(tail -c 200000 got | sha256sum)"

receive 10.99.0.2 47011
in_a "$taio" copy --no-bpf --pin afxdp,dgram --limit-rate 500K file 10.99.0.2:47011:udp > .out 2> .err &
copier=$!
sleep 0.4
in_a ip link set va mtu 900
wait $copier
status=$?
# the kernel's socket has DF set as well: it says so instead of cutting
if [ "$status" = 0 ]; then
	is "an MTU that shrinks in mid-run: nothing is lost" whole
else
	err=$(cat .err)
	kill "$receiver" 2> /dev/null
	is "an MTU that shrinks in mid-run: no datagram is lost unsaid" \
		grep -qi 'message too long' <<< "$err"
fi
in_a ip link set va mtu 1500

in_a "$taio" copy --no-bpf --pin afxdp,dgram --limit-rate 500K file 10.99.0.2:47011:udp > .out 2> .err &
copier=$!
sleep 0.4
in_a ip link del va
wait $copier
status=$?
err=$(cat .err)
is "an interface that is deleted in mid-run ends the copy with an error" test "$status" = 1
netns_down

# ---- large frames, several queues ----------------------------------------------------------------

netns_pair 9000 2 && netns_warm || { echo 'no test network'; exit 1; }
transfer "MTU 9000, two queues, IPv4" 10.99.0.2 --pin afxdp --datagram 3950
transfer "MTU 9000, two queues, IPv6" fd99::2 --pin afxdp --datagram 3900
transfer "datagrams that no chunk holds: the kernel's socket sends" 10.99.0.2 --pin afxdp,dgram \
	--datagram 8972
is "... and why is said" grep -q 'larger than a chunk' <<< "$err"

# ---- who may --------------------------------------------------------------------------------------

run in_a setpriv --bounding-set=-net_raw --inh-caps=-net_raw "$taio" copy --no-bpf --pin afxdp file \
	10.99.0.2:47011:udp
is "without CAP_NET_RAW: which capability is missing is said" \
	grep -q 'CAP_NET_RAW' <<< "$out$err$(in_a setpriv --bounding-set=-net_raw \
		--inh-caps=-net_raw "$taio" devices)"

receive 10.99.0.2 47011
run in_a setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \
	bash -c 'ulimit -l 64; exec "$@"' - "$taio" copy --no-bpf --pin afxdp,dgram -v --explain file \
	10.99.0.2:47011:udp
is "no memory may be locked: the kernel's socket sends" whole
netns_down

# ---- a router between, and loss ------------------------------------------------------------------

netns_routed 1500 1 && netns_warm || { echo 'no test network'; exit 1; }
transfer "through a router, IPv4" 10.99.2.2 --pin afxdp --limit-rate 50M
transfer "through a router, IPv6" fd99:2::2 --pin afxdp --datagram 1452 --limit-rate 50M
if in_r tc qdisc add dev rb root netem loss 20% 2> /dev/null; then
	receive 10.99.2.2 47011
	send --pin afxdp file 10.99.2.2:47011:udp
	sleep 0.5
	for ((i = 0; i < 20; i++)); do # the end mark may be among the lost
		in_a bash -c 'exec 3<> /dev/udp/10.99.2.2/47011' 2> /dev/null
		in_a python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"", ("10.99.2.2", 47011))'
	done
	wait "$receiver"
	size=$(stat -c %s got)
	is "loss on the way is loss, as with every datagram ($size of 700001 bytes came)" \
		test "$status" = 0 -a "$size" -gt 350000 -a "$size" -lt 700001
else
	skip "loss on the way: no netem in this kernel"
fi

ls /sys/fs/bpf/ 2> /dev/null | grep -c taio-xdp > .left
in_a ip link show va > .link
is "nothing is attached to the interface" bash -c '! grep -q xdp .link'
netns_down
finish
