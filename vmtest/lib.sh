# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# shellcheck shell=bash disable=SC2034 # what is set here is for the scripts that source it
#
# lib.sh: a guest as run.sh and crash.sh start it: its kernel, its disk, the command line of QEMU.
# $key says which kernel, $logs is where its files are.

qemu="qemu-system-x86_64"

# what has to be installed here
lib_tools()
{
	local tool

	for tool in "$qemu" busybox mkfs.ext4 gcc strip; do
		PATH=$PATH:/usr/sbin command -v "$tool" > /dev/null || {
			echo "$tool is missing (make setup-vm installs it)" >&2
			return 1
		}
	done
}

# $kernel becomes the directory of the cache, $logs that of what is told; or $why says why not
lib_kernel()
{
	logs=$BUILD/vmtest/${logs_name:-$key}
	mkdir -p "$logs"
	logs=$(cd "$logs" && pwd)
	kernel=$(vmtest/fetch.sh "$key" 2> "$logs/fetch") && return
	why=$(tail -n 1 "$logs/fetch")
	why=${why:-no reason given}
	return 1
}

# lib_disk FILE TYPE [BYTES]: an empty file system in a file with holes
lib_disk()
{
	local options=(-q)

	[ "$2" != ext4 ] || options=(-q -F -E "lazy_itable_init=1,lazy_journal_init=1")
	rm -f "$1"
	truncate -s "${3:-3G}" "$1"
	PATH=$PATH:/usr/sbin "mkfs.$2" "${options[@]}" "$1"
}

# lib_command WORDS: $command starts a guest with $logs/initrd and $logs/disk, WORDS for its init;
# $ports, after it, make files of what it says
lib_command()
{
	local append="console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=unstable rdinit=/init ${VMTEST_APPEND:-}"

	# shellcheck disable=SC2054 # QEMU's own commas
	command=("$qemu" -machine pc -accel tcg,thread=multi -cpu max -smp "${SMP:-2}" -m 1024
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$kernel/vmlinux" -initrd "$logs/initrd" -append "$append ${1:-}"
		-device isa-debug-exit,iobase=0xf4,iosize=1 -device virtio-serial-pci
		-drive "file=$logs/disk,format=raw,if=virtio,cache=unsafe")
	# shellcheck disable=SC2054
	ports=(-serial "file:$logs/serial"
		-chardev "file,id=out,path=$logs/out" -device virtserialport,chardev=out,name=taio.out
		-chardev "file,id=log,path=$logs/dmesg"
		-device virtserialport,chardev=log,name=taio.dmesg)
}
