#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# probes.sh: what a kernel does not offer, or an administrator has switched off, is missed with a
# reason, and the bytes are the same.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it changes the machine"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)


# ---- io_uring ------------------------------------------------------------------------------------

run "$taio" devices
is "the ring devices are there" eval '[ $status = 0 ] && [[ $out == *uring* ]]'
disabled=/proc/sys/kernel/io_uring_disabled
if [ -w $disabled ]; then
	echo 2 > $disabled
	run "$taio" devices --json
	is "io_uring switched off: uring is named with a reason" python3 -c '
import json, sys
devices = json.load(open(".out"))["devices"]
ring = [d for d in devices if d["name"] in ("uring", "direct", "zc")]
sys.exit(not ring or any(d["available"] or not d["reason"] for d in ring))'
	copy random off
	is "... and a copy goes another way" copied random off
	echo 0 > $disabled
else
	skip "io_uring switched off: this kernel has no $disabled (from 6.6)"
fi

# ---- privileges ----------------------------------------------------------------------------------

install -d -o 65534 -g 65534 theirs
run "${nobody[@]}" env XDG_CACHE_HOME="$work/theirs" "$taio" copy random theirs/random
is "as nobody: the same bytes" copied random theirs/random
run "${nobody[@]}" env XDG_CACHE_HOME="$work/theirs" "$taio" copy \
	--policy "$BUILD/schedulers/tab.bpf.o" random theirs/again
is "a policy object as nobody: refused in one sentence, or its twin says why: $err" \
	test -n "$err" -a "$(printf '%s\n' "$err" | wc -l)" = 1
is "... and nothing is half there" eval '[ ! -e theirs/again ] || cmp -s random theirs/again'

# ---- file systems that are not mounted -----------------------------------------------------------

run unshare -m sh -c 'umount -l /proc && exec "$0" copy random noproc' "$taio"
is "without /proc: a new file has the same bytes" copied random noproc
run unshare -m sh -c 'umount -l /proc && exec "$0" copy hello noproc' "$taio"
is "... and an old one is replaced" copied hello noproc
run unshare -m sh -c 'umount -l /sys/fs/bpf; exec "$0" copy --policy "$1" random nobpf' \
	"$taio" "$BUILD/schedulers/tab.bpf.o"
is "without /sys/fs/bpf a policy object still prices a copy" copied random nobpf
run unshare -m sh -c 'umount -l /sys && exec "$0" copy random nosys' "$taio"
is "without /sys: the same bytes" copied random nosys
is "no temporary stays" clean
finish
