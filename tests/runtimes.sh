# SPDX-License-Identifier: MIT
# runtimes.sh - sourced by the tests: which OpenCL implementation they see, and nothing else of this
# machine's.
#
#     use_runtime NAME    pocl, pocl-avx2, pocl-sse, rusticl, oclgrind, intel, nvidia (a GPU), or any (what
#                         the machine offers)
#     expect SAID COMMAND whether it prints just that
#     is_long             whether CLATTN_TEST_LONG asks for all that takes an hour, and not for what finds
#                         most of it
#     check COMMAND       run it; end_checks NAME N: what became of all, of which there have to be N or more
#     verify_by ENGINE ARGUMENT...   what check runs to verify problems; $verified is how many were right
#
# Sets OCL_ICD_VENDORS to a folder that names one driver.  Returns 1, with the reason in $why, where it is not
# installed.
# Wants top_builddir, absolute.  A driver's own settings are made here too, so that every test has the same.

# pin NAME LIBRARY: a folder with one .icd file; written aside, because tests run side by side
pin() {
    OCL_ICD_VENDORS=$top_builddir/tests/vendors/$1
    mkdir -p "$OCL_ICD_VENDORS"
    if [ "$(cat "$OCL_ICD_VENDORS/$1.icd" 2> /dev/null)" != "$2" ]; then
        echo "$2" > "$OCL_ICD_VENDORS/$1.$$" && mv "$OCL_ICD_VENDORS/$1.$$" "$OCL_ICD_VENDORS/$1.icd"
    fi
    export OCL_ICD_VENDORS
}

# pin_system NAME PACKAGE: the driver that the system's NAME.icd names
pin_system() {
    if [ ! -r "/etc/OpenCL/vendors/$1.icd" ]; then
        why="the package $2 is not installed"
        return 1
    fi
    pin "$1" "$(cat "/etc/OpenCL/vendors/$1.icd")"
}

# Intel's CPU runtime as build-aux/get-intel-runtime.sh unpacks it; its own ICD loader has to come before the
# system's
pin_intel() {
    intel=${CLATTN_INTEL_RUNTIME:-$top_builddir/intel}
    if [ ! -r "$intel/lib/libintelocl.so" ]; then
        why="it is not in $intel; build-aux/get-intel-runtime.sh fetches it"
        return 1
    fi
    LD_LIBRARY_PATH=$intel/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
    pin intel "$intel/lib/libintelocl.so"
}

# Oclgrind as a driver, not as its wrapper: the wrapper hides layers.  Unoptimised kernels, because its check
# for uninitialised values does not know all that optimisation makes; one thread, because it is not safe with
# more.
pin_oclgrind() {
    for library in /usr/lib/oclgrind /usr/lib/*/oclgrind /usr/local/lib/oclgrind /usr/local/lib; do
        if [ -r "$library/liboclgrind-rt-icd.so" ]; then
            OCLGRIND_DATA_RACES=1 OCLGRIND_UNINITIALIZED=1 OCLGRIND_CHECK_API=1 OCLGRIND_NUM_THREADS=1
            OCLGRIND_BUILD_OPTIONS="-cl-opt-disable -DNO_SHUFFLES"
            export OCLGRIND_DATA_RACES OCLGRIND_UNINITIALIZED OCLGRIND_CHECK_API OCLGRIND_NUM_THREADS
            export OCLGRIND_BUILD_OPTIONS
            pin oclgrind "$library/liboclgrind-rt-icd.so"
            return 0
        fi
    done
    why="the package oclgrind is not installed"
    return 1
}

# NVIDIA's driver, which is found by its name where no file names it (containers); its own cache may stay
pin_nvidia() {
    nvidia=$(cat /etc/OpenCL/vendors/nvidia.icd 2> /dev/null || echo libnvidia-opencl.so.1)
    if ! ldconfig -p 2> /dev/null | grep -q "${nvidia##*/}" && [ ! -r "$nvidia" ]; then
        why="NVIDIA's driver is not installed"
        return 1
    fi
    CLATTN_TEST_DEVICE=gpu
    export CLATTN_TEST_DEVICE
    pin nvidia "$nvidia"
}

# PoCL with features of the CPU hidden from it (tests/other_cpu.c); its cache does not know of that, so it has
# one of its own
pin_other_cpu() {
    other=$top_builddir/tests/.libs/other_cpu.so
    if [ ! -r "$other" ]; then
        why="tests/other_cpu.la is not built"
        return 1
    fi
    use_runtime pocl || return 1
    LD_PRELOAD=$other
    CLATTN_OTHER_CPU=$1
    POCL_CACHE_DIR=$POCL_CACHE_DIR-$1
    mkdir -p "$POCL_CACHE_DIR"
    export LD_PRELOAD CLATTN_OTHER_CPU POCL_CACHE_DIR
}

use_runtime() {
    case $1 in
    any) ;;
    pocl)
        pin_system pocl pocl-opencl-icd || return 1
        POCL_CACHE_DIR=$top_builddir/tests/pocl-cache
        mkdir -p "$POCL_CACHE_DIR"
        export POCL_CACHE_DIR
        ;;
    pocl-avx2 | pocl-sse) pin_other_cpu "${1#pocl-}" ;;
    rusticl)
        pin_system rusticl mesa-opencl-icd || return 1
        RUSTICL_ENABLE=llvmpipe
        export RUSTICL_ENABLE
        ;;
    oclgrind) pin_oclgrind ;;
    intel) pin_intel ;;
    nvidia) pin_nvidia ;;
    *)
        why="'$1' is none of pocl, pocl-avx2, pocl-sse, rusticl, oclgrind, intel, nvidia, any"
        return 1
        ;;
    esac
}

is_long() {
    [ -n "${CLATTN_TEST_LONG:-}" ]
}

bad=0
ran=0
check() {
    echo "== $*"
    ran=$((ran + 1))
    "$@" < /dev/null || { echo "FAILED: $*"; bad=$((bad + 1)); }
}

# What check runs for ENGINE OPTION... PROBLEM...: seeds 1, 2 and 3 of each, in one process, because PoCL's first
# compilation in a process takes a second more.  A GPU's local memory may be too small for some.
verified=0
verify_by() {
    engine=$1
    shift
    said=$("$top_builddir/clattn" verify --engine "$engine" --problems 3 --seed 1 "$@" 2>&1)
    echo "$said"
    passed=$(echo "$said" | sed -n 's/^\([0-9]*\) passed.*/\1/p')
    small=$(echo "$said" | grep -c 'no tile fits its local memory')
    verified=$((verified + passed + small))
    [ -n "$passed" ] && [ "$(echo "$said" | grep -c '^FAILED')" -eq "$small" ]
}

expect() { # what is wanted, a command
    wanted=$1
    shift
    said=$("$@" 2>&1 < /dev/null)
    [ "$said" = "$wanted" ] || { echo "wanted '$wanted', and it was '$said'"; return 1; }
}

end_checks() {
    echo "$1: $ran checks, $bad failed"
    [ "$ran" -ge "$2" ] && [ "$bad" -eq 0 ]
}
