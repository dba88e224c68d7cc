#!/bin/sh
# SPDX-License-Identifier: MIT
# check_tool.sh - the program from end to end: good calls end in 0, mistakes in 2 with one sentence that says
# what is wrong and what would be right; what it writes for programs parses; its help and its pages name the
# same options.
set -u
clattn=$top_builddir/clattn
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
LC_ALL=C
export LC_ALL
bad=0
count=0
small=attn:f32:h2:q5:k7:d8

fail() { # words
    echo "FAILED: $*"
    bad=$((bad + 1))
}

expect() { # status, words that the output must hold, arguments
    want=$1 words=$2
    shift 2
    count=$((count + 1))
    "$clattn" "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
    got=$?
    if [ $got -ne "$want" ] || ! cat "$tmp/out" "$tmp/err" | grep -q -- "$words"; then
        fail "clattn $* gave $got, wanted $want and '$words'; it said:"
        cat "$tmp/out" "$tmp/err"
    fi
}

mistake() { # words of the one sentence, arguments
    words=$1
    shift
    expect 2 "$words" "$@"
    if [ "$(grep -c -v '^    ' "$tmp/err")" -ne 1 ] || ! grep -q '^clattn: ' "$tmp/err"; then
        fail "clattn $* did not say one sentence:"
        cat "$tmp/err"
    fi
}

full_stdout() { # arguments: what does not arrive is an error
    count=$((count + 1))
    "$clattn" "$@" > /dev/full 2> "$tmp/err" < /dev/null
    got=$?
    if [ $got -ne 2 ] || ! grep -q '^clattn: standard output: it cannot be written' "$tmp/err"; then
        fail "clattn $* > /dev/full gave $got"
    fi
}

npy() { # file, header, bytes of data
    n=${#2}
    {
        printf '\223NUMPY\001\000'
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $((n % 256)))\\$(printf %03o $((n / 256)))"
        printf '%s' "$2"
        head -c "$3" /dev/zero
    } > "$tmp/$1.npy"
}

dict() { # type, order, shape
    echo "{'descr': '$1', 'fortran_order': $2, 'shape': $3, }"
}

# ---- good calls
expect 0 'usage: clattn' --help
expect 0 '^clattn [0-9]' --version
expect 0 '^  engine ' devices
expect 0 '"engines"' devices --json
for c in devices run verify bench tune explain select; do expect 0 "^usage: clattn $c" $c --help; done
expect 0 'GFLOP/s' run $small
expect 0 'takes vector\|takes portable' run --explain $small
expect 0 'mask k <= q' run --mask 'k <= q' --corner br $small
expect 0 'mask q - k < w' run --mask 'q - k < w' --corner tl --scalar w=3 $small
expect 0 'time' run --mask 'k < n[b]' --array n $small
expect 0 'time' run --seed 3 --repeat 2 --o "$tmp/o.npy" --lse "$tmp/lse.npy" $small
expect 0 '^check    lse.*passed' run --seed 3 --check "$tmp/o.npy" --check-lse "$tmp/lse.npy" $small
expect 1 'FAILED' run --seed 7 --check "$tmp/o.npy" $small
expect 0 '3 passed, 0 failed' verify --problems 3 --seed 4
expect 0 '2 passed, 0 failed' verify --problems 2 $small
expect 0 '3 passed, 0 failed' verify --problems 3 --rows 4 --mask 'k < n[b] & q - k < w' --corner tl --scalar w=3 --array n $small
expect 0 'quick  *attn:' bench --list
expect 0 '^quick  .*  [1-5][05] s$' bench --list
expect 0 "options --mask 'q - k < w'" bench --seconds 0.1 --no-baseline --mask 'q - k < w' --corner tl --scalar w=3 $small

# Lines of tuning that block: those for this device, with reason and file; a file that is not right counts for
# nothing.
cat > "$tmp/tuning" << 'END'
clattn-tuning 1
block | * | * | f32 d64 * * | vector step=16 | 2026-11-26 it hung
tune | * | * | f32 d64 * * | portable rows=8 | 2026-11-26 gain=1.100
block | another device | * | * * * * | vector | 2026-11-26 not here
block | * | * | * * * * | portable rows=1 | 2026-11-25
END
CLATTN_TUNING=$tmp/tuning expect 0 '^  blocked      vector step=16: it hung (2026-11-26), of f32 d64 \* \*$' devices
grep -q "^               $tmp/tuning\$" "$tmp/out" || fail "devices does not name the file of a block"
grep -q '^  blocked      portable rows=1: no reason is given (2026-11-25), of \* \* \* \*$' "$tmp/out" || fail "a block without a reason"
[ "$(grep -c '^  blocked' "$tmp/out")" -eq "$(($(grep -c '^device' "$tmp/out") * 2))" ] || fail "blocks that are none of this device"
CLATTN_TUNING=$tmp/tuning "$clattn" devices --json > "$tmp/devices.json"
echo rubbish >> "$tmp/tuning"
CLATTN_TUNING=$tmp/tuning expect 0 '^  engine ' devices
! grep -q '^  blocked' "$tmp/out" || fail "devices uses a file that is refused"
printf 'clattn-tuning 1\n\000\n' > "$tmp/zero"
mistake 'there is a zero in it' tune --merge "$tmp/zero"

# A file is the problem's tensor whatever its layout in memory, and the leading batch of 1 may be missing.
npy dense "$(dict '<f4' False '(2, 5, 8)')" 320
expect 0 'time' run --q "$tmp/dense.npy" --o "$tmp/a.npy" $small:engine=portable
expect 0 'time' run --seed 1 --o "$tmp/k.npy" attn:f32:h2:q7:k7:d8
expect 0 'time' run --seed 2 --o "$tmp/v.npy" attn:f32:h2:q7:k7:d8
expect 0 'time' run --k "$tmp/k.npy" --q "$tmp/dense.npy" --v "$tmp/v.npy" --o "$tmp/a.npy" $small
expect 0 'passed' run --k "$tmp/k.npy" --q "$tmp/dense.npy" --v "$tmp/v.npy" --check "$tmp/a.npy" $small:layout=bthd

# ---- mistakes in the call
expect 2 'usage: clattn'
mistake 'not a command; `clattn --help' frobnicate
mistake 'takes no arguments' devices extra
mistake 'one problem' run
mistake 'one problem' run $small $small
mistake 'column' run attn:f33:h2
mistake 'column 10' run attn:f32:zebra
mistake 'kv_heads must divide heads' run attn:f32:h3/2:q4:k4:d8
mistake 'dim must be' run attn:f32:h1:q4:k4:d1000
for c in run verify bench; do
    if [ $c = bench ]; then only=--no-baseline; else only=--seed=0; fi
    mistake "not an option of .clattn $c" $c --frobnicate $small
    mistake 'needs a value' $c $small --mask
    mistake 'no OpenCL device' $c $only --device no-such-device $small
    mistake 'engine' $c $only --engine much-too-long-a-name $small
    mistake 'column' $c $only --mask 'k <= ' --corner tl $small
    mistake 'names' $c $only --mask 'k <= zebra' --corner tl $small
    mistake 'corner' $c $only --mask 'k <= q' $small
    mistake 'tl or br' $c $only --mask 'k <= q' --corner top $small
    mistake 'goes with --mechanism, --mask' $c $only --corner tl $small
    mistake 'NAME=VALUE' $c $only --scalar 7 $small
    mistake 'whole number' $c $only --scalar w=many $small
    mistake '32 bits' $c $only --scalar w=4294967296 $small
    mistake '8 times' $c --scalar a=1 --scalar b=1 --scalar c=1 --scalar d=1 --scalar e=1 --scalar f=1 --scalar g=1 --scalar h=1 \
        --scalar i=1 $small
    mistake 'NAME' $c $only --array =x $small
done
mistake 'begins several options' verify --p 3 --s 4
mistake 'takes no value' bench --list=3
mistake 'engine' run --engine warp $small
mistake 'not an option' devices --verbose
for n in many 0 -3 1.5 9999999999999999999 ''; do
    mistake 'whole number of 1 or more' verify --problems "$n"
    mistake 'whole number of 1 or more' bench --limit "$n"
    mistake 'whole number of 1 or more' run --repeat "$n" $small
done
for n in many 0 -3 0.009 1e7 nan inf ''; do
    mistake 'seconds from 0.01 to 1000000' bench --seconds "$n"
done
mistake 'whole number of 0 or more' run --seed -1 $small
mistake 'go with a problem' verify --mask 'k <= q' --corner tl
mistake 'go with a problem' bench --scalar w=3
mistake 'takes NAME=TYPE\[dims\]' verify --array n=file.npy $small
mistake 'takes quick, standard, full, chat' bench --preset huge
mistake 'exclude each other' bench --preset quick $small
mistake 'with --data' bench --preset attention --no-baseline --data "$tmp/nowhere"
OCL_ICD_VENDORS=$tmp mistake 'no OpenCL platform' devices
OCL_ICD_VENDORS=$tmp mistake 'no OpenCL platform' bench $small

# ---- files that cannot be used
mkdir "$tmp/folder.npy"
printf 'not an array' > "$tmp/text.npy"
: > "$tmp/empty.npy"
printf '\223NUMPY\001' > "$tmp/magic.npy"
printf '\223NUMPY\001\000\377\377{' > "$tmp/cut.npy"
printf '\223NUMPY\003\000\004\000\000\000{}  ' > "$tmp/version.npy"
printf '\223NUMPY\002\000\377\377\377\177{}' > "$tmp/long.npy"
npy lacks "{'descr': '<f4', 'fortran_order': False, }" 320
npy ends "{'fortran_order': False, 'shape': (2, 5, 8), 'descr':" 320
npy double "$(dict '<f8' False '(2, 5, 8)')" 640
npy big "$(dict '>f4' False '(2, 5, 8)')" 320
npy object "$(dict '|O' False '(2, 5, 8)')" 320
npy fields "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 5, 8), }" 320
npy fortran "$(dict '<f4' True '(2, 5, 8)')" 320
npy words "$(dict '<f4' False '(2, five, 8)')" 320
npy negative "$(dict '<f4' False '(-2, -5, 8)')" 320
npy many "$(dict '<f4' False '(1, 1, 1, 1, 1, 1, 2, 5, 8)')" 320
npy huge "$(dict '<f4' False '(4294967296, 4294967296, 8)')" 320
npy open "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5" 320
npy short "$(dict '<f4' False '(2, 5, 8)')" 300
npy more "$(dict '<f4' False '(2, 5, 8)')" 324
for f in text empty magic version; do mistake 'not a .npy file' run --q "$tmp/$f.npy" $small; done
for f in cut long; do mistake 'cut short or too long' run --q "$tmp/$f.npy" $small; done
mistake 'lacks descr' run --q "$tmp/lacks.npy" $small
for f in ends fields; do mistake 'no plain one' run --q "$tmp/$f.npy" $small; done
for f in double:f8 big:f4 object:O; do mistake "type is .${f#*:}, not" run --q "$tmp/${f%:*}.npy" $small; done
mistake 'C order' run --q "$tmp/fortran.npy" $small
for f in words negative many huge open; do mistake 'shape cannot be read' run --q "$tmp/$f.npy" $small; done
for f in short more; do mistake 'asks for 320 bytes' run --q "$tmp/$f.npy" $small; done
mistake 'Is a directory' run --q "$tmp/folder.npy" $small
for o in q k v check check-lse; do mistake 'No such file' run --$o "$tmp/missing.npy" $small; done
mistake 'No such file' run --array n="$tmp/missing.npy" --mask 'k < n[b]' $small
mistake 'No such file' bench --array n="$tmp/missing.npy" --mask 'k < n[b]' $small

# ---- files of another type or shape
npy half "$(dict '<f2' False '(2, 5, 8)')" 160
npy int "$(dict '<i4' False '(2, 5, 8)')" 320
npy wide "$(dict '<f4' False '(2, 5, 9)')" 360
npy flat "$(dict '<f4' False '(80,)')" 320
npy lens "$(dict '<i4' False '(2,)')" 8
mistake 'holds float16, and q of this problem is f32' run --q "$tmp/half.npy" $small
mistake 'holds float32, and q of this problem is f16' run --q "$tmp/dense.npy" attn:f16:h2:q5:k7:d8
mistake 'holds int32' run --q "$tmp/int.npy" $small
mistake 'bf16, which .npy cannot hold' run --q "$tmp/dense.npy" attn:bf16:h2:q5:k7:d8
mistake 'shape is .2, 5, 9., and q of this problem has .1, 2, 5, 8.' run --q "$tmp/wide.npy" $small
mistake 'shape is .80.' run --q "$tmp/flat.npy" $small
mistake 'shape is .2, 5, 8., and k' run --k "$tmp/dense.npy" $small
mistake 'shape' run --check "$tmp/wide.npy" $small
mistake 'needs float32' run --check "$tmp/half.npy" $small
mistake 'packed' run --check "$tmp/dense.npy" attn:f32:h2:q5:k7:d8:packed:qtotal=5:ktotal=7
mistake 'packed' run --o "$tmp/p.npy" attn:f32:h2:q5:k7:d8:packed:qtotal=5:ktotal=7
mistake 'cannot hold bf16' run --o "$tmp/p.npy" attn:bf16:h2:q5:k7:d8
mistake '/nowhere/p.npy: it cannot be written' run --o /nowhere/p.npy attn:f32:h2:q5:k7:d8
[ ! -s "$tmp/out" ] || fail 'a result that cannot be saved was worked out'
mistake 'next index' run --array n="$tmp/half.npy" --mask 'k < n[b]' $small
expect 0 'time' run --array n="$tmp/lens.npy" --mask 'k < n[b]' $small
expect 0 'time' run --array n="$tmp/half.npy" --mask 'k < n[b, h, 0]' $small
expect 0 '1 passed' verify --array 'doc=i32[b,k]' --array 'slope=f32[h]' --mask 'documents(doc)' --corner tl --score 'alibi(slope)' $small
expect 0 '1 passed' verify --weight 'relu(score)' --normaliser count --scalar c=0.5 --mask 'k < 2 + floor(c)' $small
expect 0 '^score .*tanh(score / 30.0)' explain --score 'soft_cap(30)' $small
expect 0 'd/dscore *1.0 - tanh' explain --score 'soft_cap(30)' $small
expect 0 '1 EMPTY (25.0 %), 2 PARTIAL (50.0 %), 1 FULL (25.0 %)' explain --tile 64x64 attn:f32:q128:k128:d8:causal-tl
! grep -q 'by default' "$tmp/out" || fail "explain --tile says that the tiles' size is its default"
expect 0 'tiles of the size that --tile has by default' explain attn:f32:q128:k128:d8:causal-tl
expect 0 '#define MASK_RULE 1' explain --kernel --mask 'causal' --corner tl $small
expect 0 '|+\.|' explain --svg "$tmp/map.svg" --tile 64x64 attn:f32:q128:k128:d8:causal-tl
expect 0 '^engine ' explain --build-log --device cpu $small
grep -q '^</svg>' "$tmp/map.svg" || fail "explain --svg wrote no whole picture"

# Selections: lists out and in again, against the reference, by name; mistakes.
chosen=attn:f32:h2/1:q100:k300:d8:causal-br
expect 0 '^check *0 of 2 lists differ.*passed' select --check --explain --out "$tmp/lists" $chosen:tree=64:bq=64/16:bk=8:sink=3:near=20:count
expect 0 '^lists *2, of 8.0 blocks' select --given "$tmp/lists" $chosen:given=64:bk=8:sink=3:near=20
# Budgets: lists of many lengths; what is kept and proved of them, and that it is so.
expect 0 '^lists *2, of .* average, [0-9]* to [0-9]*$' select --check $chosen:mean=300:mass=0.5:bq=64/16:bk=8:sink=3:near=20
expect 0 '^kept *0[.][0-9]* of rows' select --mass $chosen:mean=300:margin=1:bq=64/16:bk=8:sink=3:near=20
expect 0 '^all  *0[.][0-9]* *0[.][0-9]* *0[.][0-9]*$' select --mass --rows 9 $chosen:mean=30:bq=64/16:bk=8:sink=3:near=20
expect 0 '"dot_products": ' select --json $chosen:tree=64:count
mistake 'in words' select --json --check $chosen:tree=64
"$clattn" select --json --mass --rows 16 $chosen:tree=64:bq=8:bk=8:sink=3:near=20:scope=head > "$tmp/mass.json" || fail "select --json"
expect 0 '^check *0 of 2 certificates are wrong: passed' select --check $chosen:minmax=16:bk=1:bq=64/16:certify:sink=3:near=20
expect 0 '^check *0 of 2 lists differ.*passed' select --check $chosen:mean=30:bq=64/16:bk=8:rows=mean:sink=3:near=20
expect 0 '^check *0 of 4 lists differ.*passed' select --check --budgets 64/0 $chosen:tree=64:bq=64/16:bk=8:sink=3:near=20:scope=head:each
expect 0 '^lists *4, of 4.0 blocks' select --budgets 64/0 $chosen:tree=64:bq=64/16:bk=8:sink=3:near=20:scope=head:each
mistake 'must be 2 whole numbers' select --budgets 64 $chosen:tree=64:scope=head:each
mistake 'goes with the word each' select --budgets 64 $chosen:tree=64
expect 0 '% of them certified' select --explain $chosen:minmax=16:bk=1:bq=64/16:certify:sink=3:near=20
expect 0 '1 passed, 0 failed' verify --problems 1 $chosen:minmax=16:bk=1:bq=64/16:certify:ratio=0.1:sink=3:near=20
mistake 'MINMAX, POOL_MEAN and EXTERNAL_SCORE have them' select $chosen:tree=64:mass=0.5
expect 0 '^infinitehip-3k ' select --presets
expect 2 'column 46: expected a word of a selection' select $chosen:tree=64:near=x
mistake 'no selection behind it' select $chosen
# Attention over lists: selected or from files the same, and not the dense one; broken lists are refused.
listed=:bq=64/16:bk=8:sink=3:near=20
expect 0 '^lists *2, of 8.0 blocks' run --list-out "$tmp/listed" --o "$tmp/listed.npy" $chosen:tree=64$listed
expect 0 'passed' run --list "$tmp/listed" --check "$tmp/listed.npy" $chosen:given=64$listed
expect 1 'FAILED' run --check "$tmp/listed.npy" $chosen
mistake '8 blocks, and the capacity is 4' run --list "$tmp/listed" $chosen:given=32$listed
mistake 'has 3 numbers, and there are 4 lists' run --list "$tmp/listed" $chosen:tree=64:bq=32:bk=8
mistake 'lens-starts.npy' run --list "$tmp/lens" $chosen:tree=64$listed
mistake 'go with a selection' run --list "$tmp/listed" $chosen
mistake 'given lists come from files' run $chosen:given=64
mistake 'nothing selects given lists' verify $chosen:given=64
expect 0 '2 passed, 0 failed' verify --problems 2 $chosen:tree=64$listed
expect 0 '^visited .* keys a row' explain $chosen:tree=64$listed
expect 0 '^lists ' run --mask 'documents(doc) & causal' --corner br --array 'doc=i32[b,k]' attn:f32:h2/1:q100:k300:d8:tree=64$listed
mistake 'the pattern has no corner' select attn:f32:h2/1:q100:k300:d8:tree=64$listed
expect 0 '^delta .*distance from dense attention 0.0000, before 1' run --delta 1 $chosen:tree=64$listed
expect 0 '^rope .*attention turns nothing' select --check --explain $chosen:tree=64$listed:rope=relative/22
expect 0 '^lists *2, of 0.0 blocks' select --check $chosen:tree=64$listed:dense=301
positions=attn:f32:h2/1:q100:k300:d8:causal-br:lse:tree=64$listed:extend
expect 0 '^engine *extend' run --explain --o "$tmp/extended.npy" $positions=streaming/170
expect 0 'passed' run --check "$tmp/extended.npy" $positions=streaming/200
expect 1 'FAILED' run --check "$tmp/extended.npy" $positions=self/200/30/4
expect 0 '2 passed, 0 failed' verify --problems 2 $positions=self/240/60/2
expect 0 '2 passed, 0 failed' verify --problems 2 $positions=dynamic/260/256:rope=relative/260
mistake 'it is 150 or more' run $positions=streaming/149
mistake 'bench --delta has not the word extend' bench --delta 4 $positions=streaming/170
expect 0 '^    *[0-9.]*% of its pairs visited$' bench --no-baseline --seconds 0.1 $positions=streaming/170
expect 0 '^extend .* lists' explain $positions=streaming/170
mistake 'explain --build-log has not the word extend' explain --build-log $positions=streaming/170
mistake 'adds rows of plain attention' run --delta 4 $positions=streaming/170
mistake 'must be causal alone' run attn:f32:h2/1:q100:k300:d8:window9-causal-br:tree=64$listed:extend=streaming/170
mistake 'goes with a selection' run --delta 4 $chosen
mistake 'correct each batch entry' run --delta 4 attn:f32:b2:h2:q100:k300:d8:causal-br:packed:qtotal=150:ktotal=400:tree=64
mistake 'whole number of 1 or more' run --delta 0 $chosen:tree=64$listed
mistake 'is not N or N/N' bench --refresh 4/x $chosen:tree=64$listed
expect 2 'given lists come from files' select $chosen:given=64
expect 0 'soft_cap(c)' rules
expect 0 'usage: clattn rules' rules --help
mistake 'takes no argument' rules causal
[ "${CLATTN_TEST_RUNTIME:-pocl}" != pocl ] || expect 0 'GFLOP/s' run --device pocl $small
expect 0 'usage: clattn mechanisms' mechanisms --help
expect 0 '"name": "croc"' mechanisms --json
expect 0 'in C.*"aki"' mechanisms aki
mistake 'lists them' mechanisms nothing
mistake 'takes one name' mechanisms croc aki
expect 0 'mask k <= q | 0 <= span' run --mechanism croc $small
expect 0 'mask k != 3 & .*q - k < width' run --mechanism sliding_window --scalar width=3 --mask 'k != 3' $small
expect 0 'takes' run --explain --mechanism soft_cap --scalar cap=20. $small:causal-tl
mistake 'brings a mask' run --mechanism croc $small:causal-tl
mistake 'there are full, causal' run --mechanism nothing $small
mistake 'go with a problem' verify --mechanism croc --problems 1
number=0
for m in $("$clattn" mechanisms | awk '{print $1}'); do
    number=$((number + 1)) # check_mechanisms has all of them, in C
    [ $((number % 8)) -ne 1 ] || expect 0 '1 passed' verify --mechanism "$m" $small
    grep -q "^| .$m. |" "$top_srcdir/doc/mechanisms.md" || fail "doc/mechanisms.md has no row for $m"
done
mistake '64x128' explain --tile 64 $small
mistake "beyond the problem's" explain --head 2 $small
mistake 'cannot be written' explain --svg "$tmp/no/map.svg" $small
mistake 'takes one problem' explain
mistake 'softmax, l1, count or none' run --normaliser mean $small
mistake 'dimensions are numbers' run --array 'n=i32[b' --mask 'k < n[b]' $small
mistake 'four dimensions' run --array 'n=i32[b,h,q,k,2]' --mask 'k < n[b]' $small
mistake 'option keylens' run --key-lengths "$tmp/lens.npy" $small
mistake '2 elements' run --key-lengths "$tmp/lens.npy" $small:keylens
expect 0 'time' run --key-lengths "$tmp/lens.npy" attn:f32:b2:h2:q5:k7:d8:keylens

# ---- output that does not arrive
for o in o lse; do mistake 'cannot be written' run --$o "$tmp/no/such/folder/o.npy" $small; done
for o in csv json; do mistake 'cannot be written' bench --seconds 0.1 --no-baseline --$o "$tmp/no/such/folder/b" $small; done
if [ -c /dev/full ]; then
    for o in o lse; do mistake 'cannot be written: No space' run --$o /dev/full $small; done
    for o in csv json; do mistake 'cannot be written' bench --seconds 0.1 --no-baseline --$o /dev/full $small; done
    full_stdout devices
    full_stdout devices --json
    full_stdout run $small
    full_stdout verify --problems 1
    full_stdout bench --list
    full_stdout --help
else
    echo "skipped: outputs on a full disk, for want of /dev/full"
fi

# ---- the baseline: a number or a word
expect 0 'of peak' bench --seconds 0.1 --delta 9 --csv "$tmp/b.csv" --json "$tmp/b.json" $small attn:f16:b2:h6/2:q33:k65:d40/24:causal-br \
    attn:bf16-f32:h4/2:q64:k64:d64:prefix20-tl:layout=bthd attn:f16:h3:q70:k30:d16:prefix5-br attn:f32:h2:q9:k9:d8:window4-causal-tl \
    attn:f32:b2:h2:q9:k9:d8:keylens attn:f32:h1:q16400:k16400:d1 $chosen:tree=64$listed
cp "$tmp/out" "$tmp/table"
if grep -q 'without CLBlast' "$tmp/table"; then
    echo "skipped: the baseline, which was not built"
else
    [ "$(grep -c '^attn:.*[0-9]x$' "$tmp/table")" -eq 4 ] || { fail "the baseline's numbers"; cat "$tmp/table"; }
    for word in pattern lengths 'scores over 1 GiB'; do
        grep -q "(unfused: $word)\$" "$tmp/table" || { fail "no word '$word'"; cat "$tmp/table"; }
    done
fi

# ---- what is written for programs
if command -v python3 > /dev/null; then
    "$clattn" mechanisms --json > "$tmp/mechanisms.json"
    python3 - "$tmp" <<'PYTHON' || fail "CSV, JSON, SVG or NPY"
import ast, csv, json, math, sys, xml.etree.ElementTree
folder = sys.argv[1]
records = json.load(open(folder + "/b.json"))["lines"]
rows = list(csv.DictReader(open(folder + "/b.csv")))
table = [l.split() for l in open(folder + "/table") if l.startswith("attn:")]
assert len(records) == len(rows) == len(table) >= 7, (len(records), len(rows), len(table))
for record, row, line in zip(records, rows, table):
    assert list(record) == list(row), (list(record), list(row))
    for key, value in record.items():
        if value is None:
            assert row[key] == "", (key, row[key])
        elif isinstance(value, str):
            assert row[key] == value, (key, value)
        else:
            assert abs(float(row[key]) - value) <= 1e-8 * abs(value), (key, value)
    assert line[0] == record["problem"] and line[1] == record["engine"] and record["failed"] is None
    assert abs(float(line[2]) - 1e3 * record["median_seconds"]) <= 1e-3 + 1e-3 * float(line[2]), line
    times = record["baseline_times"]
    assert (times is None) == (record["baseline_seconds"] is None) == (line[9] == "-"), line
    if times is not None:
        assert abs(float(line[9].rstrip("x")) - times) <= 0.051 + 1e-3 * times, line
    assert record["error"] <= record["bound"] and record["runs"] > 0
    pruned = "tree=" in record["problem"]
    for key in ("delta_seconds", "delta_distance", "delta_distance_before"):
        assert (record[key] is not None) == pruned, (key, record[key])
    for key in ("select_seconds", "visited", "kept_mass", "kept_mass_least", "dense_engine", "dense_seconds", "dense_times"):
        assert (record[key] is not None) == pruned, (key, record[key])
    assert not pruned or 0 < record["kept_mass_least"] <= record["kept_mass"] < 1 and 0 < record["visited"] < 1, record
devices = json.load(open(folder + "/devices.json"))
assert devices and [d["index"] for d in devices] == list(range(len(devices)))
for key in ("name", "type", "opencl_major", "global_bytes", "local_is_dedicated", "engines", "traps"):
    assert all(key in d for d in devices), key
mechanisms = json.load(open(folder + "/mechanisms.json"))
assert len({m["name"] for m in mechanisms}) == len(mechanisms) > 30
assert all(set(m) == set(mechanisms[0]) and isinstance(m["scalars"], dict) for m in mechanisms)
svg = "{http://www.w3.org/2000/svg}"
picture = xml.etree.ElementTree.parse(folder + "/map.svg").getroot()
assert picture.tag == svg + "svg" and float(picture.get("width")) > 0 and float(picture.get("height")) > 0
# a row of tiles as runs of one class: the first an edge and an empty one, the second a full one and an edge
assert len(picture.findall(f".//{svg}rect")) >= 3
data = open(folder + "/o.npy", "rb").read() # the format is that of numpy.lib.format: a Python literal, then numbers
length = int.from_bytes(data[8:10], "little")
header = ast.literal_eval(data[10:10 + length].decode("latin1"))
assert data[:8] == b"\x93NUMPY\x01\x00" and (10 + length) % 64 == 0 and data[9 + length] == 10
assert header["descr"] == "<f4" and header["fortran_order"] is False and len(header["shape"]) == 4, header
assert len(data) == 10 + length + 4 * math.prod(header["shape"])
vector, portable = ({"setting": "vector step=16", "problems": "f32 d64 * *", "date": "2026-11-26", "reason": "it hung"},
                    {"setting": "portable rows=1", "problems": "* * * *", "date": "2026-11-25", "reason": ""})
where = {"layer": "user", "file": folder + "/tuning"}
assert all(d["blocked"] == [{**vector, **where}, {**portable, **where}] for d in devices), devices
mass = json.load(open(folder + "/mass.json"))
lists, heads = mass["lists"], mass["heads"]
assert lists["count"] == 26 and lists["least_blocks"] <= lists["blocks"] <= lists["most_blocks"] == 8, lists
assert len(heads) == 2 and len(mass["seconds"]) == 1 and mass["seconds"][0] > 0, mass
for h in heads:
    assert h["rows"] == 16 and 0 < h["kept"] <= h["best"] <= 1 and 0 < h["window"] <= 1, h
assert abs(heads[0]["kept"] + heads[1]["kept"] - 2 * mass["mass"]["kept"]) < 1e-6, mass
PYTHON
else
    echo "skipped: CSV, JSON, SVG and NPY, for want of python3"
fi

# ---- the table stands in columns: a line ends where its heading does, up to the notes
awk '/^problem /{ at = index($0, "unfused") + 6 }
     /^attn:/ && substr($0, at, 1) !~ /[x-]/ { print "FAILED: not in columns: " $0; n++ }
     END { exit n > 0 || !at }' "$tmp/table" || bad=$((bad + 1))
[ -z "$(sed -n 1p "$tmp/table")" ] || fail "no empty line begins the device's output"

# ---- help and pages name the same options
options_of() { grep -o -e '--[a-z][a-z-]*' | sort -u; }
page_options() { for p in "$@"; do sed 's/\\-/-/g' "$top_srcdir/doc/$p.1"; done | options_of; }
"$clattn" --help | options_of > "$tmp/all"
for c in devices run verify bench tune explain select; do
    "$clattn" $c --help | options_of > "$tmp/help"
    cat "$tmp/help" >> "$tmp/all"
    page_options clattn-$c clattn > "$tmp/pages"
    page_options clattn-$c > "$tmp/page"
    missing=$(comm -23 "$tmp/help" "$tmp/pages")
    [ -z "$missing" ] || fail "in clattn $c --help and in no page: $missing"
    missing=$(comm -23 "$tmp/page" "$tmp/help")
    [ -z "$missing" ] || fail "in clattn-$c.1 and not in clattn $c --help: $missing"
done
page_options clattn > "$tmp/page"
missing=$(sort -u "$tmp/all" | comm -23 "$tmp/page" -)
[ -z "$missing" ] || fail "in clattn.1 and in no help: $missing"

echo "$count calls, $bad failed"
[ $bad -eq 0 ]
