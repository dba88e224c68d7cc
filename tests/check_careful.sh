#!/bin/sh
# SPDX-License-Identifier: MIT
# check_careful.sh - a compiler that ends its process, or hangs, costs the build helper, not the program: the
# next engine serves, it is remembered, and later programs pass it over without a helper too.
set -u
. "$top_srcdir/tests/runtimes.sh"
use_runtime pocl || { echo "skipped: PoCL ($why)"; exit 77; }
OPENCL_LAYERS=$top_builddir/tests/fault/.libs/faultlayer.so
[ -f "$OPENCL_LAYERS" ] || { echo "skipped: $OPENCL_LAYERS is not built"; exit 77; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
clattn=$top_builddir/clattn
problem=attn:f32:h2:q40:k70:d24
its=-DAHEAD=1 # of the engine that is chosen, and of no other here
CLATTN_CACHE_DIR=$tmp/cache
POCL_CACHE_DIR=$tmp/pocl
mkdir "$POCL_CACHE_DIR"
export OPENCL_LAYERS CLATTN_CACHE_DIR POCL_CACHE_DIR

# engine: the one that serves a problem in a new process, and how many processes made programs for it
engine() {
    "$clattn" run "$@" < /dev/null 2>&1 | sed -n -e 's/^engine *//p' -e 's/^\[fault\] builds.*/and/p' | tr '\n' ' '
}

with_fault() { # abort:TEXT or hang:TEXT, a command
    FAULT_BUILD=$1
    export FAULT_BUILD
    shift
    "$@"
    code=$?
    unset FAULT_BUILD
    return $code
}

quarantined() { "$clattn" devices 2> /dev/null | sed -n 's/^  quarantined  //p' | sed "s/$(date -u +%Y-%m-%d)/today/"; }
ends() { "$clattn" run "$@" > /dev/null 2>&1; echo $?; }

echo "== a sound compiler: asked once"
check expect "and vector and " engine --careful 60 $problem
check expect "vector and " engine --careful 60 $problem
check expect "vector and " engine $problem
rm -r "$CLATTN_CACHE_DIR"

echo "== one that ends its process"
check expect 134 with_fault "abort:-DMK=" ends $problem # the fault is one
rm -rf "$CLATTN_CACHE_DIR"
check expect "and blocked and " with_fault "abort:$its" engine --careful 60 $problem # of three processes one could say no more
check expect "vector: its compiler ended the process (driver 3.1+debian, today), in attn:f32:b1:h2:q40:k70:d24" quarantined
check expect "blocked and " with_fault "abort:$its" engine --careful 60 $problem # the helper made it
check expect "blocked and " with_fault "abort:$its" engine $problem
check expect 134 with_fault "abort:$its" ends --engine vector $problem # who names it has it
check expect 2 with_fault "abort:$its" ends --careful 60 --engine vector $problem
check expect "1 kernel forgotten" sh -c "'$clattn' devices --forget 2> /dev/null"
check expect "and vector and " engine --careful 60 $problem

echo "== one that hangs"
rm -r "$CLATTN_CACHE_DIR"
check expect "and blocked and " with_fault "hang:$its" engine --careful 5 $problem
check expect "vector: its compiler hung (driver 3.1+debian, today), in attn:f32:b1:h2:q40:k70:d24" quarantined

echo "== every engine"
rm -r "$CLATTN_CACHE_DIR"
check expect 2 with_fault "abort:-D" ends --careful 60 $problem
check test "$(quarantined | grep -c 'ended the process')" -ge 2

echo "== what is no request"
check expect 2 sh -c "'$clattn' build-helper < /dev/null > /dev/null 2>&1; echo \$?"
check expect 2 sh -c "echo rubbish | '$clattn' build-helper > /dev/null 2>&1; echo \$?"
end_checks "careful" 18 && [ "$ran" -eq 18 ]
