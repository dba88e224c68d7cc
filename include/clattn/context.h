/* SPDX-License-Identifier: MIT
 * context.h - a context: one OpenCL device with its cl_context, program cache, log and last failure. */
#ifndef CLATTN_CONTEXT_H
#define CLATTN_CONTEXT_H

#include <clattn/export.h>
#include <clattn/status.h>

typedef struct clattn_context clattn_context;

/* Called with one line at a time, without newline; from any thread that is inside a clattn call. */
typedef void (*clattn_log_callback)(void *cookie, const char *line);

/* What is done with compiled programs.  A context keeps the last ones that it built, and the cache on disk
 * (clattn(3), FILES) serves later processes.  Kernels that failed are remembered there with all modes but
 * OFF. */
typedef enum clattn_cache_mode {
    CLATTN_CACHE_AUTO = 0, /* on disk too, except where the driver caches programs by itself   */
    CLATTN_CACHE_OFF = 1,  /* nothing is kept: every plan builds its programs and checks them  */
    CLATTN_CACHE_ALWAYS = 2
} clattn_cache_mode;

CLATTN_BEGIN
/* Open a device and make a cl_context for it.  selector (may be NULL or "") is an index of
 * clattn_list_devices ("0"), a type ("cpu", "gpu", "accelerator"), or a part of a device's, vendor's or
 * platform's name, in any letter case.  NULL takes a GPU before an accelerator before a CPU.
 * The caller owns *ctx and closes it with clattn_context_close.  On failure *ctx is NULL.
 * NULL_ARGUMENT, NO_PLATFORM, NO_DEVICE, DEVICE_NOT_FOUND, OPENCL_FAILED, OUT_OF_HOST_MEMORY. */
CLATTN_API clattn_status clattn_context_open(clattn_context **ctx, const char *selector);

/* Wrap the caller's context and one of its devices.  Both are retained, not taken.
 * NULL_ARGUMENT, DEVICE_NOT_IN_CONTEXT, OPENCL_FAILED, OUT_OF_HOST_MEMORY. */
CLATTN_API clattn_status clattn_context_wrap(clattn_context **ctx, cl_context context, cl_device_id device);

/* Close a context; NULL is allowed.  Plans made from it keep what they need until they are destroyed. */
CLATTN_API void clattn_context_close(clattn_context *ctx);

/* Return the OpenCL objects of a context, borrowed; NULL for a NULL context. */
CLATTN_API cl_context clattn_context_cl(const clattn_context *ctx);
CLATTN_API cl_device_id clattn_context_device(const clattn_context *ctx);

/* Give a log callback (NULL: silent, the default).  cookie is passed through. */
CLATTN_API clattn_status clattn_context_set_log(clattn_context *ctx, clattn_log_callback log, void *cookie);

/* Set where and whether compiled programs are kept.  directory NULL: $CLATTN_CACHE_DIR, else
 * $XDG_CACHE_HOME/clattn, else $HOME/.cache/clattn.  An unusable folder is never an error: it costs time. */
CLATTN_API clattn_status clattn_context_set_cache(clattn_context *ctx, clattn_cache_mode mode,
                                                  const char *directory);

/* on not 0: ask the compiler what it makes of each kernel (registers, spills); where it has such a report, it
 * goes to the log, line by line: "program NAME: compiler: ..." and "program NAME, edited: compiler: ...", of
 * which the last is what runs.  Meanwhile every plan builds its programs, and nothing is kept or remembered,
 * as with CLATTN_CACHE_OFF. */
CLATTN_API clattn_status clattn_context_set_build_report(clattn_context *ctx, int on);

/* Have plans whose kernels are new on this machine made first by a process of its own, for compilers that
 * crash or hang: a new driver, a fragile one.  program: the absolute path of the program clattn, or of any
 * that passes its standard input to clattn_build_helper where its first argument is "build-helper"; NULL:
 * none, the default.  What ends that process, or takes longer than `seconds', is quarantined
 * (clattn_quarantine), and the next engine serves; what goes well is marked beside the compiled programs, and
 * the helper is not asked again.  clattn_plan_create waits meanwhile; the helper inherits environment, folder
 * and the files that are not closed on exec, and the host sees one more child end.  Selections and merge
 * plans have no part in this.
 * BAD_HELPER, BAD_COUNT (seconds is 0), OUT_OF_HOST_MEMORY; clattn_plan_create gives BAD_HELPER where it
 * cannot be started. */
CLATTN_API clattn_status clattn_context_set_build_helper(clattn_context *ctx, const char *program,
                                                         uint32_t seconds);
/* Be a build helper: read a request of a library of the same version from a socket, make its plan, answer.
 * Returns the process's exit status: 0, or 2 for what was no request. */
CLATTN_API int clattn_build_helper(int input);

/* Copy the sentence of this context's latest failure into text (size bytes, always terminated). */
CLATTN_API clattn_status clattn_context_message(const clattn_context *ctx, char *text, size_t size);
/* Return the OpenCL code of the latest failure, CL_SUCCESS if OpenCL was not the cause. */
CLATTN_API cl_int clattn_context_cl_error(const clattn_context *ctx);
/* Copy the compiler's log of the latest failed build (at most 64 KiB are kept, control characters
 * removed). */
CLATTN_API clattn_status clattn_context_build_log(const clattn_context *ctx, char *text, size_t size);
CLATTN_END

#endif
