#!/bin/sh
# SPDX-License-Identifier: MIT
# check_sweep.sh - random problems against the double-precision reference, on the engine chosen and on the portable one.
set -eu
"$top_builddir/clattn" verify --problems 80 --seed 1
"$top_builddir/clattn" verify --problems 20 --seed 500 --engine portable
