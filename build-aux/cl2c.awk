# SPDX-License-Identifier: MIT
# cl2c.awk - turn a kernel file into a C array of characters: includes flattened, each once, #line marks.
#
#     awk -v dirs=DIR:DIR -f cl2c.awk FILE.cl > FILE.cl.c
#     awk -v dirs=DIR:DIR -v flat=1 -f cl2c.awk FILE.cl > FLAT.cl        the flattened text itself
#
# Includes are found by base name in dirs.  Anything but printable ASCII and tab stops the build.
function base(path) { sub(/^.*\//, "", path); return path }
function die(message) { print message > "/dev/stderr"; bad = 1; exit 1 }
function emit(text, where,   i, n, c, out) {
    if (flat) { print text; return }
    n = length(text)
    for (i = 1; i <= n; i++) {
        c = substr(text, i, 1)
        if (c == "\t") c = "\\t"
        else if (c == "\\" || c == "'") c = "\\" c
        else if (c < " " || c > "~") die(where ": not printable ASCII")
        out = out "'" c "',"
    }
    print out "'\\n',"
}
function find(name, from,   i, n, list, path, line) {
    n = split(dirs, list, ":")
    for (i = 1; i <= n; i++) {
        path = list[i] "/" name
        if ((getline line < path) >= 0) { close(path); return path }
    }
    die(from ": cannot find " name)
}
function file(path, from,   line, nr, rc) {
    if (path in seen) return
    seen[path] = 1
    emit("#line 1 \"" base(path) "\"", path)
    while ((rc = (getline line < path)) > 0) {
        nr++
        sub(/\r$/, "", line)
        if (line ~ /^[ \t]*#[ \t]*include[ \t]+"/) {
            sub(/^[^"]*"/, "", line); sub(/".*$/, "", line)
            file(find(line, path ":" nr), path ":" nr)
            emit("#line " (nr + 1) " \"" base(path) "\"", path)
        } else emit(line, path ":" nr)
    }
    if (rc < 0) die(from ": cannot read " path)
    close(path)
}
BEGIN {
    if (flat) { file(ARGV[1], "command line"); exit bad }
    name = base(ARGV[1]); sub(/\.cl$/, "", name)
    print "extern const char clattn__cl_" name "[];"
    print "const char clattn__cl_" name "[] = {"
    file(ARGV[1], "command line")
    print "0};"
    exit bad
}
