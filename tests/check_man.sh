#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# check_man.sh: the manual: every public function and every command has a page, every option of the
# command stands in its page and in its completion, and the pages are well formed.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh

BUILD=${BUILD:-build}
man=docs/man

missing=
while read -r name; do
	[ -e "$man/$name.3" ] || missing+=" $name"
done < <(sed -n 's/^.*TAIO_API.*[ *]\(taio_[a-z_]*\)(.*/\1/p' include/taio.h)
[ -z "$missing" ] || echo "no page:$missing"
expect "every public function has a page" test -z "$missing"

broken=
for page in "$man"/*.3; do
	target=$(sed -n 's|^\.so man3/||p' "$page")
	if [ -n "$target" ]; then
		name=$(basename "$page" .3)
		# the page must also name the function
		grep -q "$name" "$man/$target" || broken+=" $page"
	fi
done
[ -z "$broken" ] || echo "points to a page that does not name it:$broken"
expect "every alias leads to a page that names it" test -z "$broken"

pages=()
for page in "$man"/*.[137]; do
	grep -q '^\.so' "$page" || pages+=("$page")
done
if command -v mandoc > /dev/null; then
	expect "mandoc finds nothing to complain about" mandoc -T lint -W style "${pages[@]}"
else
	skip "mandoc -T lint: mandoc is missing"
fi
if command -v man > /dev/null && command -v groff > /dev/null; then
	said=$(for page in "${pages[@]}"; do
		LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$page" 2>&1 > /dev/null
	done)
	[ -z "$said" ] || echo "$said"
	expect "man --warnings has none" test -z "$said"
else
	skip "man --warnings: man or groff is missing"
fi

if [ -x "$BUILD/taio" ]; then
	for command in copy devices policy; do
		missing=
		for option in $("$BUILD/taio" "$command" --help | grep -o -e '--[a-z][a-z-]*' | sort -u); do
			grep -q -- "$(printf %s "$option" | sed 's/-/\\\\-/g')" \
				"$man/taio-$command.1" || missing+=" $option(page)"
			grep -q -e "$option" docs/completion/taio.bash || missing+=" $option(completion)"
		done
		[ -z "$missing" ] || echo "missing:$missing"
		expect "options of taio $command: in its page and completion" test -z "$missing"
	done
else
	skip "options in pages: $BUILD/taio was not built"
fi
finish
