#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# lint.sh: clang-format, clang-tidy, cppcheck and shellcheck over the sources, each if it is
# installed. Called by `make lint` with the C files, "--" and the shell scripts; FLAGS are those
# that the C files need to be read. Ends with 1 if a tool found something.
set -u

c_files=() sh_files=() here=c_files
for arg; do
	if [ "$arg" = -- ]; then
		here=sh_files
	elif [ $here = c_files ]; then
		c_files+=("$arg")
	else
		sh_files+=("$arg")
	fi
done
read -ra flags <<< "${FLAGS:-}"
status=0

# tool NAME COMMAND...
tool()
{
	if ! command -v "$1" > /dev/null; then
		printf '  SKIP    %s is not installed\n' "$1"
		return
	fi
	printf '  LINT    %s\n' "$1"
	"$@" || status=1
}

# headers are read where they are included; cppcheck cannot read the macros of policies
tidy_files=() check_files=()
for file in "${c_files[@]}"; do
	case $file in
	user/*.c | bench/*.c | examples/*.c)
		tidy_files+=("$file")
		check_files+=("$file")
		;;
	schedulers/*.bpf.c) tidy_files+=("$file") ;;
	esac
done

# clang-tidy with one file at a time, as many as there are cores; its counts of hidden warnings away
tidy()
{
	printf '%s\n' "${tidy_files[@]}" |
		xargs -P "$(nproc)" -I FILE clang-tidy --quiet FILE -- "${flags[@]}" 2> /dev/null
}

tool clang-format --dry-run -Werror "${c_files[@]}"
if command -v clang-tidy > /dev/null; then
	printf '  LINT    clang-tidy\n'
	tidy || status=1
else
	printf '  SKIP    clang-tidy is not installed\n'
fi
tool cppcheck --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=2 \
	--suppress=missingIncludeSystem -j2 \
	--std=c11 -Iinclude -Iuser -D_GNU_SOURCE -D__x86_64__ \
	'-DLIBBPF_OPTS(TYPE,NAME,...)=struct TYPE NAME' "${check_files[@]}"
tool shellcheck -x -S warning "${sh_files[@]}"
exit $status
