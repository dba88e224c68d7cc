#!/bin/sh
# SPDX-License-Identifier: MIT
# check_remembered.sh - an engine that fails in one process is passed over by the next one without a build,
# until it is forgotten.
#
# PoCL in the guise of an NVIDIA GPU (FAULT_GUISE, tests/fault/faultlayer.c) refuses the matrix engines'
# kernels; other texts in CLATTN_KERNEL_DIR make one that gives wrong numbers, and one that cannot be
# launched.
set -u
. "$top_srcdir/tests/runtimes.sh"
use_runtime pocl || { echo "skipped: PoCL ($why)"; exit 77; }
OPENCL_LAYERS=$top_builddir/tests/fault/.libs/faultlayer.so
[ -f "$OPENCL_LAYERS" ] || { echo "skipped: $OPENCL_LAYERS is not built"; exit 77; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
clattn=$top_builddir/clattn
problem=attn:f16:h2:q40:k70:d64
CLATTN_CACHE_DIR=$tmp/cache
FAULT_GUISE=580.1
export OPENCL_LAYERS CLATTN_CACHE_DIR FAULT_GUISE

# engine: the one that serves a problem in a new process, and how many programs were built for it
engine() {
    "$clattn" run "$@" < /dev/null 2>&1 | sed -n -e 's/^engine *//p' -e 's/^\[fault\] builds //p' | tr '\n' ' '
}

quarantined() { # of which driver: lines of `clattn devices'
    FAULT_GUISE=$1 "$clattn" devices 2> /dev/null | sed -n 's/^  quarantined  //p' | sed "s/$(date -u +%Y-%m-%d)/today/" | sort
}

in_json() { "$clattn" devices --json 2> /dev/null | grep -c "$1"; }

check expect "blocked 3 " engine $problem # matrix-wgmma, matrix-mma; matrix-small has the same program
check expect "blocked 1 " engine $problem
check expect "matrix-mma: its kernel did not build (driver 580.1, today), in attn:f16:b1:h2:q40:k70:d64
matrix-wgmma: its kernel did not build (driver 580.1, today), in attn:f16:b1:h2:q40:k70:d64" quarantined 580.1
check expect 2 in_json '"fault": "its kernel did not build"'
check expect 2 in_json '"details": ".*refused a kernel'
check expect 2 in_json "\"file\": \"$tmp/cache/[0-9a-f]*.note\""
check sh -c "'$clattn' devices 2> /dev/null | grep -q '^               $tmp/cache/[0-9a-f]*.note\$'"
check expect "blocked 3 " engine attn:f16:h2:q40:k70:d32 # another specialisation
check expect "blocked 1 " engine attn:f16:h2:q41:k90:d64 # the same
check expect "1 " engine --engine matrix-mma $problem     # a named engine is tried

echo "== another driver: nothing is known, and it learns for itself"
check expect "" quarantined 580.2
FAULT_GUISE=580.2
check expect "blocked 3 " engine $problem
check expect "blocked 1 " engine $problem
FAULT_GUISE=580.1

echo "== forgotten"
check expect "6 kernels forgotten" sh -c "'$clattn' devices --forget 2> /dev/null"
check expect "" quarantined 580.1
check expect "0 kernels forgotten" sh -c "'$clattn' devices --forget 2> /dev/null"
check expect "blocked 3 " engine $problem
rm "$CLATTN_CACHE_DIR"/*.note # the other way
check expect "blocked 3 " engine $problem

echo "== without a folder that may be used"
CLATTN_CACHE_DIR=
check expect "blocked 4 " engine $problem
check expect "" quarantined 580.1
CLATTN_CACHE_DIR=/proc/clattn
check expect "blocked 4 " engine $problem

echo "== wrong numbers: the plain tile where mma.sync's is laid out"
CLATTN_CACHE_DIR=$tmp/wrong
CLATTN_KERNEL_DIR=$tmp/kernels
export CLATTN_KERNEL_DIR
mkdir -m 700 "$CLATTN_KERNEL_DIR"
{ printf '#undef MATRIX\n#define MATRIX 0\n'; cat "$top_builddir/cl/flat/forward_matrix.cl"; } > "$CLATTN_KERNEL_DIR/forward_matrix.cl"
chmod 600 "$CLATTN_KERNEL_DIR/forward_matrix.cl"
check expect "blocked 3 " engine $problem
check expect "blocked 1 " engine $problem
check expect "matrix-mma: its numbers were wrong (driver 580.1, today), in attn:f16:b1:h2:q40:k70:d64
matrix-wgmma: its kernel did not build (driver 580.1, today), in attn:f16:b1:h2:q40:k70:d64" quarantined 580.1
echo '/* mended */' >> "$CLATTN_KERNEL_DIR/forward_matrix.cl"
check expect "blocked 2 " engine $problem # another text is another kernel

echo "== a kernel that cannot be launched"
echo 'kernel void forward(global float *x) { x[0] = 0; }' > "$CLATTN_KERNEL_DIR/forward_matrix.cl"
check expect "2 " engine attn:f16:h2:q40:k70:d32 # no plan: on a GPU the context may be lost
check expect "blocked 1 " engine attn:f16:h2:q40:k70:d32
check sh -c "'$clattn' devices 2> /dev/null | grep -q 'matrix-mma: its first launch failed'"
end_checks "quarantine" 28 && [ "$ran" -eq 28 ]
