#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# self_splat.sh: a test that is good but for what the kernel says. See selftest.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest"; exit 77; }
echo '<4>WARNING: CPU: 0 PID: 1 at vmtest/self.c:1 self+0x1/0x2' > /dev/kmsg
echo 'ok - it is good'
