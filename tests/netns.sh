# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# shellcheck shell=bash
#
# netns.sh: two hosts, a and b, in network namespaces of their own, joined by a veth pair that is
# born in them: the machine's own interfaces are never touched. Source it after lib.sh.
#
#   netns_can                 is all there that it needs? If not it says so and returns 1
#   netns_pair [MTU [QUEUES]] a and b on one cable: va 10.99.0.1 fd99::1, vb 10.99.0.2 fd99::2
#   netns_routed [MTU [QUEUES]]  a - r - b: va 10.99.1.1 fd99:1::1 -- ra .254 ::ff, rb 10.99.2.254
#                             fd99:2::ff -- vb 10.99.2.2 fd99:2::2
#   in_a, in_b, in_r CMD...   run there
#   netns_warm [4|6]          both know each other's hardware address
#   netns_down                takes all away; also done at exit and on signals
#
# Names hold the process id; what a killed run left is removed by the next.

netns_prefix=taio-$$
netns_up=

netns_can()
{
	[ "$(id -u)" = 0 ] || { echo 'needs root'; return 1; }
	command -v ip > /dev/null && command -v nsenter > /dev/null ||
		{ echo 'ip or nsenter is missing'; return 1; }
	ip netns add "$netns_prefix-try" 2> /dev/null ||
		{ echo 'network namespaces cannot be made here'; return 1; }
	ip -n "$netns_prefix-try" link add ta type veth peer name tb 2> /dev/null || {
		ip netns del "$netns_prefix-try"
		echo 'no veth interfaces here'
		return 1
	}
	ip netns del "$netns_prefix-try"
	netns_sweep
}

# What runs that were killed left behind
netns_sweep()
{
	local name pid

	for name in $(ip netns list 2> /dev/null | awk '/^taio-[0-9]+-/ { print $1 }'); do
		pid=${name#taio-}
		kill -0 "${pid%%-*}" 2> /dev/null || ip netns del "$name" 2> /dev/null
	done
}

# nsenter and not `ip netns exec`, which would mount another /sys without the BPF file system
in_a()
{
	nsenter --net="/run/netns/$netns_prefix-a" "$@"
}

in_b()
{
	nsenter --net="/run/netns/$netns_prefix-b" "$@"
}

in_r()
{
	nsenter --net="/run/netns/$netns_prefix-r" "$@"
}

# netns_host NAME: an empty host
netns_host()
{
	ip netns add "$netns_prefix-$1" && netns_up="$1 $netns_up" &&
		ip -n "$netns_prefix-$1" link set lo up
}

# netns_end HOST LINK MAC IPV4 IPV6 MTU: one end of a cable
netns_end()
{
	local ns=$netns_prefix-$1

	ip -n "$ns" link set "$2" address "$3" mtu "$6" &&
		nsenter --net="/run/netns/$ns" sysctl -qw "net.ipv6.conf.$2.accept_dad=0" \
			"net.ipv6.conf.$2.dad_transmits=0" &&
		ip -n "$ns" addr add "$4/24" dev "$2" &&
		ip -n "$ns" addr add "$5/64" dev "$2" nodad &&
		ip -n "$ns" link set "$2" up
}

# netns_cable HOST LINK HOST LINK QUEUES
netns_cable()
{
	ip link add "$2" netns "$netns_prefix-$1" numtxqueues "$5" numrxqueues "$5" type veth \
		peer name "$4" netns "$netns_prefix-$3" numtxqueues "$5" numrxqueues "$5"
}

netns_pair()
{
	local mtu=${1:-1500} queues=${2:-1}

	netns_host a && netns_host b && netns_cable a va b vb "$queues" &&
		netns_end a va 02:00:00:00:0a:01 10.99.0.1 fd99::1 "$mtu" &&
		netns_end b vb 02:00:00:00:0b:02 10.99.0.2 fd99::2 "$mtu"
}

netns_routed()
{
	local mtu=${1:-1500} queues=${2:-1}

	netns_host a && netns_host r && netns_host b &&
		netns_cable a va r ra "$queues" && netns_cable r rb b vb "$queues" &&
		netns_end a va 02:00:00:00:0a:01 10.99.1.1 fd99:1::1 "$mtu" &&
		netns_end r ra 02:00:00:00:0c:01 10.99.1.254 fd99:1::ff "$mtu" &&
		netns_end r rb 02:00:00:00:0c:02 10.99.2.254 fd99:2::ff "$mtu" &&
		netns_end b vb 02:00:00:00:0b:02 10.99.2.2 fd99:2::2 "$mtu" &&
		in_r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 &&
		in_a ip route add default via 10.99.1.254 &&
		in_a ip -6 route add default via fd99:1::ff &&
		in_b ip route add default via 10.99.2.254 &&
		in_b ip -6 route add default via fd99:2::ff
}

# netns_known HOST LINK ADDRESS: until the hardware address of a neighbour is known there
netns_known()
{
	local i

	for ((i = 0; i < 100; i++)); do
		# a packet to nobody's port: what comes back does not matter
		in_"$1" bash -c "exec 3<> /dev/udp/$3/9 && printf x >&3" 2> /dev/null
		in_"$1" ip neigh show to "$3" dev "$2" |
			grep -qE 'REACHABLE|DELAY|PROBE|STALE' && return 0
		sleep 0.05
	done
	echo "$1 does not learn where $3 is"
	return 1
}

netns_warm()
{
	local four=10.99.0 six=fd99: ok=0

	if [[ " $netns_up " == *' r '* ]]; then
		[ "${1:-4}" = 6 ] || netns_known a va 10.99.1.254 && netns_known r rb 10.99.2.2 || ok=1
		[ "${1:-6}" = 4 ] || netns_known a va fd99:1::ff && netns_known r rb fd99:2::2 || ok=1
	else
		[ "${1:-4}" = 6 ] || netns_known a va $four.2 && netns_known b vb $four.1 || ok=1
		[ "${1:-6}" = 4 ] || netns_known a va $six:2 && netns_known b vb $six:1 || ok=1
	fi
	return $ok
}

netns_down()
{
	local name

	for name in $netns_up; do
		ip netns del "$netns_prefix-$name" 2> /dev/null
	done
	netns_up=
}

trap netns_down EXIT
trap 'exit 130' INT TERM
