#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_policy.sh: `taio policy` on engines that are at work. As root it runs in mounts and a network
# of its own, so that it sees its own engines only and /sys/fs/bpf is a fresh one.
set -u
if [ "$(id -u)" = 0 ] && [ -z "${POLICY_APART:-}" ]; then
	if unshare -mn true 2>/dev/null; then
		POLICY_APART=1 exec unshare -mn "$0" "$@"
	fi
fi
start=$(cd "$(dirname "$0")" && pwd)
cd "$start/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
spin=$BUILD/tests/spin
objects=$BUILD/schedulers
bad=$BUILD/tests/bad_policies
[ -x "$spin" ] || { echo "$spin was not built"; exit 1; }
PATH=$PATH:/usr/sbin

kernel=yes # may policies be loaded?
[ -n "${POLICY_APART:-}" ] && mount -t bpf -o mode=0700 bpf /sys/fs/bpf 2>/dev/null || kernel=
[ -r "$objects/tab.bpf.o" ] || kernel=

engines=()
# start NAME OPTION...: a busy engine; $pid; what it says at its end is in NAME.out
start()
{
	local name=$1

	shift
	"$spin" "$@" > "$name.out" 2> "$name.err" &
	pid=$!
	children+=("$pid")
	engines+=("$pid")
	for _ in $(seq 100); do
		grep -q ready "$name.out" && break
		sleep 0.05
	done
	# its control socket comes with the first milliseconds of work
	for _ in $(seq 100); do
		grep -q "@taio/$pid/" /proc/net/unix && return
		sleep 0.05
	done
	echo "engine $name cannot be reached"
	exit 1
}

# stop NAME PID: $last is its last line
stop()
{
	kill "$2" 2>/dev/null
	wait "$2" 2>/dev/null
	last=$(tail -n 1 "$1.out")
}

policy() { run "$taio" policy "$@"; }
says()
{
	local text

	for text; do
		[[ $out == *"$text"* ]] || return 1
	done
}
complains() { [[ $err == *"$1"* ]]; }
ended() { [ "$status" = "$1" ]; }
one_line() { [ "$(printf '%s\n' "$1" | wc -l)" = 1 ]; }
clean() { [[ $last == *" failed 0 "* ]]; }
runs() { [[ $(python3 -c 'import json,sys; print([(e["policy"], e["where"]) for e in json.load(sys.stdin)["engines"] if e["pid"] == int(sys.argv[1])])' "$1" < .out) == *"('$2', '$3')"* ]]; }

# ---- what there is -------------------------------------------------------------------------------
policy list
is "list names the policies of the library" says tab jsq static
policy list --json
is "list --json is JSON" python3 -c 'import json,sys; names=[p["name"] for p in json.load(open(".out"))["policies"]]; sys.exit("tab" not in names)'
policy
is "without a subcommand the usage is wrong" ended 2
policy frobnicate
is "an unknown subcommand is refused" ended 2
policy swap
is "swap without a name is refused" ended 2
policy --help
is "help is printed" ended 0

# ---- swapping ------------------------------------------------------------------------------------
start one -n
one=$pid
policy show --json
is "show finds an engine and its policy" runs "$one" tab native
policy show
is "show prints a row for it" says "$one/0"
policy swap jsq --engine "$one"
is "swap changes its policy" ended 0
is "swap says what runs now, on one line" says "engine $one/0 (spin): jsq runs natively"
policy show --json
is "show agrees" runs "$one" jsq native
policy swap tab memory=8 --engine "$one"
is "a tunable is accepted" ended 0
policy swap tab memory=0 --engine "$one"
is "a tunable out of range is refused" ended 1
is "and the sentence says the range" complains "memory must be 1..255 completions, not 0"
policy swap nonsense --engine "$one"
is "an unknown policy is refused" ended 1
is "and the sentence names it" complains "nonsense: no such policy"
policy show --json
is "the running policy stays" runs "$one" tab native
policy swap jsq --engine 1
is "a process without an engine is named" complains "process 1 has no engine"

swaps=0
for _ in $(seq 40); do
	for name in jsq static tab; do
		"$taio" policy swap "$name" --engine "$one" > /dev/null 2>> swap.err || continue
		swaps=$((swaps + 1))
	done
done
is "120 swaps by the command while copies run" test "$swaps" = 120
stop one "$one"
is "no request failed and no byte was wrong: $last" clean
is "the engine counted its changes" test -z "${last##* swaps 122 *}"

# ---- on trial ------------------------------------------------------------------------------------
start trial -n
trial=$pid
policy swap jsq --canary 20% --for 1s --engine "$trial"
is "swap --canary tries a policy" ended 0
is "it says who gets how much" says "jsq gets 20.0 % of the requests for 1 s"
is "and prints the comparison when the time is over" says "jsq was on trial, with 20.0 % of the requests beside tab: " FROM MEAN P99
policy swap static --canary 60% --engine "$trial"
is "more than half is no trial" ended 2
policy load static --canary 5%
is "a trial is begun by swap alone" ended 2
policy swap static --canary x --engine "$trial"
is "nor is what is no share" ended 2
policy swap tab
"$taio" policy swap static --canary 5% --for 60s --engine "$trial" > try.out 2> try.err &
asker=$!
children+=("$asker")
on_trial() { policy show; says "5.0 % on trial: static"; }
is "show tells of it" until_true on_trial
policy swap jsq --canary 5% --engine "$trial"
is "a second one is refused" complains "'static' is on trial already: promote or abandon it first"
policy compare --engine "$trial"
is "compare prints how it does" says "static is on trial, with 5.0 % of the requests beside tab: "
policy compare --json --engine "$trial"
is "compare --json is JSON" python3 -c 'import json
e, = json.load(open(".out"))["engines"]
assert e["runs"] and e["permille"] == 50 and [s["policy"] for s in e["sides"]] == ["tab", "static"]
a, b = (sum(c["requests"] for c in s["classes"]) for s in e["sides"])
assert b and 10 * b < a, (a, b)'
policy promote --engine "$trial"
is "promote makes it the policy" says "static runs natively" "promoted: as was asked for"
kill "$asker" 2>/dev/null
policy show --json
is "show agrees" runs "$trial" static native
policy abandon
is "without a trial there is nothing to abandon" complains "no policy is on trial"
stop trial "$trial"
is "no request failed: $last" clean

if [ -n "$kernel" ]; then
	# ---- in the kernel -----------------------------------------------------------------------
	start two
	two=$pid
	start three -b
	three=$pid
	policy load "$objects/tab.bpf.o"
	is "load acts on every engine" ended 0
	is "and prints one line for each" test "$(grep -c 'tab runs in the kernel' .out)" = 2
	policy show --json
	is "the first engine runs it in the kernel" runs "$two" tab bpf
	is "the second, which never sleeps, too" runs "$three" tab bpf
	policy load jsq --engine "$two"
	is "load takes a name too" says "jsq runs in the kernel"
	policy swap static
	is "swap keeps policies in the kernel there" test "$(grep -c 'static runs in the kernel' .out)" = 2
	for object in wrong_abi wrong_map no_null_check endless wild_index no_policy; do
		[ -r "$bad/$object.bpf.o" ] || { skip "$object: was not built"; continue; }
		policy load "$bad/$object.bpf.o" --engine "$two"
		is "$object is refused" ended 1
		is "$object: the sentence: ${err#*: }" one_line "$err"
		policy check "$bad/$object.bpf.o"
		is "$object: check says the same" ended 1
	done
	policy load "$start/e2e_policy.sh" --engine "$two"
	is "a file that is no object is refused" complains "not a BPF object"
	policy show --json
	is "the running policy stays" runs "$two" static bpf
	policy check tab
	is "check tells name, hooks and tunables" says "policy 'tab'" completed tail_percent
	is "check tells how much the verifier looked at" says verified
	policy swap "$objects/jsq.bpf.o" --canary 20% --for 1s --engine "$two"
	is "an object is tried, too" says "jsq gets 20.0 % of the requests for 1 s" "jsq was on trial" FROM
	policy load "$bad/zero_price.bpf.o" --engine "$two"
	is "a policy without prices loads" says "zero_price runs in the kernel"
	replaced() { policy show --json; runs "$two" tab native; }
	is "the watchdog replaces it" until_true replaced
	is "and show says why" says "it makes no prices: "
	is "as the log does" grep -q "policy 'zero_price' is replaced by the built-in 'tab': it makes no prices: " two.err
	stop two "$two"
	is "no request failed: $last" clean
	stop three "$three"
	is "no request failed: $last" clean

	# ---- machine-wide ------------------------------------------------------------------------
	policy uninstall
	is "nothing to uninstall is said" complains "no machine-wide policy is installed"
	policy install tab
	is "install pins a policy for the machine" ended 0
	is "its files are there" test -e /sys/fs/bpf/taio/taio_price
	is "and bpftool reads them by field" grep -q '"policy": "tab"' <(bpftool map dump pinned /sys/fs/bpf/taio/taio_ctl)
	start four
	four=$pid
	start five -p static
	five=$pid
	policy show --json
	is "a new engine joins it" runs "$four" tab machine
	is "one that asks for another does not" runs "$five" static native
	policy swap jsq
	is "swap changes the machine-wide policy" says "machine-wide: jsq runs for 1 engine"
	is "and the private one" says "engine $five/0 (spin): jsq runs natively"
	is "and says of the other that it follows" says "engine $four/0 (spin): follows the machine-wide policy"
	sleep 0.2
	policy show --json
	is "it does follow" runs "$four" jsq machine

	# what schedulers/README.md tells to type
	hot_swap=$(sed -n '/^<!-- hot swap -->/,/^```$/p' "$start/../schedulers/README.md" |
		grep -vE '^(<!--|```)')
	run bash -euc "cd '$objects'; $hot_swap"
	is "the bpftool commands of schedulers/README.md work" ended 0
	sleep 0.2
	policy show --json
	is "the engine runs what they put there" runs "$four" static machine
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$taio" policy uninstall
	is "nobody may not remove it" ended 1
	policy uninstall
	is "uninstall removes it" ended 0
	is "nothing is left" test -z "$(compgen -G '/sys/fs/bpf/taio*')"
	sleep 0.2
	policy show --json
	is "its engine goes on natively" runs "$four" tab native
	is "and says why" grep -q "the machine-wide policy was uninstalled" .out
	stop four "$four"
	is "no request failed: $last" clean
	stop five "$five"
	is "no request failed: $last" clean
else
	skip "policies in the kernel: needs root, namespaces and BPF objects (make bpf)"
fi

if [ -n "${POLICY_APART:-}" ]; then # elsewhere it would reach engines that are not ours
	policy swap tab
	is "without engines swap says so" complains "no engine runs"
fi
finish
