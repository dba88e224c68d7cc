#!/bin/sh
# SPDX-License-Identifier: MIT
# check_run.sh - `clattn run' on the real attention in tests/data, o and lse against the stored results
# (check_data.c does the same through the API, for every case on every engine).  The last one's lists have
# room for all keys.
set -u
clattn=$top_builddir/clattn
data=$top_srcdir/tests/data
bad=0
run=0
while read -r folder problem; do
    d=$data/$folder
    run=$((run + 1))
    "$clattn" run --q "$d/q.npy" --k "$d/k.npy" --v "$d/v.npy" --check "$d/o.npy" --check-lse "$d/lse.npy" "$problem" \
        < /dev/null || { echo "FAILED: $folder"; bad=$((bad + 1)); }
done << EOF
causal attn:f16-f32:h6/2:q512:k512:d64:causal-tl
mixed attn:f16-f32:h6/2:q896:k896:d64:prefix768-tl
bidirectional attn:f16-f32:h3/1:q1000:k1000:d64
cross attn:f16-f32:h6/2:q548:k1500:d64
causal attn:f16-f32:h6/2:q512:k512:d64:causal-tl:tree=512:near=8:sink=2
EOF
# the comparison itself must be able to fail: causal input against another mask's output
"$clattn" run --q "$data/causal/q.npy" --k "$data/causal/k.npy" --v "$data/causal/v.npy" --check "$data/causal/o.npy" \
    attn:f16-f32:h6/2:q512:k512:d64 > /dev/null && { echo "FAILED: a wrong mask passed"; bad=$((bad + 1)); }
# every row its own anchor: dense attention
"$clattn" run --q "$data/causal/q.npy" --k "$data/causal/k.npy" --v "$data/causal/v.npy" --delta 1 \
    attn:f16-f32:h6/2:q512:k512:d64:causal-tl:streaming | grep 'distance from dense attention 0.0000, before 0.[1-9]' > /dev/null ||
    { echo "FAILED: --delta 1 is not dense attention"; bad=$((bad + 1)); }
echo "$run cases, $bad failed"
[ $run -eq 5 ] && [ $bad -eq 0 ]
