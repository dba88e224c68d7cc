#!/bin/sh
# SPDX-License-Identifier: MIT
# consumer.sh - install into a temporary prefix, then build and run the examples with pkg-config and with CMake.
set -eu
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
"$top_srcdir/configure" --version > /dev/null
mkdir "$tmp/build" && cd "$tmp/build"
"$top_srcdir/configure" --prefix="$tmp/prefix" --disable-tests -q > "$tmp/log" 2>&1 || { tail "$tmp/log"; exit 1; }
"$MAKE" -s install > "$tmp/log" 2>&1 || { tail "$tmp/log"; exit 1; }
export PKG_CONFIG_PATH=$tmp/prefix/lib/pkgconfig LD_LIBRARY_PATH=$tmp/prefix/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
for example in "$top_srcdir"/doc/examples/*.c; do
    name=$(basename "$example" .c)
    ${CC:-cc} "$example" -o "$tmp/$name" $(pkg-config --cflags --libs clattn OpenCL)
    echo "pkg-config: $name: $("$tmp/$name")"
done
"$tmp/prefix/bin/clattn" --version
if command -v cmake > /dev/null; then
    mkdir "$tmp/cmake"
    cat > "$tmp/cmake/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.10)
project(consumer C)
find_package(clattn 0.1 REQUIRED)
add_executable(minimal $top_srcdir/doc/examples/minimal.c)
target_link_libraries(minimal clattn::clattn)
EOF
    cmake -S "$tmp/cmake" -B "$tmp/cmake/build" -DCMAKE_PREFIX_PATH="$tmp/prefix" > "$tmp/log" 2>&1 || { tail "$tmp/log"; exit 1; }
    cmake --build "$tmp/cmake/build" > "$tmp/log" 2>&1 || { tail "$tmp/log"; exit 1; }
    echo "cmake: $("$tmp/cmake/build/minimal")"
else
    echo "skipped: CMake is not installed"
fi
