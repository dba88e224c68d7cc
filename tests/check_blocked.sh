#!/bin/sh
# SPDX-License-Identifier: MIT
# check_blocked.sh - the blocked engines on PoCL, against the double reference: types, masks, edits, lengths,
# parts of the keys, head sizes around their tiles, poison (seed 1: NaN and infinities where nothing is
# seen; 3: scores as large as 1e4).
set -u
. "$top_srcdir/tests/runtimes.sh"
clattn=$top_builddir/clattn

verify() { check verify_by blocked "$@"; }
verify_large() { check verify_by blocked-large "$@"; }

# half of them wait for a long run: a kernel takes two seconds
verify attn:f32:h2:q130:k330:d128:causal-br:lse attn:bf16-f32:b2:h2:q40:k170:d40/72:window16-causal-tl \
    attn:f32-f16:h8/2:q1:k500:d64:splits=3:lse attn:f32:b2:h2:q40:k70:d24/20:causal-br:packed:qtotal=60:ktotal=100 \
    attn:f32:h1:q65:k64:d1/3:lse attn:f32:h1:q66:k129:d256/33:causal-tl \
    attn:f32:b2:h4/2:q33:k130:d32:causal-br:lse:tree=32:bq=16/2:scope=all:near=7
verify_large attn:f32:h2:q140:k300:d128:causal-br:lse
verify --weight 'relu(score)' attn:f32:h2:q40:k170:d32:causal-br:lse
verify --mask 'doc[b,q] == doc[b,k]' --array 'doc=i32[b,k]' --corner tl attn:f32:b2:h2:q64:k64:d16
wanted=30
if is_long; then
    verify attn:f32:h2:q140:k300:d64 attn:f16:b2:h4/2:q33:k65:d64:causal-br:lse attn:bf16:b3:h4/1:q3:k99:d96:keylens:lse \
        attn:f16-f32:h2:q17:k133:d9/7:prefix7-br:layout=bthd attn:f32:h1:q33:k63:d17/256 \
        attn:f32:h4/2:q40:k300:d32:causal-br:lse:tree=64:bq=8:scope=group:near=16 \
        attn:f32:b2:h4/2:q40:k330:d32:causal-br:lse:splits=3:tree=16:bq=8:bk=1:scope=head:near=3
    verify_large attn:bf16-f32:b2:h2:q130:k270:d60/41:packed:qtotal=250:ktotal=500:causal-tl
    verify --score '30 * tanh(score / 30)' attn:f32:h2:q40:k70:d32:causal-br:lse
    verify --weight 'relu(score)' --normaliser count attn:f32:h2:q40:k70:d32:causal-br:lse
    verify --weight 'score' --normaliser none --mask 'k % 3 != 1' attn:f32:h2:q40:k70:d64
    wanted=63
fi
"$clattn" run --engine blocked attn:f32:h1:q5:k5:d257 2>&1 < /dev/null | grep -q 'head sizes above 256' ||
    { echo "FAILED: a head of 257 was not refused for that reason"; bad=$((bad + 1)); }

# sums that are not rescaled: the self-test has to see it
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
sed 's/rescale_row(totals, alpha\[i\], i);/;/' "$top_builddir/cl/flat/forward_blocked.cl" > "$tmp/forward_blocked.cl"
if cmp -s "$tmp/forward_blocked.cl" "$top_builddir/cl/flat/forward_blocked.cl" ||
    ! CLATTN_KERNEL_DIR=$tmp "$clattn" verify --engine blocked attn:f32:h2:q40:k70:d64 2>&1 < /dev/null |
    grep -q 'gave wrong numbers'; then
    echo "FAILED: a kernel that does not rescale its sums passed the self-test"
    bad=$((bad + 1))
fi
echo "$verified problems"
end_checks "blocked engines" 4 && [ "$verified" -eq $wanted ]
