#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# e2e_copy_trees.sh: `taio copy -r` beside cp -r: what is kept, what is refused, what goes wrong on
# the way.
# shellcheck disable=SC2016 # single quotes: eval and bash -c expand them
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh
. tests/lib_cli.sh

# ---- trees ---------------------------------------------------------------------------------------

mkdir -p tree/sub/deep tree/empty 'tree/with blank' tree/closed
cp random tree/sub/
cp hello tree/sub/deep/
for i in {1..300}; do
	printf '%s\n' "$i" > "tree/sub/deep/f$i"
done
: > 'tree/with blank/.hidden'
printf x > $'tree/new\nline'
printf x > tree/$'\xff'
cp hello tree/exec && chmod 751 tree/exec
ln tree/exec tree/hard
ln -s sub/random tree/link
ln -s nowhere tree/dangling
ln -s ../tree tree/loop
cp hello tree/closed/ && chmod 555 tree/closed
chmod 2775 tree/empty
chmod 700 tree/sub
touch -d 2001-02-03 tree/sub/deep tree/sub/random tree
touch -hd 2002-02-03 tree/link
cp -r tree cp1
copy -r tree taio1
is "a tree: exit 0 without a word" test "$status" = 0 -a -z "$err$out"
is "... is what cp -r makes" same_tree cp1 taio1
copy -r tree taio1
is "a tree into an existing directory goes below it" same_tree cp1 taio1/tree
chmod -R u+w taio1/tree && rm -rf taio1/tree
copy -r tree/. taio1
is "tree/. goes into it" test "$status" = 0
is "... and it is the same again" same_tree cp1 taio1
cp -rp tree cp2
copy -rp tree taio2
is "a tree with -p" test "$status" = 0 -a -z "$err"
is "... is what cp -rp makes, times too" same_tree cp2 taio2 times
(umask 077 && cp -r tree cp3 && "$taio" copy -r tree taio3)
is "the umask counts for directories" same_tree cp3 taio3
copy -R --jobs 1 tree taio4
is "one at a time: the same tree" same_tree cp1 taio4
copy -r --durable tree taio5
is "--durable: the same tree" same_tree cp1 taio5
mkdir dir
copy -r tree/sub tree/link hello dir
is "a tree, a link and a file in one command" test "$status" = 0 -a -L dir/link -a -d dir/sub
is "no temporary stays after trees" clean
mkfifo tree/fifo
chmod -R u+w taio4 && rm -rf taio4
copy -r tree taio4
is "a FIFO in a tree: refused by name, exit 1" failed 1 tree/fifo
rm tree/fifo
is "... the rest is copied" same_tree cp1 taio4
copy -r tree tree/sub
is "a tree into itself is refused" failed 1 'itself'
copy -r tree tree
is "a tree onto itself is refused" failed 1 'itself'
is "... and nothing was made" test ! -e tree/sub/tree -a ! -e tree/tree
printf old > dest
copy -r tree dest
is "a tree onto a file" failed 1 dest
is "... which is intact" test "$(cat dest)" = old
copy -r tree 127.0.0.1:1:tcp
is "a tree to a peer is refused" failed 1 tree
mkdir -p merge/tree/link
copy -r tree merge
is "a directory where a link should go: an error" failed 1 merge/tree/link
is "... and the rest is copied" cmp -s random merge/tree/sub/random
mkdir -p twin/a/x twin/b/x && printf 1 > twin/a/x/one && printf 2 > twin/b/x/two
copy -r twin/a/x twin/b/x merge
is "two directories of one name are merged" \
	test "$status" = 0 -a -e merge/x/one -a -e merge/x/two
copy -rn tree/sub merge/tree
is "-n in a tree: what is there is an error" failed 1 'File exists'

# a file that goes away between the look at its directory and its turn
mkdir vanish && for i in {1..40}; do head -c 65536 random > "vanish/$i"; done
"$taio" copy -r --limit-rate 640K --jobs 1 vanish vanished > .out 2> .err &
child=$!
children+=("$child")
some_are_there()
{
	[ "$(find vanished -type f 2> /dev/null | wc -l)" -ge 3 ]
}
until_true some_are_there
rm -f vanish/*
wait "$child"
status=$? out='' err=$(cat .err)
is "sources that vanish while a tree is copied: exit 1, named" failed 1 vanish/ 'No such file'
is "... those before are there" test "$(find vanished -type f -size 64k | wc -l)" -ge 2
chmod -R u+w cp? taio? && rm -rf cp? taio? merge twin vanish vanished

# once a link half replaced stayed for ever
mkdir -p killed/from killed/to
ln -s new killed/from/link
ln -s old killed/to/link
if strace -f -o /dev/null -e inject=rename:signal=KILL:when=1 "$taio" copy -r killed/from/. killed/to 2> .err
then
	skip "a copy killed while it replaces a link: strace did not kill it"
elif [ "$(readlink killed/to/link)" != old ]; then
	skip "a copy killed while it replaces a link: $(cat .err)"
else
	copy -r killed/from/. killed/to
	is "what a copy left that was killed while it replaced a link is removed by the next one" \
		test "$(readlink killed/to/link)" = new -a "$(find killed/to -mindepth 1 | wc -l)" = 1
fi
finish
