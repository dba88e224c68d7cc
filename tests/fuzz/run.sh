#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh [tuning|report|files] SECONDS [libFuzzer's options] - build the fuzzer of rule texts, of lines of
# tuning, of the results that clattn bench reads, or of all other files of ours, beside the default build, and
# run it.
#
# The long run, beside other work at idle priority: sh run.sh report 14400 -runs=10000000 -timeout=120; an
# input that waited for the processor is no finding, hence the longer timeout.
#
# Findings and the corpus lie in $top_builddir/fuzz (build/fuzz), those of the others in folders there.  Needs
# clang with libFuzzer and its sanitizers (Debian: clang and libclang-rt-14-dev); without them it is skipped
# by exit status 77.
set -eu
cd "$(dirname "$0")/../.."
target=rules
case ${1:-} in
tuning | report | files)
    target=$1
    shift
    ;;
esac
seconds=${1:-60}
[ $# -eq 0 ] || shift
out=${top_builddir:-$PWD/build}/fuzz
[ $target = rules ] || out=$out/$target
here=$PWD/tests/fuzz
clang=${FUZZ_CC:-clang}
sanitizers=fuzzer,address,undefined,float-cast-overflow
mkdir -p "$out/include/clattn" "$out/corpus" "$out/seeds"

if ! command -v "$clang" > /dev/null; then
    echo "SKIP: fuzz_$target: no $clang"
    exit 77
fi
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return n > 99 && d[0]; }' > "$out/probe.c"
if ! "$clang" -fsanitize=$sanitizers "$out/probe.c" -o "$out/probe" > "$out/probe.log" 2>&1; then
    echo "SKIP: fuzz_$target: $clang links no libFuzzer (Debian: libclang-rt-14-dev)"
    exit 77
fi

room() { # EXPR or ENGINE: its sources
    sed -n -e "/^$1_SRCS/,/[^\\\\]\$/p" ops.mk | tr -d '\\\n' | sed "s/$1_SRCS = //"
}

build() { # sources and libraries; version.h without configure
    sed -e 's/@PACKAGE_VERSION@/0/; s/@CLATTN_[A-Z]*@/0/' include/clattn/version.h.in > "$out/include/clattn/version.h"
    "$clang" -std=c11 -g -O2 -D_GNU_SOURCE -fno-sanitize-recover=all -fsanitize=$sanitizers \
        -I"$out/include" -Iinclude -Isrc -Icl/common -Icl/engine -Icl/select -I. "$here/fuzz_$target.c" "$@" -lm -o "$out/fuzz_$target"
}

seeds() { # an awk program that makes `text' of a line: a file each
    awk "{ $1; file = sprintf(\"$out/seeds/%03d\", NR); printf \"%s\", text > file; close(file) }" "$2"
}

# the rooms that a target needs are src/expr or src/engine, and these of src/core
core="src/core/failure.c src/core/checked.c src/core/status.c"
# shellcheck disable=SC2046,SC2086
case $target in
rules)
    build $(room EXPR) $core tests/random_rule.c
    # each line is a text for each use: B mask, C score, D weight
    awk -v dir="$out/seeds" '{
        for (i = 0; i < 3; i++) {
            file = sprintf("%s/%03d-%d", dir, NR, i)
            printf "%c%s", 66 + i, $0 > file
            close(file)
        }
    }' "$here/seeds"
    set -- -max_len=4200 -use_value_profile=1 -dict="$here/words" "$@"
    ;;
tuning)
    build $(room ENGINE) $core src/core/layout.c -lOpenCL
    # a text, which is cut behind its first half
    seeds 'text = "\200clattn-tuning 1\n" $0 "\nclattn-tuning 1\n" $0 "\n"' "$here/seeds-tuning"
    set -- -max_len=4200 -use_value_profile=1 -dict="$here/words-tuning" "$@"
    ;;
report)
    build $(pkg-config --cflags jansson) src/tool/report/json.c src/tool/report/csv.c src/tool/report/markdown.c \
        src/tool/report/html.c src/tool/report/style.c src/tool/report/columns.c src/tool/report/plots.c src/tool/report/svg.c src/tool/bench/stored.c \
        src/tool/bench/compare.c $(pkg-config --libs jansson)
    seeds 'text = $0' "$here/seeds-report"
    # the names of the columns are words too
    sed -n 's/^ *[A-Z]*([a-zA-Z_, ]*, "\([a-z_0-9]*\)",.*/"\\"\1\\":"/p' src/tool/report/columns.c | sort -u |
        cat "$here/words-report" - > "$out/words"
    set -- -max_len=8192 -close_fd_mask=1 -dict="$out/words" "$@"
    ;;
files)
    # shm: files in memory
    [ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || TMPDIR=/dev/shm
    TMPDIR=$(mktemp -d)
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
    build $(room ENGINE) $core src/core/layout.c src/core/env.c src/core/text.c src/core/cache.c src/core/quarantine.c \
        src/select/list.c src/tool/npy.c src/tool/list_files.c src/tool/tune/file.c $(pkg-config --cflags --libs libmd) -lOpenCL
    seeds 'text = $0' "$here/seeds-files"
    for seed in "$out"/seeds/*; do printf '%b' "$(cat "$seed")" > "$out/seed" && mv "$out/seed" "$seed"; done
    set -- -max_len=4200 -use_value_profile=1 -dict="$here/words-files" "$@"
    ;;
esac
cd "$out"
# a finding is a failure: libFuzzer would exit with 77, our word for what was skipped
"./fuzz_$target" -max_total_time="$seconds" -timeout=5 -error_exitcode=1 -rss_limit_mb=1024 -print_final_stats=1 "$@" corpus seeds
