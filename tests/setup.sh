#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# setup.sh: installs the Debian packages that building, testing and showing taio need, and mounts
# the BPF file system. Does nothing, and needs no privilege, where all is there. docs/dependencies.md
# says what each package is for. Usage: setup.sh [vm|plot]: with vm, also what vmtest/ needs; with
# plot, what only `make sim-plot` needs.
set -u

packages=(
	# build
	gcc libc6-dev make pkg-config clang llvm
	libbpf-dev libbpf1 bpftool liburing-dev libelf-dev zlib1g-dev
	# test and demonstrate
	g++ libclang-rt-dev libcriterion-dev
	netcat-openbsd socat curl nginx-light iproute2 strace util-linux procps
	python3 mandoc xfsprogs btrfs-progs tcpdump tshark
)
vm_packages=(qemu-system-x86 busybox-static kmod e2fsprogs dmsetup zstd lz4 xz-utils binutils)
[ "${1:-}" != vm ] || packages+=("${vm_packages[@]}")

[ "${1:-}" != plot ] || packages=(gnuplot-nox)

say()
{
	printf 'setup: %s\n' "$*"
}

fail()
{
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

missing_packages()
{
	local there

	there=" $(dpkg-query -W -f '${Package}:${db:Status-Status} ' "${packages[@]}" 2>/dev/null)"
	for package in "${packages[@]}"; do
		[[ $there == *" $package:installed "* ]] || printf '%s ' "$package"
	done
}

# Installing a web server must not start one: Debian asks this script before it starts a service.
hold_services()
{
	policy=/usr/sbin/policy-rc.d
	[ -e $policy ] && return
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy
}

install_packages()
{
	local log

	hold_services
	log=$(mktemp) || exit 1
	export DEBIAN_FRONTEND=noninteractive
	if ! apt-get update > "$log" 2>&1; then
		say "apt-get update failed, trying with the lists that are there:"
		tail -n 3 "$log"
	fi
	# shellcheck disable=SC2086  # a list of words
	if ! apt-get install -y --no-install-recommends $1 > "$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		fail "apt-get could not install: $1"
	fi
	rm -f "$log"
	if [[ " $1" == *" nginx-light "* ]] && command -v systemctl > /dev/null; then
		systemctl --quiet disable nginx 2> /dev/null
	fi
}

mount_bpffs()
{
	[ "$(id -u)" = 0 ] || return
	[ -d /sys/fs/bpf ] || return
	mountpoint -q /sys/fs/bpf && return
	if mount -t bpf bpf /sys/fs/bpf 2> /dev/null; then
		say "mounted the BPF file system on /sys/fs/bpf"
	else
		say "cannot mount /sys/fs/bpf: machine-wide policies are not possible here"
	fi
}

command -v dpkg-query > /dev/null ||
	fail "this is not Debian: install what docs/dependencies.md lists, then use make all and make unit"

missing=$(missing_packages)
if [ -n "$missing" ]; then
	[ "$(id -u)" = 0 ] ||
		fail "these packages are missing and only root can install them (sudo make setup): $missing"
	say "installing $missing"
	install_packages "$missing"
	missing=$(missing_packages)
	[ -z "$missing" ] || fail "still missing after the installation: $missing"
fi
mount_bpffs
say "all packages are there"
