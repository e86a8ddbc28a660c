#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# self_reset.sh: a test in the middle of which the machine ends as a good one does. See selftest.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest"; exit 77; }
echo 'ok - it begins'
sleep 1
vmexit 0
