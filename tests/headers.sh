#!/bin/sh
# SPDX-License-Identifier: MIT
# headers.sh - every public header compiles alone and strictly, as C99 and as C++11; so do the INIT macros,
# twice included.
set -u
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
bad=0
n=0

compile() { # language standard flags, file
    # shellcheck disable=SC2086
    case $2 in
    *.cc) ${CXX:-c++} -x c++ $1 -Wall -Wextra -Wundef -Werror $TEST_CPPFLAGS -fsyntax-only "$2" ;;
    *) ${CC:-cc} $1 -Wall -Wextra -Wundef -Werror $TEST_CPPFLAGS -fsyntax-only "$2" ;;
    esac || bad=$((bad + 1))
    n=$((n + 1))
}

if command -v "${CXX:-c++}" > /dev/null; then
    cxx=yes
else
    cxx=no
    echo "skipped: C++ (${CXX:-c++} is not installed)"
fi

both() { # the file's stem
    compile "-std=c99 -pedantic" "$tmp/$1.c"
    if [ $cxx = yes ]; then
        cp "$tmp/$1.c" "$tmp/$1.cc"
        compile "-std=c++11" "$tmp/$1.cc"
    fi
}

for header in clattn.h $(cd "$top_srcdir/include" && ls clattn/*.h) clattn/version.h; do
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$header" "$header" > "$tmp/alone.c"
    both alone
done

# every INIT macro that the headers define, on the struct of its name
{
    echo '#include <clattn.h>'
    echo 'int main(void) {'
    sed -n 's/^#define CLATTN_\([A-Z_]*\)_INIT.*/\1/p' "$top_srcdir"/include/clattn/*.h | while read -r name; do
        type=clattn_$(echo "$name" | tr '[:upper:]' '[:lower:]')
        echo "{ $type x = CLATTN_${name}_INIT; if (x.size != sizeof x) return 1; }"
    done
    echo 'return 0; }'
} > "$tmp/init.c"
grep -q sizeof "$tmp/init.c" || { echo "no INIT macro was found"; bad=$((bad + 1)); }
both init
echo "$n compilations, $bad failed"
[ $bad -eq 0 ]
