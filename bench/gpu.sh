#!/bin/sh
# SPDX-License-Identifier: MIT
# gpu.sh [CLATTN] - all that is measured on a GPU, in one call: right first, then the bench's standard preset, then what rules cost.
#
# CLATTN is the program (build/clattn).  Where the loader finds no driver, a folder is made that names NVIDIA's.
# Random problems, every mechanism and the bench are of the first GPU.  Exit status 1 if a problem was wrong.
set -u
clattn=${1:-build/clattn}
bad=0

if ! "$clattn" devices | grep -q '  hardware  gpu'; then
    OCL_ICD_VENDORS=$(mktemp -d) || exit 2
    export OCL_ICD_VENDORS
    echo libnvidia-opencl.so.1 > "$OCL_ICD_VENDORS/nvidia.icd"
fi
"$clattn" devices | grep -q '  hardware  gpu' || { echo "gpu.sh: there is no GPU with an OpenCL driver"; exit 2; }
"$clattn" devices

echo "== random problems with rules"
"$clattn" verify --device gpu --problems "${PROBLEMS:-300}" --seed 1 || bad=1

echo "== every mechanism, whole and with few queries"
for mechanism in $("$clattn" mechanisms | awk '{print $1}'); do
    for problem in attn:f32:b2:h4/2:q200:k200:d64:lse attn:f16:b2:h4/2:q3:k200:d64:lse; do
        said=$("$clattn" verify --device gpu --mechanism "$mechanism" $problem 2>&1) || { echo "$mechanism: $said"; bad=1; }
    done
done

echo "== speed"
"$clattn" bench --device gpu --no-baseline --preset standard || bad=1

echo "== matrix units, beside cuDNN and FlashAttention-2 where a Python with PyTorch is found"
"${PYTHON:-python3}" "$(dirname "$0")/peers/peers.py" --gpu --device gpu --clattn "$clattn" --rounds "${ROUNDS:-3}" || bad=1
echo "== the same by mma.sync"
for d in 64 128; do
    for causal in "" :causal-tl; do
        "$clattn" bench --device gpu --no-baseline --engine matrix-mma attn:f16:b8:h$((2048 / d)):q2048:k2048:d$d$causal \
            attn:f16:h$((2048 / d)):q16384:k16384:d$d$causal | grep '^attn'
    done
done

echo "== rules"
square=attn:f16:h8:q4096:k4096:d64
for rule in 'k <= q' 'k <= q & q - k < 512' 'k < 512 | k <= q'; do
    "$clattn" bench --device gpu --no-baseline --mask "$rule" --corner tl $square | grep '^attn' | sed "s/^/mask $rule  /"
done
for mechanism in full soft_cap alibi documents relu_count; do
    "$clattn" bench --device gpu --no-baseline --mechanism $mechanism $square | grep '^attn' | sed "s/^/$mechanism  /"
done
exit $bad
