#!/bin/sh
# SPDX-License-Identifier: MIT
# check_sweep.sh - random problems against the double-precision reference, on the engine chosen and on the
# portable one.
set -eu
. "$top_srcdir/tests/runtimes.sh"
problems=16
is_long && problems=240
"$top_builddir/clattn" verify --problems $problems --seed 1
"$top_builddir/clattn" verify --problems $((problems / 4)) --seed 500 --engine portable
