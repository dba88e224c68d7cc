#!/bin/sh
# SPDX-License-Identifier: MIT
# check_texts.sh - the programs for those who write kernels, bench/texts and bench/nvidia_text: they run, say what is asked, and refuse.
set -u
. "$top_srcdir/tests/runtimes.sh"
texts=$top_builddir/bench/texts
text=$top_builddir/bench/nvidia_text
flat=$top_builddir/cl/flat
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT INT TERM
small=attn:f32:h2:q40:k40:d32:causal-tl
documents='k <= q & doc[b,q] == doc[b,k]'

# says PATTERN COMMAND...: exit status 0 and such a line
says() {
    pattern=$1
    shift
    "$@" > "$work/said" 2>&1 && grep -q -e "$pattern" "$work/said" || { cat "$work/said"; return 1; }
}

# refuses PATTERN COMMAND...: exit status 2 and such a line
refuses() {
    pattern=$1
    shift
    "$@" > "$work/said" 2>&1
    [ $? -eq 2 ] && grep -q -e "$pattern" "$work/said" || { cat "$work/said"; return 1; }
}

# The same texts from a folder give the same bits, a kernel that masks otherwise does not, and one that does not compile is named.
check says "$flat .* same bits  matrix-generic" "$texts" --device cpu --seconds 0.05 --engine matrix-generic --keep "$work" --text - --text "$flat" $small
check test -s "$work/0-0" -a -s "$work/0-1"
mkdir "$work/wrong" "$work/broken" && chmod 700 "$work/wrong" "$work/broken"
sed 's/#define NEAR 8.0f/#define NEAR 0.25f/' "$flat/forward_matrix.cl" > "$work/wrong/forward_matrix.cl"
check says "$work/wrong .* other bits" "$texts" --device cpu --seconds 0.05 --engine matrix-generic --text - --text "$work/wrong" \
    attn:f16:h2:q40:k300:d32
echo 'no kernel' > "$work/broken/forward_matrix.cl"
check refuses "$work/broken" "$texts" --device cpu --seconds 0.05 --engine matrix-generic --text "$work/broken" $small
check refuses 'no such\|device' "$texts" --device nowhere $small

# What NVIDIA's compiler would be given, and the editor of its assembly.
check says '-DMATRIX=2 .*-DCOUNTED=1' "$text" --mask "$documents" --corner tl --array 'doc=i32[b,k]' attn:f16:b2:h16:q8192:k8192:d128
check says '^90 384 ' "$text" attn:f16:b8:h16:q2048:k2048:d128
check says '^forward_matrix$' "$text" --engine matrix-mma attn:f16:b8:h16:q2048:k2048:d128
check refuses 'f16 or bf16 throughout' "$text" --engine matrix-wgmma attn:f32:h1:q64:k64:d64
check refuses 'is not' sh -c 'echo "// no kernel" | "$1" edit 90 384 1000' sh "$text"
end_checks "programs for kernels" 10
