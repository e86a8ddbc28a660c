#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# self_stuck.sh: a test that never ends. See selftest.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest"; exit 77; }
echo 'ok - it begins'
sleep 1000
