#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# self_fails.sh: a test that fails. See selftest.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest"; exit 77; }
echo 'not ok - it fails'
exit 1
