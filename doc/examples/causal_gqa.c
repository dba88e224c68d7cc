/* SPDX-License-Identifier: MIT
 * causal_gqa.c - grouped heads in half precision: 8 query heads share 2 key/value heads, each token sees the
 * last 32.
 *
 * Shows a pattern made of two, the log-sum-exp, and what a plan says about itself.  The values are 1
 * everywhere, so every row of o must be 1; the keys are 0, so lse is the logarithm of how many keys a row
 * sees. */
#include <clattn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HEADS = 8, KV_HEADS = 2, LENGTH = 200, DIM = 40, WINDOW = 32 };

static const uint16_t one = 0x3c00; /* 1.0 in IEEE half precision */

static uint16_t q[HEADS * LENGTH * DIM], k[KV_HEADS * LENGTH * DIM], v[KV_HEADS * LENGTH * DIM];
static uint16_t o[HEADS * LENGTH * DIM];
static float lse[HEADS * LENGTH];

static clattn_status failed(const clattn_context *ctx, clattn_status status)
{
    char message[512] = "";
    if (ctx)
        clattn_context_message(ctx, message, sizeof message);
    fprintf(stderr, "causal_gqa: %s\n", message[0] ? message : clattn_status_text(status));
    return status;
}

static clattn_status attend(clattn_context *ctx)
{
    char words[2048];
    clattn_plan *plan;
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    clattn_status status;

    a.heads = HEADS;
    a.kv_heads = KV_HEADS;
    a.q_len = a.kv_len = LENGTH;
    a.dim = a.dim_v = DIM;
    a.type_q = a.type_k = a.type_v = a.type_o = CLATTN_F16;
    a.flags = CLATTN_WANT_LSE;
    a.pattern =
        clattn_both(clattn_causal(CLATTN_BOTTOM_RIGHT), clattn_window(WINDOW, 0, CLATTN_BOTTOM_RIGHT));
    status = clattn_plan_create(&plan, ctx, &a);
    if (status != CLATTN_OK)
        return failed(ctx, status);
    if (clattn_plan_explain(plan, words, sizeof words) == CLATTN_OK)
        printf("%s\n", words);
    io.q = q;
    io.k = k;
    io.v = v;
    io.o = o;
    io.lse = lse;
    status = clattn_run_forward(plan, &io);
    clattn_plan_destroy(plan);
    return status == CLATTN_OK ? CLATTN_OK : failed(ctx, status);
}

static int count_wrong(void)
{
    int wrong = 0, i;
    for (i = 0; i < HEADS * LENGTH * DIM; i++)
        wrong += o[i] != one;
    for (i = 0; i < HEADS * LENGTH; i++) {
        int seen = i % LENGTH < WINDOW ? i % LENGTH + 1 : WINDOW;
        wrong += !(fabs((double)lse[i] - log((double)seen)) < 1e-5);
    }
    return wrong;
}

int main(void)
{
    clattn_context *ctx;
    clattn_status status = clattn_context_open(&ctx, NULL);
    int wrong, i;

    if (status != CLATTN_OK)
        return failed(NULL, status) != CLATTN_OK;
    for (i = 0; i < HEADS * LENGTH * DIM; i++)
        q[i] = one;
    for (i = 0; i < KV_HEADS * LENGTH * DIM; i++)
        v[i] = one;
    memset(o, 0xff, sizeof o); /* NaN: a row that is not written would show */
    status = attend(ctx);
    clattn_context_close(ctx);
    if (status != CLATTN_OK)
        return 1;
    wrong = count_wrong();
    printf("causal_gqa: %d wrong\n", wrong);
    return wrong != 0;
}
