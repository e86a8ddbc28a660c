#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_sim.sh: the default policy reaches its targets in the simulator: a few of the worlds that
# `make sim` plays, in virtual time, so the same on every machine.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
BUILD=${BUILD:-build}
sim=$BUILD/tests/sim/sim

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

"$sim" --quick --policy tab > "$dir/table" 2> "$dir/log"
status=$?
while read -r verdict what; do
	what=$(sed 's/  *[0-9.]* *\(at [lm]\)/ is \1/' <<< "$what")
	case $verdict in
	ok) ok "$what" ;;
	MISSED) not_ok "$what" ;;
	esac
done < "$dir/table"
[ $status = 0 ] || cat "$dir/table" "$dir/log"
expect "the simulator comes to a verdict" [ $status -le 1 ]
expect "the simulator names a policy that it does not know" \
	eval "! $sim --policy nonsense > $dir/out 2>&1 && grep -q \"no policy 'nonsense'\" $dir/out"
finish
