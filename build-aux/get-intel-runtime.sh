#!/bin/sh
# SPDX-License-Identifier: MIT
# get-intel-runtime.sh DIR - fetch Intel's OpenCL runtime for CPUs (x86-64, any vendor) from PyPI and unpack
# it into DIR/lib.
#
# Only the tests want it.  It is Intel's, under its own licence (DIR/licences); nothing of it is kept in this
# repository.  Exits 77 with one line of reason where it cannot be had.
set -u
versions="intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0 tbb==2023.2.0"
dir=${1:?usage: get-intel-runtime.sh DIR}
no() {
    echo "Intel CPU runtime: $*" >&2
    exit 77
}

[ -r "$dir/lib/libintelocl.so" ] && exit 0
[ "$(uname -sm)" = "Linux x86_64" ] || no "it is for Linux on x86-64 only"
python3 -m pip --version > /dev/null 2>&1 || no "python3 with pip is not installed"
mkdir -p "$dir/wheels" "$dir/parts" || no "$dir cannot be made"
# shellcheck disable=SC2086
timeout 600 python3 -m pip download -q --disable-pip-version-check --no-deps -d "$dir/wheels" $versions \
    > "$dir/log" 2>&1 || no "pip: $(tail -n 1 "$dir/log")"
for wheel in "$dir"/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" "$dir/parts" || no "$wheel does not unpack"
done
mkdir -p "$dir/lib.new" "$dir/licences"
mv "$dir"/parts/*.data/data/lib/* "$dir/lib.new/" || no "the packages are not laid out as before"
for licence in "$dir"/parts/*.dist-info/*LICENSE*; do
    [ -f "$licence" ] && cp "$licence" "$dir/licences/$(basename "$(dirname "$licence")").txt"
done
mv "$dir/lib.new" "$dir/lib" # last: a half-made folder is never taken for a whole one
rm -rf "$dir/wheels" "$dir/parts"
