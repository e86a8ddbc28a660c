#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# faults.sh: what goes wrong with a machine while it copies: little memory, none, a clock that jumps.
# Each: the right error or none, the old destination or the new one as a whole, nothing left behind,
# one event, and an end within its time. Disks are in faults_disk.sh, networks in e2e_link_down.sh.
set -u
[ -n "${VMTEST_GUEST:-}" ] || { echo "only in a guest: it changes the machine"; exit 77; }
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh
outcome=$BUILD/tests/outcome

size=4000000
head -c $size /dev/urandom > big
printf old > old
mkdir -p tree/{a,b}
for i in $(seq 40); do
	head -c $((i * 20000)) big > tree/a/$i
	head -c $((i * 200)) big > tree/b/$i
done

# ---- little memory -------------------------------------------------------------------------------

group=/sys/fs/cgroup/little
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir $group || { not_ok "a limit of memory can be set"; finish; }
# within BYTES COMMAND...: with so much memory, page cache included
within()
{
	echo "$1" > $group/memory.max
	shift
	# shellcheck disable=SC2016 # for the inner shell
	run timeout -s KILL 100 sh -c 'echo $$ > "$0"/cgroup.procs && exec "$@"' $group "$@"
}

head -c 100000000 /dev/urandom > large
for options in '' --durable '--pin uring' '--pin direct' '--pin mmap' --no-uring; do
	# shellcheck disable=SC2086 # a list
	within 24M "$taio" copy $options large large.copy
	is "100 MB with 24 MB of memory, ${options:-plain}: the same bytes" copied large large.copy
done
rm -f large large.copy
within 24M "$taio" copy -r tree tree.copy
is "a tree with 24 MB of memory: the same files" same_tree tree tree.copy

# none: the kernel kills it somewhere; or it crawls, and then we do
killed=0 torn=0
for max in 512K 1M 2M 4M; do
	cp old to
	echo $max > $group/memory.max
	# shellcheck disable=SC2016 # for the inner shell
	run timeout -s KILL 10 sh -c 'echo $$ > "$0"/cgroup.procs && exec "$@"' $group \
		"$taio" copy --durable big to
	[ "$status" = 137 ] && killed=$((killed + 1))
	cmp -s old to || cmp -s big to || torn=$((torn + 1))
	"$taio" copy big to
	[ "$(find . -maxdepth 1 -name '.to.taio-*' | wc -l)" = 0 ] || torn=$((torn + 1))
done
is "killed for want of memory ($killed of 4): the old or the new destination, and nothing beside it" \
	test $torn = 0 -a $killed -gt 0
rmdir $group

# ---- a clock that jumps --------------------------------------------------------------------------

up() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

# jumping NAME OPTION...: an outcome in the background, a jump of the clock of the day, its end
jumping()
{
	local jump=$1 begin

	shift
	begin=$(up)
	"$outcome" "$@" > .out 2> .err &
	children+=($!)
	sleep 0.5
	date -s "$jump" > /dev/null
	wait $!
	status=$? out=$(cat .out) err=$(cat .err)
	took=$(($(up) - begin))
	result=$(sed -nE '1s/^0 ([^ ]+ [^ ]+) .*/\1/p' .out)
}
once() { [ "$(tail -n 1 .out)" = "events 1 of 1, left open 0" ]; }

port=$(free_port)
"$python" -c '
import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
kept = []
while True: kept.append(s.accept())' "$port" & # never says a word
children+=($!)
until_true listens "$port"
for jump in '+1 day' '-1 day'; do
	cp old to
	jumping "$jump" -t 3000 "127.0.0.1:$port:tcp" to
	is "the clock jumps by $jump: a silent peer is given up after 3 s, not earlier ($took ms): $result" \
		eval '[[ $result == *" ETIMEDOUT" ]] && once && [ $took -ge 3000 ] && [ $took -lt 60000 ]'
	is "... and the old destination is as it was" cmp -s old to
	jumping "$jump" -t 60000 -l 2000000 big jumped
	is "the clock jumps by $jump: no time is over, and the rate holds ($took ms)" \
		eval '[ "$result" = "- -" ] && once && cmp -s big jumped && [ $took -ge 1000 ] && [ $took -lt 50000 ]'
done

# all the time, forward and back, under a tree and a stream
while :; do
	date -s '+1 hour' && sleep 0.05
	date -s '-1 hour' && sleep 0.05
done > /dev/null &
jumper=$!
children+=($jumper)
rm -rf tree.copy
run "$taio" copy -r --timeout 60 tree tree.copy
is "the clock jumps all the time: a tree has the same files" same_tree tree tree.copy
port=$(free_port)
nc -N -l 127.0.0.1 "$port" > by_nc < /dev/null &
receiver=$!
until_true listens "$port"
copy --timeout 60 --limit-rate 4M big "127.0.0.1:$port:tcp"
wait $receiver
is "... and a stream the same bytes" copied big by_nc
kill $jumper
wait $jumper 2> /dev/null
finish
