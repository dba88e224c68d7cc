/* SPDX-License-Identifier: MIT
 * minimal.c - causal attention on host memory, on whatever device there is. */
#include <clattn.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 2, LENGTH = 100, DIM = 64, COUNT = HEADS * LENGTH * DIM };

static void stop(const clattn_context *ctx, clattn_status status)
{
    char message[512] = "";
    if (ctx)
        clattn_context_message(ctx, message, sizeof message);
    fprintf(stderr, "%s\n", message[0] ? message : clattn_status_text(status));
    exit(1);
}

int main(void)
{
    static float q[COUNT], k[COUNT], v[COUNT], o[COUNT];
    clattn_context *ctx;
    clattn_plan *plan;
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    clattn_status status;
    int i;

    for (i = 0; i < COUNT; i++) {
        q[i] = (float)(i % 7) - 3;
        k[i] = (float)(i % 5) - 2;
        v[i] = 0.5f; /* a constant: every row of o must be it again */
    }
    if ((status = clattn_context_open(&ctx, NULL)) != CLATTN_OK)
        stop(NULL, status);
    a.heads = a.kv_heads = HEADS;
    a.q_len = a.kv_len = LENGTH;
    a.dim = a.dim_v = DIM;
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    if ((status = clattn_plan_create(&plan, ctx, &a)) != CLATTN_OK)
        stop(ctx, status);
    io.q = q;
    io.k = k;
    io.v = v;
    io.o = o;
    if ((status = clattn_run_forward(plan, &io)) != CLATTN_OK)
        stop(ctx, status);
    printf("engine %s, o[0] = %g, last = %g\n", clattn_plan_engine(plan), o[0], o[COUNT - 1]);
    i = o[0] > 0.499f && o[0] < 0.501f && o[COUNT - 1] > 0.499f && o[COUNT - 1] < 0.501f;
    clattn_plan_destroy(plan);
    clattn_context_close(ctx);
    return !i;
}
