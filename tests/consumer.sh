#!/bin/sh
# SPDX-License-Identifier: MIT
# consumer.sh - install into a temporary prefix, then build and run the examples as a user would: with
# pkg-config and with CMake.
set -eu
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT

# show the log of a step that fails
quietly() {
    "$@" > "$tmp/log" 2>&1 || {
        tail -n 40 "$tmp/log"
        echo "FAILED: $*"
        exit 1
    }
}

# a prefix with a blank would be no test of ours but of Automake
mkdir "$tmp/build"
cd "$tmp/build"
unset MAKEFLAGS MFLAGS
quietly "$top_srcdir/configure" --prefix="$tmp/prefix" --libdir="$tmp/prefix/lib" --disable-tests -q
quietly "$MAKE" -s -j2 install
for file in bin/clattn include/clattn.h include/clattn/version.h lib/libclattn.so lib/pkgconfig/clattn.pc \
    lib/cmake/clattn/clattnConfig.cmake share/clattn/cl/forward_portable.cl share/clattn/data/causal/q.npy \
    share/man/man3/clattn.3 share/clattn/data/bytelm/model.safetensors; do
    [ -f "$tmp/prefix/$file" ] || {
        echo "FAILED: $file was not installed"
        exit 1
    }
done

PKG_CONFIG_PATH=$tmp/prefix/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$tmp/prefix/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH LD_LIBRARY_PATH
"$tmp/prefix/bin/clattn" --version
ran=0
for example in "$top_srcdir"/doc/examples/*.c; do
    name=$(basename "$example" .c)
    # shellcheck disable=SC2046
    quietly ${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror "$example" -o "$tmp/$name" \
        $(pkg-config --cflags --libs clattn) -lm
    quietly "$tmp/$name"
    echo "pkg-config: $name: $(tail -n 1 "$tmp/log")"
    ran=$((ran + 1))
done
[ "$ran" -gt 0 ]

# the large example by its own Makefile, as installed
if pkg-config --exists clblast jansson; then
    cp -r "$tmp/prefix/share/doc/clattn/examples/bytelm" "$tmp/bytelm"
    quietly "$MAKE" -s -C "$tmp/bytelm" CC="${CC:-cc}" CFLAGS="-O1 -Wall -Wextra -Werror"
    quietly "$tmp/bytelm/bytelm" --help
    echo "make: bytelm"
fi

if ! command -v cmake > /dev/null; then
    echo "skipped: CMake (it is not installed)"
    exit 0
fi
mkdir "$tmp/cmake"
{
    echo 'cmake_minimum_required(VERSION 3.10)'
    echo 'project(consumer C)'
    echo 'find_package(clattn 0.1 REQUIRED)'
    for example in "$top_srcdir"/doc/examples/*.c; do
        name=$(basename "$example" .c)
        echo "add_executable($name $example)"
        echo "target_link_libraries($name clattn::clattn m)"
    done
} > "$tmp/cmake/CMakeLists.txt"
quietly cmake -S "$tmp/cmake" -B "$tmp/cmake/build" -DCMAKE_PREFIX_PATH="$tmp/prefix"
quietly cmake --build "$tmp/cmake/build"
for example in "$top_srcdir"/doc/examples/*.c; do
    name=$(basename "$example" .c)
    quietly "$tmp/cmake/build/$name"
    echo "cmake: $name: $(tail -n 1 "$tmp/log")"
done
sed 's/clattn 0.1 REQUIRED/clattn 99 REQUIRED/' "$tmp/cmake/CMakeLists.txt" > "$tmp/CMakeLists.txt"
mkdir "$tmp/newer"
mv "$tmp/CMakeLists.txt" "$tmp/newer/"
if cmake -S "$tmp/newer" -B "$tmp/newer/build" -DCMAKE_PREFIX_PATH="$tmp/prefix" > "$tmp/log" 2>&1; then
    echo "FAILED: CMake took this version for version 99"
    exit 1
fi

quietly "$MAKE" -s uninstall
left=$(find "$tmp/prefix" -type f | head -n 5)
[ -z "$left" ] || {
    echo "FAILED: make uninstall left $left"
    exit 1
}
