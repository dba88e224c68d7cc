#!/bin/sh
# SPDX-License-Identifier: MIT
# check_tool.sh - the program from end to end: good calls end in 0, mistakes in 2 with one sentence that says what is wrong.
set -u
clattn=$top_builddir/clattn
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
bad=0
count=0

expect() { # status, words that the output must hold, arguments
    want=$1 words=$2
    shift 2
    count=$((count + 1))
    "$clattn" "$@" > "$tmp/out" 2>&1 < /dev/null
    got=$?
    if [ $got -ne "$want" ] || ! grep -q -- "$words" "$tmp/out"; then
        echo "FAILED: clattn $* gave $got, wanted $want and '$words'; it said:"
        cat "$tmp/out"
        bad=$((bad + 1))
    fi
}

printf 'not an array' > "$tmp/bad.npy"
printf '\223NUMPY\001\000\377\377{' > "$tmp/cut.npy"
small=attn:f32:h2:q5:k7:d8

expect 0 'usage: clattn' --help
expect 0 '^clattn [0-9]' --version
expect 0 'engine' devices
expect 0 '"engines"' devices --json
for c in devices run verify bench; do expect 0 'usage: clattn' $c --help; done
expect 0 'GFLOP/s' run $small
expect 0 'takes vector\|takes portable' run --explain $small
expect 0 'mask k <= q' run --mask 'k <= q' --corner br $small
expect 0 'w' run --mask 'q - k < w' --corner tl --scalar w=3 $small
expect 0 'time' run --o "$tmp/o.npy" --lse "$tmp/lse.npy" $small
expect 0 'passed' run --check "$tmp/o.npy" --check-lse "$tmp/lse.npy" $small
expect 1 'FAILED' run --seed 7 --check "$tmp/o.npy" $small
expect 0 '6 passed, 0 failed' verify --problems 6 --seed 4
expect 0 '2 passed, 0 failed' verify --problems 2 $small
expect 0 'of peak' bench --seconds 1 --no-baseline --csv "$tmp/b.csv" --json "$tmp/b.json" $small
expect 0 'attention' bench --list
grep -q median_seconds "$tmp/b.csv" && grep -q '"gflops"' "$tmp/b.json" || { echo "FAILED: bench files"; bad=$((bad + 1)); }

expect 2 'usage: clattn'
expect 2 'not a command' frobnicate
expect 2 'takes no arguments' devices extra
expect 2 'one problem' run
expect 2 'column' run attn:f33:h2
expect 2 'column 10' run attn:f32:zebra
expect 2 'kv_heads must divide heads' run attn:f32:h3/2:q4:k4:d8
expect 2 'dim must be' run attn:f32:h1:q4:k4:d1000
expect 2 'no OpenCL device' run --device no-such-device $small
expect 2 'engine' run --engine warp $small
expect 2 'No such file' run --q "$tmp/missing.npy" $small
expect 2 'not a .npy' run --q "$tmp/bad.npy" $small
expect 2 'cut short' run --q "$tmp/cut.npy" $small
expect 2 'elements' run --k "$tmp/o.npy" $small
expect 2 'cannot be written\|No such file' run --o "$tmp/no/such/folder/o.npy" $small
expect 2 'column' run --mask 'k <= ' --corner tl $small
expect 2 'names' run --mask 'k <= zebra' --corner tl $small
expect 2 'corner' run --mask 'k <= q' $small
expect 2 'tl or br' run --mask 'k <= q' --corner top $small
expect 2 'NAME=VALUE' run --scalar 7 $small
expect 2 'whole number' verify --problems many
expect 2 'takes attention, quick or standard' bench --preset huge
expect 2 'unrecognized option' bench --frobnicate
OCL_ICD_VENDORS=$tmp expect 2 'no OpenCL platform' devices
echo "$count calls, $bad failed"
[ $bad -eq 0 ]
