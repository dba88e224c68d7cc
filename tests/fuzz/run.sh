#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh [tuning|report] SECONDS [libFuzzer's options] - build the fuzzer of rule texts, of lines of tuning, or of the results that
# clattn bench reads, beside the default build, and run it.
#
# Findings and the corpus lie in $top_builddir/fuzz (build/fuzz), those of the others in folders there.  Needs clang with libFuzzer and
# its sanitizers (Debian: clang and libclang-rt-14-dev); without them it is skipped by exit status 77.
set -eu
cd "$(dirname "$0")/../.."
target=rules
case ${1:-} in
tuning | report)
    target=$1
    shift
    ;;
esac
seconds=${1:-60}
[ $# -eq 0 ] || shift
out=${top_builddir:-$PWD/build}/fuzz
[ $target = rules ] || out=$out/$target
clang=${FUZZ_CC:-clang}
sanitizers=fuzzer,address,undefined,float-cast-overflow
mkdir -p "$out/include/clattn" "$out/corpus"

if ! command -v "$clang" > /dev/null; then
    echo "SKIP: fuzz_$target: no $clang"
    exit 77
fi
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return n > 99 && d[0]; }' > "$out/probe.c"
if ! "$clang" -fsanitize=$sanitizers "$out/probe.c" -o "$out/probe" > "$out/probe.log" 2>&1; then
    echo "SKIP: fuzz_$target: $clang links no libFuzzer (Debian: libclang-rt-14-dev)"
    exit 77
fi

# version.h without configure; the rooms that a target needs are src/expr or src/engine, and these of src/core
sed -e 's/@PACKAGE_VERSION@/0/; s/@CLATTN_[A-Z]*@/0/' include/clattn/version.h.in > "$out/include/clattn/version.h"
if [ $target = report ]; then
    # shellcheck disable=SC2046
    "$clang" -std=c11 -g -O2 -D_GNU_SOURCE -fno-sanitize-recover=all -fsanitize=$sanitizers $(pkg-config --cflags jansson) \
        -I"$out/include" -Iinclude -Isrc -I. tests/fuzz/fuzz_report.c src/tool/report_json.c src/tool/report_csv.c \
        src/tool/report_markdown.c src/tool/report_html.c src/tool/report_style.c src/tool/columns.c src/tool/plots.c src/tool/svg.c \
        $(pkg-config --libs jansson) -lm -o "$out/fuzz_report"
    cd "$out"
    exec ./fuzz_report -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 "$@" corpus
fi
room=EXPR
others=tests/random_rule.c
if [ $target = tuning ]; then
    room=ENGINE
    others="src/core/layout.c -lOpenCL"
fi
sources=$(sed -n -e "/^${room}_SRCS/,/[^\\\\]\$/p" ops.mk | tr -d '\\\n' | sed "s/${room}_SRCS = //")
# shellcheck disable=SC2086
"$clang" -std=c11 -g -O2 -D_GNU_SOURCE -fno-sanitize-recover=all -fsanitize=$sanitizers \
    -I"$out/include" -Iinclude -Isrc -Icl/common -Icl/engine -I. tests/fuzz/fuzz_$target.c $sources \
    src/core/failure.c src/core/checked.c src/core/status.c $others -lm -o "$out/fuzz_$target"

# of rules each line of the seeds is a text for each use: B mask, C score, D weight; of tuning a text, which is cut behind its first half
mkdir -p "$out/seeds"
words=$PWD/tests/fuzz/words
if [ $target = tuning ]; then
    words=$words-tuning
    awk -v dir="$out/seeds" '{
        file = sprintf("%s/%03d", dir, NR)
        printf "\200clattn-tuning 1\n%s\nclattn-tuning 1\n%s\n", $0, $0 > file
        close(file)
    }' tests/fuzz/seeds-tuning
fi
[ $target = tuning ] || awk -v dir="$out/seeds" '{
    for (i = 0; i < 3; i++) {
        file = sprintf("%s/%03d-%d", dir, NR, i)
        printf "%c%s", 66 + i, $0 > file
        close(file)
    }
}' tests/fuzz/seeds
cd "$out"
exec "./fuzz_$target" -max_total_time="$seconds" -max_len=4200 -timeout=5 -rss_limit_mb=1024 -use_value_profile=1 -print_final_stats=1 \
    -dict="$words" "$@" corpus seeds
