#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_bpftool.sh: the hot swap by plain bpftool that schedulers/README.md shows, word for word from
# there, while a program copies under the machine-wide policy.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
taio=$BUILD/taio
live=/sys/fs/bpf/taio

[ "$(id -u)" = 0 ] || { skip "pinning a policy needs root"; exit 77; }
[ "$(stat -f -c %T /sys/fs/bpf 2> /dev/null)" = bpf_fs ] || { skip "no bpffs on /sys/fs/bpf"; exit 77; }
PATH=$PATH:/usr/sbin
command -v bpftool > /dev/null || { skip "no bpftool"; exit 77; }
[ -e $live ] && { skip "a machine-wide policy is installed: it is not ours to change"; exit 77; }

work=$(mktemp -d)
trap 'kill $copier 2> /dev/null; $taio policy uninstall > /dev/null 2>&1; rm -rf "$work" /sys/fs/bpf/taio_next' EXIT
copier=

if ! $taio policy install tab > "$work/install" 2>&1; then
	grep -qi 'permi' "$work/install" && { skip "BPF is not permitted: $(cat "$work/install")"; exit 77; }
	cat "$work/install"
fi
expect "a policy is installed for the machine" test -e $live/taio_price
$taio copy --limit-rate 8M zero:24M "$work/out" &
copier=$!
sleep 0.5
sed -n '/run by tests\/e2e_bpftool.sh/,/^```$/p' schedulers/README.md | sed '1,2d;$d' |
	sed "s|build/schedulers|$BUILD/schedulers|" > "$work/commands"
expect "the README shows commands" grep -q 'bpftool prog run' "$work/commands"
bash -eu "$work/commands" > "$work/said" 2>&1
expect "they run" test $? = 0
expect "... and the dump names the new policy" grep -q '"policy": "jsq"' "$work/said"
expect "taio says so, too" sh -c "$taio policy show | grep -q 'machine-wide: jsq'"
wait $copier
expect "the copy that ran meanwhile is complete" test "$(stat -c %s "$work/out")" = $((24 << 20))
$taio copy --json zero:1M "$work/next" > "$work/json"
expect "a program that starts now takes it" grep -q '"policy": *"jsq' "$work/json"
$taio policy uninstall > /dev/null
expect "uninstall leaves nothing" test ! -e $live -a ! -e /sys/fs/bpf/taio_next
finish
