#!/bin/sh
# SPDX-License-Identifier: MIT
# check_tour.sh - doc/tour.md is what happens: its commands are run on PoCL, and their output compared with
# what stands there.
#
#     make check TESTS=tests/check_tour.sh    compare
#     sh tests/check_tour.sh --write          write the outputs anew (of build/, or of $top_builddir)
#
# A command is a line of four blanks and `$ '; what it prints, and how it ends where that is a mistake (status
# 2 and more), follows in the same block.  All run in a folder like build/ beside the sources.  What differs
# from machine to machine is in plain_words.
set -u
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
top_builddir=${top_builddir:-$top_srcdir/build}
tour=$top_srcdir/doc/tour.md
. "$top_srcdir/tests/runtimes.sh"
[ "${CLATTN_TEST_RUNTIME:-pocl}" = pocl ] || { echo "skipped: the tour is PoCL's"; exit 77; }
unset POCL_DEVICES
use_runtime pocl || { echo "skipped: PoCL ($why)"; exit 77; }
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT

# A folder as the reader's: the program by its name, the library as if it were installed, no lines of tuning
# of other days.  The folder's cc calls the build's compiler, which may be called cc too.
mkdir "$tmp/build" "$tmp/bin" && ln -s "$top_srcdir/tests" "$top_srcdir/doc" "$tmp" || exit 99
printf '#!/bin/sh\nPATH="%s"\nexec %s "$@"\n' "$PATH" "${CC:-cc}" > "$tmp/bin/cc"
chmod +x "$tmp/bin/cc"
sed -e "s|^libdir=.*|libdir=$top_builddir/.libs|" -e "s|^includedir=.*|includedir=$top_srcdir/include|" \
    -e "s|^Cflags:.*|& -I$top_builddir/include|" "$top_builddir/clattn.pc" > "$tmp/bin/clattn.pc"
PATH=$tmp/bin:$top_builddir:$PATH
PKG_CONFIG_PATH=$tmp/bin${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$top_builddir/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
CLATTN_CACHE_DIR=${CLATTN_CACHE_DIR:-$top_builddir/tests/cache}
CLATTN_TUNING=$tmp/tuning
LC_ALL=C
export PATH PKG_CONFIG_PATH LD_LIBRARY_PATH CLATTN_CACHE_DIR CLATTN_TUNING LC_ALL

transcript() { # command: what it prints, as it stands in a block; no empty lines at its end
    (cd "$tmp/build" && timeout 300 sh -c "$1") > "$tmp/said" 2>&1 < /dev/null
    status=$?
    [ "$status" -lt 2 ] || echo "[status $status]" >> "$tmp/said"
    sed -e 's/[[:blank:]]*$//' -e '/./s/^/    /' "$tmp/said" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}

# The tour with its outputs as they are now: of a block with a command, nothing else is kept.
again() {
    in_output=no empty=
    while IFS= read -r line; do
        case $in_output$line in
        no"    $ "* | yes"    $ "*)
            [ -z "$empty" ] || echo
            printf '%s\n' "$line"
            transcript "${line#"    $ "}"
            in_output=yes empty=
            ;;
        yes) empty=yes ;;
        yes"    "*) empty= ;;
        *)
            [ -z "$empty" ] || echo
            printf '%s\n' "$line"
            in_output=no empty=
            ;;
        esac
    done < "$tour"
}

# What may differ in a block, and nothing else may: the state and the meters of the machine, its rate of bf16
# pairs, its driver's traps and quarantine (left out); names of devices, drivers and vendors; whether an
# engine fits and why, and what serves; dates; verdicts of a comparison; units of bytes; numbers; widths.
plain_words() {
    sed -E -e '/^    \$ /b' -e '/^    /!b' \
        -e '/^ *(WARNING: |trap  |quarantined  |\/.*[.]note$)/d' -e 's/of bf16 pairs [0-9.]*, //' -e '/^ +([0-9.e+-]+ J, [0-9]+ W)?( at [0-9]+ MHz)?$/d' \
        -e 's/(basic|pthread|cpu)-.* \(Portable/DEVICE (Portable/' \
        -e 's/(basic|pthread|cpu)-[^|]* \| [^|]* \|/DEVICE | DRIVER |/' \
        -e 's/(basic|pthread|cpu)-.*/DEVICE/' -e 's/driver [^,)]*/driver DRIVER/' -e 's/(cpu by )[^;]*/\1VENDOR/' \
        -e 's/^( +engine +[a-z-]+ +)(fits|does not fit): .*/\1FITS/' -e 's/^( +(untuned|serves) +).*/\1CHOICE/' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]*Z/DATE/g' -e 's/(% +)(faster|SLOWER|within noise)( \(.*\))?$/\1VERDICT/' \
        -e 's/[KMG]iB/B/g' \
        -e ':n' -e 's/(^|[^A-Za-z0-9_.])[-+]?[0-9]+([.][0-9]+)*(e[-+]?[0-9]+)?/\1N/' -e 'tn' -e 's/ +/ /g' "$1"
}

again > "$tmp/tour.md"
commands=$(grep -c '^    \$ ' "$tmp/tour.md")
if [ "${1:-}" = --write ]; then
    cp "$tmp/tour.md" "$tour" && echo "$tour: the outputs of $commands commands"
    exit
fi
plain_words "$tour" > "$tmp/wanted"
plain_words "$tmp/tour.md" > "$tmp/got"
if ! diff -u "$tmp/wanted" "$tmp/got"; then
    echo "FAILED: doc/tour.md (-) is not what happens (+); where that is meant: sh tests/check_tour.sh --write"
    exit 1
fi
echo "tour: $commands commands"
[ "$commands" -ge 12 ]
