#!/bin/sh
# SPDX-License-Identifier: MIT
# symbols.sh - the library exports what the headers declare with CLATTN_API, no more and no less.
set -u
library=$top_builddir/.libs/libclattn.so
[ -f "$library" ] || { echo "no shared library"; exit 77; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
LC_ALL=C
export LC_ALL
${NM:-nm} -D --defined-only "$library" |
    awk '$2 == "T" || $2 == "D" || $2 == "R" || $2 == "B" {print $3}' | sort > "$tmp/have"
cat "$top_srcdir"/include/clattn/*.h "$top_srcdir"/include/clattn/*.h.in |
    sed -n 's/^CLATTN_API [^(]*[ *]\(clattn_[a-z0-9_]*\)(.*/\1/p' |
    sort > "$tmp/want"
[ -s "$tmp/want" ] || { echo "no declarations found"; exit 1; }
diff "$tmp/want" "$tmp/have" && echo "$(wc -l < "$tmp/have") symbols"
