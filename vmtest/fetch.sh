#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# fetch.sh KEY: gets the newest Debian kernel of a line of kernels.txt, without installing it, and
# prints the directory that holds it:
#
#   package       its package and version
#   release       what uname -r will say
#   vmlinux       the kernel, unpacked: emulated machines would unpack it slowly at each boot
#   modules.cpio  the modules of modules.txt and those they depend on
#
# Kept in $XDG_CACHE_HOME/taio-vmtest by package, version and list of modules; remove it when you
# like. Exit 77 and a sentence on standard error: this kernel cannot be had.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/taio-vmtest
apt=()

cannot()
{
	printf '%s\n' "$*" >&2
	exit 77
}

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# the mirror that this machine's own Debian comes from
debian()
{
	# shellcheck disable=SC2016 # apt's own variable
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' 2> /dev/null | sed -n 1p
}

# ask_suite SUITE: from here on apt-get and apt-cache know this suite, and no other
ask_suite()
{
	local dir=$cache/apt/$1 mirror

	mirror=$(debian)
	[ -n "$mirror" ] || cannot "no Debian mirror is configured"
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$1" > "$dir/sources.list"
	apt=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache")
	[ -z "$(find "$dir/updated" -mtime -1 2> /dev/null)" ] || return
	if apt-get "${apt[@]}" update > "$dir/log" 2>&1; then
		: > "$dir/updated"
	else
		tail -n 3 "$dir/log" >&2 # the lists of yesterday may do
	fi
}

newest()
{
	apt-cache "${apt[@]}" search --names-only "$1" 2> /dev/null | cut -d' ' -f1 | sort -V | tail -n 1
}

version()
{
	apt-cache "${apt[@]}" show --no-all-versions "$1" 2> /dev/null | sed -n 's/^Version: //p' |
		sed -n 1p
}

# download NAME...: each is unpacked into tree/
download()
{
	apt-get "${apt[@]}" -o APT::Sandbox::User=root download "$@" > apt.log 2>&1 || {
		tail -n 3 apt.log >&2
		cannot "$* cannot be downloaded"
	}
	for deb in ./*.deb; do
		dpkg -x "$deb" tree || cannot "$deb cannot be unpacked"
		rm "$deb"
	done
	[ -e tree/lib ] || ln -s usr/lib tree/lib
}

# number FILE OFFSET BYTES: little endian
number()
{
	od -An -v -tu"$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# The kernel out of a bzImage: see Documentation/arch/x86/boot.rst.
unpack_bzimage()
{
	local sectors start length size tool

	sectors=$(number "$1" $((0x1f1)) 1)
	start=$(((${sectors/#0/4} + 1) * 512 + $(number "$1" $((0x248)) 4)))
	length=$(number "$1" $((0x24c)) 4)
	tail -c +$((start + 1)) "$1" | head -c "$length" > payload
	size=$(number payload $((length - 4)) 4)
	truncate -s $((length - 4)) payload
	case $(od -An -tx1 -N 4 payload | tr -d ' ') in
	28b52ffd) tool='zstd -dcq' ;;
	02214c18) tool='lz4 -dcq' ;;
	fd377a58) tool='xz -dcq --single-stream' ;;
	1f8b*) tool='gzip -dcq' ;;
	*) cannot "$1 is packed in an unknown way" ;;
	esac
	$tool payload > vmlinux
	rm payload
	[ "$(stat -c %s vmlinux)" = "$size" ] || cannot "$1 cannot be unpacked by $tool"
}

unpack_kernel()
{
	local image

	image=$(compgen -G 'tree/boot/vmlinuz-*' || compgen -G 'tree/usr/lib/modules/*/vmlinuz') ||
		cannot "no kernel is in the package"
	if [ "$(od -An -tx1 -N 4 "$image" | tr -d ' ')" = 7f454c46 ]; then
		cp "$image" vmlinux
	else
		unpack_bzimage "$image"
	fi
}

# The wanted modules are copied flat and unpacked, so that the guest has little to do.
pick_modules()
{
	local from=tree/lib/modules/$release to=small/usr/lib/modules/$release path wanted

	mkdir -p "$to"
	cp "$from"/modules.{builtin,builtin.modinfo,order} "$to" 2> /dev/null
	depmod -b tree "$release" 2> depmod.log || cannot "depmod fails: $(tail -n 1 depmod.log)"
	wanted=$(sed 's/#.*//' "$here/modules.txt")
	for name in $wanted; do
		modprobe -d tree -S "$release" --show-depends "$name" 2> /dev/null
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u > list
	while read -r path; do
		case $path in
		*.xz) xz -dc "$path" > "$to/$(basename "$path" .xz)" ;;
		*.zst) zstd -dcq "$path" > "$to/$(basename "$path" .zst)" ;;
		*) cp "$path" "$to" ;;
		esac || cannot "$path cannot be unpacked"
	done < list
	depmod -b small/usr "$release" 2> depmod.log ||
		cannot "depmod fails: $(tail -n 1 depmod.log)"
	(cd small && find . | sort | busybox cpio -o -H newc 2> /dev/null) > modules.cpio
}

read -r suite pattern < <(awk -v key="$1" '$1 == key { print $2, $3 }' "$here/kernels.txt")
[ -n "${pattern:-}" ] || cannot "$1: no such line in kernels.txt"
for tool in apt-get dpkg zstd lz4 xz depmod modprobe busybox; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null ||
		cannot "$tool is missing (make setup-vm installs it)"
done
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$cache" || exit 1
[ "$suite" = - ] || ask_suite "$suite"
package=$(newest "$pattern")
[ -n "$package" ] || cannot "no package $pattern is offered by ${suite/#-/the configured sources}"
dir=$cache/${package}_$(version "$package" | tr -c '[:alnum:].+~\n-' _)_$(cksum < "$here/modules.txt" | cut -d' ' -f1)
if [ -e "$dir/vmlinux" ]; then
	printf '%s\n' "$dir"
	exit
fi

new=$(mktemp -d "$cache/new.XXXXXX") || exit 1
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM
cd "$new" || exit 1
printf 'fetching %s\n' "$package" >&2
if [ -n "$(version "${package/image/binary}")" ]; then # split since 6.19
	download "${package/image/binary}" "${package/image/modules}"
else
	download "$package"
fi
release=$(basename "$(compgen -G 'tree/lib/modules/*')")
printf '%s %s\n' "$package" "$(version "$package")" > package
printf '%s\n' "$release" > release
unpack_kernel
pick_modules
rm -rf tree small list ./*.log
rm -rf "$dir"
mv -T "$new" "$dir" && printf '%s\n' "$dir"
