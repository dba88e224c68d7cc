# SPDX-License-Identifier: MIT
# pruning.gp - doc/pruning.svg from doc/pruning.tsv:   cd doc && gnuplot pruning.gp
set terminal svg size 860,430 font "sans-serif,12" background "white"
set output "pruning.svg"
set datafile separator "\t"
set multiplot layout 1,2
set logscale x 2
set grid lc rgb "#dddddd"
set xlabel "tokens that a row reads: budget + window + sinks"
set ylabel "bits per byte, the last half"
set key top right
set xrange [120:2400]
series(n, m) = sprintf("< awk -F '\\t' '$1 == %d && $2 == \"%s\" {print $3 \"\\t\" $4}' pruning.tsv", n, m)
dense8 = 0.9522; dense16 = 0.8301
do for [n in "8192 16384"] {
    set title n . " bytes, causal"
    set yrange [(n eq "8192" ? 0.92 : 0.81):(n eq "8192" ? 1.16 : 1.03)]
    plot (n eq "8192" ? dense8 : dense16) title "dense" lw 1.5 dt 2 lc rgb "#000000", \
        series(int(n), "window") using 1:2 with linespoints title "window alone" lc rgb "#888888" pt 1, \
        series(int(n), "minmax") using 1:2 with linespoints title "minmax, 8" lc rgb "#c08020" pt 8, \
        series(int(n), "mean") using 1:2 with linespoints title "mean, 8" lc rgb "#a04080" pt 10, \
        series(int(n), "tree8") using 1:2 with linespoints title "tree, 8" lc rgb "#3070b0" pt 6, \
        series(int(n), "staged") using 1:2 with linespoints title "staged 64/32/8" lc rgb "#309060" pt 4, \
        series(int(n), "best") using 1:2 with linespoints title "best blocks of 8" lc rgb "#000000" pt 2, \
        series(int(n), "tree2") using 1:2 with linespoints title "tree, 2" lc rgb "#d03030" pt 7
}
unset multiplot
