#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_restricted.sh: where not everything is permitted: io_uring forbidden by seccomp, as nobody,
# both, and with few descriptors. All copies must work another way, and `taio devices` must say why.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

# Others must be able to run it, whoever may read the build directory.
cp "$BUILD"/taio "$BUILD"/tests/{seccomp,test_engine_copy,test_engine_errors} . ||
	{ echo "$BUILD: not all was built"; exit 1; }
head -c 3000000 /dev/urandom > random
head -c 5000 /dev/urandom > small
chmod 644 random small
mkdir open
chmod 1777 open

forbid=("$PWD/seccomp")
"${forbid[@]}" true 2> .err
case $? in
0) ;;
77) forbid=() ;;
*)
	cat .err
	not_ok "the filter itself"
	finish
	;;
esac
nobody=()
if [ "$(id -u)" = 0 ]; then
	nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	"${nobody[@]}" true 2> .err || { cat .err; nobody=(none); }
fi

# says_why DEVICE: it is listed as not available, with a reason
says_why()
{
	[[ $out == *"Not available here"* ]] && grep -Eq "^ *$1 +.*io_uring.*(forbidden|not permitted)" .out
}

# copies WHERE COMMAND...: the command line under that restriction
copies()
{
	local where=$1 port

	shift
	rm -rf open/*
	run "$@" ./taio devices
	is "$where: taio devices" test "$status" = 0
	run "$@" ./taio copy random open/b
	is "$where: file to file" copied random open/b
	run "$@" ./taio copy small open/s
	is "$where: small file to file" copied small open/s
	run "$@" ./taio copy --durable random open/b
	is "$where: durable, over the old one" copied random open/b
	run "$@" bash -c './taio copy random - | ./taio copy - open/c'
	is "$where: through a pipe" copied random open/c
	port=$(free_port)
	run timeout 60 "$@" bash -c './taio copy "listen:127.0.0.1:$0:tcp" open/d & child=$!
		until grep -q ":$1 00000000:0000 0A" /proc/net/tcp; do sleep 0.02; done
		./taio copy random "127.0.0.1:$0:tcp"; status=$?; [ $status = 0 ] || kill $child
		wait $child && exit $status' "$port" "$(printf %04X "$port")"
	is "$where: over TCP" copied random open/d
	run "$@" ./taio copy zero:1M open/z
	is "$where: zeros" test "$status" = 0 -a "$(stat -c %s open/z)" = 1048576
	run "$@" ./taio copy missing open/m
	is "$where: an error is still an error" failed 1 missing 'No such file'
}

# units WHERE COMMAND...: the tests of the engine under that restriction
units()
{
	local where=$1 name

	shift
	for name in test_engine_copy test_engine_errors; do
		rm -rf open/tmp
		mkdir -m 1777 open/tmp
		run env TMPDIR="$PWD/open/tmp" timeout 250 "$@" "./$name"
		[ "$status" = 0 ] || tail -n 30 .err
		is "$where: $name" test "$status" = 0 -a -z "$(ls -A open/tmp)"
	done
}

if [ ${#forbid[@]} -gt 0 ]; then
	copies "io_uring forbidden" "${forbid[@]}"
	run "${forbid[@]}" ./taio devices
	for device in uring direct zc; do
		is "io_uring forbidden: taio devices says why there is no $device" says_why $device
	done
	run "${forbid[@]}" ./taio copy --pin uring random open/p
	is "io_uring forbidden: what is pinned to it fails" test "$status" = 1
	is "io_uring forbidden: and leaves nothing" test ! -e open/p
	units "io_uring forbidden" "${forbid[@]}"
	# what an administrator switched off: this process alone sees the switch, and the filter acts
	# as the kernel then does
	for value in 1 2; do
		echo $value > switch
		run unshare -m bash -c 'mount --bind switch /proc/sys/kernel/io_uring_disabled 2> /dev/null ||
			exit 77; exec "$@"' switched "${forbid[@]}" ./taio devices
		if [ "$status" = 0 ]; then
			is "io_uring off by sysctl ($value): taio devices says so" \
				grep -q "^ *uring .*sysctl kernel.io_uring_disabled=$value" .out
		else
			skip "io_uring off by sysctl ($value): no such switch, or no right to put one here"
		fi
	done
	rm -f switch
else
	skip "io_uring forbidden: $(cat .err)"
fi

if [ "${nobody[*]}" = none ]; then
	skip "as nobody: setpriv cannot"
else
	copies "as nobody" "${nobody[@]}"
	units "as nobody" "${nobody[@]}"
	if [ ${#forbid[@]} -gt 0 ]; then
		copies "as nobody, io_uring forbidden" "${nobody[@]}" "${forbid[@]}"
	fi
fi

copies "with 16 descriptors" bash -c 'ulimit -n 16; exec "$@"' few
finish
