#!/bin/sh
# SPDX-License-Identifier: MIT
# disassemble.sh [PROBLEM...] - what PoCL's compiler made of the vector engine's loops: their instructions,
# counted.
#
# Each problem (the tuned shapes, if none is named) is run once with an empty cache folder; the innermost
# loops that multiply and add in vectors are listed, with what should not be in them: vectors kept on the
# stack (spills), divisions, gathers, multiplications and additions that were not fused.  An addition is in
# its place where exponentials are made and sums are taken.  CLATTN names the program (build/clattn).  Needs
# objdump.  Exit status 1 if a division or a gather was found, or a loop of products that spills.
set -u
clattn=${CLATTN:-build/clattn}
[ $# -gt 0 ] || set -- attn:f32:h16:q256:k256:d64 attn:f32:h16:q256:k256:d128 attn:f32:h16:q16:k256:d128 attn:f32:h16:q32:k256:d128 \
    attn:f32:h1:q1:k256:d128 attn:f32:h4/1:q1:k256:d128 attn:f16:h16:q256:k256:d64 attn:bf16:h16:q256:k256:d64
command -v objdump > /dev/null || { echo "disassemble.sh: objdump is missing (Debian: binutils)"; exit 2; }
cache=$(mktemp -d) || exit 2
trap 'rm -rf "$cache"' EXIT INT TERM
bad=0

for problem; do
    rm -rf "$cache/pocl" && mkdir "$cache/pocl"
    POCL_CACHE_DIR=$cache/pocl "$clattn" run --device pocl "$problem" > /dev/null || exit 2
    object=$(find "$cache/pocl" -name forward.so | head -n 1)
    [ -n "$object" ] || { echo "disassemble.sh: PoCL kept no object for $problem"; exit 2; }
    echo "$problem"
    objdump -d --no-show-raw-insn "$object" | awk '
        function number(hex,    i, n) {
            n = 0
            for (i = 1; i <= length(hex); i++)
                n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
            return n
        }
        /^[0-9a-f]+ <.*>:$/ { kernel = /_pocl_kernel_forward_workgroup>/ }
        kernel && /^ *[0-9a-f]+:/ {
            address = $1
            sub(":", "", address)
            at[++n] = number(address)
            where[at[n]] = n
            text[n] = $0
            op[n] = $2
            if ($2 ~ /^j/ && $3 ~ /^[0-9a-f]+$/ && number($3) <= at[n] && number($3) in where)
                loop[++loops] = where[number($3)] " " n
        }
        END {
            for (l = 1; l <= loops; l++) {
                split(loop[l], range, " ")
                first = range[1] + 0
                last = range[2] + 0
                inner = 1
                for (m = 1; m <= loops; m++) {
                    split(loop[m], other, " ")
                    if (m != l && other[1] + 0 >= first && other[2] + 0 <= last)
                        inner = 0
                }
                fused = spills = divisions = gathers = single = additions = loads = 0
                for (i = first; i <= last; i++) {
                    fused += op[i] ~ /^vfn?m(add|sub)...ps|^vdpbf16ps/
                    spills += text[i] ~ /%[yz]mm/ && text[i] ~ /\(%r[sb]p\)/ && op[i] ~ /^vmov/
                    divisions += op[i] ~ /^v?div/
                    gathers += op[i] ~ /gather/
                    single += op[i] ~ /^vmulps/
                    additions += op[i] ~ /^vaddps/
                    loads += op[i] ~ /^vmovups|^vmovaps|^vbroadcastss/
                }
                if (!inner || fused < 4)
                    continue
                printf "  %4d instructions: %3d fused, %2d vector moves, %d on the stack, %d multiplications, %d additions, %d divisions, %d gathers\n",
                       last - first + 1, fused, loads, spills, single, additions, divisions, gathers
                bad += divisions + gathers + (fused >= 16 ? spills : 0)
            }
            exit bad > 0
        }' || bad=1
done
exit $bad
