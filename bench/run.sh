#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Runs the benchmarks one after the other and prints their rows as JSON lines, then as tables.
# usage: bench/run.sh [--quick] [NAME ...]     NAME: adapt file command engine memory tcp udp ring ...
# The rows are also kept in $BUILD/bench/rows.jsonl.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-build}
case $build in /*) ;; *) build=$top/$build ;; esac
quick=${QUICK:+--quick}
names=()
for word in "$@"; do
	case $word in
	--quick) quick=--quick ;;
	*) names+=("$word") ;;
	esac
done
if [ ${#names[@]} -eq 0 ]; then
	for program in "$build"/bench/bench_*; do
		case $program in *.*) continue ;; esac
		names+=("${program##*/bench_}")
	done
fi
rows=$build/bench/rows.jsonl
: >"$rows"
failed=0
export TAIO=$build/taio
for name in "${names[@]}"; do
	program=$build/bench/bench_$name
	if [ ! -x "$program" ]; then
		echo "bench: no $program: make bench-build" >&2
		failed=1
		continue
	fi
	echo "bench: $name" >&2
	if ! "$program" $quick | tee -a "$rows"; then
		echo "bench: $name failed" >&2
		failed=1
	fi
	[ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
done
"$top/bench/table.sh" "$rows"
exit $failed
