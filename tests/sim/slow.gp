# slow.gp: draws what `sim --plot DIRECTORY` wrote there: one row for each policy.
# gnuplot -e "directory='DIRECTORY'" tests/sim/slow.gp makes DIRECTORY/slow.svg

policies = system(sprintf("cat '%s/slow.names'", directory))
rows = words(policies)
file(name) = sprintf("%s/slow-%s.dat", directory, name)

if (!exists("terminal")) terminal = "svg"
set terminal terminal size 1100, 90 + 150 * rows font "sans,13" background "white"
set output sprintf("%s/slow.%s", directory, terminal)

slow = 1.5
healed = 3.0
top = 1 - 62.0 / (90 + 150 * rows)
bottom = 40.0 / (90 + 150 * rows)
height = (top - bottom) / rows

set multiplot title "Device 1 is made ten times slower at 1.5 s and healed at 3 s (40 % load)" font "sans,16"
set xrange [1.2:3.5]
set xtics 0.5 out nomirror
set ytics out nomirror
set border 3 lw 0.7
set tmargin 0
set bmargin 0
set style fill solid 1.0 noborder
unset key

do for [row = 1:rows] {
	name = word(policies, row)
	set tmargin at screen top - (row - 1) * height - 0.06 * height
	set bmargin at screen top - row * height + 0.12 * height
	set format x (row == rows ? "%g s" : "")

	set lmargin at screen 0.125
	set rmargin at screen 0.53
	unset logscale y
	set yrange [0:100]
	set ytics 50 format "%g %%"
	set label 1 name at screen 0.006, top - (row - 0.5) * height left font "sans,14"
	if (row == 1) {
		set label 2 "share of requests:" at graph 0, 1.13 left
		set label 3 "device 0" at graph 0.36, 1.13 left textcolor rgb "#4a7ab5"
		set label 4 "1, the slow one" at graph 0.53, 1.13 left textcolor rgb "#d7663a"
		set label 5 "2" at graph 0.81, 1.13 left textcolor rgb "#5a9a5a"
		set label 6 "3" at graph 0.86, 1.13 left textcolor rgb "#909090"
	} else {
		do for [i = 2:6] { unset label i }
	}
	set arrow 1 from slow, graph 0 to slow, graph 1 nohead front dt 2 lc rgb "#444444"
	set arrow 2 from healed, graph 0 to healed, graph 1 nohead front dt 2 lc rgb "#444444"
	plot file(name) using 1:($2 + $3 + $4 + $5) with filledcurves y1=0 lc rgb "#c9c9c9", \
		"" using 1:($2 + $3 + $4) with filledcurves y1=0 lc rgb "#8fbf8f", \
		"" using 1:($2 + $3) with filledcurves y1=0 lc rgb "#d7663a", \
		"" using 1:2 with filledcurves y1=0 lc rgb "#4a7ab5"

	set lmargin at screen 0.61
	set rmargin at screen 0.97
	unset label 1
	do for [i = 2:6] { unset label i }
	if (row == 1) {
		set label 2 "p99 of the policy" at graph 0, 1.13 left textcolor rgb "#b03060"
		set label 3 "and of the oracle (dotted)" at graph 0.28, 1.13 left
	}
	set logscale y
	set yrange [100:100000]
	set ytics ("0.1 ms" 100, "1 ms" 1000, "10 ms" 10000, "100 ms" 100000)
	plot file("oracle") using 1:6 with lines lw 1.2 dt 3 lc rgb "#000000", \
		file(name) using 1:6 with lines lw 1.8 lc rgb "#b03060"
}
unset multiplot
