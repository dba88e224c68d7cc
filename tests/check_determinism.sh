#!/bin/sh
# SPDX-License-Identifier: MIT
# check_determinism.sh - the same bits on repeat and for any number of threads: `clattn run` writes o, files
# are compared.
#
# The number of threads is told to PoCL (POCL_MAX_PTHREAD_COUNT) and to Intel's runtime
# (CL_CONFIG_CPU_TBB_NUM_WORKERS); on other drivers the runs are repeats.  CLATTN names the program.
set -eu

here=${top_builddir:-$(pwd)} # absolute, from tests/local.mk
clattn=${CLATTN:-$here/clattn}
if [ ! -x "$clattn" ]; then
    echo "check_determinism: $clattn is not built" >&2
    exit 1
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/clattn-bits.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

number=0
failures=0

# write THREADS PROBLEM FILE
write() {
    POCL_MAX_PTHREAD_COUNT=$1 CL_CONFIG_CPU_TBB_NUM_WORKERS=$1 "$clattn" run "$2" --o "$3" >"$work/log" 2>&1
}

# one PROBLEM
one() {
    number=$((number + 1))
    name="$1: 1 and 2 threads, twice"
    rm -f "$work"/*.npy
    if write 1 "$1" "$work/a.npy" && write 2 "$1" "$work/b.npy" && write 2 "$1" "$work/c.npy" &&
        [ -s "$work/a.npy" ] && cmp -s "$work/a.npy" "$work/b.npy" && cmp -s "$work/b.npy" "$work/c.npy"; then
        echo "ok $number - $name"
    else
        failures=$((failures + 1))
        echo "not ok $number - $name"
        sed 's/^/# /' "$work/log" | tail -n 20
    fi
}

# Other inputs must give other bits, else this would compare nothing.
differ() {
    number=$((number + 1))
    rm -f "$work"/*.npy
    if write 2 attn:f32:h2:q100:k100:d32 "$work/a.npy" && write 2 attn:f32:h2:q100:k100:d32:causal-br "$work/b.npy" &&
        [ -s "$work/a.npy" ] && ! cmp -s "$work/a.npy" "$work/b.npy"; then
        echo "ok $number - another pattern gives other bits"
    else
        failures=$((failures + 1))
        echo "not ok $number - another pattern gives other bits"
        sed 's/^/# /' "$work/log" | tail -n 20
    fi
}

echo "1..6"
one attn:f32:b2:h4/2:q300:k300:d64:causal-br
one attn:f16:h4/1:q130:k777:d40/24
one attn:bf16-f32:h2:q65:k65:d128:window16-causal-tl
one attn:f32:h8/2:q1:k5000:d64:splits=7
one attn:f32:h4:q200:k200:d32:causal-br:engine=portable
differ
[ "$failures" -eq 0 ]
