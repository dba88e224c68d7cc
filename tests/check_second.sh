#!/bin/sh
# SPDX-License-Identifier: MIT
# check_second.sh - a second process that creates the same plan pays no compilation: on PoCL by the driver's
# cache, which ours stays out of the way of; on Intel's runtime, if it is here, by ours.  Nor does PoCL compile
# the same kernels again for more keys or queries, as it does where they leave it the size of a work-group.
set -u
. "$top_srcdir/tests/runtimes.sh"
clattn=$top_builddir/clattn
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
POCL_CACHE_DIR=$tmp/pocl
bad=0
ran=0

plan_ms() { # of a new process
    "$clattn" run --mask 'k <= q & q - k < 100' --corner tl --score 'score - 0.125 * (q - k)' \
        attn:f32:h2:q100:k100:d64 < /dev/null |
        sed -n 's/^plan *\([0-9]*\)\.\([0-9]*\) s$/\1\2/p' | sed 's/^0*\([0-9]\)/\1/'
}

# Ratios, the best of three second processes: machines are noisy.
try() {
    use_runtime "$1" || { echo "skipped: $1 ($why)"; return; }
    ran=$((ran + 1))
    CLATTN_CACHE_DIR=$tmp/$1
    POCL_CACHE_DIR=$tmp/pocl
    mkdir -p "$CLATTN_CACHE_DIR" "$POCL_CACHE_DIR"
    chmod 700 "$CLATTN_CACHE_DIR" "$POCL_CACHE_DIR"
    export CLATTN_CACHE_DIR POCL_CACHE_DIR
    first=$(plan_ms)
    second=$first
    for i in 1 2 3; do
        again=$(plan_ms)
        [ "$again" -lt "$second" ] && second=$again
    done
    echo "$1: first process $first ms, later ones $second ms"
    [ $((second * 3)) -lt "$first" ] || { echo "FAILED: the second process compiled again"; bad=$((bad + 1)); }
}

try pocl
[ -z "$(ls -A "$tmp/pocl" 2> /dev/null)" ] && { echo "FAILED: the test did not see PoCL's cache"; bad=$((bad + 1)); }

compiled() { # kernels in PoCL's cache after a run with so many queries and keys
    "$clattn" run --mask 'k <= q & doc[b,q] == doc[b,k]' --corner br --array 'doc=i32[b,k]' \
        "attn:f32:h2:q$1:k$2:d64:minmax=64:bq=64/16:bk=8:sink=3:near=20" < /dev/null > "$tmp/run" 2>&1 || cat "$tmp/run"
    find "$tmp/pocl" -name '*.so' | wc -l
}
use_runtime pocl && POCL_CACHE_DIR=$tmp/pocl
first=$(compiled 700 2000)
longer=$(compiled 700 3111)
other=$(compiled 911 3111)
echo "kernels compiled: $first, no more with more keys: $longer, nor with more queries: $other"
[ "$first" -gt 0 ] && [ "$longer" -eq "$first" ] && [ "$other" -eq "$first" ] || {
    echo "FAILED: another length compiled kernels again"
    bad=$((bad + 1))
}

try intel
[ "$ran" -gt 0 ] && [ "$bad" -eq 0 ]
