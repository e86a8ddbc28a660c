#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# smoke.sh: the least that must work under a kernel, in seconds: devices are told, a file is copied to
# a file by what is chosen and by the ring, a tree, over TCP, and a policy object prices a copy.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

head -c 700001 /dev/urandom > big
run "$taio" devices --json
is "devices: told" test "$status" = 0 -a -n "$out"
copy big chosen
is "file to file: the same bytes" copied big chosen
copy --pin uring big ring
is "by io_uring: the same bytes" copied big ring
mkdir -p tree/a && cp big tree/a/one && ln -s one tree/a/link
copy -r tree grown
is "a tree: the same files" same_tree tree grown
"$taio" copy listen:127.0.0.1:9001:tcp received 2> receiver.err &
receiver=$!
until_true grep -qE '^ *[0-9]+: [0-9A-F]+:2329 0+:0000 0A ' /proc/net/tcp
copy big 127.0.0.1:9001:tcp
wait $receiver
is "over TCP: the same bytes" cmp -s big received
copy --policy "$BUILD/schedulers/tab.bpf.o" big priced
is "priced by a policy in the kernel: the same bytes" copied big priced
finish
