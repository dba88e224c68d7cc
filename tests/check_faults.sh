#!/bin/sh
# SPDX-License-Identifier: MIT
# check_faults.sh - every OpenCL call of the library fails in turn, once and for good, by a layer of the ICD
# loader.
#
# fault_driver does the work (tests/fault).  A layer that is not loaded would make everything pass, so the
# driver refuses to run without it, and this script wants to see injections.  FAULT_LAYER and FAULT_DRIVER may
# name them.
set -eu

here=${top_builddir:-$(pwd)} # absolute, from tests/local.mk

find_file() {
    for file in "$here/tests/fault/.libs/$1" "$here/tests/fault/$1" "$here/tests/.libs/$1" "$here/tests/$1" \
        "$here/.libs/$1" "$here/$1"; do
        if [ -f "$file" ]; then
            echo "$file"
            return 0
        fi
    done
    echo "check_faults: $1 is not built under $here" >&2
    return 1
}
layer=${FAULT_LAYER:-$(find_file faultlayer.so)}
driver=${FAULT_DRIVER:-$here/tests/fault/fault_driver}
[ -x "$driver" ] || driver=$(find_file fault_driver)

work=$(mktemp -d "${TMPDIR:-/tmp}/clattn-faults.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
POCL_CACHE_DIR=${CLATTN_FAULT_POCL_CACHE:-$work/pocl} # warm after the first run
export POCL_CACHE_DIR
mkdir -p "$POCL_CACHE_DIR" "$work/cache"
chmod 700 "$work/cache"

failures=0
number=0
total=0

# run MODE CODE CACHE
run() {
    number=$((number + 1))
    name="faults $1, code $2, program cache $(basename "$3")"
    result=0
    OPENCL_LAYERS=$layer timeout -k 5 300 "$driver" "$layer" "$1" "$2" "$3" >"$work/out" 2>"$work/err" || result=$?
    injected=$(sed -n 's/^\[fault\] injected \([0-9]*\) leaked 0$/\1/p' "$work/err")
    if [ "$result" -ne 0 ] || [ -z "$injected" ] || [ "$injected" -eq 0 ]; then
        failures=$((failures + 1))
        echo "not ok $number - $name: exit $result (124: hang), injected ${injected:-unknown or leaked}"
        sed 's/^/# /' "$work/out" "$work/err" | tail -n 60
    else
        total=$((total + injected))
        echo "ok $number - $name: $(tail -n 1 "$work/out")"
    fi
}

# The codes take the same way through the library; CLATTN_TEST_LONG: those of three kinds of memory.
run once -5 off
if [ -n "${CLATTN_TEST_LONG:-}" ]; then
    run forever -5 off
    for code in -6 -4; do
        run once "$code" off
        run forever "$code" off
    done
fi
run once -5 "$work/cache"
run forever -5 "$work/cache"
echo "1..$number"
echo "# $total calls were made to fail"
[ "$failures" -eq 0 ]
