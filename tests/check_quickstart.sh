#!/bin/sh
# SPDX-License-Identifier: MIT
# check_quickstart.sh - ./quickstart among stand-ins for Debian's tools: what it installs, what it says to
# those who may not, when it goes on, how it ends.
set -u
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
. "$top_srcdir/tests/runtimes.sh"
cd "$tmp" || exit 99

# A clone that is built but for what make does, and a machine: files in $tmp/state are its facts, $tmp/calls
# what was called.
mkdir bin state build && cp "$top_srcdir/quickstart" . || exit 99
stand_in() { # file, its text
    printf '#!/bin/sh\n%s\n' "$2" > "$1"
    chmod +x "$1"
}
stand_in configure 'echo "configure" >> ../calls; : > Makefile; : > libtool'
stand_in autogen.sh 'echo autogen >> calls; : > Makefile.in'
stand_in build/clattn 'case $1 in
devices) cat state/devices; exit "$(cat state/devices_status 2> /dev/null || echo 0)" ;;
*) echo "clattn $*" >> calls; exit "$(cat state/bench_status 2> /dev/null || echo 0)" ;;
esac'
stand_in bin/dpkg-query 'for package; do :; done
[ -e "../state/missing_$package" ] || [ -e "state/missing_$package" ] || echo "install ok installed"'
stand_in bin/id 'case $1 in -u) cat state/user ;; *) echo ann ;; esac'
stand_in bin/sudo '[ -e state/sudo ] || exit 1
[ "$1" != -n ] || shift
[ "$1" = true ] || echo sudo >> calls
exec "$@"'
stand_in bin/apt-get 'echo "apt-get $1" >> calls
case $1 in
update) [ ! -e state/no_update ] ;;
install) rm -f state/missing_* ;;
esac'
stand_in bin/make 'echo make >> calls'
PATH=$tmp/bin:$PATH
export PATH

# says STATUS WORDS [WORD]: quickstart [WORD] ends so, and says that
says() {
    ./quickstart ${3:-} > out 2>&1 < /dev/null
    status=$?
    if [ $status -ne "$1" ] || ! grep -q -e "$2" out; then
        echo "it ended with $status, wanted $1 and '$2':"
        cat out
        return 1
    fi
}
# called WORDS: just these, one after the other, since the last time
called() {
    said=$(paste -s -d ' ' calls 2> /dev/null)
    rm -f calls
    [ "$said" = "$1" ] || { echo "it called '$said', wanted '$1'"; return 1; }
}
bench="clattn bench --preset quick --html build/report.html --json build/report.json"
printf 'device 0  Some CPU\n  platform  a\n  hardware  cpu by B\n  engine    vector\n' > state/devices

echo 1000 > state/user
: > state/missing_gcc
: > state/missing_libtool
check says 1 '^    apt-get install --no-install-recommends gcc libtool$'
check grep -q '^    apt-get update$' out
check called ''
: > state/sudo
check says 0 'a browser: .*/build/report.html$'
check called "sudo apt-get update sudo apt-get install autogen configure make $bench"
check says 0 '^  hardware  cpu by B$'
check called "make $bench"

# interrupted: what comes last is not there
rm build/libtool Makefile.in
check says 0 '^device 0  Some CPU$'
check called "autogen configure make $bench"

# root; a source of packages that is out of order
echo 0 > state/user
rm state/sudo
: > state/missing_check
: > state/no_update
check says 0 "'apt-get update' failed"
check called "apt-get update apt-get install make $bench"

# lines that failed, a mistake, no device
echo 1 > state/bench_status
check says 1 'a browser: '
echo 2 > state/bench_status
check says 2 ''
check sh -c '! grep "a browser: " out'
rm -f calls
echo 2 > state/devices_status
check says 2 ''
check called 'make'
check says 2 '^usage: ' tests
check says 0 '^quickstart - ' --help
check called ''

end_checks quickstart 19
