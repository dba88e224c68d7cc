#!/bin/sh
# SPDX-License-Identifier: MIT
# check_matrix.sh - the loop nests of the matrix and decode engines with their plain tile, on PoCL, against
# the double reference: types, masks, edits, lengths, parts of the keys, head sizes, poison (seed 1: NaN and
# infinities where nothing is seen; 3: scores as large as 1e4).
set -u
. "$top_srcdir/tests/runtimes.sh"
clattn=$top_builddir/clattn

verify() { check verify_by matrix-generic "$@"; }
decode() { check verify_by decode-generic "$@"; }

# Kernels of these engines take PoCL's compiler three seconds each: half of them wait for a long run.
verify attn:f16:b2:h4/2:q33:k65:d64:causal-br:lse attn:f16:h8/2:q1:k500:d64:splits=3:lse \
    attn:f32:b2:h2:q40:k70:d24/20:causal-br:packed:qtotal=60:ktotal=100 attn:f16:h2:q17:k33:d9/7:prefix7-br:layout=bthd \
    attn:bf16:h2:q15:k16:d1/3:lse attn:bf16:b3:h4/1:q3:k99:d64:keylens:lse \
    attn:f16:h2:q33:k65:d72/65:window16-causal-br:lse # above 64 columns two items have the same rows
decode attn:f16:b2:h4/2:q7:k165:d64:causal-br:lse attn:bf16:b2:h2:q12:k170:d40/72:window16-causal-tl \
    attn:f32:b2:h2:q4:k70:d24/20:causal-br:packed:qtotal=6:ktotal=100 attn:f16:h4/1:q8:k1:d1/3:lse \
    attn:bf16:b3:h4/1:q3:k99:d64:keylens:causal-br:lse
verify --score 'score - slope[h] * (q - k)' --array 'slope=f32[h]' --corner br attn:bf16:h4/2:q20:k90:d32
decode --mask 'doc[b,q] == doc[b,k]' --array 'doc=i32[b,k]' --corner tl attn:f16:b2:h2:q30:k64:d16
# lists: heads of a group share them, and a tile that they cut or that lies in one; blocks of one key; blocks that no
# tile's keys divide, a stretch's end inside a block
verify attn:f16:b2:h4/2:q33:k130:d32:causal-br:lse:tree=32:bq=16/2:scope=all:near=7 \
    attn:f16:b2:h4/1:q21:k130:d32:causal-br:lse:tree=16:bq=4:bk=1:scope=group:near=3 \
    attn:f16:h4/2:q70:k900:d32:causal-br:lse:minmax=126:bk=3:sink=5:near=33
decode attn:f16:b2:h8/2:q3:k300:d32:causal-br:lse:tree=64:bq=1:scope=group:near=16 \
    attn:f16:b3:h6/2:q2:k165:d32:causal-br:lse:tree=16:bk=4:bq=2:scope=head:near=3
wanted=57
if is_long; then
    verify attn:f32:h2:q40:k70:d16 attn:bf16:b2:h2:q40:k70:d40/72:window16-causal-tl attn:f16:h1:q16:k31:d128 \
        attn:f16:h4/2:q20:k130:d80:causal-br:splits=2:lse \
        attn:f16:h2:q40:k300:d32:window100-causal-br:lse attn:f32:h1:q1:k1:d576
    decode attn:f32:h2:q4:k70:d16 attn:f16:h8/2:q1:k500:d128:splits=3:lse attn:f16:h2:q17:k33:d9/7:prefix7-br:layout=bthd \
        attn:bf16:h1:q16:k63:d16
    verify --score '30 * tanh(score / 30)' attn:f16:h2:q40:k70:d32:causal-br:lse
    verify --mask 'doc[b,q] == doc[b,k]' --array 'doc=i32[b,k]' --corner tl attn:f16:b2:h2:q64:k64:d16
    decode --score '30 * tanh(score / 30)' attn:f16:h4/1:q4:k70:d32:causal-br:lse
    decode --score 'score - slope[h] * abs(q - k)' --array 'slope=f32[h]' --corner br attn:bf16:h4/2:q10:k190:d32
    # larger blocks, holes between what is seen
    verify attn:f16:h4/2:q40:k300:d32:causal-br:lse:tree=64:bq=8:scope=group:near=16 \
        attn:f16:h4/2:q20:k200:d32:causal-br:lse:tree=16:bq=3:bk=2:scope=head:near=1 \
        attn:f16:h4/2:q40:k1500:d32:causal-br:lse:mean=400:bk=200:scope=all:bq=16:sink=5:near=3 \
        attn:f32:h2:q300:k900:d32:prefix100-br:mean=96:bk=16:sink=4:near=32 \
        attn:f16:h2:q40:k900:d32:window300-causal-br:lse:tree=32:bk=1:bq=8:scope=head:near=5
    decode attn:f16:h4/1:q4:k500:d32:causal-br:lse:tree=48:bq=4:bk=1:scope=all:near=9
    wanted=117
fi
"$clattn" run --engine matrix-generic attn:f32:h1:q5:k5:d8 --normaliser count --weight 'relu(score)' 2>&1 < /dev/null |
    grep -q 'a softmax of usual scale is wanted' ||
    { echo "FAILED: a weight that is no softmax's was not refused for that reason"; bad=$((bad + 1)); }

# A kernel with a mistake has to be found: ENGINE, its KERNEL, MISTAKE (an edit by sed), what is said then,
# OPTION... PROBLEM.
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
finds() {
    engine=$1 kernel=$2 mistake=$3 sentence=$4
    shift 4
    sed "$mistake" "$top_builddir/cl/flat/$kernel.cl" > "$tmp/$kernel.cl"
    if cmp -s "$tmp/$kernel.cl" "$top_builddir/cl/flat/$kernel.cl" ||
        ! CLATTN_KERNEL_DIR=$tmp "$clattn" verify --engine "$engine" "$@" 2>&1 < /dev/null | grep -q "$sentence"; then
        echo "FAILED: $kernel with a mistake passed: $mistake"
        bad=$((bad + 1))
    fi
}
finds matrix-generic forward_matrix 's|rescale(o, &g);|;|' 'gave wrong numbers' attn:f16:h2:q40:k70:d64
listed=attn:f16:h2:q70:k900:d32:causal-br:minmax=126:bk=3:sink=5:near=33
finds matrix-generic forward_matrix 's|blocks - (of_last < size);|blocks;|' 'gave wrong numbers' $listed
finds matrix-generic forward_matrix 's|- first), step, bias)|- first), 0.0f, bias)|' 'gave wrong numbers' --score 'score - 0.5 * (q - k)' \
    --corner br attn:f16:h2:q20:k90:d32
poisoned=attn:f16:h2:q40:k70:d64:window16-causal-tl
finds matrix-generic forward_matrix 's|if (care > 0 && now.class == 1)|if (0)|' '0 passed, 1 failed' --seed 1 $poisoned
finds decode-generic forward_decode 's|rescale(o, &g);|;|' 'gave wrong numbers' attn:f16:h2:q4:k70:d64
finds matrix-generic forward_matrix 's|offer_weights(p, &rows->box);|;|' 'gave wrong numbers' attn:f16:h2:q20:k40:d72
finds matrix-generic forward_matrix 's|JOIN_ROWS(SUM_OF, sums, rows)|;|' 'gave wrong numbers' attn:f16:h2:q20:k40:d72:lse
if is_long; then
    finds matrix-generic forward_matrix 's|JOIN_ROWS(fmax, m, rows)|;|' 'gave wrong numbers' attn:f16:h2:q20:k40:d72
    finds matrix-generic forward_matrix 's|add_special(o, s, source, stride, rows, env, b, item ^ LANES, item);|;|' \
        '0 passed, 1 failed' --seed 1 attn:f16:h2:q40:k70:d72:window16-causal-tl
    finds matrix-generic forward_matrix 's|has_block(&w->one, .*) : -1;|1 : -1;|' 'gave wrong numbers' $listed
    finds matrix-generic forward_matrix 's/care == 0 ? LEAST_CARE : care + 1/MOST_CARE + 1/' '0 passed, 1 failed' --seed 1 $poisoned
    finds decode-generic forward_decode 's|far = TEAMS / 2; far > 0;|far = 0; far > 0;|' 'gave wrong numbers' attn:f16:h2:q4:k70:d64
fi
echo "$verified problems"
end_checks "matrix engines" 6 && [ "$verified" -eq $wanted ]
