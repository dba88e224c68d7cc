#!/bin/sh
# SPDX-License-Identifier: MIT
# check_intel.sh BUILD - a random sweep on Intel's CPU runtime, fetched from PyPI; exit 77 with the reason where it cannot be had.
set -u
build=$(cd "$1" && pwd)
home=$build/intel
skip() { echo "Intel's CPU runtime: $*"; exit 77; }

command -v python3 > /dev/null || skip "no python3"
if [ ! -d "$home/lib" ]; then
    mkdir -p "$home/wheels"
    python3 -m pip download -q --no-deps -d "$home/wheels" intel-opencl-rt intel-cmplr-lib-rt tbb > "$home/log" 2>&1 ||
        skip "pip cannot download it"
    for wheel in "$home"/wheels/*.whl; do
        (cd "$home" && python3 -m zipfile -e "$wheel" .) || skip "$wheel does not unpack"
    done
    mkdir "$home/lib" "$home/vendors"
    cp -a "$home"/*.data/data/lib/. "$home/lib/"
    chmod -R u+rwX "$home/lib"
    echo "$home/lib/libintelocl.so" > "$home/vendors/intel.icd"
fi
LD_LIBRARY_PATH=$home/lib OCL_ICD_VENDORS=$home/vendors
export LD_LIBRARY_PATH OCL_ICD_VENDORS
"$build/clattn" devices > "$home/log" 2>&1 && grep -q Intel "$home/log" || skip "it does not come up: $(tail -n 1 "$home/log")"
"$build/clattn" verify --problems 400 --seed 9000
