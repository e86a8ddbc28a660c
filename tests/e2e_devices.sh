#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_devices.sh: `taio devices`: what it lists, why something is missing, calibration and what is
# remembered of it.
# shellcheck disable=SC2016 # single quotes: eval expands them
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

devices()
{
	run "$taio" devices "$@"
}

devices
is "exit 0, on standard output" test "$status" = 0 -a -n "$out" -a -z "$err"
is "operations, devices and pairs" \
	eval '[[ $out == *Operations*OPERATION*Devices*DEVICE*SPEED*FROM*DEVICES* ]]'
is "no escape sequence in a pipe" test "${out//$'\e'/}" = "$out"
is "no line is longer than 100 columns in a pipe" test "$(wc -L < .out)" -le 100
is "the universal device is there" grep -q '^  rw ' .out
is "it carries every pair but those of memory, datagrams and zeros that have one of their own" \
	test "$(sed -n '/Who can carry what/,$p' .out | grep -v dgram | grep -c '  *rw')" -ge 9
is "twins on workers are folded" eval '! grep -q @ <(grep -v NAME@worker .out)'
devices --all
is "--all lists them" grep -q '^  rw@worker ' .out
devices --no-uring
is "--no-uring: uring is listed as missing, with a reason" \
	eval 'grep -A 99 "Not available" .out | grep -q "^  uring  *[a-z]"'
is "... and carries nothing" \
	eval '! grep -B 99 "Not available" .out | grep -q "uring"'
if "$BUILD/tests/seccomp" true 2> .err; then
	run "$BUILD/tests/seccomp" "$taio" devices
	is "io_uring forbidden by seccomp: missing, with a reason" \
		eval 'grep -A 99 "Not available" .out | grep -q "^  uring  *[a-z]"'
else
	skip "io_uring forbidden by seccomp: $(cat .err)"
fi
devices nonsense
is "an argument is refused: exit 2" failed 2 nonsense
devices --nonsense
is "an unknown option is refused: exit 2" failed 2 nonsense

mkdir calibrate
start=$(date +%s%N)
TMPDIR=$work/calibrate run timeout 60 "$taio" devices --calibrate
took=$((($(date +%s%N) - start) / 1000000))
is "--calibrate: figures that were measured (took $took ms)" \
	eval '[ $status = 0 ] && grep -q calibrated .out'
is "... leaves no temporary file" test -z "$(ls -A calibrate)"
is "... and a file in the cache directory" test -n "$(find cache -type f)"
devices
is "they are remembered" grep -q calibrated .out
devices --no-cache
is "--no-cache does not know them" eval '! grep -q calibrated .out'
cache=$(find cache -type f | head -n 1)
head -c 100 /dev/urandom > "$cache"
devices
is "a broken cache file is no harm" test "$status" = 0
copy random b
is "... to copies neither" copied random b

finish
