#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# guest.sh JOB: runs, inside a guest, the tests that JOB names (a line each: name, seconds) through
# tests/run.sh, as outside, each in a process of its own. Marks tell the host where it is.
set -u
export VMTEST_GUEST=1
status=0

# one NAME SECONDS: run.sh runs what it finds in its directory; here it finds this one test
one()
{
	local name=$1 view=/run/view/$1 kind=e2e

	mkdir -p "$view/tests"
	cp /taio/tests/{run,lib,lib_cli}.sh "$view/tests"
	cp -r /taio/schedulers "$view"
	case $name in
	test_*)
		kind=unit
		[ -e "/taio/tests/$name.c" ] && : > "$view/tests/$name.c"
		;;
	e2e_*) cp "/taio/tests/$name.sh" "$view/tests" ;;
	*) cp "/taio/vmtest/tests/$name.sh" "$view/tests/e2e_vm_$name.sh" ;;
	esac
	BUILD=/taio/build TIMEOUT=$2 timeout -k 5 $(($2 + 30)) bash "$view/tests/run.sh" $kind
}

while read -r name seconds; do
	printf 'VMTEST-TEST %s\n' "$name"
	printf '<6>vmtest: %s\n' "$name" > /dev/kmsg
	one "$name" "$seconds"
	rc=$?
	[ $rc = 0 ] || status=1
	printf 'VMTEST-DONE %s %d\n' "$name" $rc
done < "$1"
exit $status
