#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Prints JSON lines of flat objects as aligned tables, one for each value of "bench" and set of
# fields. usage: bench/table.sh ROWS.jsonl
set -u
awk '
function flush_table(   i, j, line) {
	if (!rows) return
	for (i = 0; i <= rows; i++) {
		line = ""
		for (j = 1; j <= columns; j++) {
			cell = i ? value[i, j] : name[j]
			line = line sprintf(numeric[j] ? "%*s  " : "%-*s  ", width[j], cell)
		}
		sub(/ +$/, "", line)
		print line
	}
	print ""
	rows = 0
}
{
	line = $0
	sub(/^\{/, "", line); sub(/\}$/, "", line)
	n = 0; shape = ""
	while (match(line, /^"[^"]*":("[^"]*"|[^,]*),?/)) {
		pair = substr(line, RSTART, RLENGTH); line = substr(line, RLENGTH + 1)
		sub(/,$/, "", pair)
		colon = index(pair, ":")
		n++; key[n] = substr(pair, 2, colon - 3); val[n] = substr(pair, colon + 1)
		text[n] = val[n] ~ /^"/; gsub(/^"|"$/, "", val[n])
		shape = shape key[n] ","
	}
	shape = val[1] ":" shape
	if (shape != last) {
		flush_table()
		columns = n - 1
		print "== " val[1]
		for (i = 2; i <= n; i++) { name[i-1] = key[i]; width[i-1] = length(key[i]); numeric[i-1] = 1 }
		last = shape
	}
	rows++
	for (i = 2; i <= n; i++) {
		value[rows, i-1] = val[i]
		if (text[i]) numeric[i-1] = 0
		if (length(val[i]) > width[i-1]) width[i-1] = length(val[i])
	}
}
END { flush_table() }' "$1"
