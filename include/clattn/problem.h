/* SPDX-License-Identifier: MIT
 * problem.h - the problem language: one line of text for a problem, the same in the program `clattn`, in the
 * tests' reproduction lines and in bug reports (clattn_problem(7)).
 *
 *     attn:f16:b2:h32/8:q4096:k4096:d128:causal-br
 *     attn:f16-f32:h6/2:q548:k1500:d64            types: one, inputs-output, or q-k-v-o
 *     attn:f32:h4:q7:k100:d40/24:window64-causal-br:lse:engine=portable:splits=3:layout=bthd:keylens:packed
 */
#ifndef CLATTN_PROBLEM_H
#define CLATTN_PROBLEM_H

#include <clattn/attention.h>

CLATTN_BEGIN
/* Parse a problem text into *problem (its size field must be set; everything else is overwritten).  On
 * failure a sentence with the column goes to message (size bytes; may be NULL, 0).  PROBLEM_SYNTAX and the
 * statuses of clattn_attention_check. */
CLATTN_API clattn_status clattn_problem_parse(clattn_attention *problem, const char *text, char *message,
                                              size_t size);

/* Print a problem as text that clattn_problem_parse reads back to an equal problem.  What the language cannot
 * say (free strides, free text masks with names) is left to the command line's options and the API.
 * BUFFER_TOO_SHORT. */
CLATTN_API clattn_status clattn_problem_print(const clattn_attention *problem, char *text, size_t size);

/* Return a problem's floating point operations: 2 per multiply-add of every visible pair, at full lengths; 0
 * on failure.  arrays: on the host, those that the problem declares, in its order, and after them, if its
 * rules say `listed', its list; NULL: a mask that reads arrays or lists counts every pair.  Of a mask too
 * irregular to be counted in about a second, undecided parts count whole. */
CLATTN_API double clattn_problem_flops(const clattn_attention *problem, const void *const *arrays);
/* Return the bytes of q, k, v, o and lse, each once. */
CLATTN_API double clattn_problem_bytes(const clattn_attention *problem);
CLATTN_END

#endif
