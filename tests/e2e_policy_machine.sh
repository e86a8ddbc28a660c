#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_policy_machine.sh: one policy for the machine, as root installs it and everybody uses it: eight
# processes of nobody, the loader gone, one of them killed. In mounts and a network of its own.
set -u
if [ "$(id -u)" = 0 ] && [ -z "${POLICY_APART:-}" ]; then
	if unshare -mn true 2>/dev/null; then
		POLICY_APART=1 exec unshare -mn "$0" "$@"
	fi
fi
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
PATH=$PATH:/usr/sbin
[ -n "${POLICY_APART:-}" ] && mount -t bpf -o mode=0700 bpf /sys/fs/bpf 2>/dev/null ||
	{ echo "needs root, namespaces and a bpf file system"; exit 77; }
[ -r "$BUILD/schedulers/tab.bpf.o" ] || { echo "policy objects were not built (make bpf)"; exit 77; }
command -v bpftool > /dev/null || { echo "bpftool is missing"; exit 77; }
cp "$BUILD/tests/spin" spin && chmod 755 spin || exit 1
pins=/sys/fs/bpf/taio

policy() { run "$taio" policy "$@"; }
ended() { [ "$status" = "$1" ]; }

# nobody NAME: an engine of a user without rights; $pid
nobody()
{
	setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
		"$work/spin" > "$1.out" 2> "$1.err" &
	pid=$!
	children+=("$pid")
	for _ in $(seq 200); do
		grep -q "@taio/$pid/" /proc/net/unix && return
		sleep 0.05
	done
	echo "engine $1 cannot be reached: $(cat "$1.err")"
	exit 1
}

# slots: a line "INDEX PID UID HEAD TAIL" for each of the first twelve
slots()
{
	local i

	for ((i = 0; i < 12; i++)); do
		bpftool -j map lookup pinned $pins/taio_engine key $i 0 0 0 |
			python3 -c 'import json,sys
v = json.load(sys.stdin)["formatted"]["value"]
print(sys.argv[1], v["pid"], v["uid"], v["head"], v["tail"])' $i
	done
}

slot_of() { slots | awk -v pid="$1" '$2 == pid { print $1 }'; }

engines()
{
	policy show --json
	python3 -c 'import json; print(json.load(open(".out"))["machine"]["engines"])'
}
engines_are() { [ "$(engines)" = "$1" ]; }

# every slot of @... is of nobody and all it wrote but the last moment was taken
all_learnt()
{
	local pid uid head tail seen=0

	while read -r _ pid uid head tail; do
		[ "$pid" != 0 ] || continue
		[ "$uid" = 65534 ] && [ "$tail" -gt 100 ] && [ $((head - tail)) -lt 1024 ] || return 1
		seen=$((seen + 1))
	done < <(slots)
	[ "$seen" = "$1" ]
}

samples() { policy show --json; python3 -c 'import json; print(json.load(open(".out"))["machine"]["samples"])'; }

policy install tab
is "root installs a policy and the installer is gone" ended 0
ids=$(for map in "$pins"/taio_*; do
	bpftool map show pinned "$map" 2>/dev/null | sed -n '1s/:.*//p'
done)
is "its maps can be named" test "$(wc -w <<< "$ids")" -ge 10

pids=()
for i in 1 2 3 4 5 6 7 8; do
	nobody "engine$i"
	pids+=("$pid")
done
is "eight processes of nobody use it" until_true engines_are 8
is "the samples of all eight arrive" until_true all_learnt 8
before=$(samples)
sleep 0.3
is "and go on arriving" test "$(samples)" -gt "$before"

all_machine()
{
	policy show --json
	python3 -c 'import json,sys
d = json.load(open(".out"))
sys.exit(sum(e.get("where") == "machine" and e.get("policy") == d["machine"]["policy"]
	for e in d["engines"]) != int(sys.argv[1]))' "$1"
}
is "all eight read the same prices" all_machine 8

victim=${pids[3]}
slot=$(slot_of "$victim")
is "each has a slot of its own" test "$(slots | awk '$2 { print $2 }' | sort -u | wc -l)" = 8
kill -9 "$victim"
wait "$victim" 2>/dev/null
is "one that was killed is not counted any more" until_true engines_are 7
sleep 1.1 # a slot is only taken when its engine was silent for a second
nobody ninth
ninth=$pid
slot_is_ninths() { [ "$(slot_of "$ninth")" = "$slot" ]; }
is "a ninth takes the slot of the killed one" until_true slot_is_ninths
is "and its samples arrive" until_true all_learnt 8

policy swap jsq
is "the policy is changed for all of them" ended 0
is "they follow" until_true all_machine 8
policy uninstall
is "root removes it" ended 0
is "no pin is left" test -z "$(compgen -G '/sys/fs/bpf/taio*')"
natively()
{
	policy show --json
	python3 -c 'import json,sys
d = json.load(open(".out"))
sys.exit(sum(e.get("where") == "native" and "was uninstalled" in e.get("reason", "")
	for e in d["engines"]) != 8)'
}
is "its engines go on natively and say why" until_true natively
gone()
{
	local id

	for id in $ids; do
		bpftool map show id "$id" > /dev/null 2>&1 && return 1
	done
	return 0
}
is "no map of it is left in the kernel" until_true gone

# ---- one that is bad -----------------------------------------------------------------------------
pids[3]=$ninth
if [ -r "$BUILD/tests/bad_policies/zero_price.bpf.o" ]; then
	policy install "$BUILD/tests/bad_policies/zero_price.bpf.o"
	is "a policy without prices can be installed" ended 0
	nobody tenth
	left()
	{
		policy show --json
		python3 -c 'import json,sys
sys.exit(not any(e["pid"] == int(sys.argv[1]) and e["where"] == "native" and
	e["reason"].startswith("it makes no prices: ") for e in json.load(open(".out"))["engines"]
	if "where" in e))' "$pid"
	}
	is "an engine of nobody leaves it and says why" until_true left
	policy uninstall
	is "and it is removed as any other" ended 0
	kill "$pid"
	wait "$pid" 2>/dev/null
	is "no request failed" grep -q ' failed 0 ' tenth.out
fi
for pid in "${pids[@]}"; do
	kill "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
done
is "no request of any of them failed" test "$(cat engine[1-35-8].out ninth.out | grep -c ' failed 0 ')" = 8
finish
