#!/bin/sh
# SPDX-License-Identifier: MIT
# gpu.sh [FOLDER] - all that is tested and measured on an NVIDIA GPU, in one call; the tables of
# doc/performance-nvidia.md as Markdown.
#
# FOLDER (build-gpu) holds the program clattn and, in tests/, the test programs, with shared libraries in lib/
# where they were built elsewhere.  Without a program in it, it is configured and made here, for which a
# compiler and the packages of README.md are wanted.  In the environment: SECTIONS (all of them: machine tests
# random pruning accuracy registers tuning speed peers), TUNE_SECONDS (240), REPORT (FOLDER/gpu-report.md;
# the tests' logs go to a folder beside it), PYTHON (one with PyTorch, for the peers), PROBLEMS (300 random
# ones), ROUNDS (3) and SECONDS_EACH of a measurement, TIMEOUT (900 s a test).  Exit status 1 if anything
# failed.
#
# The GPU's power is what limits it: speeds are of the second half of each measurement, when it is warm,
# beside watts and clock; only numbers of one call compare.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
top_srcdir=$here
top_builddir=${1:-$here/build-gpu}
mkdir -p "$top_builddir" && top_builddir=$(cd "$top_builddir" && pwd) || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
REPORT=${REPORT:-$top_builddir/gpu-report.md}
logs=${REPORT%.md}-logs
PYTHON=${PYTHON:-python3}
mkdir -p "$logs" || exit 2
CLATTN_CACHE_DIR=$work/cache
CLATTN_TUNING=
export top_srcdir top_builddir CLATTN_CACHE_DIR CLATTN_TUNING
clattn=$top_builddir/clattn
failures=0

fail() {
    echo "FAILED: $*" | tee -a "$REPORT"
    failures=$((failures + 1))
}

wanted() {
    case " ${SECTIONS:-machine tests random pruning accuracy registers tuning speed peers} " in *" $1 "*) ;; *) return 1 ;; esac
    printf '\n## %s\n\n' "$2" | tee -a "$REPORT"
}

# keep COMMAND...: its output is seen and kept; its own exit status
keep() {
    { "$@" 2>&1; echo $? > "$work/status"; } | tee -a "$REPORT"
    return "$(cat "$work/status")"
}

build() {
    (
        cd "$top_builddir" && { [ -f Makefile ] || "$here/configure" -q; } &&
            make -j"$(nproc)" && make -j"$(nproc)" check TESTS=
    ) > "$work/build" 2>&1 || { tail -n 20 "$work/build"; echo "gpu.sh: $top_builddir has no clattn, and it cannot be built here"; exit 2; }
}

# ---- the tests: a line of the table each
# Run as sh -c "$test_one" LIMIT NAME: the test's log, and NAME.row.
test_one='
begin=$(date +%s)
case $1 in
*.sh) timeout -k 5 "$0" sh "$top_srcdir/tests/$1" ;;
*) timeout -k 5 "$0" "$top_builddir/tests/$1" ;;
esac > "$logs/$1.log" 2>&1 < /dev/null
code=$?
bad=0
[ $code -eq 0 ] || bad=$(grep -c "^not ok\|^FAILED" "$logs/$1.log")
[ $code -eq 0 ] || [ "$bad" -gt 0 ] || bad="exit $code"
echo "| $1 | $(grep -c "^ok\|^== \|^check  " "$logs/$1.log") | $bad | $(($(date +%s) - begin)) |" > "$work/$1.row"'

test_all() {
    CK_FORK=no CK_TAP_LOG_FILE_NAME=- CK_VERBOSITY=silent CK_DEFAULT_TIMEOUT=0 srcdir=$here
    export CK_FORK CK_TAP_LOG_FILE_NAME CK_VERBOSITY CK_DEFAULT_TIMEOUT srcdir logs work
    names=
    for program in "$top_builddir"/tests/check_*; do
        case ${program##*/} in *.*) ;; *) [ -f "$program" ] && [ -x "$program" ] && names="$names ${program##*/}" ;; esac
    done
    names="$names check_run.sh check_determinism.sh check_matrix.sh"
    echo "$names" | xargs -P "$(nproc)" -n 1 sh -c "$test_one" "${TIMEOUT:-900}"
    echo "| test | passed | failed | seconds |"
    echo "|---|---|---|---|"
    for name in $names; do
        cat "$work/$name.row"
    done
    for name in $names; do
        grep -q '| 0 | [0-9]* |$' "$work/$name.row" && continue
        echo
        echo "$name:"
        grep -A8 '^not ok\|^FAILED' "$logs/$name.log" | head -n 60
        tail -n 5 "$logs/$name.log"
        touch "$work/failed"
    done
    [ ! -e "$work/failed" ] && [ "$(echo "$names" | wc -w)" -gt 10 ]
}

every_mechanism() {
    for mechanism in $("$clattn" mechanisms | awk '{print $1}'); do
        for problem in attn:f32:b2:h4/2:q200:k200:d64:lse attn:f16:b2:h4/2:q3:k200:d64:lse attn:f16:b2:h4/2:q300:k200:d128:lse; do
            echo "$mechanism $problem"
        done
    done > "$work/mechanisms"
    xargs -P "$(nproc)" -n 2 sh -c '"$0" verify --device gpu --mechanism "$1" "$2" > /dev/null 2>&1 || echo "wrong: $1 $2"' "$clattn" \
        < "$work/mechanisms" > "$work/wrong"
    cat "$work/wrong"
    echo "$(wc -l < "$work/mechanisms") problems, $(wc -l < "$work/wrong") wrong"
    [ ! -s "$work/wrong" ]
}

# Some of a tile's rows see no key of many blocks that others see, between two that they see or after the
# last: a kernel may not stop there.
masks_with_gaps() {
    for d in 64 128; do
        for mask in 'q >= 64 | k < 64' 'q % 128 >= 64 | k < 100 | k >= 1500'; do
            timeout 60 "$clattn" verify --device gpu --mask "$mask" --corner tl "attn:f16:h2:q500:k2000:d$d:lse" || return 1
        done
    done
}

# Selections: lists against the host's, number by number, then attention over them against double. Prefill and
# decode, every scope.
pruned_problems() {
    echo attn:f16:h8/2:q300:k3900:d64:causal-br:minmax=252:bk=3:sink=5:near=33
    echo attn:f16:h8/2:q200:k2900:d128:causal-br:mean=400:bk=200:scope=all:bq=16:sink=5:near=3
    echo attn:f16:h8/2:q2:k3900:d128:causal-br:tree=64:bk=2:bq=2:sink=5:near=33
    for storage in f16 bf16; do
        for d in 64 128; do
            echo "attn:$storage:h8/2:q700:k700:d$d:causal-br:tree=64:bk=2:scope=head:sink=4:near=64"
            echo "attn:$storage:h8/2:q300:k900:d$d:causal-br:tree=64:bk=2:scope=head:sink=4:near=64:search=plain"
            echo "attn:$storage:h8/2:q300:k900:d$d:prefix100-br:tree=64:bk=4/2:bq=64/2:scope=group:sink=4:near=64"
            echo "attn:$storage:b2:h8/2:q300:k1500:d$d:causal-br:staged=64.512/16.128:scope=all:sink=16:near=32"
            echo "attn:$storage:b3:h8/2:q1:k6000:d$d:causal-br:keylens:staged=256.2048/32.1024/8.256:bq=1:sink=16:near=64"
            echo "attn:$storage:b2:h8/2:q1:k3000:d$d:causal-br:minmax=256:bq=1:bk=16:sink=0:near=0"
            echo "attn:$storage:b2:h8/2:q2:k3000:d$d:causal-br:mean=3000:mass=0.7:bq=1:scope=head:sink=4:near=32"
            echo "attn:$storage:h8/2:q200:k900:d$d:causal-br:minmax=256:bk=2:certify:margin=6:sink=4:near=32"
        done
    done
    echo attn:f16:h8/2:q300:k900:d72:window400-causal-br:tree=128:bk=2:bq=64/1:scope=head:sink=4:near=16
    echo attn:bf16:h8/2:q300:k900:d40:layout=bthd:causal-br:staged=64.512/16.128:scope=head:sink=4:near=16
    echo attn:f32:h8/2:q500:k900:d64:causal-br:mean=128:bk=16:sink=4:near=32
    echo attn:f32:h8/2:q500:k900:d64:causal-br:tree=512:bk=2:ratio=0.1:sink=4:near=32
    echo attn:f16:h8/2:q500:k900:d128:scores=256:bk=64:sink=4:near=0
}

verify_pruned() {
    pruned_problems > "$work/pruned"
    xargs -P "$(nproc)" -n 1 sh -c 'said=$("$0" verify --device gpu --problems 2 --rows 400 "$1" 2>&1) || printf "wrong: %s\n%s\n" "$1" "$said"' \
        "$clattn" < "$work/pruned" > "$work/wrong"
    cat "$work/wrong"
    echo "$(wc -l < "$work/pruned") problems with selections, $(grep -c '^wrong' "$work/wrong") wrong"
    [ ! -s "$work/wrong" ]
}

# Prefill: each preset beside dense attention, then what the searches without the matrix unit take.
speed_of_searches() {
    long=:h32/8:q131072:k131072:d128:causal-br
    for select in tree=512:bk=8:bq=64/4:sink=64:near=256 tree=512:bk=2:sink=64:near=256 hip infinitehip-3k infinitehip-5k; do
        echo "attn:f16$long:$select"
    done | xargs "$clattn" bench --device gpu --seconds "${SECONDS_EACH:-1}" || return 1
    "$clattn" bench --device gpu --no-baseline --seconds "${SECONDS_EACH:-1}" "attn:f16$long:hip:search=plain"
}

# Decoding with a search every 16 steps: blocks that tiles read, and small ones, which are gathered; the paper's schedule of stages.
speed_of_steps() {
    step=:b16:h32/8:q1:k131072:d128:causal-br
    for select in minmax=512:bk=64 tree=512:bk=16/4 tree=512:bk=8 hip; do
        echo "attn:f16$step:$select:bq=1"
    done | xargs "$clattn" bench --device gpu --seconds "${SECONDS_EACH:-1}" --refresh 16 || return 1
    "$clattn" bench --device gpu --no-baseline --seconds "${SECONDS_EACH:-1}" --refresh 16/8/4 "attn:f16$step:infinitehip-3k:bq=1:keep"
}

speed_of_pruning() {
    speed_of_searches && speed_of_steps
}

# An engine that failed would go unseen, since another one serves.
nothing_quarantined() {
    "$clattn" devices | grep '^  quarantined' && return 1
    echo "no kernel is quarantined"
}

speed_of_engines() {
    for engine in matrix-wgmma matrix-mma matrix-tf32x3 blocked portable; do
        case $engine in matrix-tf32x3 | blocked) storages=f32 ;; *) storages="f16 bf16" ;; esac
        for storage in $storages; do
            for d in 64 128; do
                for causal in "" :causal-tl; do
                    [ $engine = portable ] && [ "$storage$d" != f16128 ] && continue
                    "$clattn" bench --device gpu --no-baseline --seconds "${SECONDS_EACH:-1}" --engine $engine \
                        "attn:$storage:b8:h$((2048 / d)):q2048:k2048:d$d$causal" "attn:$storage:h$((2048 / d)):q16384:k16384:d$d$causal" |
                        grep '^attn' | sed "s/^/$engine  /"
                done
            done
        done
    done
}

# ---- tuning: each knob's other values give right numbers, and what they bring
verify_settings() {
    for setting in "matrix-wgmma depth=2" "matrix-wgmma rows=64" "matrix-wgmma rows=128 depth=2" "matrix-wgmma rows=192 splits=2" \
        "matrix-mma rows=64" "matrix-mma rows=128 keys=16" "matrix-mma keys=32 splits=4" "matrix-small keys=16" \
        "matrix-tf32x3 keys=16" "matrix-tf32x3 keys=32 splits=4" \
        "matrix-decode keys=32" "matrix-decode keys=64 tiles=1 splits=8" "matrix-decode tiles=4" "decode-small tiles=1" "blocked rows=32 keys=64 chunk=8" \
        "blocked rows=64 keys=64 chunk=16 items=64" "portable rows=16 keys=64 items=128"; do
        printf 'clattn-tuning 1\ntune | * | * | * * * * | %s | 2026-01-01 gain=1.000\n' "$setting" > "$work/tuning"
        echo "$setting: $(CLATTN_TUNING=$work/tuning "$clattn" verify --device gpu --problems 8 --rows 100 --seed 1 attn:f16:h6/2:q300:k700:d64:causal-br:lse \
            attn:bf16:h4:q200:k900:d128:lse attn:f16:h32/8:q1:k5000:d128 attn:f32:h4:q150:k300:d80:lse | tail -n 1)"
    done | tee "$work/settings"
    ! grep -v ' 0 failed$' "$work/settings"
}

tune() {
    "$clattn" tune --device gpu --budget "${TUNE_SECONDS:-240}" --output "$work/found" attn:f16:h16:q4096:k4096:d64 \
        attn:f16:h16:q4096:k4096:d128:causal-tl attn:bf16:h16:q4096:k4096:d128 attn:f16:h32/8:q1:k32768:d128 attn:f16:h32/8:q16:k32768:d128 \
        attn:f32:h16:q4096:k4096:d64 attn:f32:h16:q4096:k4096:d128:causal-tl attn:f32:h32/8:q1:k32768:d128 && cat "$work/found"
}

[ -x "$clattn" ] || build
[ -d "$top_builddir/lib" ] && LD_LIBRARY_PATH=$top_builddir/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} && export LD_LIBRARY_PATH
. "$here/tests/runtimes.sh"
use_runtime nvidia || { echo "gpu.sh: $why"; exit 2; }
"$clattn" devices | grep -q '  hardware  gpu' || { echo "gpu.sh: there is no GPU with an OpenCL driver"; exit 2; }

"$clattn" devices > "$work/devices"
echo "Measured on $(sed -n 's/^device 0  //p' "$work/devices"), $(sed -n 's/^  platform  .*, driver/driver/p' "$work/devices" | head -n 1)," \
    "$("$clattn" --version), $(date -u +%Y-%m-%d), by \`bench/gpu.sh\`, sections ${SECTIONS:-all}." | tee "$REPORT"

if wanted machine "Machine"; then
    keep cat "$work/devices"
    keep nvidia-smi --query-gpu=name,driver_version,power.limit,clocks.max.sm --format=csv,noheader
fi
wanted tests "Test suite on this driver" && { keep test_all || fail "the test suite"; }
if wanted random "Random problems with rules, and every mechanism"; then
    keep "$clattn" verify --device gpu --problems "${PROBLEMS:-300}" --seed 1 || fail "random problems"
    keep every_mechanism || fail "mechanisms"
    keep masks_with_gaps || fail "masks with gaps"
    keep nothing_quarantined || fail "a kernel did not work"
fi
if wanted pruning "Pruned attention"; then
    keep verify_pruned || fail "pruned problems"
    keep speed_of_pruning || fail "bench of pruned problems"
fi
wanted accuracy "Error against double" && { keep "$PYTHON" "$here/bench/accuracy.py" --clattn "$clattn" || fail "accuracy"; }
wanted registers "Registers and spills" && { keep "$PYTHON" "$here/bench/registers.py" --clattn "$clattn" || fail "registers"; }
if wanted tuning "Tuning"; then
    keep verify_settings || fail "a setting of a knob"
    keep tune || fail "clattn tune"
fi
if wanted speed "Speed of each engine"; then
    keep speed_of_engines
    keep "$clattn" bench --device gpu --no-baseline --preset standard || fail "bench"
fi
if wanted peers "Beside PyTorch"; then
    keep "$PYTHON" "$here/bench/peers/peers.py" --gpu --device gpu --clattn "$clattn" --rounds "${ROUNDS:-3}" \
        --seconds "${SECONDS_EACH:-3}" || fail "peers"
fi
printf '\n%s failed; %s has it all\n' "$failures" "$REPORT"
[ "$failures" -eq 0 ]
