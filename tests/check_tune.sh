#!/bin/sh
# SPDX-License-Identifier: MIT
# check_tune.sh - clattn tune: what it finds is kept and taken by later plans; a candidate that hangs or ends
# its process costs that candidate, is written down, and is never tried again.
set -u
. "$top_srcdir/tests/runtimes.sh"
use_runtime pocl || { echo "skipped: PoCL ($why)"; exit 77; }
layer=$top_builddir/tests/fault/.libs/faultlayer.so
[ -f "$layer" ] || { echo "skipped: $layer is not built"; exit 77; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
clattn=$top_builddir/clattn
problem=attn:f32:h2:q1:k1000:d16 # few rows: on every CPU the same kernel, and two knobs
CLATTN_CACHE_DIR=$tmp/cache
CLATTN_TUNING=$tmp/tuning
export CLATTN_CACHE_DIR CLATTN_TUNING

has() { # an expression, a command
    wanted=$1
    shift
    said=$("$@" 2>&1 < /dev/null)
    echo "$said" | grep -qE "$wanted" || { echo "no '$wanted' in '$said'"; return 1; }
}

lacks() { # an expression, a command
    wanted=$1
    shift
    said=$("$@" 2>&1 < /dev/null)
    if echo "$said" | grep -qE "$wanted"; then
        echo "'$wanted' is in '$said'"
        return 1
    fi
}

tune() { "$clattn" tune --budget 5 --timeout 6 "$@" $problem; }
with_fault() { # abort:TEXT or hang:TEXT, a command
    fault=$1
    shift
    (
        OPENCL_LAYERS=$layer FAULT_BUILD=$fault
        export OPENCL_LAYERS FAULT_BUILD
        "$@" 2>&1
    )
}

echo "== nothing measured yet"
check has "serves   the untuned" "$clattn" tune --effort estimate $problem
check has "class .* \| f32 d16 decode k1024$" "$clattn" tune --effort estimate $problem
check test ! -e "$CLATTN_TUNING"

echo "== a compiler that ends its process"
check has "^clattn tune: vector keys=512: it ended its process" with_fault abort:-DBK=512 tune
check has "^block \| .* \| vector keys=512 \| ....-..-.. it ended its process$" cat "$CLATTN_TUNING"
check has "^tune \| .* \| f32 d16 decode k1024 \| vector.* \| ....-..-.. gain=[0-9]+\.[0-9]{3} ms=.* effort=measure$" cat "$CLATTN_TUNING"
check lacks "^tune .*keys=512" cat "$CLATTN_TUNING"
check has "is tuned" tune
check lacks "ended its process" with_fault abort:-DBK=512 tune --again # it is known, and not tried
check has "serves   tuned by the user's file: vector" "$clattn" tune --effort estimate $problem

echo "== one that hangs"
rm "$CLATTN_TUNING"
check has "^clattn tune: vector keys=512: it hung" with_fault hang:-DBK=512 tune
check has "^block .* it hung$" cat "$CLATTN_TUNING"
check has "^tune " cat "$CLATTN_TUNING"

echo "== one that the library's own choice needs"
rm "$CLATTN_TUNING"
check has "FAILED: it ended its process" with_fault abort:-DBK=1024 tune
check expect 1 sh -c "OPENCL_LAYERS='$layer' FAULT_BUILD=abort:-DBK=1024 '$clattn' tune --budget 3 $problem > '$tmp/said' 2>&1; echo \$?"

echo "== a line is taken by plans, and a wrong text refused before anything is measured"
head='clattn-tuning 1'
key=$("$clattn" tune --effort estimate $problem | sed -n 's/^  class    //p')
printf '%s\ntune | %s | portable rows=8 keys=16 | 2026-11-26 gain=1.500\ntune | half' "$head" "$key" > "$CLATTN_TUNING"
check has "serves   tuned by the user's file: portable rows=8 keys=16, 1.500 times" "$clattn" tune --effort estimate $problem
check has "engine *portable" "$clattn" run $problem
check has "is tuned.*portable" tune
echo rubbish > "$tmp/other"
check has "line 1" "$clattn" tune --output "$tmp/other" $problem
check expect rubbish cat "$tmp/other"

echo "== merging"
printf '%s\n# a comment\ntune | %s | portable rows=8 keys=16 | 2026-11-27 gain=1.600\ntune | a | b | * * * * | vector | 2026-11-26 gain=1.000\n' "$head" "$key" > "$tmp/other"
check expect "$head
tune | a | b | * * * * | vector | 2026-11-26 gain=1.000
tune | $key | portable rows=8 keys=16 | 2026-11-27 gain=1.600" "$clattn" tune --merge "$CLATTN_TUNING" "$tmp/other"
check expect "$("$clattn" tune --merge "$CLATTN_TUNING" "$tmp/other")" "$clattn" tune --merge "$tmp/other" "$CLATTN_TUNING"
check has "nowhere: No such file" "$clattn" tune --merge "$tmp/nowhere"

echo "== mistakes"
check has "takes estimate, measure or patient" "$clattn" tune --effort great
check has "not a whole number" "$clattn" tune --budget 0
check has "problem 'attn:x'" "$clattn" tune attn:x
check has "no file to keep lines in" env CLATTN_TUNING= "$clattn" tune $problem
check has "the worker takes" sh -c "echo hello | '$clattn' tune --worker"
end_checks "tune" 28 && [ "$ran" -eq 28 ]
