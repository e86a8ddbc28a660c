#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_copy.sh: `taio copy` of single files beside cp, which says what a copy has to look like: the
# command line, every kind of refusal, rights, parts of files, odd names.
# shellcheck disable=SC2016 # single quotes: eval and bash -c expand them
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

# ---- the command line ----------------------------------------------------------------------------

run "$taio"
is "no command: hint and exit 2" failed 2 'taio --help'
run "$taio" frobnicate
is "an unknown command: named, exit 2" failed 2 frobnicate 'taio --help'
copy
is "no arguments: exit 2" failed 2 missing 'taio copy --help'
copy hello
is "no destination: exit 2" failed 2 destination
copy -x hello b
is "an unknown short option: named, exit 2" failed 2 -x 'taio copy --help'
copy --frobnicate hello b
is "an unknown long option: named, exit 2" failed 2 --frobnicate 'taio copy --help'
copy --limit-rate
is "an option without its value: exit 2" failed 2 limit-rate
copy --durable=1 hello b
is "a value for a switch: exit 2" failed 2 durable
for bad in --limit-rate=0 --limit-rate=x --timeout=soon --length=-1 --jobs=0 --jobs=1.5 \
	--datagram=70000 --goal=beauty --priority=8; do
	copy $bad hello b
	is "$bad is refused: exit 2" failed 2 "${bad%%=*}"
done
copy '' b
is "an empty name is refused" failed 2 empty
copy -qv hello b
is "quiet and verbose together are refused" failed 2 quiet
copy --json hello -
is "--json and data on one standard output are refused" failed 2 json
is "nothing was made by all these" test ! -e b
for words in --help 'copy --help' 'copy -h' 'devices --help' 'help' 'help copy' 'help devices' \
	'--version' 'help policy'; do
	# shellcheck disable=SC2086
	run "$taio" $words
	is "taio $words: on standard output, exit 0" test "$status" = 0 -a -n "$out" -a -z "$err"
	[ "$(wc -L < .out)" -le 92 ] || not_ok "taio $words fits in 92 columns"
done
run "$taio" help frobnicate
is "help for what is not there: exit 2" failed 2 frobnicate
run bash -c '"$0" devices > /dev/full' "$taio"
is "output that cannot be written: exit 1" failed 1 'No space left'

# ---- one file ------------------------------------------------------------------------------------

copy random b
is "a file" copied random b
copy empty e
is "an empty file" copied empty e
copy hello b
is "a smaller file over a larger one" copied hello b
mkdir dir
copy hello dir
is "into a directory, under its own name" copied hello dir/hello
copy random dir/
is "into DIR/" copied random dir/random
copy dir/hello ./
is "from another directory to here" copied dir/hello ./hello
copy hello nowhere/
is "into a directory that is not there: exit 1" failed 1 nowhere/
copy hello nowhere/x
is "below a directory that is not there" failed 1 'hello -> nowhere/x' 'No such file'
copy random hello empty dir
is "several files into a directory" test "$status" = 0 -a -z "$err"
is "... all of them" eval 'cmp -s random dir/random && cmp -s hello dir/hello && cmp -s empty dir/empty'
copy random hello b
is "several files onto a file: exit 1" failed 1 b 'several sources'
mkdir other
printf other > other/hello
copy hello other/hello dir
is "two sources of one name: the second is refused" failed 1 other/hello
is "... and the first is there" cmp -s hello dir/hello

for mode in 600 644 755 777 444 4755; do
	cp hello source
	chmod $mode source
	rm -f a b
	cp source a
	copy source b
	is "mode $mode as cp gives it" test "$(stat -c %a a)" = "$(stat -c %a b)"
done
rm -f source
(umask 077 && rm -f a b && cp random a && "$taio" copy random b)
is "the umask counts as with cp" test "$(stat -c %a a)" = "$(stat -c %a b)"
printf old > a && chmod 640 a && printf old > b && chmod 640 b
cp random a
copy random b
is "mode of an old destination as cp leaves it" test "$(stat -c %a a)" = "$(stat -c %a b)"
touch -d '2001-02-03 04:05:06.789' random
copy random b
is "without -p the copy is new" test b -nt random
copy -p random b
cp -p random a
is "-p keeps mode, owner and times as cp -p" \
	test "$(stat -c '%a %u %g %y' a)" = "$(stat -c '%a %u %g %y' b)"
touch random

truncate -s 64M sparse
printf x | dd of=sparse bs=1 seek=33554432 conv=notrunc status=none
copy sparse b
is "a sparse file" copied sparse b
is "... stays sparse" test "$(stat -c %b b)" -lt 4096
copy --no-sparse sparse b
is "--no-sparse" copied sparse b
is "... writes every block" test "$(stat -c %b b)" -ge 131072
rm -f b sparse

# ---- refusals ------------------------------------------------------------------------------------

printf old > b
copy nothing b
is "no such source: exit 1, with both names, step and cause" \
	failed 1 'taio: copy: nothing -> b: ' 'No such file or directory'
is "... and the old destination is intact" test "$(cat b)" = old
copy hello hello
is "a file onto itself" failed 1 'hello -> hello' 'onto itself'
ln hello hard
copy hello hard
is "a file onto its hard link" failed 1 hard
is "... and it is intact" test "$(cat hello)" = hello -a "$(cat hard)" = hello
rm -f hard
ln -s hello soft
copy soft hello
is "a link onto its target" failed 1 hello
is "... and that is intact" test "$(cat hello)" = hello
copy soft b
is "a link without -r: what it points to" copied hello b
copy dir b
is "a directory without -r" failed 1 dir '-r copies directories'
mkfifo fifo
run timeout 5 "$taio" copy fifo b
is "a FIFO as source: no hang, an error that says what to do" failed 1 fifo 'taio copy -' '< NAME'
run timeout 5 "$taio" copy hello fifo
is "a FIFO as destination: the same" failed 1 fifo '> NAME'
printf old > dest
copy -n hello dest
is "--no-clobber: an old destination is an error" failed 1 'dest' 'File exists'
is "... and intact" test "$(cat dest)" = old
copy --no-clobber hello fresh
is "--no-clobber: a new one is made" copied hello fresh
copy zero:10 zero:10
is "zero: as destination is refused" failed 1 zero:10
copy null: b
is "null: as source is refused" failed 1 null:
copy hello 127.0.0.1:99999:tcp
is "a port that is none: named, and what one looks like" failed 1 99999 65535
copy hello 127.0.0.1:80:sctp
is "a protocol that taio does not know" failed 1 sctp 'tcp and udp'
copy zero:many b
is "a size that is none" failed 1 zero:many 'zero:10M'
ln -s nothing dangling
copy -r dangling dangling
is "a link onto itself" failed 1 'dangling' 'onto itself'
is "... and it is intact" test "$(readlink dangling)" = nothing
rm -f dangling
copy hello 127.0.0.1:1:tcp
is "a peer that refuses" failed 1 'Connection refused'
copy hello dir/hello/x
is "below a file" failed 1 'Not a directory'
long=$(printf 'x%.0s' {1..300})
copy hello "$long"
is "a name that is too long" failed 1 'too long'
copy hello missing random dir
is "after an error the others are still copied, exit 1" failed 1 missing
is "... they are" cmp -s random dir/random
is "no temporary stays after errors" clean

if [ "$(id -u)" = 0 ]; then
	mkdir small
	if mount -t tmpfs -o size=1m taio-test small 2>/dev/null; then
		printf old > small/old
		copy random small/old
		is "a full disk: exit 1 and its name" failed 1 'No space left on device'
		is "... the old destination is intact" test "$(cat small/old)" = old
		is "... and no temporary stays" test "$(ls -A small)" = old
		run "$taio" copy --in-place random small/new
		is "a full disk, in place" failed 1 'No space left on device'
		umount small
	else
		skip "a full disk: tmpfs cannot be mounted here"
	fi
	rmdir small 2>/dev/null
else
	skip "a full disk: only root can make one"
fi

# ---- as somebody without rights ------------------------------------------------------------------

nobody=()
if [ "$(id -u)" = 0 ]; then
	if command -v setpriv > /dev/null; then
		nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	fi
	mkdir -m 777 public
	nobody+=(env "HOME=$work/public" "XDG_CACHE_HOME=$work/public/cache")
else
	mkdir public
	nobody=(env)
fi
cp hello secret && chmod 0 secret
if [ "${nobody[0]}" != env ] || [ "$(id -u)" != 0 ]; then
	if "${nobody[@]}" test -x "$taio"; then
		run "${nobody[@]}" "$taio" copy random public/b
		is "works as nobody" copied random public/b
		run "${nobody[@]}" "$taio" copy --explain random public/b
		is "... and explains" test "$status" = 0 -a -n "$out"
		run "${nobody[@]}" "$taio" copy secret public/c
		is "a source that may not be read" failed 1 secret 'Permission denied'
		mkdir -p closed && chmod 555 closed
		run "${nobody[@]}" "$taio" copy hello closed/x
		is "a directory that may not be written" failed 1 closed/x 'Permission denied'
		mkdir tree.closed tree.closed/in && cp hello tree.closed/ && cp hello tree.closed/in/
		chmod 700 tree.closed/in
		run "${nobody[@]}" "$taio" copy -r tree.closed public/t
		[ "$(id -u)" = 0 ] && is "a closed directory in a tree: exit 1, the rest is copied" \
			failed 1 tree.closed/in 'Permission denied'
		is "... the rest" cmp -s hello public/t/hello
	else
		skip "as nobody: cannot reach $taio"
	fi
else
	skip "as nobody: setpriv is missing"
fi
rm -rf public secret closed tree.closed

# ---- parts ---------------------------------------------------------------------------------------

rm -f b
copy --length 1000 random b
is "--length" copied <(head -c 1000 random) b
copy --from-offset 1M --length 10000 random b
is "--from-offset and --length" copied <(tail -c +1048577 random | head -c 10000) b
copy --from-offset=2999999 random b
is "--from-offset up to the end" copied <(tail -c 1 random) b
copy --length 0 random b
is "--length 0 makes an empty file" copied empty b
cp random b
copy --to-offset 100 hello b
is "--to-offset writes into the old file" \
	copied <(head -c 100 random; cat hello; tail -c +107 random) b
copy --length 5 hello random dir
is "a part of several sources is refused" failed 2 length
cp random b && inode=$(stat -c %i b)
copy --in-place hello b
is "--in-place" copied hello b
is "... keeps the file" test "$(stat -c %i b)" = "$inode"
copy --durable random b
is "--durable" copied random b
copy zero:1M b
is "zero:SIZE" copied <(head -c 1M /dev/zero) b
copy random null:
is "null:" test "$status" = 0 -a -z "$err"

# ---- names ---------------------------------------------------------------------------------------

for name in 'a blank' $'new\nline' $'b\xe4d' '*' '-dash' "it's" $'\033[31m' 'a:b' '%s'; do
	copy -- hello "$name"
	is "a file to $(printf %q "$name")" copied hello ./"$name"
	copy -- "$name" back
	is "... and back" copied hello back
	rm -f -- "$name" back
done
copy -- $'no\nsuch\033[31m' b
is "no control character of a name reaches the terminal" test "${err//[[:cntrl:]]/}" = "$err"
copy -- hello -dash
is "a leading dash behind --" cmp -s hello ./-dash
rm -f ./-dash

finish
