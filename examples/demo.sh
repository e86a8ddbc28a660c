#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# demo.sh: the main job on real files. It makes a tree of files, copies memory to memory, file to
# file, the tree, a file to a plain TCP receiver that is not taio (nc), and back from a socket to a
# file; compares SHA-256 everywhere; swaps the policy while a copy is running; and tells what was
# moved, which device ran each kind of step, why, and how fast, beside cp, memcpy and a plain
# sendfile loop on the same data. `make demo` builds and runs it; DEMO_MIB is the size of the largest
# file (256), DEMO_ROUNDS how often each copy is timed (3). Everything is made in one temporary
# directory, which is removed at the end.
set -u
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$PWD/$BUILD
taio=$BUILD/taio
mib=${DEMO_MIB:-256}
rounds=${DEMO_ROUNDS:-3}
export LC_ALL=C.UTF-8
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] && bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' off=$'\e[0m'
bold=${bold:-} dim=${dim:-} red=${red:-} off=${off:-}

say()
{
	printf '%s\n' "$*"
}

fail()
{
	printf '%staio demo: %s%s\n' "$red" "$*" "$off" >&2
	exit 1
}

for tool in "$taio" "$BUILD/examples/pointer" "$BUILD/examples/plain_sendfile"; do
	[ -x "$tool" ] || fail "$tool is missing: run make first"
done
for tool in nc sha256sum cp awk; do
	command -v $tool > /dev/null || fail "$tool is missing: run make setup first"
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/taio-demo.XXXXXX") || exit 1
children=()
cleanup()
{
	local child

	for child in "${children[@]}"; do
		kill "$child" 2> /dev/null
	done
	wait 2> /dev/null
	cd /
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'printf "\n"; exit 130' INT
trap 'exit 143' TERM

free_mib=$(($(df --output=avail -k "$dir" | tail -n 1) / 1024))
[ "$free_mib" -gt $((mib * 6 + 512)) ] ||
	fail "$dir has $free_mib MiB free, $((mib * 6 + 512)) are needed (TMPDIR, DEMO_MIB)"

# ---- tools ---------------------------------------------------------------------------------------

now_us()
{
	local now=${EPOCHREALTIME/[.,]/}

	printf '%s' "$now"
}

# timed NAME COMMAND...: runs it, adds the time in microseconds to times[NAME]
declare -A times
timed()
{
	local name=$1 start status

	shift
	start=$(now_us)
	"$@"
	status=$?
	times[$name]+="$(($(now_us) - start)) "
	return $status
}

median()
{
	# shellcheck disable=SC2086 # a list of numbers
	printf '%s\n' ${times[$1]} | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# openssl(1) knows the processor's instructions for it and is five times faster
sha256=(sha256sum)
openssl dgst -sha256 -r /dev/null > /dev/null 2>&1 && sha256=(openssl dgst -sha256 -r)

sum_of()
{
	"${sha256[@]}" "$1" | cut -d ' ' -f 1
}

# all sums of a tree, names included
tree_sums()
{
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 "${sha256[@]}")
}

same()
{
	[ "$2" = "$3" ] || fail "DIFFERENT: $1"
	checked=$((checked + 1))
}
checked=0

# events KIND: keeps what --json says on stdin, under the name of the kind of copy
events()
{
	sed "s/^/$1 /" >> events
}

free_port()
{
	local port

	for port in $(shuf -i 20000-32000 -n 50); do
		(exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || {
			printf '%s' "$port"
			return
		}
	done
}

# receive FILE: starts a plain receiver that is not taio; its port is in $port
receive()
{
	local i

	port=$(free_port)
	nc -l 127.0.0.1 "$port" > "$1" < /dev/null &
	receiver=$!
	children+=("$receiver")
	for ((i = 0; i < 200; i++)); do
		# listening? (looking by connecting would be taken for the sender)
		grep -q ":$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp && return
		sleep 0.01
	done
	fail "nc does not listen on port $port"
}

# ---- 1. the data ---------------------------------------------------------------------------------

cd "$dir" || exit 1
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$dir/cache}
say "${bold}taio demo${off} in $dir on $(df --output=fstype "$dir" | tail -n 1)," \
	"$(nproc) cores, Linux $(uname -r)"
mkdir -p tree/small 'tree/names with blanks'
: > tree/empty
printf x > tree/one
head -c "${mib}M" /dev/urandom > tree/big
for ((i = 0; i < 200; i++)); do
	head -c $((i * i * 3)) tree/big > "tree/small/$i"
done
head -c 1M tree/big > 'tree/names with blanks/one MiB'
tail -c 33554432 tree/big > 'tree/names with blanks/32 MiB'
truncate -s 128M tree/sparse
for ((i = 0; i < 16; i++)); do
	dd if=tree/big of=tree/sparse bs=4096 count=4 skip=$i seek=$((i * 2048)) conv=notrunc \
		status=none
done
ln -s big tree/link
bytes=$((mib << 20))
tree_bytes=$(find tree -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')
tree_files=$(find tree -type f | wc -l)
big_sum=$(sum_of tree/big)
tree_sums tree > sums
say "made $tree_files files, $((tree_bytes >> 20)) MiB: 0 bytes to $mib MiB, a sparse one, names" \
	"with blanks"

# ---- 2. memory to memory -------------------------------------------------------------------------

"$BUILD/examples/pointer" tree/big > copy 2> pointer || fail "memory to memory: $(cat pointer)"
same "memory to memory" "$big_sum" "$(sum_of copy)"
rm copy

# ---- 3. file to file, beside cp and sendfile -----------------------------------------------------

for ((round = 0; round < rounds; round++)); do
	rm -f copy
	timed file "$taio" copy --json tree/big copy > json || fail "file to file"
	events file < json
	[ $round = 0 ] && same "file to file" "$big_sum" "$(sum_of copy)"
	rm -f copy
	timed cp cp tree/big copy
	rm -f copy
	timed sendfile "$BUILD/examples/plain_sendfile" tree/big ./copy
done
rm -f copy

# ---- 4. the tree, beside cp -r -------------------------------------------------------------------

for ((round = 0; round < rounds; round++)); do
	rm -rf copy
	timed tree "$taio" copy -r --json tree copy > json || fail "the tree"
	events tree < json
	if [ $round = 0 ]; then
		same "the tree" "$(cat sums)" "$(tree_sums copy)"
		same "the link in the tree" big "$(readlink copy/link)"
		sparse_kib=$(($(stat -c %b copy/sparse) / 2))
		[ $sparse_kib -lt 8192 ] || fail "DIFFERENT: the sparse file takes $sparse_kib KiB"
	fi
	rm -rf copy
	timed cp_tree cp -r tree copy
done
rm -rf copy

# ---- 5. to a plain TCP receiver, beside a sendfile loop ------------------------------------------

receive received
"$taio" copy --json tree/big "127.0.0.1:$port:tcp" > json || fail "file to TCP"
wait "$receiver"
events tcp < json
same "file to TCP" "$big_sum" "$(sum_of received)"
receive received
"$BUILD/examples/plain_sendfile" tree/big "$port" || fail "the sendfile loop"
wait "$receiver"
same "sendfile loop to TCP" "$big_sum" "$(sum_of received)"
rm -f received
# for the time, a receiver that throws away: the disk is not what is asked here
for ((round = 0; round < rounds; round++)); do
	receive /dev/null
	timed tcp "$taio" copy --json tree/big "127.0.0.1:$port:tcp" > json || fail "file to TCP"
	wait "$receiver"
	events tcp < json
	receive /dev/null
	timed tcp_sendfile "$BUILD/examples/plain_sendfile" tree/big "$port"
	wait "$receiver"
done

# ---- 6. from a socket to a file ------------------------------------------------------------------

port=$(free_port)
"$taio" copy --json "listen:127.0.0.1:$port:tcp" back > json &
child=$!
children+=("$child")
for ((i = 0; i < 200; i++)); do
	grep -q ":$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp && break
	sleep 0.01
done
timed back nc -N 127.0.0.1 "$port" < tree/big
wait "$child" || fail "socket to file"
events back < json
same "socket to file" "$big_sum" "$(sum_of back)"
rm -f back

# ---- 7. another policy while a copy is running ---------------------------------------------------

rate=$((bytes * 2 / 3))
"$taio" copy --json --limit-rate $rate tree/big swapped > json 2> swap &
child=$!
children+=("$child")
start=$(now_us)
sleep 0.3
# an engine can be told as soon as it has slept once
until "$taio" policy swap --engine "$child" jsq > swap_out 2>&1; do
	kill -0 "$child" 2> /dev/null || fail "taio policy swap, while a copy ran: $(cat swap_out)"
	sleep 0.02
done
swap_ms=$((($(now_us) - start) / 1000))
wait "$child" || fail "the copy whose policy was swapped: $(cat swap)"
whole_ms=$((($(now_us) - start) / 1000))
events swap < json
grep -q '"policy":"jsq"' json || fail "the running copy did not change to policy jsq: $(cat json)"
same "the copy whose policy was swapped" "$big_sum" "$(sum_of swapped)"
rm -f swapped

# ---- 8. the report -------------------------------------------------------------------------------

# row TEXT BYTES TAIO-us RIVAL-us RIVAL
row()
{
	awk -v text="$1" -v bytes="$2" -v taio="$3" -v rival="$4" -v name="$5" '
	function rate(us) { return us > 0 ? sprintf("%6.2f GiB/s", bytes / us * 1e6 / 2^30) : "" }
	BEGIN {
		printf "  %-26s %5d MiB  %8.1f ms  %s", text, bytes / 2^20, taio / 1000, rate(taio)
		if (rival > 0)
			printf "  %8.1f ms %-13s %5.2f x", rival / 1000, name, rival / taio
		printf "\n"
	}'
}

say
say "${bold}Everything arrived, byte for byte${off} ($checked comparisons by SHA-256)"
say
say "${bold}  moved                          bytes         taio                 beside                     ratio${off}"
printf '  %-26s %5d MiB  %s\n' "memory to memory" "$mib" "$(cat pointer)"
row "file to file" "$bytes" "$(median file)" "$(median cp)" cp
row "" "$bytes" "$(median file)" "$(median sendfile)" "sendfile loop"
row "tree of $tree_files files" "$tree_bytes" "$(median tree)" "$(median cp_tree)" "cp -r"
row "file to TCP (nc -l)" "$bytes" "$(median tcp)" "$(median tcp_sendfile)" "sendfile loop"
row "TCP (nc) to file" "$bytes" "$(median back)" 0 ""
say "  ${dim}whole processes, alternating, medians of $rounds; ratio: how many times faster than the other${off}"
say
say "${bold}  copy  step        device               runs        bytes         speed  why${off}"
grep -o '^[a-z]*\|{"step":"[^}]*' events | awk '
	/^[a-z]/ { kind = $1; next }
	{
		gsub(/[{"]/, "")
		for (i = split($0, part, ","); i > 0; i--) {
			split(part[i], pair, ":")
			value[pair[1]] = pair[2]
		}
		# beginnings and ends of requests are alike: they stand together
		step = (value["step"] ~ /^(transfer|file)$/ ? kind : "all") "|" value["step"]
		key = step "|" value["device"]
		runs[key] += value["count"]
		bytes[key] += value["bytes"]
		total[step] += value["bytes"]
		ns[key] += value["ns"]
		reason[key "|" value["why"]] += value["count"]
	}
	function put(kind, step, device, runs, bytes, ns, why,   speed) {
		speed = bytes ? sprintf("%8.2f GiB/s", bytes / ns * 1e9 / 2^30) \
			: runs ? sprintf("%8.1f us", ns / runs / 1000) : ""
		printf "  %-5s %-11s %-16s %8d %12s %14s  %s\n", kind, step, device, runs,
			bytes ? sprintf("%8.1f MiB", bytes / 2^20) : "", speed, why
	}
	END {
		for (key in runs) {
			split(key, part, "|")
			step = part[1] "|" part[2]
			# what carried less than a tenth is told in one line
			if (total[step] && bytes[key] * 10 < total[step]) {
				rest_runs[step] += runs[key]
				rest_bytes[step] += bytes[key]
				rest_ns[step] += ns[key]
				rest[step]++
				continue
			}
			why = ""
			if (reason[key "|probe"])
				why = sprintf("cheapest (%d to learn the price)", reason[key "|probe"])
			else if (reason[key "|price"])
				why = "cheapest"
			else if (reason[key "|only one"])
				why = "the only one"
			else if (reason[key "|retry"])
				why = "another one failed"
			else if (reason[key "|another core"])
				why = "another core was free"
			put(part[1], part[2], part[3], runs[key], bytes[key], ns[key], why)
		}
		for (step in rest) {
			split(step, part, "|")
			put(part[1], part[2], "~" rest[step] (rest[step] > 1 ? " others" : " other"), rest_runs[step],
				rest_bytes[step], rest_ns[step], "cheapest at that moment, or to learn")
		}
	}' | sort | sed 's/~/ /'
say
say "  The policy was swapped from tab to jsq $swap_ms ms into a copy of $whole_ms ms; it went on," \
	"and its bytes are right."
say "  The sparse file of 128 MiB takes $sparse_kib KiB in the copy."
say "  Try: taio copy --explain FILE DIR, taio devices, taio policy list."
