#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_copy_control.sh: how a copy is steered and what it tells: devices, policies, rates, timeouts,
# signals, --explain, --json, the progress line.
# shellcheck disable=SC2016 # single quotes: eval and bash -c expand them
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

mkdir -p tree/sub && cp hello empty tree/ && cp random tree/sub/

# ---- which way -----------------------------------------------------------------------------------

for device in rw cfr sendfile splice mmap; do
	copy --pin $device --json random b
	is "--pin $device: nothing else carries bytes" \
		grep -q "\"step\":\"[a-z]*\",\"device\":\"${device}[@a-z]*\",[^}]*\"bytes\":[1-9]" .out
	is "... and the copy is right" copied random b
done
copy --forbid cfr,reflink --json random b
is "--forbid: others do it" test "$status" = 0 -a -z "$(grep -E '"device":"(cfr|reflink)[@"]' .out)"
copy --pin nosuch hello b
is "--pin of an unknown device: exit 2, named" failed 2 nosuch 'taio devices'
copy --forbid nosuch hello b
is "--forbid of an unknown device: exit 2, named" failed 2 nosuch
for goal in latency throughput cpu; do
	copy --goal $goal random b
	is "--goal $goal" copied random b
done
for policy in tab jsq static; do
	copy --policy $policy --no-bpf --json random b
	is "--policy $policy runs" grep -q "\"policy\":\"$policy\"" .out
done
copy --policy nosuch random b
is "--policy of an unknown name: exit 1, named" failed 1 nosuch
copy --policy hello random b
is "--policy of a file that is no policy: exit 1" failed 1 hello
copy --no-uring --no-bpf --no-cache random b
is "--no-uring --no-bpf --no-cache" copied random b
if "$BUILD/tests/seccomp" true 2> .err; then
	run "$BUILD/tests/seccomp" "$taio" copy random b
	is "with io_uring forbidden by seccomp" copied random b
else
	skip "with io_uring forbidden by seccomp: $(cat .err)"
fi

# ---- what is told --------------------------------------------------------------------------------

copy -v random b
is "-v tells each file on stderr" test "$status" = 0 -a -z "$out" -a -n "$err"
is "... with both names and the size" failed 0 'random -> b' '2.86 MiB'
copy -q random b
is "-q says nothing" test "$status" = 0 -a -z "$out$err"
copy --limit-rate 4M random b
is "no progress line in a pipe" test "$status" = 0 -a -z "$out$err"
copy --limit-rate 2M --progress random b
is "--progress: lines in a pipe" failed 0 '%' 'left'
is "... without cursor control" test "${err//[$'\r\033']/}" = "$err"
copy --explain random b
is "--explain: a table of steps and candidates" \
	eval '[ $status = 0 ] && [[ $out == *STEP*DEVICE*RUNS*CANDIDATE*PREDICTED* ]]'
is "... within 100 columns" test "$(wc -L < .out)" -le 100
copy --explain -r tree explained
is "--explain of a tree" eval '[ $status = 0 ] && [[ $out == *STEP*DEVICE* ]]'
rm -rf explained
"$taio" copy --explain random - > b 2> .err
status=$? out='' err=$(cat .err)
is "--explain beside data on standard output" eval 'cmp -s random b && [[ $err == *STEP* ]]'

if [ -n "$python" ]; then
	# run with the real python: what a shim does is not our business
	cat > check.py <<-'END'
	import json, os, sys
	lines = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]
	want = [os.fsencode(name) for name in sys.argv[2:]]
	assert sorted(os.fsencode(l['from']) for l in lines) == sorted(want), lines
	for l in lines:
	    assert isinstance(l['bytes'], int) and isinstance(l['ns'], int), l
	    if l['result'] < 0:
	        assert l['error'] and l['failed_step'], l
	        continue
	    assert l['result'] == os.stat(os.fsencode(l['from'])).st_size, l
	    assert 'error' not in l and l['policy'], l
	    assert l['steps'], l
	    for s in l['steps']:
	        assert s['step'] and s['device'] and s['count'] > 0 and s['bytes'] >= 0, l
	    assert sum(s['bytes'] for s in l['steps']) == l['result'], l
	END
	mkdir json
	odd=(hello empty $'a\nb' $'\xff\xfe' 'quote"back\slash' 'é' $'\x01')
	for name in "${odd[@]}"; do
		[ -e "$name" ] || cp hello "$name"
	done
	copy --json "${odd[@]}" json
	is "--json: one valid object for each file, odd names too" \
		"$python" check.py .out "${odd[@]}"
	copy --json hello nothing random json
	is "--json: failures are objects too, with error and failed step" \
		"$python" check.py .out hello nothing random
	is "... exit 1" test "$status" = 1
	run "$taio" devices --json
	is "taio devices --json is one valid object" "$python" -c \
		'import json, sys; d = json.load(open(sys.argv[1])); assert d["devices"] and d["operations"]; assert all(x["available"] or x["reason"] for x in d["devices"])' .out
	rm -rf json $'a\nb' $'\xff\xfe' 'quote"back\slash' 'é' $'\x01'
else
	skip "--json is valid: no python3 here to judge"
fi

# ---- how long ------------------------------------------------------------------------------------

is "--limit-rate 2M: 3 MB take about 1.4 s" lasts 1100 2000 copy --limit-rate 2M random b
is "... and arrive" copied random b
mkdir rate && head -c 1000000 random > rate/1 && head -c 1000000 random > rate/2
is "--limit-rate counts for all files together" \
	lasts 700 1600 copy -r --limit-rate 2M rate rated
rm -rf rate rated
port=$(free_port)
is "--timeout: gives up after the time given" \
	lasts 250 1500 copy --timeout 300ms "listen:127.0.0.1:$port:tcp" b
is "... and says so" failed 1 'timed out'
copy --deadline 10s --priority 7 --jobs 2 random b
is "--deadline, --priority, --jobs" copied random b

# ---- signals -------------------------------------------------------------------------------------

# job control: background jobs of a script ignore SIGINT otherwise
set -m
for signal in INT TERM; do
	printf old > b
	"$taio" copy --limit-rate 100K random b 2> .err > .out &
	child=$!
	children+=("$child")
	until_true catches $child USR1
	kill -USR1 $child
	until_true grep -q 'so far' .err
	kill -$signal $child
	wait $child
	status=$? out='' err=$(cat .err)
	is "SIG$signal: exit $((128 + $(kill -l $signal)))" \
		test $status = $((128 + $(kill -l $signal)))
	is "... SIGUSR1 gave one status line" test "$(grep -c 'so far' .err)" = 1
	is "... the old destination is intact" test "$(cat b)" = old
	is "... and no temporary stays" clean
done
mkdir many && for i in {1..50}; do head -c 100000 random > "many/$i"; done
"$taio" copy -r --limit-rate 500K --jobs 8 many many2 2> .err &
child=$!
children+=("$child")
some_are_there()
{
	[ "$(find many2 -type f 2> /dev/null | wc -l)" -ge 3 ]
}
until_true some_are_there
kill -INT $child
wait $child
status=$? out='' err=$(cat .err)
is "SIGINT in a tree: exit 130" test $status = 130
is "... each file is whole or not there" \
	test -z "$(find many2 -type f ! -size 100000c)"
is "... and no temporary stays" clean
set +m
rm -rf many many2

finish
