#!/bin/sh
# SPDX-License-Identifier: MIT
# check_bench.sh - what clattn bench writes, read by parsers of others (check_bench.py); its comparison on
# planted changes; drivers that crash and hang.
set -u
clattn=$top_builddir/clattn
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
LC_ALL=C
export LC_ALL
bad=0
count=0

fail() { # words
    echo "FAILED: $*"
    bad=$((bad + 1))
}

expect() { # status, words that the output must hold, arguments; lines are timed shortly, for only what is said of them counts
    want=$1 words=$2
    shift 2
    count=$((count + 1))
    "$clattn" bench --seconds 0.1 "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
    got=$?
    if [ $got -ne "$want" ] || { [ -n "$words" ] && ! cat "$tmp/out" "$tmp/err" | grep -q -e "$words"; }; then
        fail "clattn bench $* gave $got, wanted $want and '$words'; it said:"
        cat "$tmp/out" "$tmp/err"
    fi
}

holds() { # words that the last output must hold too
    grep -q -e "$1" "$tmp/out" || { fail "no '$1' in:"; cat "$tmp/out"; }
}

one_sentence() { # the file that it is about
    [ "$(grep -c -v '^    ' "$tmp/err")" -eq 1 ] || { fail "$1: not one sentence:"; cat "$tmp/err"; }
}

if command -v python3 > /dev/null; then
    judge() { # what, files
        count=$((count + 1))
        python3 "$top_srcdir/tests/check_bench.py" "$@" || fail "$*"
    }
else
    echo "skipped: the formats, for want of python3"
    judge() { :; }
fi

# ---- the formats agree with each other and with the schema
pruned=attn:f32:h2/1:q100:k300:d8:causal-br:tree=64:bq=64/16:bk=8:sink=3:near=20
expect 0 'of peak' --json "$tmp/a.json" --csv "$tmp/a.csv" --markdown "$tmp/a.md" --html "$tmp/a.html" \
    attn:f32:h2:q64:k64:d8 attn:f16:h2:q128:k128:d16:causal-tl $pruned
"$clattn" bench --schema > "$tmp/schema.json" || fail "--schema"
judge schema "$tmp/schema.json" "$tmp/a.json"
judge csv "$tmp/a.json" "$tmp/a.csv"
judge markdown "$tmp/a.json" "$tmp/a.md"
judge html "$tmp/a.json" "$tmp/a.html"

judge terminal "$clattn"

# ---- text of others stays text; a line's call gives the line again
expect 0 'of peak' --no-baseline --json "$tmp/o.json" --html "$tmp/o.html" --markdown "$tmp/o.md" --mask 'k <= q & q - k < w' --corner tl \
    --scalar w=3 attn:f32:h2:q5:k7:d8
judge html "$tmp/o.json" "$tmp/o.html"
expect 0 "^clattn bench --device .* --mask 'k <= q & q - k < w' --corner 'tl' --scalar 'w=3' attn:f32:h2:q5:k7:d8\$" --no-baseline \
    --reproduce 1 "$tmp/o.json"
holds '^then [0-9.]* ms, now [0-9.]* ms: '
expect 0 'of peak' --no-baseline --data "$top_srcdir/tests/data" --json "$tmp/t.json" --tensors causal \
    attn:f16-f32:h6/2:q512:k512:d64:causal-tl:lse
expect 0 '^clattn bench --device .* --tensors causal attn:' --no-baseline --data "$top_srcdir/tests/data" --reproduce 1 "$tmp/t.json"

# ---- from memory
expect 1 'without a selection' --cold --json "$tmp/cold.json" attn:f32:h4:q1:k2000:d64 $pruned
judge cold "$tmp/cold.json"
expect 0 '^clattn bench --device .* --cold attn:f32:h4:q1:k2000:d64$' --reproduce 1 "$tmp/cold.json"
expect 2 'exclude each other' --cold --peers attn:f32:h4:q1:k2000:d64

# ---- what was kept, again in every format, and with that of another sitting
expect 0 '^| attn:f32:h2:q64:k64:d8 |' --read "$tmp/a.json"
expect 0 '' --read "$tmp/a.json" --json "$tmp/again.json" --csv "$tmp/again.csv" --html "$tmp/again.html"
cmp -s "$tmp/a.json" "$tmp/again.json" || fail "a report is not the same after reading and writing"
cmp -s "$tmp/a.html" "$tmp/again.html" || fail "nor is its page"
expect 0 '' --read "$tmp/a.json" --read "$tmp/o.json" --json "$tmp/both.json" --html "$tmp/both.html"
judge schema "$tmp/schema.json" "$tmp/both.json"
judge html "$tmp/both.json" "$tmp/both.html"
for number in null 2147483647 9223372036854775807; do # with which devices of several files could not be told apart
    sed "s/^\( *\"device\": \)[0-9]*,/\1$number,/" "$tmp/a.json" > "$tmp/number.json"
    expect 0 '' --read "$tmp/number.json"
    expect 2 "number.json: a device's number is blank or beyond" --read "$tmp/a.json" --read "$tmp/number.json"
    expect 2 "number.json: a device's number is blank or beyond" --read "$tmp/number.json" --read "$tmp/a.json"
done

# ---- a browser has nothing to say of the page, on a phone in the dark and on a desk
look() { # width, scheme (0 dark, 1 light)
    count=$((count + 1))
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$tmp/browser" --enable-logging=stderr \
        --window-size="$1,900" --blink-settings="preferredColorScheme=$2" --screenshot="$tmp/$1.png" "file://$tmp/both.html" \
        > "$tmp/out" 2>&1
    if [ ! -s "$tmp/$1.png" ] || grep -q CONSOLE "$tmp/out"; then
        fail "the page at a width of $1:"
        cat "$tmp/out"
    fi
}
if browser=$(command -v chromium || command -v google-chrome); then
    look 500 0
    look 1200 1
else
    echo "skipped: the page in a browser, for want of chromium"
fi

# ---- comparison on planted changes, and files that nobody should believe
if command -v python3 > /dev/null; then
    judge plant "$tmp/a.json" "$tmp"
    expect 0 '^0 faster, 0 slower, 3 within noise, 0 failed now' --compare "$tmp/quiet.json" "$tmp/quiet.json"
    for times in quiet steady; do
        expect 0 '^0 faster, 0 slower, 3 within noise' --compare "$tmp/$times.json" "$tmp/$times-one-percent.json"
        expect 1 '^0 faster, 1 slower, 2 within noise' --compare "$tmp/$times.json" "$tmp/$times-ten-percent.json"
        holds 'h2:q128.* 1.100 .*SLOWER$'
        expect 0 '^1 faster, 0 slower, 2 within noise' --compare "$tmp/$times-ten-percent.json" "$tmp/$times.json"
    done
    for times in noisy wide broad; do
        expect 0 '^0 faster, 0 slower, 3 within noise' --compare "$tmp/$times.json" "$tmp/$times-ten-percent.json"
    done
    expect 0 'within noise (the device.s own peak is 0.90 times' --compare "$tmp/quiet.json" "$tmp/throttled.json"
    expect 1 'SLOWER (the device.s own peak is 0.90 times' --compare "$tmp/quiet.json" "$tmp/slower-beside.json"
    expect 1 '1 failed now' --compare "$tmp/quiet.json" "$tmp/broken.json"
    expect 0 '1 failed before' --compare "$tmp/broken.json" "$tmp/quiet.json"
    expect 0 '1 in one alone' --compare "$tmp/quiet.json" "$tmp/fewer.json"
    expect 0 '' --read "$tmp/hostile.json" --json "$tmp/h.json" --csv "$tmp/h.csv" --markdown "$tmp/h.md" --html "$tmp/h.html"
    judge same "$tmp/hostile.json" "$tmp/h.json"
    judge csv "$tmp/hostile.json" "$tmp/h.csv"
    judge markdown "$tmp/hostile.json" "$tmp/h.md"
    judge html "$tmp/hostile.json" "$tmp/h.html"
    for file in "$tmp"/bad-*.json; do
        expect 2 "^clattn: $file" --compare "$tmp/quiet.json" "$file"
        one_sentence "$file"
        expect 2 "^clattn: $file" --read "$file"
    done
    for file in "$tmp"/line-*.json; do
        expect 2 '^clattn: ' --reproduce 1 "$file"
        one_sentence "$file"
    done
fi
expect 2 'has 3 lines' --reproduce 4 "$tmp/a.json"
expect 2 'No such file' --compare "$tmp/a.json" "$tmp/none.json"
expect 2 'two files' --compare "$tmp/a.json"
expect 2 'exclude each other' --compare --preset quick "$tmp/a.json" "$tmp/a.json"
expect 2 'goes with a problem' --tensors causal

# ---- every problem of every preset is one, before a device is looked for
for preset in $("$clattn" bench --list | awk 'NF > 1 && $2 ~ /^attn:/ {print $1}' | sort -u) full; do
    expect 2 'no OpenCL device' --device no-such-device --preset "$preset"
done

# ---- devices by number, type, name, vendor and platform: all that answer, each once
POCL_DEVICES="basic pthread"
export POCL_DEVICES
if [ "$("$clattn" devices | grep -c '^device')" -eq 2 ]; then
    few="--no-baseline attn:f32:h1:q5:k7:d8"
    for selector in pOcl thread; do
        expect 0 '^device 1' --json "$tmp/d.json" --device "$selector" --device 1 $few
        judge devices "$tmp/d.json" "$selector"
    done
    expect 0 'fastest device' --device 1 --device 0 --json "$tmp/d.json" $few
    judge devices "$tmp/d.json" turned
else
    echo "skipped: several devices, which this runtime has not"
fi
unset POCL_DEVICES

# ---- energy and clock, where the system tells: counters that turn over at 1000 J, some 20 W; and a GPU's library
mkdir -p "$tmp/cap/intel-rapl:0" "$tmp/cap/intel-rapl:0:0"
for f in "$tmp/cap/intel-rapl:0" "$tmp/cap/intel-rapl:0:0"; do echo 1000000000 | tee "$f/max_energy_range_uj" > "$f/energy_uj"; done
echo package-0 > "$tmp/cap/intel-rapl:0/name"
echo core > "$tmp/cap/intel-rapl:0:0/name"
(
    joules=999900000
    for i in $(seq 1 3000); do
        joules=$(((joules + 200000) % 1000000000))
        echo $joules > "$tmp/cap/next" && mv "$tmp/cap/next" "$tmp/cap/intel-rapl:0/energy_uj"
        sleep 0.01
    done
) 2> /dev/null &
counter=$!
expect 0 '^    [0-9.e-]* J, [0-9]* W' --seconds 2 --no-baseline --powercap "$tmp/cap" --json "$tmp/e.json" attn:f32:h2:q64:k64:d8
judge energy "$tmp/e.json" 1 40
kill $counter
mkdir -p "$tmp/bad/intel-rapl:0" # a counter that is no number
cp "$tmp/cap/intel-rapl:0/name" "$tmp/cap/intel-rapl:0/max_energy_range_uj" "$tmp/bad/intel-rapl:0"
echo rubbish > "$tmp/bad/intel-rapl:0/energy_uj"
for cap in none bad; do
    expect 0 'of peak' --no-baseline --powercap "$tmp/$cap" --json "$tmp/e.json" attn:f32:h2:q64:k64:d8
    judge energy "$tmp/e.json" none
done
if [ -r "$top_builddir/tests/fault/.libs/nvml.so" ]; then
    mkdir "$tmp/nvml"
    gpu() { # library of tests/fault, the call that fails, what is expected
        ln -sf "$top_builddir/tests/fault/.libs/$1.so" "$tmp/nvml/libnvidia-ml.so.1"
        LD_LIBRARY_PATH=$tmp/nvml${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} OPENCL_LAYERS=$top_builddir/tests/fault/.libs/faultlayer.so \
            FAULT_GUISE=580.1 FAULT_NVML=$2 CLATTN_CACHE_DIR='' expect 0 'of peak' --no-baseline --engine portable --json "$tmp/e.json" \
            attn:f32:h2:q64:k64:d8
        shift 2
        judge energy "$tmp/e.json" "$@"
    }
    gpu nvml '' 240 260 1755
    holds ' W at 1755 MHz'
    gpu nvml energy none 0 1755
    gpu nvml clock 240 260 none
    gpu nvml init none 0 none
    gpu nvml handle none 0 none
    gpu faultlayer '' none 0 none # a library of that name without such functions
else
    echo "skipped: a GPU's energy, for want of the stand-in"
fi

# ---- other libraries: a stand-in for PyTorch that takes 20 ms, one that dies, and no Python
if command -v python3 > /dev/null; then
    cat > "$tmp/torch.py" << 'PYTHON'
import contextlib, os, time
__version__ = "9.9+test"
float32 = float16 = bfloat16 = 0
class Tensor:
    def to(self, kind): return self
class nn:
    class functional:
        @staticmethod
        def scaled_dot_product_attention(q, k, v, is_causal):
            os._exit(1) if os.environ.get("TORCH_DIES") else time.sleep(0.02)
def randn(*sizes): return Tensor()
def set_num_threads(n): pass
def inference_mode(): return contextlib.nullcontext()
PYTHON
    set -- --no-baseline --peers --json "$tmp/p.json" attn:f16:h2:q64:k64:d8:causal-tl attn:f16:h2:q64:k64:d8:window4-tl
    PYTHONPATH=$tmp expect 0 '^    PyTorch 9.9: 2[0-9.]* ms' "$@"
    holds '^peers PyTorch 9.9'
    judge peers "$tmp/p.json" "PyTorch 9.9"
    TORCH_DIES=1 PYTHONPATH=$tmp expect 0 '^peers PyTorch 9.9' "$@"
    judge peers "$tmp/p.json" none
fi
(PATH=$tmp/none && export PATH && "$clattn" bench --no-baseline --peers attn:f32:h2:q64:k64:d8 > "$tmp/out" 2>&1)
holds '^peers left out: all; python3 does not start'

# ---- a driver that crashes or hangs costs the line it was at; 77 x 8 f32 of q are 2464 bytes
layer=$top_builddir/tests/fault/.libs/faultlayer.so
if [ -r "$layer" ]; then
    OPENCL_LAYERS=$layer
    export OPENCL_LAYERS
    set -- --no-baseline --json "$tmp/f.json" attn:f32:h1:q77:k7:d8 attn:f32:h1:q6:k7:d8
    FAULT_DIE=abort:2464 expect 1 'q77.*FAILED: its process ended by signal 6' "$@"
    holds '^attn:f32:h1:q6:k7:d8  *[a-z]*  *[0-9]'
    judge schema "$tmp/schema.json" "$tmp/f.json"
    judge failures "$tmp/f.json" 1
    FAULT_DIE=hang:2464 expect 1 'q77.*FAILED: nothing came from its process for 10 s' --limit 10 "$@"
    holds '^attn:f32:h1:q6:k7:d8  *[a-z]*  *[0-9]'
    FAULT_DIE=fail:2464 expect 1 'q77.*FAILED: ' "$@"
    holds '^attn:f32:h1:q6:k7:d8  *[a-z]*  *[0-9]'
    FAULT_DIE=leave:2464 expect 0 '^WARNING: after its last line its process ended by signal 6' "$@"
    judge failures "$tmp/f.json" 0
    FAULT_DIE=fail:0 expect 1 'q77.*FAILED: the device could not be opened' "$@"
    [ "$(grep -c FAILED "$tmp/out")" -eq 2 ] || fail "a device that cannot be opened has no two failed lines"
    # the buffer that the read rate is measured on: no line has begun
    FAULT_DIE=abort:268435456 expect 1 'q6.*FAILED: its process ended by signal 6' "$@"
    [ "$(grep -c FAILED "$tmp/out")" -eq 2 ] || fail "not all lines failed"
    unset OPENCL_LAYERS
else
    echo "skipped: drivers that die, for want of the fault layer"
fi

echo "$count calls, $bad failed"
[ $bad -eq 0 ]
