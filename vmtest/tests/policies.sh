#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# policies.sh: every BPF object that was built passes this kernel's verifier and runs for a busy
# engine; every object that must not load is refused in one sentence, and those that are only bad do
# no harm to the requests of that engine.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
objects=$BUILD/schedulers
spin=$BUILD/tests/spin

policy() { run "$taio" policy "$@"; }
ended() { [ "$status" = "$1" ]; }
one_line() { [ "$(printf '%s\n' "$1" | wc -l)" = 1 ]; }

# until_engine PID: its control socket comes with the first milliseconds of work
until_engine() { grep -q "@taio/$1/" /proc/net/unix; }

# runs PID NAME: this engine runs this policy in the kernel
runs()
{
	"$taio" policy show --json | python3 -c 'import json, sys
pid, name = int(sys.argv[1]), sys.argv[2]
seen = [(e["policy"], e["where"]) for e in json.load(sys.stdin)["engines"] if e["pid"] == pid]
sys.exit(seen != [(name, "bpf")])' "$1" "$2"
}

"$spin" > spin.out 2> spin.err &
engine=$!
children+=("$engine")
until_true until_engine "$engine" || { cat spin.out spin.err; not_ok "no engine can be reached"; finish; }

count=0
for object in "$objects"/*.bpf.o; do
	[ -r "$object" ] || continue
	name=$(basename "$object" .bpf.o)
	count=$((count + 1))
	policy check "$object"
	is "$name: the verifier takes it" ended 0
	policy load "$object" --engine "$engine"
	is "$name: a running engine loads it" ended 0
	is "... and runs it in the kernel" runs "$engine" "$name"
done
is "there are policy objects at all" test $count -ge 3
copy --policy "$objects/tab.bpf.o" random b
is "a copy by the command is priced by one" copied random b

# what is no policy
pin=/sys/fs/bpf/taio-vm
for object in "$BUILD"/bpf/*.bpf.o; do
	name=$(basename "$object" .bpf.o)
	run bpftool prog loadall "$object" $pin
	is "$name: the verifier takes it" ended 0
	rm -rf $pin
done

# what an older verifier refuses besides is no loss, as long as it is said in one sentence
must=" bad_name endless missing_map no_null_check no_policy no_start plain_map too_much_work wild_index
 wild_pointer writes_beyond wrong_abi wrong_map "
for object in "$BUILD"/tests/bad_policies/*.bpf.o; do
	name=$(basename "$object" .bpf.o)
	policy check "$object"
	if [ "$status" = 0 ] && [[ ${must//$'\n'/} != *" $name "* ]]; then
		# the watchdog may put the one before out in this very moment
		for _ in 1 2 3 4 5; do
			policy load "$object" --engine "$engine"
			[[ $err == *'overtaken by another change'* ]] || break
			sleep 0.2
		done
		is "$name: runs" ended 0
		sleep 0.2
		continue
	fi
	is "$name: is refused" ended 1
	is "... in one sentence: ${err#*: }" one_line "$err"
done

kill "$engine"
wait "$engine"
last=$(tail -n 1 spin.out)
is "no request of the engine failed under any of them: $last" test -z "${last##* failed 0 *}"
finish
