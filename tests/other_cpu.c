/* SPDX-License-Identifier: MIT
 * other_cpu.c - preloaded, it hides features of this CPU from the compiler of a driver, so that PoCL on it is
 * PoCL on a lesser one.
 *
 * CLATTN_OTHER_CPU is avx2 (nothing of AVX-512) or sse (neither AVX nor FMA).  PoCL asks LLVM which features
 * the CPU has; this library stands in for that question, asks LLVM itself and crosses out the answer's lines.
 * The answer is a map from names to truth, of LLVM's own layout, which no header for C declares: if it is
 * another one day, the driver shows the whole CPU, and tests/check_cpus.sh says so.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* llvm::sys::getHostCPUFeatures(llvm::StringMap<bool, llvm::MallocAllocator> &), of LLVM 13 to 15. */
#define QUESTION "_ZN4llvm3sys18getHostCPUFeaturesERNS_9StringMapIbNS_15MallocAllocatorEEE"

struct entry {
    size_t length;
    bool has;
};

struct map {
    struct entry **entries; /* of `buckets`: NULL where empty, an address below 0 where deleted */
    unsigned buckets, used, deleted;
    unsigned entry_size; /* an entry's name follows it */
};

__attribute__((visibility("default"))) bool other_cpu_features(struct map *features) __asm__(QUESTION);

static int is_llvm(struct dl_phdr_info *info, size_t size, void *name)
{
    (void)size;
    if (!strstr(info->dlpi_name, "libLLVM"))
        return 0;
    *(const char **)name = info->dlpi_name;
    return 1;
}

static bool hidden(const char *feature)
{
    static const char *const of_avx[] = {"avx", "fma", "f16c", "xop", "vaes", "vpclmulqdq"};
    const char *cpu = getenv("CLATTN_OTHER_CPU");
    if (cpu && !strcmp(cpu, "avx2"))
        return !strncmp(feature, "avx512", 6);
    for (size_t i = 0; cpu && !strcmp(cpu, "sse") && i < sizeof of_avx / sizeof *of_avx; i++)
        if (!strncmp(feature, of_avx[i], strlen(of_avx[i])))
            return true;
    return false;
}

bool other_cpu_features(struct map *features)
{
    const char *llvm = NULL;
    dl_iterate_phdr(is_llvm, &llvm); /* loaded by a driver, out of sight for the usual search */
    void *library = llvm ? dlopen(llvm, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    bool (*ask)(struct map *) = library ? (bool (*)(struct map *))(uintptr_t)dlsym(library, QUESTION) : NULL;
    if (!ask || !ask(features))
        return false;
    for (unsigned i = 0; i < features->buckets; i++) {
        struct entry *e = features->entries[i];
        if (e && (intptr_t)e > 0 && hidden((const char *)e + features->entry_size))
            e->has = false;
    }
    return true;
}
