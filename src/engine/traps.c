/* SPDX-License-Identifier: MIT
 * traps.c - what is known about drivers, measured: the facts that no query tells, and the sentences for
 * people. */
#include "engine/engine.h"

#include <string.h>

struct trap {
    const char *platform;     /* part of the platform's name */
    bool caches_programs;     /* keeps compiled programs on disk by itself */
    bool slow_wide_vectors;   /* needs minutes to compile float16 kernels */
    bool takes_assembly;      /* its compiler passes inline assembly on, for a CPU */
    bool refuses_fetches;     /* stops at a request to bring memory into a cache */
    bool takes_ptx;           /* its compiler passes PTX on, and its devices say their compute capability */
    bool hides_fma;           /* says that a CPU has no fma, and compiles to it */
    bool wrong_nested_min;    /* compiles min(a, min(b, -c)) of integers to something else */
    const char *report_option; /* makes its compiler say what registers a kernel takes */
    const char *idle_words;    /* of its compiler, about every kernel */
    const char *sentences[4]; /* NULL-ended */
};

static const struct trap traps[] = {
    {.platform = "Portable Computing Language", .caches_programs = true, .takes_assembly = true,
     .sentences = {"compiles at the first launch of each kernel, not when it is built; clattn launches once inside plan_create",
      "a full disk under its cache folder (POCL_CACHE_DIR) ends the process; nothing a library does can prevent it",
      "a kernel's fault is a fault of the process: there is no memory protection between them"}},
    {.platform = "rusticl", .slow_wide_vectors = true,
     .sentences = {"takes minutes to compile float16 kernels, so only the portable engine is used",
                   "aborts the process on a program binary that is not its own; clattn authenticates its "
                   "cache for that reason"}},
    {.platform = "Oclgrind",
     .refuses_fetches = true,
     .sentences = {"an interpreter that checks kernels: right, and thousands of times slower than a device"}},
    {.platform = "NVIDIA", .caches_programs = true, .takes_ptx = true, .wrong_nested_min = true, .report_option = "-cl-nv-verbose",
     .idle_words = "is a kernel, so overriding noinline attribute",
     .sentences = {"after an illegal address in any kernel every later call on the same context fails; open "
                   "a new context",
                   "drops the minus from min(a, min(b, -c)) of integers (driver 580.159.04, compute "
                   "capability 9.0); rules avoid it"}},
    {.platform = "Intel(R) OpenCL",
     .hides_fma = true,
     .sentences = {"says that CPUs have no fma; clattn asks the CPU",
                   "refuses inline assembly, which clattn does not use on it"}},
};

static const struct trap *find_trap(const clattn_device_facts *facts)
{
    for (size_t i = 0; i < CLATTN__LEN(traps); i++)
        if (strstr(facts->platform, traps[i].platform))
            return &traps[i];
    return NULL;
}

void clattn__driver_facts(clattn_device_facts *facts)
{
    const struct trap *trap = find_trap(facts);
    facts->caches_programs = trap && trap->caches_programs;
    facts->slow_wide_vectors = trap && trap->slow_wide_vectors;
    facts->wrong_nested_min = trap && trap->wrong_nested_min;
}

const char *clattn__driver_report_option(const clattn_device_facts *facts)
{
    const struct trap *trap = find_trap(facts);
    return trap && trap->report_option ? trap->report_option : "";
}

bool clattn__driver_says_idly(const clattn_device_facts *facts, const char *line)
{
    const struct trap *trap = find_trap(facts);
    return trap && trap->idle_words && strstr(line, trap->idle_words);
}

bool clattn__driver_takes_assembly(const clattn_device_facts *facts)
{
    const struct trap *trap = find_trap(facts);
    return trap && trap->takes_assembly;
}

bool clattn__driver_hides_fma(const clattn_device_facts *facts)
{
    const struct trap *trap = find_trap(facts);
    return trap && trap->hides_fma;
}

bool clattn__driver_takes_ptx(const clattn_device_facts *facts)
{
    const struct trap *trap = find_trap(facts);
    return trap && trap->takes_ptx;
}

bool clattn__driver_takes_fetches(const clattn_device_facts *facts)
{
    const struct trap *trap = find_trap(facts);
    return !trap || !trap->refuses_fetches;
}

const char *clattn_device_trap(const clattn_device_facts *facts, size_t index)
{
    const struct trap *trap = facts && facts->size == sizeof *facts ? find_trap(facts) : NULL;
    if (!trap || index >= CLATTN__LEN(trap->sentences))
        return NULL;
    for (size_t i = 0; i < index; i++)
        if (!trap->sentences[i])
            return NULL;
    return trap->sentences[index];
}
