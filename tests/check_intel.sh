#!/bin/sh
# SPDX-License-Identifier: MIT
# check_intel.sh - the suite on Intel's OpenCL runtime for CPUs: the Check programs, the real data, a random sweep.
set -u
. "$top_srcdir/tests/runtimes.sh"
use_runtime intel || { echo "skipped: Intel CPU runtime ($why)"; exit 77; }
"$top_builddir/clattn" devices | grep -q 'platform  Intel' || { echo "Intel's runtime does not come up"; exit 1; }

export CLATTN_TEST_ENGINES="vector portable" # blocked kernels take this compiler seconds each
for program in $RUNTIME_CHECKS; do
    [ -x "$top_builddir/$program" ] && check "$top_builddir/$program"
done
check sh "$top_srcdir/tests/check_run.sh"
check sh "$top_srcdir/tests/check_determinism.sh"
check "$top_builddir/clattn" verify --problems 200 --seed 9000
check "$top_builddir/clattn" verify --problems 40 --seed 9500 --engine portable
end_checks "Intel CPU runtime" 4
