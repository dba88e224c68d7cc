/* SPDX-License-Identifier: MIT
 * launch.c - a forward kernel with its arguments in the order of cl/common/forward.clh; checks nothing. */
#include "attention/attention.h"

clattn_status clattn__kernel_build(clattn_context *ctx, const struct clattn__program_request *request,
                                   struct clattn__kernel *kernel)
{
    cl_int code;
    clattn_status status = clattn__program_build(ctx, request, &kernel->program);
    if (status)
        return status;
    kernel->kernel = clCreateKernel(kernel->program, request->kernel, &code);
    if (code == CL_SUCCESS)
        return CLATTN_OK;
    kernel->kernel = NULL;
    clattn__kernel_free(kernel);
    return clattn__fail_cl(ctx, "clCreateKernel", code);
}

void clattn__kernel_free(struct clattn__kernel *kernel)
{
    if (kernel->kernel)
        clReleaseKernel(kernel->kernel);
    if (kernel->program)
        clReleaseProgram(kernel->program);
    kernel->kernel = NULL;
    kernel->program = NULL;
}

cl_int clattn__launch_forward(const struct clattn_plan *plan, cl_command_queue queue,
                              const struct clattn__forward_run *run, struct clattn__wait wait,
                              cl_event *event)
{
    const struct clattn__problem *problem = run->problem;
    const struct clattn__spec *spec = &plan->launch.spec;
    struct clattn__setter s = {plan->forward.kernel, 0, CL_SUCCESS};
    clattn__set(&s, sizeof *run->args, run->args);
    clattn__set_buffer(&s, run->q);
    clattn__set_either(&s, run->k, run->q);
    clattn__set_either(&s, run->v, run->q);
    clattn__set_buffer(&s, run->o);
    if (spec->LSE)
        clattn__set_buffer(&s, run->lse);
    if (spec->PACKED) {
        clattn__set_buffer(&s, run->q_offsets);
        clattn__set_buffer(&s, run->k_offsets);
    } else if (spec->KEY_LENGTHS) {
        clattn__set_buffer(&s, run->key_lengths);
    }
    if (spec->COUNT_TILES)
        clattn__set_buffer(&s, run->counters);
    if (problem->n_numbers)
        clattn__set(&s, (size_t)problem->n_numbers * sizeof(cl_int), problem->numbers);
    for (int i = 0; i < problem->a.n_arrays; i++)
        if (clattn__expr_uses_array(problem->rules, i))
            clattn__set_buffer(&s, run->arrays[i]);
    if (problem->reads_list) {
        clattn__set(&s, sizeof problem->list_args, &problem->list_args);
        clattn__set_buffer(&s, run->list);
    }
    if (run->tables)
        clattn__set_buffer(&s, run->tables);
    if (plan->launch.scratch)
        clattn__set_buffer(&s, run->scratch);
    if (spec->JOINS) {
        clattn__set(&s, sizeof *run->merge_args, run->merge_args);
        clattn__set_buffer(&s, run->joined_o);
        if (spec->JOINS > 1)
            clattn__set_buffer(&s, run->joined_lse);
        clattn__set_buffer(&s, run->arrivals);
    }
    if (s.code != CL_SUCCESS)
        return s.code;
    size_t local = (size_t)spec->GROUP, global = run->groups * local;
    return clEnqueueNDRangeKernel(queue, s.kernel, 1, NULL, &global, &local, wait.count,
                                  wait.count ? wait.events : NULL, event);
}
