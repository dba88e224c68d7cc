#!/bin/sh
# SPDX-License-Identifier: MIT
# check_oclgrind.sh - races, uninitialised values and accesses out of bounds, by Oclgrind's interpreter on
# small problems.
#
# Oclgrind exits 0 whatever it finds, so its log is read.  A kernel whose barriers are taken away must be
# reported, else a silent Oclgrind would make everything pass.
set -u
. "$top_srcdir/tests/runtimes.sh"
use_runtime oclgrind || { echo "skipped: Oclgrind ($why)"; exit 77; }
clattn=$top_builddir/clattn
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
OCLGRIND_LOG=$tmp/log CLATTN_CACHE_DIR=
export OCLGRIND_LOG CLATTN_CACHE_DIR
bad=0
ran=0

# One problem a process: of a second one Oclgrind takes what a kernel has written for uninitialised.
clean() { # a command of clattn that compares, with its arguments
    ran=$((ran + 1))
    rm -f "$tmp/log"
    if ! "$clattn" "$@" > "$tmp/out" 2>&1 || grep -q . "$tmp/log" 2> /dev/null; then
        echo "FAILED: clattn $*"
        cat "$tmp/out"
        head -n 40 "$tmp/log" 2> /dev/null
        bad=$((bad + 1))
    fi
}

# Each engine meets types, head sizes, masks, lengths, packing, splits and strides; what all have from one text, once.
while read -r when problem engines; do
    [ "$when" = each ] || is_long || continue
    for engine in $engines; do
        clean verify --engine "$engine" --problems 1 --seed 3 "$problem"
    done
done << 'END'
each attn:bf16-f32:h2/1:q2:k150:d16:splits=3:lse portable vector
each attn:bf16:h2/1:q2:k150:d16:splits=3:lse matrix-generic
each attn:f32:b2:h1:q17:k33:d6:prefix7-tl:keylens portable vector matrix-generic
each attn:f32:b2:h1:q17:k85:d16/9:prefix7-tl:keylens decode-generic
each attn:f32:h2/1:q5:k37:d8/5:causal-br:lse portable vector
long attn:f32:h2/1:q5:k37:d8/5:causal-br:lse matrix-generic
each attn:f16:h1:q9:k20:d6:window9-tl portable
each attn:f16:h1:q33:k20:d6:window9-tl vector
long attn:f16:h1:q33:k20:d6:window9-tl portable matrix-generic
each attn:f16-f32:b3:h2/1:q9:k17:d6:causal-br:packed vector
long attn:f16-f32:b3:h2/1:q9:k17:d6:causal-br:packed portable
each attn:f16:b3:h2/1:q9:k17:d6:causal-br:packed matrix-generic
each attn:f16:b2:h2/1:q5:k77:d10:causal-br:lse:packed decode-generic
each attn:f32:h1:q3:k70:d66/12:layout=bthd vector
long attn:f32:h1:q3:k70:d66/12:layout=bthd portable matrix-generic
each attn:f32:h1:q3:k70:d18/12:layout=bthd matrix-generic
each attn:f16:h4/1:q8:k70:d10/12:window9-tl:layout=bthd decode-generic
each attn:f32:h1:q1:k1:d1 portable vector
long attn:f32:h1:q1:k1:d1 matrix-generic decode-generic
END
# Parts that the last group joins: what it reads others wrote before they said so by an atomic, which Oclgrind takes for a race.
unset OCLGRIND_DATA_RACES
clean verify --engine decode-generic --problems 1 --seed 3 attn:bf16:h2/1:q2:k150:d16:splits=3:lse
export OCLGRIND_DATA_RACES=1
# blocked by its smallest tiles: those of its own choice take minutes
printf 'clattn-tuning 1\ntune | * | * | * * * * | blocked rows=32 keys=32 chunk=8 items=32 | 2026-11-26 gain=1.000\n' > "$tmp/tuning"
CLATTN_TUNING=$tmp/tuning
export CLATTN_TUNING
clean verify --engine blocked --problems 1 --seed 3 attn:f32:b2:h2/1:q5:k37:d8/5:causal-br:lse:packed
is_long && clean verify --engine blocked --problems 1 --seed 3 attn:f32:h1:q1:k10:d1:causal-br:minmax=2:bk=1:bq=1:sink=1:near=2
CLATTN_TUNING=

# selections, by groups of many items, and attention over their lists
while read -r engine selection; do
    clean verify --engine "$engine" "attn:f32:h1:q3:k40:d3:causal-br:$selection:bq=4/2:sink=2:near=3"
done << 'END'
portable tree=4:bk=2
vector staged=4.8/2.4
vector mean=40:bk=2:mass=0.6
vector minmax=4:bk=1:certify:margin=9
END
for selection in tree=4:bk=2:rope=relative/40 staged=4.8/2.4:rope=chunks/40; do
    clean select --check attn:f32:h1:q3:k40:d4:causal-br:$selection:bq=4/2:sink=2:near=3
done
clean run --delta 2 attn:f32:h1:q3:k40:d4:causal-br:streaming:near=3

# the same kernel without its barriers
mkdir -m 700 "$tmp/kernels"
sed 's/barrier(CLK_LOCAL_MEM_FENCE);/;/' "$top_builddir/cl/flat/forward_portable.cl" > "$tmp/kernels/forward_portable.cl"
cmp -s "$tmp/kernels/forward_portable.cl" "$top_builddir/cl/flat/forward_portable.cl" && {
    echo "FAILED: no barrier was found to take away"
    bad=$((bad + 1))
}
rm -f "$tmp/log"
unset OCLGRIND_UNINITIALIZED # a thousand reports are the most, and these would come first
extended=attn:f16:h2/1:q3:k40:d6:causal-br:lse:tree=4:bk=2:bq=2:sink=3:near=3:extend=streaming/40
clean verify --problems 1 $extended # here, for what extend_gather has written Oclgrind takes for uninitialised, whole buffers too
rm -f "$tmp/log"
CLATTN_KERNEL_DIR=$tmp/kernels "$clattn" verify --engine portable --problems 1 attn:f32:h2/1:q5:k37:d8 > "$tmp/out" 2>&1
grep -q 'data race' "$tmp/log" || {
    echo "FAILED: the race of a kernel without barriers was not reported"
    cat "$tmp/out"
    bad=$((bad + 1))
}
echo "Oclgrind: $ran problems, $bad failed"
[ "$bad" -eq 0 ]
