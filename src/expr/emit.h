/* SPDX-License-Identifier: MIT
 * emit.h - what the makers of kernel text share, private to the expr room.
 */
#ifndef CLATTN_EXPR_EMIT_H
#define CLATTN_EXPR_EMIT_H

#include "expr/tree.h"

enum family { ONE, QUERIES, KEYS, INTERVAL };

struct emitter {
    struct clattn__text *out;
    const struct clattn__expr *e;
    enum family family;
    bool filling_rows; /* inside rule_rows_fill: rows are being computed, not read */
    bool scalar;       /* an x1_ statement among x16_ ones: its operands are s, not v */
};

/* ---- emit.c ---- */
/* A node's value, once its statement is there. */
void clattn__emit_name(const struct emitter *m, int node);
/* The beginning of a function of the family: what a rule's is called and takes, but for the score. */
void clattn__emit_head(const struct emitter *m, const char *type, const char *name);
/* The statements that a node needs, its own included. */
void clattn__emit_statements(const struct emitter *m, int node);

/* ---- bias.c ---- */
bool clattn__has_bias(const struct clattn__expr *e);
bool clattn__has_bias_step(const struct clattn__expr *e);
/* bias_1 and bias_step_1, where they are. */
void clattn__emit_bias(const struct emitter *m);

#endif
