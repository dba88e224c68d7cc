# SPDX-License-Identifier: MIT
dist_man_MANS += doc/clattn_expr.7
EXTRA_DIST += doc/numerics.md doc/performance.md doc/examples/minimal.c
