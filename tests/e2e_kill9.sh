#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_kill9.sh: kill9.sh in the time that a test suite has.
KILLS=40 STEP=5 . "$(dirname "$0")/kill9.sh"
