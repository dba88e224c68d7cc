#!/bin/sh
# SPDX-License-Identifier: MIT
# check_rusticl.sh - the portable engine and the merge on Mesa's rusticl (llvmpipe): a sweep of random
# problems, then chosen ones, against the double reference.  A third compiler, with 32 KiB of local memory.
# CLATTN names the program.
set -eu

here=${top_builddir:-$(pwd)} # absolute, from tests/local.mk
clattn=${CLATTN:-$here/clattn}
[ -x "$clattn" ] || { echo "check_rusticl: $clattn is not built" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/clattn-rusticl.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
unset CLATTN_KERNEL_DIR
if [ -n "${top_srcdir:-}" ]; then # under make check only PoCL is in sight
    . "$top_srcdir/tests/runtimes.sh"
    use_runtime rusticl || { echo "skipped: rusticl ($why)"; exit 77; }
fi
export RUSTICL_ENABLE=llvmpipe MESA_SHADER_CACHE_DIR="$work" CLATTN_CACHE_DIR=
if ! "$clattn" devices 2> "$work/err" | grep -q 'platform  rusticl'; then
    echo "SKIP: rusticl offers no device (Debian's package is mesa-opencl-icd)"
    exit 77
fi

number=0
failures=0

check() { # WORDS that the output must hold, arguments
    words=$1
    shift
    number=$((number + 1))
    if timeout -k 5 400 "$clattn" "$@" --device rusticl > "$work/out" 2> "$work/err" < /dev/null &&
        grep -q -- "$words" "$work/out"; then
        echo "ok $number - $*"
    else
        failures=$((failures + 1))
        echo "not ok $number - $*: wanted '$words'"
        cat "$work/out" "$work/err" | tail -n 40 | sed 's/^/# /'
    fi
}

check '^engine   portable$' run attn:f32:h2:q40:k40:d16
check '^10 passed, 0 failed$' verify --problems 10 --seed 1000 --engine portable
# --seed 1 fills masked keys and values with NaN and infinities, --seed 3 makes scores as large as 1e4.
check '^3 passed, 0 failed$' verify --problems 3 --seed 1 attn:f16-f32:b2:h4/2:q33:k65:d64:causal-br:lse:keylens
check '^1 passed, 0 failed$' verify --seed 1 attn:bf16:b2:h2:q40:k70:d40/72:window16-causal-tl:packed:qtotal=60:ktotal=100
check '^1 passed, 0 failed$' verify attn:f32:h8/2:q1:k1000:d128:splits=7:lse
check '^1 passed, 0 failed$' verify --rows 20 attn:f32:h1:q20:k50:d576:prefix30-br
echo "1..$number"
[ "$number" -eq 6 ] && [ "$failures" -eq 0 ]
