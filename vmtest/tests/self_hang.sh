#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# self_hang.sh: a test whose guest does not go on. See selftest.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest"; exit 77; }
echo 'ok - it begins'
pkill -STOP guest.sh
kill -STOP $PPID
kill -STOP $$
