# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# shellcheck shell=bash
#
# Bash completion for taio(1): commands, options, their values, device and policy names.

_taio_devices()
{
	taio devices --json 2>/dev/null |
		grep -o '{"number":[0-9]*,"name":"[^"]*"' | sed 's/.*"name":"//; s/"$//'
}

# a word of a comma-separated list
_taio_list()
{
	local cur=$1 done=

	shift
	[[ $cur == *,* ]] && done=${cur%,*},
	mapfile -t COMPREPLY < <(compgen -P "$done" -W "$*" -- "${cur##*,}")
	compopt -o nospace
}

_taio_copy()
{
	local cur=$1 prev=$2

	case $prev in
	--pin | --forbid)
		# shellcheck disable=SC2046
		_taio_list "$cur" $(_taio_devices)
		return
		;;
	--goal)
		mapfile -t COMPREPLY < <(compgen -W 'latency throughput cpu' -- "$cur")
		return
		;;
	--policy)
		mapfile -t COMPREPLY < <(compgen -W 'tab deadline lect class peak hst jsq p2c rr static' -- "$cur"
			compgen -f -X '!*.bpf.o' -- "$cur")
		return
		;;
	--framing)
		mapfile -t COMPREPLY < <(compgen -W 'raw length' -- "$cur")
		return
		;;
	--limit-rate | --limit-packets | --datagrams | --idle | --timeout | --deadline | --length | --from-offset | --to-offset | \
		--datagram | --jobs | --priority)
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '
			--recursive --preserve --no-clobber --length --from-offset --to-offset
			--no-sparse --durable --in-place --datagram --framing --datagrams --idle
			--no-end-mark --limit-packets --goal --pin --forbid --policy
			--jobs --no-uring --no-bpf --no-cache --limit-rate --timeout --deadline
			--priority --verbose --quiet --progress --no-progress --explain --json
			--help' -- "$cur")
		return
	fi
	compopt -o filenames
	mapfile -t COMPREPLY < <(compgen -f -- "$cur"
		compgen -W 'listen: unix: null: zero: mirror:' -- "$cur")
	[[ ${COMPREPLY[*]} == *: ]] && compopt -o nospace
}

_taio_policy()
{
	local cur=$1 prev=$2

	case $prev in
	policy)
		mapfile -t COMPREPLY < <(compgen -W 'list show swap compare promote abandon load check new install uninstall --help' -- "$cur")
		;;
	load | check)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -X '!*.o' -- "$cur"; compgen -d -- "$cur")
		;;
	swap | install)
		mapfile -t COMPREPLY < <(compgen -W 'tab deadline lect class peak hst jsq p2c rr static' -- "$cur"
			compgen -f -X '!*.bpf.o' -- "$cur")
		;;
	new | --canary | --for) ;;
	--engine)
		mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid=)" -- "$cur")
		;;
	*)
		mapfile -t COMPREPLY < <(compgen -W '--engine --canary --for --json --help' -- "$cur")
		;;
	esac
}

_taio()
{
	# the colon is part of endpoints, so words are taken from the line as the shell cut it
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}

	COMPREPLY=()
	if [ "$prev" = = ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	elif [ "$cur" = = ]; then
		cur=
	fi
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'copy devices policy help --help --version' \
			-- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	copy) _taio_copy "$cur" "$prev" ;;
	devices)
		mapfile -t COMPREPLY < <(compgen -W '--json --calibrate --all --no-uring --no-bpf
			--no-cache --help' -- "$cur")
		;;
	policy) _taio_policy "$cur" "$prev" ;;
	help) mapfile -t COMPREPLY < <(compgen -W 'copy devices policy' -- "$cur") ;;
	esac
}

complete -F _taio taio
