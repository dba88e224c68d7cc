#!/bin/sh
# SPDX-License-Identifier: MIT
# check_cpus.sh - part of the suite on PoCL for lesser CPUs than this one: AVX2 (registers of 8 floats, 16 of
# them), SSE (4, no fma).
set -u
. "$top_srcdir/tests/runtimes.sh"

programs=tests/check_properties problems=8
is_long && programs="tests/check_properties tests/check_guard" problems=15
for cpu in avx2 sse; do
    echo "== PoCL for $cpu"
    use_runtime "pocl-$cpu" || { echo "skipped: $cpu ($why)"; exit 77; }
    case $cpu in avx2) width=8 ;; sse) width=4 ;; esac
    "$top_builddir/clattn" devices --json | grep -q "\"vector_width_float\": $width" ||
        { echo "skipped: the driver does not take $cpu for its CPU"; exit 77; }
    export CLATTN_TEST_ENGINES=vector # whose shapes are the CPU's
    for program in $programs; do # CLATTN_TEST_RUNTIME=pocl-avx2 make check: all of them
        [ -x "$top_builddir/$program" ] && check "$top_builddir/$program"
    done
    check "$top_builddir/clattn" verify --problems $problems --seed 12000 --engine vector
    is_long || programs=
done
end_checks "other CPUs" 2
