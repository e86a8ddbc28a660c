# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# shellcheck shell=bash
#
# lib.sh: the words in which test scripts report; run.sh counts them. Source it, then call `finish`
# at the end.

lib_failed=0

ok()
{
	printf 'ok - %s\n' "$*"
}

not_ok()
{
	printf 'not ok - %s\n' "$*"
	lib_failed=1
}

skip()
{
	printf 'skip - %s\n' "$*"
}

# expect WHAT COMMAND...: the command must succeed; its output is shown if it does not
expect()
{
	local what=$1 output

	shift
	if output=$("$@" 2>&1); then
		ok "$what"
	else
		printf '%s\n' "$output"
		not_ok "$what"
	fi
}

finish()
{
	exit "$lib_failed"
}
