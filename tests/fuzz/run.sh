#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh SECONDS [libFuzzer's options] - build the fuzzer of rule texts beside the default build, and run it; with
# FUZZ_TARGET=report that of the results that clattn bench reads.
#
# Findings and the corpus lie in $top_builddir/fuzz (build/fuzz).  Needs clang with libFuzzer and its sanitizers (Debian: clang and
# libclang-rt-14-dev); without them it is skipped by exit status 77.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
out=${top_builddir:-$PWD/build}/fuzz
clang=${FUZZ_CC:-clang}
sanitizers=fuzzer,address,undefined,float-cast-overflow
target=${FUZZ_TARGET:-rules}
mkdir -p "$out/include/clattn" "$out/corpus" "$out/corpus-report"

if ! command -v "$clang" > /dev/null; then
    echo "SKIP: fuzz_$target: no $clang"
    exit 77
fi
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return n > 99 && d[0]; }' > "$out/probe.c"
if ! "$clang" -fsanitize=$sanitizers "$out/probe.c" -o "$out/probe" > "$out/probe.log" 2>&1; then
    echo "SKIP: fuzz_$target: $clang links no libFuzzer (Debian: libclang-rt-14-dev)"
    exit 77
fi

# version.h without configure; the rooms that the target needs are src/expr and these of src/core
sed -e 's/@PACKAGE_VERSION@/0/; s/@CLATTN_[A-Z]*@/0/' include/clattn/version.h.in > "$out/include/clattn/version.h"
if [ "$target" = report ]; then
    # shellcheck disable=SC2046
    "$clang" -std=c11 -g -O2 -D_GNU_SOURCE -fno-sanitize-recover=all -fsanitize=$sanitizers $(pkg-config --cflags jansson) \
        -I"$out/include" -Iinclude -Isrc -I. tests/fuzz/fuzz_report.c src/tool/report_json.c src/tool/report_csv.c \
        src/tool/report_markdown.c src/tool/report_html.c src/tool/report_style.c src/tool/columns.c src/tool/plots.c src/tool/svg.c \
        $(pkg-config --libs jansson) -lm -o "$out/fuzz_report"
    cd "$out"
    exec ./fuzz_report -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 "$@" corpus-report
fi
sources=$(sed -n -e '/^EXPR_SRCS/,/[^\\]$/p' ops.mk | tr -d '\\\n' | sed 's/EXPR_SRCS = //')
# shellcheck disable=SC2086
"$clang" -std=c11 -g -O2 -D_GNU_SOURCE -fno-sanitize-recover=all -fsanitize=$sanitizers \
    -I"$out/include" -Iinclude -Isrc -Icl/common -I. tests/fuzz/fuzz_rules.c tests/random_rule.c $sources \
    src/core/failure.c src/core/checked.c src/core/status.c -lm -o "$out/fuzz_rules"

# each line of the seeds is a text for each use: B mask, C score, D weight
mkdir -p "$out/seeds"
awk -v dir="$out/seeds" '{
    for (i = 0; i < 3; i++) {
        file = sprintf("%s/%03d-%d", dir, NR, i)
        printf "%c%s", 66 + i, $0 > file
        close(file)
    }
}' tests/fuzz/seeds
cd "$out"
exec ./fuzz_rules -max_total_time="$seconds" -max_len=4200 -timeout=5 -rss_limit_mb=1024 -use_value_profile=1 -print_final_stats=1 \
    -dict="$OLDPWD/tests/fuzz/words" "$@" corpus seeds
