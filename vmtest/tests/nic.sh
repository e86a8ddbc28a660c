#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# nic.sh: AF_XDP over virtio-net: two NICs on one wire, one of them in a network of its own. taio sends
# through the ring of the one, an ordinary socket receives at the other, and the log says how.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it changes the network"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
modprobe virtio_net || not_ok "the driver of the NICs is to be had"

# nic MAC
nic()
{
	local dir

	for dir in /sys/class/net/*; do
		[ "$(cat "$dir/address")" != "$1" ] || { basename "$dir"; return; }
	done
	return 1
}

until_true eval 'nic 52:54:00:00:00:01 > /dev/null && nic 52:54:00:00:00:02 > /dev/null' ||
	{ not_ok "there are two NICs"; finish; }
near=$(nic 52:54:00:00:00:01) far=$(nic 52:54:00:00:00:02)
undo()
{
	ip netns del far 2> /dev/null
	cleanup
}
trap undo EXIT
mkdir -p /run/netns
ip netns add far && ip link set "$far" netns far || not_ok "a network can be made"
ip addr add 10.9.0.1/24 dev "$near"
ip link set "$near" up
ip -n far addr add 10.9.0.2/24 dev "$far"
ip -n far link set "$far" up
is "the other NIC answers" until_true ping -c 1 -W 1 10.9.0.2 > /dev/null

head -c 400000 random > some
# received DEVICE: what comes out at the other NIC
received()
{
	ip netns exec far "$taio" copy listen:10.9.0.2:9000:udp got 2> receiver.err &
	receiver=$!
	until_true eval 'ip netns exec far ss -lun | grep -q :9000'
	copy -v --pin "$1,net" --limit-rate 500K --datagram 1400 some 10.9.0.2:9000:udp
	wait $receiver
}

received dgram
is "by the kernel's sockets: the same bytes" cmp -s some got
rm -f got
received afxdp
is "by AF_XDP: the same bytes" cmp -s some got
said=$(printf '%s\n' "$err" | grep -oE 'zero copy|copy mode: [a-z ]*' | head -n 1)
case $(uname -r) in
6.1.* | 6.12.*) is "... in copy mode, and that is said: $said" eval '[[ $said == "copy mode"* ]]' ;;
*) is "... with zero copy, and that is said: $said" test "$said" = "zero copy" ;;
esac
rm -f got some
finish
