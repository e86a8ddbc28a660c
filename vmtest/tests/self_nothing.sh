#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# self_nothing.sh: a test that does nothing and says so by its exit status. See selftest.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest"; exit 77; }
exit 0
