#!/bin/sh
# SPDX-License-Identifier: MIT
# check_bench.sh - what clattn bench writes, read by parsers of others (check_bench.py); its comparison on planted changes; drivers
# that crash and hang.
set -u
clattn=$top_builddir/clattn
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
LC_ALL=C
export LC_ALL
bad=0
count=0

fail() { # words
    echo "FAILED: $*"
    bad=$((bad + 1))
}

expect() { # status, words that the output must hold, arguments
    want=$1 words=$2
    shift 2
    count=$((count + 1))
    "$clattn" bench "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
    got=$?
    if [ $got -ne "$want" ] || ! cat "$tmp/out" "$tmp/err" | grep -q -e "$words"; then
        fail "clattn bench $* gave $got, wanted $want and '$words'; it said:"
        cat "$tmp/out" "$tmp/err"
    fi
}

holds() { # words that the last output must hold too
    grep -q -e "$1" "$tmp/out" || { fail "no '$1' in:"; cat "$tmp/out"; }
}

if command -v python3 > /dev/null; then
    judge() { # what, files
        count=$((count + 1))
        python3 "$top_srcdir/tests/check_bench.py" "$@" || fail "$*"
    }
else
    echo "skipped: the formats, for want of python3"
    judge() { :; }
fi

# ---- the formats agree with each other and with the schema
pruned=attn:f32:h2/1:q100:k300:d8:causal-br:tree=64:bq=64/16:bk=8:sink=3:near=20
expect 0 'of peak' --json "$tmp/a.json" --csv "$tmp/a.csv" --markdown "$tmp/a.md" --html "$tmp/a.html" \
    attn:f32:h2:q64:k64:d8 attn:f16:h2:q128:k128:d16:causal-tl $pruned
"$clattn" bench --schema > "$tmp/schema.json" || fail "--schema"
judge schema "$tmp/schema.json" "$tmp/a.json"
judge csv "$tmp/a.json" "$tmp/a.csv"
judge markdown "$tmp/a.json" "$tmp/a.md"

# ---- every problem of every preset is one, before a device is looked for
for preset in $("$clattn" bench --list | awk 'NF > 1 && $2 ~ /^attn:/ {print $1}' | sort -u) full; do
    expect 2 'no OpenCL device' --device no-such-device --preset "$preset"
done

# ---- devices by number, type, name, vendor and platform: all that answer, each once
POCL_DEVICES="basic pthread"
export POCL_DEVICES
if [ "$("$clattn" devices | grep -c '^device')" -eq 2 ]; then
    few="--no-baseline attn:f32:h1:q5:k7:d8"
    for selector in cpu pOcl thread; do
        expect 0 '^device 1' --json "$tmp/d.json" --device "$selector" --device 1 $few
        judge devices "$tmp/d.json" "$selector"
    done
    expect 0 'fastest device' --device 1 --device 0 --json "$tmp/d.json" $few
    judge devices "$tmp/d.json" turned
else
    echo "skipped: several devices, which this runtime has not"
fi
unset POCL_DEVICES

# ---- a driver that crashes or hangs costs the line it was at; 77 x 8 f32 of q are 2464 bytes
layer=$top_builddir/tests/fault/.libs/faultlayer.so
if [ -r "$layer" ]; then
    OPENCL_LAYERS=$layer
    export OPENCL_LAYERS
    set -- --no-baseline --json "$tmp/f.json" attn:f32:h1:q5:k7:d8 attn:f32:h1:q77:k7:d8 attn:f32:h1:q6:k7:d8
    FAULT_DIE=abort:2464 expect 1 'q77.*FAILED: its process ended by signal 6' "$@"
    holds '^attn:f32:h1:q6:k7:d8  *[a-z]*  *[0-9]'
    judge schema "$tmp/schema.json" "$tmp/f.json"
    judge failures "$tmp/f.json" 1
    FAULT_DIE=hang:2464 expect 1 'q77.*FAILED: nothing came from its process for 15 s' --limit 15 "$@"
    holds '^attn:f32:h1:q6:k7:d8  *[a-z]*  *[0-9]'
    # the buffer that the read rate is measured on: no line has begun
    FAULT_DIE=abort:268435456 expect 1 'q5.*FAILED: its process ended by signal 6' "$@"
    [ "$(grep -c FAILED "$tmp/out")" -eq 3 ] || fail "not all lines failed"
    unset OPENCL_LAYERS
else
    echo "skipped: drivers that die, for want of the fault layer"
fi

echo "$count calls, $bad failed"
[ $bad -eq 0 ]
