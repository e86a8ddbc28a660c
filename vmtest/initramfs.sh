#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# initramfs.sh FILE: packs the root of a guest into FILE: programs of this machine with their
# libraries, and what is tested. It is the same for every kernel: modules are appended to it.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
PATH=$PATH:/usr/sbin:/sbin
root=$(mktemp -d "${TMPDIR:-/tmp}/taio-vmtest.XXXXXX") || exit 1
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM

fail()
{
	printf 'initramfs.sh: %s\n' "$*" >&2
	exit 1
}

# what each of these programs and libraries needs, under the names it is looked for
libraries()
{
	ldd "$@" 2> /dev/null | grep -oE '/[^ ]+' | grep -v ':$' | sort -u
}

add_programs()
{
	local name path paths=()

	while read -r name; do
		path=$(type -P "$name") || continue
		cp -L "$path" "$root/usr/bin/$name"
		paths+=("$path")
	done < <(sed 's/#.*//' vmtest/programs.txt | tr -s ' ' '\n')
	ln -s kmod "$root/usr/bin/modprobe"
	ln -s bash "$root/usr/bin/sh"
	libraries "${paths[@]}" >> "$root/libraries"
}

# a small python with the modules that a test may import
add_python()
{
	local path

	path=/usr/bin/python3
	[ -x $path ] || return 0
	cp -L $path "$root/usr/bin/python3"
	libraries $path >> "$root/libraries"
	$path -c 'import json, socket, sys, os
for m in list(sys.modules.values()):
	if getattr(m, "__file__", None): print(os.path.realpath(m.__file__))' | sort -u > "$root/list"
	grep -E '\.so$' "$root/list" >> "$root/libraries"
	xargs -r cp --parents -t "$root" < "$root/list"
}

# libbpf is opened when a policy is loaded: ldd does not know of it
add_libraries()
{
	local libbpf

	libbpf=$(ldconfig -p | sed -n 's/.*libbpf\.so\.1 .* => //p' | sed -n 1p)
	[ -z "$libbpf" ] || { echo "$libbpf"; libraries "$libbpf"; } >> "$root/libraries"
	ldconfig -p | sed -n 's/.*libgcc_s\.so\.1 .*x86-64.* => //p' | sed -n 1p >> "$root/libraries"
	sed 's,^/lib,/usr/lib,' "$root/libraries" | sort -u | xargs cp -L --parents -t "$root" ||
		fail "a library cannot be copied"
}

add_tests()
{
	local to=$root/taio

	mkdir -p "$to/build/tests" "$to/build/schedulers" "$to/tests" "$to/vmtest"
	cp "$BUILD/taio" "$to/build" || fail "$BUILD/taio was not built"
	strip -g "$to/build/taio"
	find "$BUILD/tests" -maxdepth 1 -type f -perm -u+x -exec cp -t "$to/build/tests" {} +
	strip -g "$to"/build/tests/*
	libraries "$to"/build/tests/* >> "$root/libraries"
	find "$BUILD/schedulers" -name '*.bpf.o' -exec cp -t "$to/build/schedulers" {} + 2> /dev/null
	mkdir -p "$to/build/bpf" && find "$BUILD/bpf" -name '*.bpf.o' -exec cp -t "$to/build/bpf" {} + 2> /dev/null
	cp -r "$BUILD/tests/bad_policies" "$to/build/tests"
	cp tests/*.sh "$to/tests"
	(cd tests && find . -maxdepth 1 -name 'test_*.c' -printf '%P\n') | (cd "$to/tests" && xargs touch)
	cp -r schedulers "$to"
	cp -r vmtest/tests "$to/vmtest"
	cp vmtest/guest.sh vmtest/crash_guest.sh "$to/vmtest"
}

add_system()
{
	cp vmtest/init "$root/init"
	gcc -O2 -static -o "$root/usr/bin/vmexit" vmtest/exit.c || fail "exit.c cannot be compiled"
	mkdir -p "$root"/{etc,dev,proc,sys,run,mnt,root}
	mkdir -m 1777 "$root/tmp"
	printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n' > "$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
	printf '127.0.0.1 localhost\n::1 localhost\n' > "$root/etc/hosts"
	printf 'hosts: files dns\npasswd: files\ngroup: files\n' > "$root/etc/nsswitch.conf"
	: > "$root/etc/resolv.conf"
}

mkdir -p "$root"/usr/{bin,lib,lib64}
ln -s bin "$root/usr/sbin"
for dir in bin sbin lib lib64; do
	ln -s "usr/$dir" "$root/$dir"
done
add_programs
add_python
add_tests
add_libraries
add_system
chmod 755 "$root"
rm -f "$root/libraries" "$root/list"
(cd "$root" && find . | sort | busybox cpio -o -H newc 2> /dev/null) > "$1.new" && mv "$1.new" "$1"
