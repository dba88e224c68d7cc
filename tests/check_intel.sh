#!/bin/sh
# SPDX-License-Identifier: MIT
# check_intel.sh - the suite on Intel's OpenCL runtime for CPUs: the Check programs, the real data, a random
# sweep.
set -u
. "$top_srcdir/tests/runtimes.sh"
use_runtime intel || { echo "skipped: Intel CPU runtime ($why)"; exit 77; }
"$top_builddir/clattn" devices | grep -q 'platform  Intel' || { echo "Intel's runtime does not come up"; exit 1; }

programs="tests/check_properties tests/check_kernel_functions" problems=15 engines=vector
is_long && programs=$RUNTIME_CHECKS problems=200 engines="vector portable"
export CLATTN_TEST_ENGINES="$engines" # blocked kernels take this compiler seconds each
for program in $programs; do
    [ -x "$top_builddir/$program" ] && check "$top_builddir/$program"
done
for selection in tree=64:bk=2:bq=64/4 staged=64.512/16.128:bq=64/2; do
    check "$top_builddir/clattn" verify "attn:f32:h4/2:q300:k900:d64:causal-br:lse:$selection:scope=head:sink=4:near=32"
done
check sh "$top_srcdir/tests/check_run.sh"
check sh "$top_srcdir/tests/check_determinism.sh"
check "$top_builddir/clattn" verify --problems $problems --seed 9000
check "$top_builddir/clattn" verify --problems $((problems / 5)) --seed 9500 --engine portable
end_checks "Intel CPU runtime" 8
