#!/bin/sh
# SPDX-License-Identifier: MIT
# check_bytelm.sh - the language model of doc/examples/bytelm: bits per byte and text as numpy has them, in
# each way to run it; files that are no model.
set -u
bytelm=$top_builddir/doc/examples/bytelm/bytelm
data=$top_srcdir/tests/data/bytelm
if [ ! -x "$bytelm" ]; then
    echo "skipped: bytelm is not built (CLBlast is not installed)"
    exit 77
fi
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
. "$top_srcdir/tests/runtimes.sh"

# bits EXPECTED TOLERANCE OPTIONS...
bits() {
    expected=$1
    tolerance=$2
    shift 2
    "$bytelm" score --model "$data/model.safetensors" --length 512 "$@" "$data/sample.txt" > "$tmp/score" || return 1
    cat "$tmp/score"
    awk -v e="$expected" -v t="$tolerance" 'NR == 1 { d = $1 - e; exit !(d <= t && d >= -t) }' "$tmp/score"
}

# The numbers are those of tests/data/bytelm/README.md, and for the pruned one of the same program in numpy.
check bits 1.7140 0.0002
check bits 1.6998 0.0002 --prefix 256 --chunk 256
check bits 1.6731 0.0002 --last --attention hip:staged=32.128/8.64:scope=head:bq=64/1:sink=32:near=64

# In numpy the likeliest byte of these is ahead of the next by 0.5 and more.  The lists have room for all
# there is beside the nearest tokens, so they change nothing, if none is lost while a list ages.
greedy() {
    printf 'import os\n\ndef read_lines(path):\n    """Return' > "$tmp/expected"
    "$bytelm" generate --model "$data/model.safetensors" --tokens 14 "$@" 'import os

def read_lines(path):' > "$tmp/text" && cmp "$tmp/text" "$tmp/expected"
}
check greedy --chunk 7 --type f16 --attention hip:tree=64:bk=2:sink=2:near=8 --refresh 4

# refused SENTENCE HEADER BYTES: a file of this header, less than 256 bytes, and so much data
refused() {
    {
        printf "\\$(printf %03o ${#2})\0\0\0\0\0\0\0%s" "$2"
        head -c "$3" /dev/zero
    } > "$tmp/model"
    "$bytelm" score --model "$tmp/model" --length 16 "$data/sample.txt" 2> "$tmp/said" && return 1
    grep "$1" "$tmp/said"
}
check refused "does not lie in the file's data" '{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' 3
check refused "does not lie in the file's data" '{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}}' 4
check refused "does not lie in the file's data" '{"a":{"dtype":"F16","shape":[2],"data_offsets":[-4,0]}}' 4
check refused "not its type's and shape's" '{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,3]}}' 3
check refused "not its type's and shape's" '{"a":{"dtype":"F16","shape":[4294967296,4294967296,0.5],"data_offsets":[0,0]}}' 0
check refused "not its type's and shape's" '{"a":{"dtype":"F16","shape":[2305843009213693952,4],"data_offsets":[0,0]}}' 0
check refused "do not fill its data" '{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' 5
check refused "not a JSON object" '{"a":{},"a":{}}' 0
check refused "not a JSON object" '[1]' 0
check refused "no tensor 'emb.weight'" '{"emb.weight":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}' 4
check refused "no tensor 'emb.weight'" '{"__metadata__":{"emb.weight":"x"}}' 0

cut() {
    head -c "$1" "$data/model.safetensors" > "$tmp/model"
    "$bytelm" score --model "$tmp/model" --length 16 "$data/sample.txt" 2> "$tmp/said" && return 1
    cat "$tmp/said"
}
check cut 7
check cut 100
check cut 10000
end_checks bytelm 18
