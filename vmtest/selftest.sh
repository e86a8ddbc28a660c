#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# selftest.sh [KERNEL]: can vmtest fail? Runs tests that are good, do nothing, fail, skip, hang, make
# the kernel complain or panic, or end the machine, and looks at what run.sh makes of each.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
key=${1:-6.1}
log=$(mktemp "${TMPDIR:-/tmp}/taio-selftest.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# run TEST...: $status and $log
run()
{
	VMTEST_GRACE=${grace:-30} vmtest/run.sh "$key" "$@" > "$log" 2>&1
	status=$?
}

# says LINE: run.sh printed a line that begins so
says() { grep -qF -- "$1" "$log"; }

# fails TEST WHY
fails() { expect "self_$1: a failure" says "not ok - $key: $2"; }

# what run.sh sees of a script
name() { printf 'e2e_vm_self_%s' "$1"; }

grace=8 run self_good self_nothing self_fails self_skips self_stuck self_splat self_panic \
	self_reset self_hang self_good
if [ $status = 77 ]; then
	tail -n 3 "$log"
	exit 77
fi
expect "a run in which anything failed: exit status 1" test $status = 1
expect "self_good: passes, before and after guests died" \
	test "$(grep -cF "ok - $key: $(name good): it is good" "$log")" = 2
fails nothing "$(name nothing): tells of no behaviour"
fails fails "$(name fails): it fails"
fails skips "$(name skips): it checks: nobody knows why not (it is skipped"
fails stuck "$(name stuck): not finished after"
fails splat "the kernel complains (serial): "
fails panic "self_panic: the guest ended in the middle of it"
fails reset "self_reset: the guest ended in the middle of it"
fails hang "self_hang: the guest ended in the middle of it (QEMU: exit status 137)"
run self_good
expect "a good run: exit status 0, and the kernel was looked at" \
	eval '[ $status = 0 ] && says "ok - $key: the kernel has no complaint"'
VMTEST_APPEND=rdinit=/none run self_good
expect "a guest that does not come up is tried again, and a failure in the end" \
	eval '[ $status = 1 ] && says ", 3 of 3" && says "not ok - $key: no guest comes up"'
[ $lib_failed = 0 ] || cat "$log"
finish
