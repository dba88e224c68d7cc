/* SPDX-License-Identifier: MIT
 * setter.c - the arguments of a kernel, one after the other; the first failure is kept. */
#include "attention/attention.h"

void clattn__set(struct clattn__setter *s, size_t size, const void *value)
{
    if (s->code == CL_SUCCESS)
        s->code = clSetKernelArg(s->kernel, s->next++, size, value);
}

void clattn__set_buffer(struct clattn__setter *s, cl_mem mem)
{
    clattn__set(s, sizeof mem, &mem);
}

void clattn__set_either(struct clattn__setter *s, cl_mem mem, cl_mem other)
{
    clattn__set_buffer(s, mem ? mem : other);
}
