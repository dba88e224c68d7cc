#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh [SECONDS] - libFuzzer on the rule language (fuzz_rules.c), with AddressSanitizer and UBSan; 60 seconds, or as many.
#
# Wants clang with its fuzzer's runtime (Debian: clang, libclang-rt-14-dev); exits 77 without.  FUZZ_CORPUS names a folder that
# keeps what was found from run to run.  top_builddir and top_srcdir as in make check, or the folder build beside this tree.
set -eu
src=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${top_builddir:-$src/build}
seconds=${1:-60}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
corpus=${FUZZ_CORPUS:-$tmp/corpus}
mkdir -p "$corpus"
echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && n > 9 ? 0 : 0; }' > "$tmp/probe.c"
if ! clang -fsanitize=fuzzer,address,undefined "$tmp/probe.c" -o "$tmp/probe" > "$tmp/log" 2>&1; then
    echo "skipped: fuzzing (clang with its fuzzer's runtime is not installed)"
    exit 77
fi
clang -std=c11 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I"$build/include" \
    -I"$src/include" -I"$src/src" -I"$src" -I"$src/cl/common" -pthread -o "$tmp/fuzz" "$src/tests/fuzz/fuzz_rules.c" \
    "$src/tests/random_rule.c" "$src"/src/expr/*.c "$src/src/core/failure.c" "$src/src/core/checked.c" "$src/src/core/status.c" -lm
printf '\001k <= q & q - k < 4' > "$corpus/mask"
printf '\000documents(doc) | prefix(7) ^ keep[b, k]' > "$corpus/named"
printf '\001score - len[h] * (q - k) + tanh(alpha) * 1.5e-3' > "$corpus/score"
printf '\002softplus(score) / floor(2.5)' > "$corpus/weight"
printf '\200grammar' > "$corpus/grammar"
"$tmp/fuzz" -max_total_time="$seconds" -max_len=512 -timeout=10 -print_final_stats=1 "$corpus" > "$tmp/log" 2>&1 || {
    tail -n 40 "$tmp/log"
    exit 1
}
grep -E '^stat::number_of_executed_units|^stat::new_units_added' "$tmp/log"
