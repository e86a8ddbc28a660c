#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_layers.sh: the import direction of docs/architecture.md, read from the #include lines of
# every source. Then the same check is tried on one wrong include for every arrow that must not be,
# so that a hole in the rules shows itself.
#
#   include <- util <- request <- { plan, policy <- pick } <- engine <- user/*.c (the API)
#                   <- xdp <- drivers
#
# Above the drivers stand the engine and the API: they know the list of drivers, and what the control
# steps of files, sockets and the ring share with them. A driver knows nothing of what is above it.
# The command is an ordinary user of taio.h; only `taio policy` also administers what belongs to the
# machine and to no engine, and for that there is policy/admin.h.
# A room may use itself, what is named here, and system headers. "x/*" means any header of x.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh

public='taio.h taio_driver.h taio_policy.h taio_policy_native.h'
shared='drivers/drivers.h drivers/fileops.h drivers/netops.h drivers/ring.h drivers/fault.h'
rules="
include:  -
taio_policy.h: bpf/bpf_types.h
taio_policy_native.h: taio_policy.h
util:     $public util/*
request:  $public util/* request/*
plan:     $public util/* request/* plan/*
libbpf:   util/* libbpf/*
xdp:      util/* libbpf/* xdp/*
policy:   $public util/* request/* policy/* libbpf/* list.inc
pick:     $public util/* request/* pick/* policy/policy.h
engine:   $public util/* request/* plan/* pick/* policy/policy.h engine/* $shared
drivers:  taio_driver.h taio.h util/* xdp/* drivers/*
drivers.h: taio_driver.h
api:      $public util/* request/* plan/* pick/* policy/policy.h engine/* $shared
cli:      taio.h util/* cli/* policy/admin.h
bpf:      taio_policy.h taio_policy_native.h vmlinux.h bpf/*
schedulers: taio_policy.h vmlinux.h bpf/*
examples: taio.h
skeleton: taio_driver.h taio.h
bench:    *
tests:    *
"

# library headers that only some rooms may know
system_rules='
bpf/libbpf.h    policy libbpf xdp
bpf/btf.h       policy libbpf
bpf/bpf.h       policy libbpf xdp
linux/bpf.h     policy bpf libbpf xdp tests
liburing.h      engine drivers bench tests
criterion/      tests
'

# stdin: "FILE:LINE:#include ..." as grep prints it; stdout: one sentence for each violation
judge()
{
	awk -v rules="$rules" -v system_rules="$system_rules" '
	function room_of(file,   part, n) {
		n = split(file, part, "/")
		if (file ~ /^include\/taio_policy/) return substr(file, 9)
		if (part[1] == "include") return "include"
		if (part[1] != "user") return part[1] == "examples" && file ~ /driver/ ? "skeleton" : part[1]
		if (n == 2) return "api"
		if (file == "user/drivers/drivers.h") return "drivers.h"
		return part[2]
	}
	# "core.h" in bpf/ and schedulers/ is bpf/core.h, in bench/ it is its own
	function full(name, room) {
		if (name ~ /\//) return name
		if (name ~ /^taio(_[a-z_]*)?\.h$|^vmlinux\.h$|^list\.inc$/) return name
		if (room ~ /^(bpf|schedulers|policy|include|taio_policy.h)$/) return "bpf/" name
		return room "/" name
	}
	function may(room, name,   n, i, word, dir) {
		n = split(allowed[room], word, " ")
		dir = name
		sub(/\/[^\/]*$/, "/*", dir)
		for (i = 1; i <= n; i++)
			if (word[i] == "*" || word[i] == name || word[i] == dir) return 1
		return 0
	}
	function may_system(room, name,   prefix) {
		for (prefix in only)
			if (index(name, prefix) == 1 && index(only[prefix], " " room " ") == 0) return 0
		return 1
	}
	BEGIN {
		n = split(rules, line, "\n")
		for (i = 1; i <= n; i++)
			if (split(line[i], pair, ": *") == 2) allowed[pair[1]] = pair[2]
		n = split(system_rules, line, "\n")
		for (i = 1; i <= n; i++) {
			sub(/ +/, "\t", line[i])
			if (split(line[i], pair, "\t") == 2) only[pair[1]] = " " pair[2] " "
		}
	}
	{
		match($0, /^[^:]*:[0-9]*/)
		at = substr($0, 1, RLENGTH)
		file = at
		sub(/:.*/, "", file)
		name = $0
		room = room_of(file)
		if (match(name, /"[^"]*"/)) {
			name = substr(name, RSTART + 1, RLENGTH - 2)
			if (room == "tests" || room == "bench") next
			if (name ~ /\.\.\// || name ~ /\.c$/)
				print at ": \"" name "\": by its room, not by ../ and no .c file"
			else if (!(room in allowed))
				print at ": room \"" room "\" has no rule"
			else if (!may(room, full(name, room)))
				print at ": " room " may not include \"" name "\""
		} else if (match(name, /<[^>]*>/)) {
			name = substr(name, RSTART + 1, RLENGTH - 2)
			if (name ~ /^taio/ || name ~ /^(util|request|plan|pick|policy|engine|drivers|cli)\//)
				print at ": own headers stand in quotes"
			else if (!may_system(room, name))
				print at ": " room " may not include <" name ">"
		}
	}'
}

includes()
{
	grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' \
		include user bpf schedulers examples bench tests 2>/dev/null
}

found=$(includes | judge)
if [ -z "$found" ] && [ "$(includes | wc -l)" -gt 20 ]; then
	ok "every include follows the import direction"
else
	printf '%s\n' "$found"
	not_ok "every include follows the import direction"
fi

# one line for each arrow that must be refused
wrong='
include/taio.h:1:#include "util/slab.h"
include/taio.h:1:#include "taio_driver.h"
include/taio.h:1:#include "bpf_types.h"
include/taio_driver.h:1:#include "taio.h"
include/taio_policy.h:1:#include "taio_driver.h"
user/util/a.c:1:#include "request/request.h"
user/util/a.c:1:#include "engine/engine.h"
user/request/a.c:1:#include "plan/endpoint.h"
user/request/a.c:1:#include "pick/pick.h"
user/request/a.c:1:#include "policy/policy.h"
user/request/a.c:1:#include "engine/engine.h"
user/plan/a.c:1:#include "pick/pick.h"
user/plan/a.c:1:#include "policy/policy.h"
user/plan/a.c:1:#include "engine/engine.h"
user/plan/a.c:1:#include "drivers/drivers.h"
user/pick/a.c:1:#include "plan/plan.h"
user/pick/a.c:1:#include "policy/object.h"
user/pick/a.c:1:#include "engine/engine.h"
user/pick/a.c:1:#include "drivers/drivers.h"
user/policy/a.c:1:#include "plan/plan.h"
user/policy/a.c:1:#include "pick/pick.h"
user/policy/a.c:1:#include "engine/engine.h"
user/policy/a.c:1:#include "drivers/drivers.h"
user/engine/a.c:1:#include "cli/cli.h"
user/engine/a.c:1:#include "policy/object.h"
user/engine/a.c:1:#include "drivers/mem_copy.h"
user/engine/a.c:1:#include <bpf/libbpf.h>
user/xdp/a.c:1:#include "taio_driver.h"
user/xdp/a.c:1:#include "drivers/netops.h"
user/xdp/a.c:1:#include "engine/engine.h"
user/util/a.c:1:#include "xdp/xsk.h"
user/engine/a.c:1:#include "xdp/xsk.h"
user/drivers/a.c:1:#include "engine/engine.h"
user/drivers/a.c:1:#include "request/request.h"
user/drivers/a.c:1:#include "plan/endpoint.h"
user/drivers/a.c:1:#include "pick/pick.h"
user/drivers/a.c:1:#include "policy/policy.h"
user/drivers/a.c:1:#include "taio_policy.h"
user/drivers/a.c:1:#include "rw.c"
user/drivers/a.c:1:#include <bpf/bpf.h>
user/drivers/drivers.h:1:#include "drivers/netops.h"
user/api.c:1:#include "cli/cli.h"
user/api.c:1:#include "policy/object.h"
user/api.c:1:#include <liburing.h>
user/cli/a.c:1:#include "engine/engine.h"
user/cli/a.c:1:#include "policy/policy.h"
user/cli/a.c:1:#include "taio_driver.h"
user/cli/a.c:1:#include "../engine/engine.h"
user/cli/a.c:1:#include <taio.h>
user/plan/a.c:1:  #  include  "engine/engine.h"
bpf/core.h:1:#include "taio.h"
bpf/core.h:1:#include "policy/policy.h"
schedulers/tab.bpf.c:1:#include "taio.h"
schedulers/tab.bpf.c:1:#include "engine/engine.h"
schedulers/tab.bpf.c:1:#include "jsq.bpf.c"
examples/a.c:1:#include "taio_driver.h"
examples/a.c:1:#include "util/slab.h"
user/newroom/a.c:1:#include "taio.h"
'
missed=0
while IFS= read -r line; do
	[ -n "$line" ] || continue
	if [ -z "$(judge <<< "$line")" ]; then
		printf 'not refused: %s\n' "$line"
		missed=$((missed + 1))
	fi
done <<< "$wrong"
if [ $missed = 0 ]; then
	ok "the check refuses an include against each arrow"
else
	not_ok "the check refuses an include against each arrow"
fi
finish
